//! Reads the cloud tasks of the RTC Engine.

use std::collections::HashMap;

use uuid::Uuid;

use crate::error::StoreError;
use crate::model::event::{Row, StoredEvent};
use crate::model::rtc::task::{RtcTask, RtcTaskStep};
use crate::query::filters::RtcTaskFilter;
use crate::query::limits::{
    DETAIL_BYTES_MAX, DETAILS_MAX, DIALOGUE_LINES_MAX, TASK_MARKS_SCANNED_MAX,
};
use crate::query::page::{Details, RtcTaskPage};
use crate::read::task_keys::{Key, any_of};
use crate::sql::builder::{Reader, Statement};
use crate::sql::from_row::{from_row, id};
use protocol::AppId;
use protocol::UnixMillis;

/// How many tasks are read by one statement.
const TASKS_AT_ONCE: usize = 100;

/// The place of an event.
struct Place {
    at: UnixMillis,
    event_id: Uuid,
}

from_row! {
    Place: at, event_id = id;
}

/// The view sums up all tasks there are, so the page's tasks are found by their first events before.
pub(crate) async fn rtc_tasks<R: Reader>(
    reader: &R,
    filter: &RtcTaskFilter,
) -> Result<RtcTaskPage, StoreError> {
    let first: Vec<Key> = reader.fetch(first_events(reader, filter)).await?;
    let next = match usize::try_from(filter.limit) {
        Ok(limit) if first.len() < limit => last_scanned(reader, filter).await?,
        _ => None,
    };
    let mut found: HashMap<Key, RtcTask> = HashMap::new();
    for keys in first.chunks(TASKS_AT_ONCE) {
        let rows: Vec<RtcTask> = reader.fetch(summed(reader, keys)).await?;
        found.extend(rows.into_iter().map(|task| ((task.sdk_app_id, task.task_id.clone()), task)));
    }
    // One that has just expired is not found.
    let tasks = first.iter().filter_map(|key| found.remove(key));
    Ok(RtcTaskPage { tasks: tasks.collect(), next })
}

pub(crate) async fn one<R: Reader>(
    reader: &R,
    app: AppId,
    task_id: &str,
) -> Result<Option<RtcTask>, StoreError> {
    reader.fetch_one(summed(reader, &[(app.as_i64(), task_id.to_owned())])).await
}

/// What each event reports that changes the state or tells of an error. A task may have any number of others.
pub(crate) async fn steps<R: Reader>(
    reader: &R,
    app: AppId,
    task_id: &str,
) -> Result<Details<RtcTaskStep>, StoreError> {
    let mut sql = reader.statement(
        "select @ms(at) as at, @text(event_id) as event_id, event_type, url, state, end_reason, leave_code, error_code,
                error_message
         from rtc_task_marks
         where (state is not null or error_code is not null or error_message is not null) and sdk_app_id = ",
    );
    sql.number(app.as_i64()).push(" and task_id = ").text(task_id);
    sql.push(" order by at, state_rank, event_id limit ").number(i64::from(DETAILS_MAX) + 1);
    reader.fetch_details(sql, DETAILS_MAX, RtcTaskStep::bytes).await
}

/// The events that hold what was said or translated. An event that has expired before its mark is left out.
pub(crate) async fn dialogue<R: Reader>(
    reader: &R,
    app: AppId,
    task_id: &str,
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut sql = reader.select_events();
    sql.push(
        " where (event_time, id) in (
              select m.at, m.event_id from rtc_task_marks m
              where (m.counted = 'message' or m.event_type in (905, 1404)) and m.sdk_app_id = ",
    );
    sql.number(app.as_i64()).push(" and m.task_id = ").text(task_id);
    sql.push(" order by m.at desc, m.event_id desc limit ").number(DIALOGUE_LINES_MAX.into());
    sql.push(") order by event_time desc, id desc limit ").number(DIALOGUE_LINES_MAX.into());
    let mut bytes = 0;
    let is_enough = |row: &Row| {
        bytes += row.body_bytes();
        bytes >= DETAIL_BYTES_MAX
    };
    let rows: Vec<Row> = reader.fetch_until(sql, is_enough).await?;
    rows.into_iter().rev().map(StoredEvent::try_from).collect()
}

/// The events that are looked through, of the table `m`. The other conditions would let a page look through any number.
fn scanned(sql: &mut Statement, filter: &RtcTaskFilter) {
    sql.push(" from rtc_task_marks m where true")
        .when_text(" and m.kind = ", filter.kind.as_deref())
        .when_time(" and m.at >= ", filter.since)
        .when_time(" and m.at < ", filter.until);
    if let Some(room) = &filter.room_id {
        sql.push(
            " and (m.sdk_app_id, m.task_id) in (
                  select r.sdk_app_id, r.task_id from rtc_task_marks r where r.room_id = ",
        );
        sql.text(room).push(")");
    }
    if let Some((at, event_id)) = filter.after {
        sql.push(" and (m.at, m.event_id) < (").time(at).push(", ").id(event_id).push(")");
    }
    sql.push(" order by m.at desc, m.event_id desc limit ");
}

/// The first events of the page's tasks.
fn first_events<R: Reader>(reader: &R, filter: &RtcTaskFilter) -> Statement {
    let mut sql =
        reader.statement("with scanned as (select m.sdk_app_id, m.task_id, m.at, m.event_id");
    scanned(&mut sql, filter);
    sql.number(TASK_MARKS_SCANNED_MAX.into()).push(
        ") select f.sdk_app_id, f.task_id from scanned f
           where not exists (
               select 1 from rtc_task_marks e
               where e.sdk_app_id = f.sdk_app_id and e.task_id = f.task_id
                   and (e.at, e.event_id) < (f.at, f.event_id))",
    );
    if let Some(app) = filter.app {
        sql.push(" and f.sdk_app_id = ").number(app.as_i64());
    }
    // As the view has them.
    sql.when_text(
        " and (select s.room_id from rtc_task_marks s
               where s.sdk_app_id = f.sdk_app_id and s.task_id = f.task_id and s.room_id is not null
               order by s.at desc, s.event_id desc limit 1) = ",
        filter.room_id.as_deref(),
    );
    sql.when_text(
        " and coalesce(
              (select s.state from rtc_task_marks s
               where s.sdk_app_id = f.sdk_app_id and s.task_id = f.task_id and s.state is not null
               order by s.at desc, s.state_rank desc, s.event_id desc limit 1), 'running') = ",
        filter.state.as_deref(),
    );
    sql.push(" order by f.at desc, f.event_id desc limit ").number(filter.limit.into());
    sql
}

/// The last event that a page looks through; `None` where there are not so many.
async fn last_scanned<R: Reader>(
    reader: &R,
    filter: &RtcTaskFilter,
) -> Result<Option<(UnixMillis, Uuid)>, StoreError> {
    let mut sql = reader.statement("select @ms(m.at) as at, @text(m.event_id) as event_id");
    scanned(&mut sql, filter);
    sql.number(1).push(" offset ").number(i64::from(TASK_MARKS_SCANNED_MAX) - 1);
    let last: Option<Place> = reader.fetch_one(sql).await?;
    Ok(last.map(|last| (last.at, last.event_id)))
}

/// The rows of these tasks.
fn summed<R: Reader>(reader: &R, keys: &[Key]) -> Statement {
    let mut sql = reader.statement(
        "select sdk_app_id, task_id, kind, room_id, room_id_kind, robot, url, state, @ms(started_at) as started_at,
                @ms(ended_at) as ended_at, end_reason, leave_code, error_code, error_message, messages, checks, hits,
                files, @ms(first_at) as first_at, @ms(last_at) as last_at, @text(event_id) as event_id
         from rtc_tasks where ",
    );
    any_of(&mut sql, keys);
    sql
}
