//! Reads calls and their members.

use std::collections::HashMap;

use crate::error::StoreError;
use crate::model::read_models::{Call, Member, UserCall};
use crate::query::filters::{CallFilter, UserCallFilter};
use crate::query::limits::DETAILS_MAX;
use crate::query::page::Details;
use crate::read::apps::apps;
use crate::sql::builder::Reader;
use crate::sql::from_row::{from_row, part};
use protocol::AppId;
use protocol::UnixMillis;

/// The columns of a [`Call`], of the table `c`.
const CALL: &str = "c.sdk_app_id, c.call_id, c.media, c.call_type, c.caller, c.chat_group_id, c.room_id, c.state, \
     c.result, @ms(c.started_at) as started_at, @ms(c.accepted_at) as accepted_at, \
     @ms(c.ended_at) as ended_at, c.talk_seconds, c.inferred, @ms(c.first_at) as first_at, \
     @ms(c.last_at) as last_at, \
     case when c.started_at is not null and (c.accepted_at is not null or c.state = 'ended') \
          then @greatest(0, @ms(coalesce(c.accepted_at, c.ended_at)) - @ms(c.started_at)) / 1000 end as ring_seconds, \
     (select @texts(m.account) from ( \
         select account from merged_call_members m \
         where m.sdk_app_id = c.sdk_app_id and m.call_id = c.call_id and not m.is_caller \
         order by m.first_at, m.account limit 10) as m) as callees, \
     (select count(*) from merged_call_members m \
         where m.sdk_app_id = c.sdk_app_id and m.call_id = c.call_id) as participants, \
     (select m.account from merged_call_members m \
         where m.sdk_app_id = c.sdk_app_id and m.call_id = c.call_id and m.last_action = 'hangup' \
         order by m.last_left_at, m.account limit 1) as hung_up_by";

/// Behind the columns of calls in a list, what chooses them follows. In a subquery, so that what is looked up for each call is
/// looked up for those of the page only.
const OF_LIST: &str = " from (select c.* from calls c";

const ORDER: &str = " order by c.first_at desc, c.sdk_app_id desc, c.call_id desc";

/// No end came.
const OPEN: &str = "c.end_event_at is null and c.end_record_at is null";

/// A member whose call was accepted: of those that hung up, the ones whose outcome is `answered`.
const ANSWERED: &str =
    "(case when m.is_caller then c.accepted_at else m.joined_at end) is not null";

pub(crate) async fn calls<R: Reader>(
    reader: &R,
    filter: &CallFilter,
) -> Result<Vec<Call>, StoreError> {
    let mut sql = reader.statement("select ");
    sql.push(CALL).push(OF_LIST);
    let mut condition = " where ";
    if let Some(account) = &filter.account {
        // A member is named at the earliest when its call is.
        sql.push(" join call_members m on m.sdk_app_id = c.sdk_app_id and m.call_id = c.call_id");
        sql.push(" where m.account = ").text(account);
        sql.when_time(" and m.first_at >= ", filter.since);
        // The index begins with the app.
        let apps = if let Some(app) = filter.app {
            vec![app.as_i64()]
        } else {
            apps(reader, "calls").await?
        };
        sql.push(" and m.sdk_app_id in ").numbers(&apps);
        condition = " and ";
    }
    sql.push(condition).push("true");
    if let Some(app) = filter.app {
        sql.push(" and c.sdk_app_id = ").number(app.as_i64());
    }
    if let Some(state) = &filter.state {
        sql.push(" and c.state = ").text(state);
        // Few are in these, and have an index to themselves.
        match state.as_str() {
            "ringing" | "active" => sql.push(" and c.overdue_at is null and ").push(OPEN),
            "overdue" => sql.push(" and c.overdue_at is not null and ").push(OPEN),
            _ => &mut sql,
        };
    }
    sql.when_text(" and c.result = ", filter.result.as_deref())
        .when_text(" and c.media = ", filter.media.as_deref())
        .when_text(" and c.room_id = ", filter.room_id.as_deref())
        .when_time(" and c.first_at >= ", filter.since)
        .when_time(" and c.first_at < ", filter.until);
    if let Some((at, app, call_id)) = &filter.after {
        sql.push(" and (c.first_at, c.sdk_app_id, c.call_id) < (").time(*at);
        sql.push(", ").number(*app).push(", ").text(call_id).push(")");
    }
    sql.push(ORDER).push(" limit ").number(filter.limit.into());
    sql.push(") as c").push(ORDER);
    reader.fetch(sql).await
}

pub(crate) async fn call<R: Reader>(
    reader: &R,
    app: AppId,
    call_id: &str,
) -> Result<Option<Call>, StoreError> {
    let mut sql = reader.statement("select ");
    sql.push(CALL).push(" from calls c where c.sdk_app_id = ").number(app.as_i64());
    sql.push(" and c.call_id = ").text(call_id);
    reader.fetch_one(sql).await
}

pub(crate) async fn members<R: Reader>(
    reader: &R,
    app: AppId,
    call_id: &str,
) -> Result<Details<Member>, StoreError> {
    let mut sql = reader.statement(
        "select account, is_caller, state, ending, @ms(invited_at) as invited_at,
                @ms(joined_at) as joined_at, @ms(left_at) as left_at, inferred,
                @ms(first_at) as first_at, @ms(last_at) as last_at
         from call_members m where m.sdk_app_id = ",
    );
    sql.number(app.as_i64()).push(" and m.call_id = ").text(call_id);
    // By the columns of the table, not by those that are read.
    sql.push(" order by m.first_at, m.account limit ").number(i64::from(DETAILS_MAX) + 1);
    reader.fetch_details(sql, DETAILS_MAX, Member::bytes).await
}

/// A member's columns beside the call's.
struct Row {
    call: Call,
    is_caller: bool,
    outcome: Option<String>,
    at: UnixMillis,
}

from_row! { Row: call = part, is_caller, outcome, at; }

pub(crate) async fn of_user<R: Reader>(
    reader: &R,
    filter: &UserCallFilter,
) -> Result<Vec<UserCall>, StoreError> {
    let app = filter.app.as_i64();
    let mut sql = reader.statement("select ");
    sql.push(CALL)
        .push(", m.is_caller, @ms(m.first_at) as at, case when m.ending = 'hung_up' and ");
    sql.push(ANSWERED).push(
        " then 'answered' else m.ending end as outcome
          from call_members m
          join calls c on c.sdk_app_id = m.sdk_app_id and c.call_id = m.call_id
          where m.sdk_app_id = ",
    );
    sql.number(app).push(" and m.account = ").text(&filter.account);
    match filter.direction.as_deref() {
        Some("outgoing") => sql.push(" and m.is_caller"),
        Some("incoming") => sql.push(" and not m.is_caller"),
        Some(_) => return Ok(Vec::new()),
        None => &mut sql,
    };
    // By the member's own columns first, so that the calls of the others are not looked at.
    match filter.outcome.as_deref() {
        Some("answered") => sql
            .push(" and m.ending = 'hung_up' and (m.is_caller or m.joined_at is not null) and ")
            .push(ANSWERED),
        Some("hung_up") => sql
            .push(" and m.ending = 'hung_up' and (m.is_caller or m.joined_at is null) and not ")
            .push(ANSWERED),
        outcome => sql.when_text(" and m.ending = ", outcome),
    };
    if let Some((at, call_id)) = &filter.after {
        sql.push(" and (m.first_at, m.call_id) < (").time(*at).push(", ").text(call_id).push(")");
    }
    sql.push(" order by m.first_at desc, m.call_id desc limit ").number(filter.limit.into());
    let rows: Vec<Row> = reader.fetch(sql).await?;
    let mut peers = peers(reader, filter, &rows).await?;
    let user_call = |row: Row| UserCall {
        direction: if row.is_caller { "outgoing" } else { "incoming" }.to_owned(),
        outcome: row.outcome,
        peers: peers.remove(&row.call.call_id).unwrap_or_default(),
        at: row.at,
        call: row.call,
    };
    Ok(rows.into_iter().map(user_call).collect())
}

/// The others in these calls, by call.
async fn peers<R: Reader>(
    reader: &R,
    filter: &UserCallFilter,
    rows: &[Row],
) -> Result<HashMap<String, Vec<String>>, StoreError> {
    let mut peers: HashMap<String, Vec<String>> = HashMap::new();
    if rows.is_empty() {
        return Ok(peers);
    }
    let mut sql = reader.statement(
        "select call_id, account from (
             select call_id, account, row_number() over (
                 partition by call_id order by is_caller desc, first_at, account) as place
             from call_members
             where sdk_app_id = ",
    );
    sql.number(filter.app.as_i64()).push(" and call_id in ");
    sql.texts(rows.iter().map(|row| row.call.call_id.as_str()));
    sql.push(" and account <> ").text(&filter.account);
    sql.push(") as others where place <= 10 order by call_id, place");
    let others: Vec<(String, String)> = reader.fetch(sql).await?;
    for (call_id, account) in others {
        peers.entry(call_id).or_default().push(account);
    }
    Ok(peers)
}
