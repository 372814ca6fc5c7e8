//! The marks of one account in one room, in the order of `projections::session::moment`: of one time, the state before decides whether
//! it came or left first.
//!
//! All of it is looked for in the order of the table's key. So PostgreSQL takes that index also where it knows little of
//! the table yet, and not the one by time, in which everybody's marks stand.

use crate::sql::builder::Statement;

/// Adds, behind `with page as (…)`, the table `placed`: the page's enters, each with the leaves of its own time, its place
/// among them, and the time of what is behind it otherwise. The page has the columns of `room_marks`, and `from_at` and
/// `until_at`, which the marks are within.
pub(crate) fn place_enters(sql: &mut Statement) {
    // Nearly always nothing else has the same time, and then the place is not asked for.
    sql.push(
        ", tied as materialized (
             select page.*,
                    (select count(*) from (
                         select n.event_id from room_marks n
                         where n.sdk_app_id = page.sdk_app_id and n.room_id = page.room_id
                           and n.account = page.account and n.at = page.at and not n.enters
                         order by n.event_id) as n) as leaves
             from page),
         placed as materialized (
             select tied.*,
                    case when leaves > 0 then
                        (select count(*) from (
                             select n.event_id from room_marks n
                             where n.sdk_app_id = tied.sdk_app_id and n.room_id = tied.room_id
                               and n.account = tied.account and n.at = tied.at and n.enters
                               and n.event_id <= tied.event_id
                             order by n.event_id) as n)
                        + coalesce((
                             select case when sum(case when n.enters then 1 else -1 end) > 0 then 1 else 0 end
                             from (
                                 select n.at, n.enters from room_marks n
                                 where n.sdk_app_id = tied.sdk_app_id and n.room_id = tied.room_id
                                   and n.account = tied.account and n.at < tied.at and n.at >= tied.from_at
                                 order by n.at desc, n.event_id desc) as n
                             group by n.at having sum(case when n.enters then 1 else -1 end) <> 0
                             order by n.at desc limit 1), 0)
                    end as place,
                    (select n.at from room_marks n
                     where n.sdk_app_id = tied.sdk_app_id and n.room_id = tied.room_id
                       and n.account = tied.account and n.at >= tied.at
                       and (n.at > tied.at or n.enters and n.event_id > tied.event_id)
                       and (tied.until_at is null or n.at < tied.until_at)
                     order by n.at, n.event_id limit 1) as behind
             from tied)",
    );
}

/// Adds the columns `next_at`, `next_enters`, `next_cause` and `next_by`: the mark behind each enter of `placed`.
pub(crate) fn next_of_enters(sql: &mut Statement) {
    sql.push(
        ", case when placed.place <= placed.leaves then @ms(placed.at) else @ms(placed.behind) end
             as next_at",
    );
    for (column, name) in [
        ("(select n.enters", " as next_enters"),
        ("(select n.cause", " as next_cause"),
        ("(select n.by_account", " as next_by"),
    ] {
        sql.push(", case when placed.place <= placed.leaves then ").push(column).push(
            " from (
                  select c.*, row_number() over (order by c.event_id) as place from room_marks c
                  where c.sdk_app_id = placed.sdk_app_id and c.room_id = placed.room_id
                    and c.account = placed.account and c.at = placed.at and not c.enters) as n
              where n.place = placed.place) else ",
        );
        sql.push(column).push(
            " from (
                  select * from room_marks n
                  where n.sdk_app_id = placed.sdk_app_id and n.room_id = placed.room_id
                    and n.account = placed.account and n.at = placed.behind
                    and (n.at > placed.at or n.enters and n.event_id > placed.event_id)
                  order by n.event_id) as n
              order by n.enters, n.event_id limit 1) end",
        );
        sql.push(name);
    }
}

/// Adds the condition that no enter came before the leave `m`: of its time there are more leaves up to it than enters,
/// beside the stay that may have begun before. It ends behind `b.at >= `, where the first moment of the session goes; then
/// comes [`NO_ENTER_END`].
pub(crate) const NO_ENTER: &str = "(
        select sum(case when b.enters then -1 when b.event_id <= m.event_id then 1 else 0 end)
        from (
            select b.event_id, b.enters from room_marks b
            where b.sdk_app_id = m.sdk_app_id and b.room_id = m.room_id
              and b.account = m.account and b.at = m.at
            order by b.event_id) as b)
    > coalesce((
        select case when sum(case when b.enters then 1 else -1 end) > 0 then 1 else 0 end
        from (
            select b.at, b.enters from room_marks b
            where b.sdk_app_id = m.sdk_app_id and b.room_id = m.room_id
              and b.account = m.account and b.at < m.at and b.at >= ";
/// Behind [`NO_ENTER`].
pub(crate) const NO_ENTER_END: &str = "
            order by b.at desc, b.event_id desc) as b
        group by b.at having sum(case when b.enters then 1 else -1 end) <> 0
        order by b.at desc limit 1), 0)";
