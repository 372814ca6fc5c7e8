//! Retention in a SQLite file.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqlitePool;

use crate::sessions::counts::SUM_KEY;
use crate::sql::upsert::{AGED_BY_AT, ROBOT_HAS_MARKS, has_session};
use crate::sqlite::file::Writing;
use projections::TABLES;
use protocol::UnixMillis;

/// Deletes at most `rows_max` expired rows of each table, in one transaction per table, since events wait for it.
pub(crate) async fn delete_expired(
    pool: &SqlitePool,
    before: UnixMillis,
    rows_max: u32,
) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    for statements in transactions() {
        let mut writing = Writing::begin(pool).await?;
        for statement in statements {
            let done = sqlx::query(AssertSqlSafe(statement))
                .bind(before.0)
                .bind(i64::from(rows_max))
                .execute(writing.connection())
                .await?;
            deleted += done.rows_affected();
        }
        writing.commit().await?;
    }
    Ok(deleted)
}

fn transactions() -> Vec<Vec<String>> {
    let mut transactions = vec![vec![
        "delete from events where rowid in (
             select rowid from events where event_time < $1 order by event_time, id limit $2)"
            .to_owned(),
        "delete from dead_letter_events where rowid in (
             select rowid from dead_letter_events where refused_at < $1 limit $2)"
            .to_owned(),
        "delete from request_keys where key in (
             select key from request_keys where received_at < $1 limit $2)"
            .to_owned(),
        // The id of an event begins with its time.
        "delete from delivery_exceptions where (destination, event_id) in (
             select destination, event_id from delivery_exceptions
             where event_id < printf('%08x-%04x', max($1, 0) >> 16, max($1, 0) & 65535) limit $2)"
            .to_owned(),
    ]];
    transactions.extend(AGED_BY_AT.iter().map(|table| vec![some(table, "at < $1")]));
    // Changes of a room are kept as long as the session computed from them.
    transactions.push(vec![some(
        "room_changes",
        "at < $1 and not exists (
             select 1 from room_sessions as session
             where session.sdk_app_id = room_changes.sdk_app_id and session.room_id = room_changes.room_id
                 and session.last_at >= $1 and session.from_at <= room_changes.at
                 and (session.until_at > room_changes.at or session.until_at is null))",
    )]);
    let rooms = "select sdk_app_id, room_id, session from room_sessions where last_at < $1 \
                 order by last_at, sdk_app_id, room_id, session limit $2";
    transactions.push(vec![
        format!("delete from live_sessions where (sdk_app_id, room_id, session) in ({rooms})"),
        format!("delete from room_sessions where (sdk_app_id, room_id, session) in ({rooms})"),
    ]);
    let calls = "select sdk_app_id, call_id from merged_calls where first_at < $1 and last_at < $1 \
                 order by first_at, sdk_app_id, call_id limit $2";
    transactions.push(vec![
        format!("delete from merged_call_members where (sdk_app_id, call_id) in ({calls})"),
        format!("delete from merged_calls where (sdk_app_id, call_id) in ({calls})"),
    ]);
    // So are marks of a room of the RTC Engine, and robots as long as marks of theirs.
    for (table, id) in [("rtc_room_marks", "event_id"), ("rtc_repaired_marks", "mark_id")] {
        let of_session = format!(
            "exists (
                 select 1 from rtc_room_sessions as session
                 where session.sdk_app_id = {table}.sdk_app_id and session.room_id = {table}.room_id
                     and session.started_at <= {table}.at and session.last_at >= $1)"
        );
        let keys = format!("sdk_app_id, room_id, at, {id}");
        transactions.push(vec![some_of(table, &keys, &format!("at < $1 and not {of_session}"))]);
    }
    let sessions = "sdk_app_id, room_id, room_id_kind, session";
    transactions.push(vec![some_of("rtc_room_sessions", sessions, "last_at < $1")]);
    for (table, id) in [("rtc_stays", "stay_id"), ("rtc_publish_intervals", "interval_id")] {
        let keys = format!("sdk_app_id, room_id, room_id_kind, {id}");
        let condition = format!("started_at < $1 and not {}", has_session(table));
        transactions.push(vec![some_of(table, &keys, &condition)]);
    }
    let robots = format!("last_at < $1 and not {ROBOT_HAS_MARKS}");
    transactions.push(vec![some_of("rtc_robots", "sdk_app_id, account", &robots)]);
    for width in [60, 3600] {
        transactions.push(vec![format!(
            "delete from summed_event_counts where ({SUM_KEY}) in (
                 select {SUM_KEY} from summed_event_counts where width_s = {width} and at < $1 limit $2)"
        )]);
    }
    // Those of what is kept, so that a late event makes a revision and no second fact.
    transactions.push(vec![some_of("derived_events", "id", "last_at < $1")]);
    let anomalies = "sdk_app_id, kind, subject, session";
    transactions.push(vec![format!(
        "delete from anomalies where ({anomalies}) in (
             select {anomalies} from anomalies where happened_at < $1 limit $2)"
    )]);
    transactions
}

/// Deletes a bounded number of rows of a projected table.
fn some(name: &str, condition: &str) -> String {
    let keys = TABLES.iter().filter(|table| table.name == name).flat_map(|table| table.keys());
    some_of(name, &keys.map(|key| key.name).collect::<Vec<_>>().join(", "), condition)
}

/// Deletes a bounded number of rows of a table with this key.
fn some_of(name: &str, keys: &str, condition: &str) -> String {
    format!(
        "delete from {name} where ({keys}) in (select {keys} from {name} where {condition} limit $2)"
    )
}
