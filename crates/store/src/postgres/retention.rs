//! Retention by row in PostgreSQL. Expired partitions of `events` are dropped as a whole instead.

use sqlx::AssertSqlSafe;

use crate::postgres::connection::pool::Pool;
use crate::sql::upsert::{AGED_BY_AT, ROBOT_HAS_MARKS, has_session};
use protocol::UnixMillis;

/// The time bound: the first parameter.
const BEFORE: &str = "timestamptz 'epoch' + $1 * interval '1 millisecond'";

/// Deletes at most `rows_max` expired rows of each table, skipping rows locked by another replica.
pub(crate) async fn delete_expired(
    pool: &Pool,
    before: UnixMillis,
    rows_max: u32,
) -> Result<u64, sqlx::Error> {
    let (mut deleted, mut failure) = (0, None);
    for statement in statements() {
        // A table that runs into its timeout must not stop the others.
        match delete(pool, &statement, before, rows_max).await {
            Ok(rows) => deleted += rows,
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) if deleted == 0 => Err(error),
        _ => Ok(deleted),
    }
}

async fn delete(
    pool: &Pool,
    statement: &str,
    before: UnixMillis,
    rows_max: u32,
) -> Result<u64, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // Finding that no row is left may take longer than a write timeout: BRIN summaries grow coarse over time.
    sqlx::query("set local statement_timeout = '20s'").execute(&mut transaction).await?;
    let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .bind(before.0)
        .bind(i64::from(rows_max))
        .execute(&mut transaction)
        .await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}

/// Whether a session that is kept began before a mark.
fn of_session(table: &str) -> String {
    format!(
        "exists (
             select from rtc_room_sessions as session
             where session.sdk_app_id = {table}.sdk_app_id and session.room_id = {table}.room_id
                 and session.started_at <= {table}.at and session.last_at >= {BEFORE})"
    )
}

fn statements() -> Vec<String> {
    let some = |table: &str, condition: &str| {
        format!(
            "delete from {table} where ctid = any (array(
                 select ctid from {table} where {condition} limit $2 for update skip locked))"
        )
    };
    let mut statements = vec![
        format!(
            "delete from events_default where (event_time, id) in (
                 select event_time, id from events_default where event_time < {BEFORE}
                 order by event_time, id limit $2 for update skip locked)"
        ),
        some("dead_letter_events", &format!("refused_at < {BEFORE}")),
        some("request_keys", &format!("received_at < {BEFORE}")),
        // The id of an event begins with its time.
        some(
            "delivery_exceptions",
            "event_id < (lpad(to_hex(greatest($1, 0)), 12, '0') || repeat('0', 20))::uuid",
        ),
    ];
    let facts = AGED_BY_AT.iter().map(|table| some(table, &format!("at < {BEFORE}")));
    statements.extend(facts);
    // Changes of a room are kept as long as the session computed from them.
    statements.push(some(
        "room_changes",
        &format!(
            "at < {BEFORE} and not exists (
                 select from room_sessions as session
                 where session.sdk_app_id = room_changes.sdk_app_id and session.room_id = room_changes.room_id
                     and session.last_at >= {BEFORE} and session.from_at <= room_changes.at
                     and (session.until_at > room_changes.at or session.until_at is null))"
        ),
    ));
    statements.push(format!(
        "with gone as (
             delete from room_sessions where ctid = any (array(
                 select ctid from room_sessions where last_at < {BEFORE} limit $2 for update skip locked))
             returning sdk_app_id, room_id, session),
         more as (delete from live_sessions using gone
             where (live_sessions.sdk_app_id, live_sessions.room_id, live_sessions.session) = (gone.sdk_app_id, gone.room_id, gone.session))
         select from gone"
    ));
    statements.push(format!(
        "with gone as (
             delete from merged_calls where ctid = any (array(
                 select ctid from merged_calls where first_at < {BEFORE} and last_at < {BEFORE}
                 order by first_at limit $2 for update skip locked))
             returning sdk_app_id, call_id),
         more as (delete from merged_call_members as member using gone
             where (member.sdk_app_id, member.call_id) = (gone.sdk_app_id, gone.call_id))
         select from gone"
    ));
    // So are marks of a room of the RTC Engine, and robots as long as marks of theirs.
    for table in ["rtc_room_marks", "rtc_repaired_marks"] {
        statements.push(some(table, &format!("at < {BEFORE} and not {}", of_session(table))));
    }
    statements.push(some("rtc_room_sessions", &format!("last_at < {BEFORE}")));
    for table in ["rtc_stays", "rtc_publish_intervals"] {
        statements
            .push(some(table, &format!("started_at < {BEFORE} and not {}", has_session(table))));
    }
    statements.push(some("rtc_robots", &format!("last_at < {BEFORE} and not {ROBOT_HAS_MARKS}")));
    for width in [60, 3600] {
        statements
            .push(some("summed_event_counts", &format!("width_s = {width} and at < {BEFORE}")));
    }
    // Those of what is kept, so that a late event makes a revision and no second fact.
    statements.push(some("derived_events", &format!("last_at < {BEFORE}")));
    statements.push(some("anomalies", &format!("happened_at < {BEFORE}")));
    statements
}
