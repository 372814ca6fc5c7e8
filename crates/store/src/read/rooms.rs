//! Reads sessions of rooms, what only live rooms have, and visits.

use crate::error::StoreError;
use crate::model::read_models::{Live, Room, Visit};
use crate::query::filters::{DetailPage, DetailPlace, RoomFilter, RoomKey};
use crate::query::limits::MARKS_SCANNED_MAX;
use crate::query::page::VisitPage;
use crate::read::apps::apps;
use crate::read::next_marks::{NO_ENTER, NO_ENTER_END, next_of_enters, place_enters};
use crate::sessions::queue::END;
use crate::sql::builder::{Reader, Statement};
use crate::sql::from_row::{from_row, id};
use protocol::AppId;
use protocol::UnixMillis;

/// The columns of a [`Room`], of the table `r`.
const ROOM: &str = "select r.sdk_app_id, r.room_id, r.session, r.family, r.name, r.owner, r.room_type, r.state, \
     @ms(r.started_at) as started_at, @ms(r.created_at) as created_at, r.created_by, \
     @ms(r.destroyed_at) as destroyed_at, r.destroyed_by, r.destroy_cause, \
     @ms(r.ended_at) as ended_at, @ms(r.from_at) as from_at, @ms(r.until_at) as until_at, \
     @ms(r.last_at) as last_at, r.inferred, r.members, r.members_peak, r.visitors, r.entries, \
     r.leaves_missing, r.enters_missing, r.max_members, r.max_seats, \
     @text(r.properties) as properties, @text(r.occupancy) as occupancy, @text(r.cut) as cut from room_sessions r where ";

pub(crate) async fn rooms<R: Reader>(
    reader: &R,
    filter: &RoomFilter,
) -> Result<Vec<Room>, StoreError> {
    let mut sql = reader.statement(ROOM);
    sql.push("true");
    match filter.app {
        Some(app) => {
            sql.push(" and r.sdk_app_id = ").number(app.as_i64());
        }
        None if filter.room_id.is_some() => {
            sql.push(" and r.sdk_app_id in ").numbers(&apps(reader, "room_sessions").await?);
        }
        None => {}
    }
    match filter.state.as_deref() {
        // Few are in these, and have an index to themselves.
        Some("open") => sql.push(" and r.state = 'open'"),
        Some("overdue") => sql.push(" and r.state = 'overdue'"),
        state => sql.when_text(" and r.state = ", state),
    };
    sql.when_text(" and r.family = ", filter.family.as_deref())
        .when_text(" and r.room_id = ", filter.room_id.as_deref())
        .when_text(" and r.owner = ", filter.owner.as_deref())
        .when_time(" and r.started_at >= ", filter.since)
        .when_time(" and r.started_at < ", filter.until);
    if let Some((at, app, room_id, session)) = &filter.after {
        sql.push(" and (r.started_at, r.sdk_app_id, r.room_id, r.session) < (").time(*at);
        sql.push(", ").number(*app).push(", ").text(room_id).push(", ").number(*session).push(")");
    }
    sql.push(
        " order by r.started_at desc, r.sdk_app_id desc, r.room_id desc, r.session desc limit ",
    );
    sql.number(filter.limit.into());
    reader.fetch_page(sql, Room::bytes).await
}

pub(crate) async fn room<R: Reader>(reader: &R, key: &RoomKey) -> Result<Option<Room>, StoreError> {
    let mut sql = reader.statement(ROOM);
    with_key(&mut sql, key);
    reader.fetch_one(sql).await
}

/// Adds the condition that a row is of this session.
fn with_key(sql: &mut Statement, RoomKey { app, room_id, session }: &RoomKey) {
    sql.push("(sdk_app_id = ").number(app.as_i64()).push(" and room_id = ").text(room_id);
    sql.push(" and session = ").number(*session).push(")");
}

/// How many sessions one statement asks for.
const KEYS_MAX: usize = 100;

pub(crate) async fn live_sessions<R: Reader>(
    reader: &R,
    keys: &[RoomKey],
) -> Result<Vec<Live>, StoreError> {
    let mut sessions = Vec::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_MAX) {
        let mut sql = reader.statement(
            "select sdk_app_id, room_id, session, total_viewers, total_gifts_sent, total_gift_coins,
                    total_gift_senders, total_likes, gifts, gift_coins, gift_senders,
                    case when total_gift_coins >= 0 then total_gift_coins - gift_coins end
                        as gift_coins_difference,
                    @text(top_senders) as top_senders, @text(top_receivers) as top_receivers,
                    battles, @text(admins) as admins, @text(metadata) as metadata,
                    @text(cut) as cut
             from live_sessions where ",
        );
        for (place, key) in keys.iter().enumerate() {
            sql.push(if place == 0 { "" } else { " or " });
            with_key(&mut sql, key);
        }
        sessions.extend(reader.fetch::<Live>(sql).await?);
    }
    Ok(sessions)
}

/// Adds the condition that a fact of the table `m` is of this session.
pub(crate) fn within<'a>(sql: &'a mut Statement, room: &Room) -> &'a mut Statement {
    sql.push(" m.sdk_app_id = ").number(room.sdk_app_id);
    sql.push(" and m.room_id = ").text(&room.room_id);
    sql.push(" and m.at >= ").time(room.from_at).when_time(" and m.at < ", room.until_at)
}

pub(crate) async fn visits<R: Reader>(
    reader: &R,
    room: &Room,
    page: &DetailPage,
) -> Result<VisitPage, StoreError> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let after = page.after.as_ref();
    let mut visits = Vec::new();
    if after.is_none_or(|after| after.entered) {
        visits = entered(reader, room, page, after).await?;
    }
    let mut next = None;
    // Most rooms have none, and to look for them takes time.
    if visits.len() < limit && room.enters_missing > 0 {
        let after = after.filter(|after| !after.entered);
        visits.extend(only_left(reader, room, page, after, limit - visits.len()).await?);
        if visits.len() < limit {
            next = last_scanned(reader, room, page, after).await?;
        }
    }
    if visits.len() >= limit {
        next = visits.last().map(Visit::place);
    }
    Ok(VisitPage { visits, next })
}

/// An enter, and the same account's next mark in the same session.
struct Entered {
    account: String,
    at: UnixMillis,
    event_id: uuid::Uuid,
    cause: Option<String>,
    next_at: Option<UnixMillis>,
    next_enters: Option<bool>,
    next_cause: Option<String>,
    next_by: Option<String>,
}

from_row! { Entered: account, at, event_id = id, cause, next_at, next_enters, next_cause, next_by; }

/// Visits that an enter began.
async fn entered<R: Reader>(
    reader: &R,
    room: &Room,
    page: &DetailPage,
    after: Option<&DetailPlace>,
) -> Result<Vec<Visit>, StoreError> {
    let mut sql = reader.statement(
        "with page as (
             select sdk_app_id, room_id, account, at, event_id, cause, ",
    );
    sql.time(room.from_at).push(" as from_at, ").time(room.until_at.unwrap_or(UnixMillis(END)));
    sql.push(" as until_at from room_marks m where");
    within(&mut sql, room).push(" and m.enters");
    one_page(&mut sql, page, after, page.limit.into());
    sql.push(")");
    place_enters(&mut sql);
    sql.push(" select account, @ms(at) as at, @text(event_id) as event_id, cause");
    next_of_enters(&mut sql);
    sql.push(" from placed order by placed.at desc, placed.event_id desc, placed.account desc");
    let rows: Vec<Entered> = reader.fetch(sql).await?;
    Ok(rows.into_iter().map(|row| row.visit(room.ended_at)).collect())
}

impl Entered {
    fn visit(self, room_ended_at: Option<UnixMillis>) -> Visit {
        let left = self.next_enters == Some(false);
        Visit {
            account: self.account,
            entered_at: Some(self.at),
            entered_cause: self.cause,
            // A mark of the session may be a little behind its end.
            left_at: self.next_at.or_else(|| room_ended_at.map(|ended| ended.max(self.at))),
            left_cause: self.next_cause.filter(|_| left),
            left_by: self.next_by.filter(|_| left),
            inferred: !left && (self.next_at.is_some() || room_ended_at.is_some()),
            event_id: self.event_id,
        }
    }
}

/// Visits of which only the leave is known: the same account's mark before it in the same session is no enter. Of a room
/// with many leaves some are looked through; see [`last_scanned`].
async fn only_left<R: Reader>(
    reader: &R,
    room: &Room,
    page: &DetailPage,
    after: Option<&DetailPlace>,
    limit: usize,
) -> Result<Vec<Visit>, StoreError> {
    let mut sql = reader.statement(
        "select account, null as entered_at, null as entered_cause, @ms(at) as left_at,
                cause as left_cause, by_account as left_by, false as inferred,
                @text(event_id) as event_id
         from (select * from room_marks m where",
    );
    within(&mut sql, room).push(" and not m.enters");
    one_page(&mut sql, page, after, MARKS_SCANNED_MAX.into());
    sql.push(") as m where ").push(NO_ENTER).time(room.from_at).push(NO_ENTER_END);
    in_order(&mut sql, i64::try_from(limit).unwrap_or(i64::MAX));
    reader.fetch(sql).await
}

/// The last leave that a page looks at; `None` where there are not so many.
async fn last_scanned<R: Reader>(
    reader: &R,
    room: &Room,
    page: &DetailPage,
    after: Option<&DetailPlace>,
) -> Result<Option<DetailPlace>, StoreError> {
    let mut sql = reader.statement(
        "select @ms(at) as left_at, @text(event_id) as event, account from room_marks m where",
    );
    within(&mut sql, room).push(" and not m.enters");
    one_page(&mut sql, page, after, 1);
    sql.push(" offset ").number(i64::from(MARKS_SCANNED_MAX) - 1);
    let last: Option<(UnixMillis, String, String)> = reader.fetch_one(sql).await?;
    Ok(last.and_then(|(at, event_id, account)| {
        Some(DetailPlace { at, event_id: event_id.parse().ok()?, account, entered: false })
    }))
}

/// Adds which marks of the table `m` are on the page, and their order.
fn one_page(sql: &mut Statement, page: &DetailPage, after: Option<&DetailPlace>, limit: i64) {
    sql.when_text(" and m.account = ", page.account.as_deref());
    if let Some(after) = after {
        sql.push(" and (m.at, m.event_id, m.account) < (").time(after.at).push(", ");
        sql.id(after.event_id).push(", ").text(&after.account).push(")");
    }
    in_order(sql, limit);
}

fn in_order(sql: &mut Statement, limit: i64) {
    sql.push(" order by m.at desc, m.event_id desc, m.account desc limit ").number(limit);
}

/// The newest session of this room in each app.
pub(crate) async fn latest<R: Reader>(
    reader: &R,
    room_id: &str,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut sql =
        reader.statement("select sdk_app_id, max(session) from room_sessions where sdk_app_id in ");
    sql.numbers(&apps(reader, "room_sessions").await?).push(" and room_id = ").text(room_id);
    sql.push(" group by sdk_app_id order by sdk_app_id");
    reader.fetch(sql).await
}

/// The apps in which this account owned a room.
pub(crate) async fn owned<R: Reader>(reader: &R, owner: &str) -> Result<Vec<i64>, StoreError> {
    let mut found = Vec::new();
    for app in apps(reader, "room_sessions").await? {
        let filter = RoomFilter {
            app: AppId::parse(&app.to_string()),
            owner: Some(owner.to_owned()),
            limit: 1,
            ..RoomFilter::default()
        };
        if !rooms(reader, &filter).await?.is_empty() {
            found.push(app);
        }
    }
    Ok(found)
}
