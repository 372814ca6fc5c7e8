//! Reads a page of the recordings.

use uuid::Uuid;

use crate::error::StoreError;
use crate::model::recording::Recording;
use crate::query::filters::RecordingFilter;
use crate::query::limits::{LIST_BYTES_MAX, TASK_MARKS_SCANNED_MAX};
use crate::query::page::RecordingPage;
use crate::read::apps::apps;
use crate::read::recordings::tasks::{TASKS_AT_ONCE, of_keys};
use crate::read::task_keys::Key;
use crate::sql::builder::{Reader, Statement};
use crate::sql::from_row::{from_row, id};
use protocol::UnixMillis;

/// The place of an event.
struct Place {
    at: UnixMillis,
    event_id: Uuid,
}

from_row! { Place: at, event_id = id; }

/// The view sums up all tasks there are, so the page's tasks are found by their first events before.
pub(crate) async fn page<R: Reader>(
    reader: &R,
    filter: &RecordingFilter,
) -> Result<RecordingPage, StoreError> {
    let apps = match filter.app {
        Some(app) => vec![app.as_i64()],
        None if filter.call_id.is_some() || filter.room_id.is_some() => {
            apps(reader, "recording_marks").await?
        }
        None => Vec::new(),
    };
    let keys: Vec<Key> = reader.fetch(first_events(reader, filter, &apps)).await?;
    let next = match usize::try_from(filter.limit) {
        Ok(limit) if keys.len() < limit => last_scanned(reader, filter, &apps).await?,
        _ => None,
    };
    let (mut recordings, mut bytes) = (Vec::new(), 0);
    for keys in keys.chunks(TASKS_AT_ONCE) {
        // The page ends there, and says so by its size.
        if bytes >= LIST_BYTES_MAX {
            break;
        }
        let tasks = of_keys(reader, keys).await?;
        bytes += tasks.iter().map(Recording::bytes).sum::<usize>();
        recordings.extend(tasks);
    }
    Ok(RecordingPage { recordings, next })
}

/// The events that are looked through, of the table `m`. The other conditions would let a page look through any number.
fn scanned(sql: &mut Statement, filter: &RecordingFilter, apps: &[i64]) {
    sql.push(" from recording_marks m where true")
        .when_time(" and m.at >= ", filter.since)
        .when_time(" and m.at < ", filter.until);
    for (column, value) in named(filter) {
        // By the primary key, which begins with the app.
        sql.push(" and m.sdk_app_id in ").numbers(apps);
        sql.push(
            " and m.task_id in (select r.task_id from recording_marks r where r.sdk_app_id in ",
        );
        sql.numbers(apps).push(column).text(value).push(")");
    }
    if let Some((at, event_id)) = filter.after {
        sql.push(" and (m.at, m.event_id) < (").time(at).push(", ").id(event_id).push(")");
    }
    sql.push(" order by m.at desc, m.event_id desc limit ");
}

/// What one event of a task must name, of the table `r`.
fn named(filter: &RecordingFilter) -> impl Iterator<Item = (&'static str, &str)> {
    let values = [
        (" and r.call_id = ", filter.call_id.as_deref()),
        (" and r.room_id = ", filter.room_id.as_deref()),
    ];
    values.into_iter().filter_map(|(column, value)| Some((column, value?)))
}

/// The page's tasks, by their first events.
fn first_events<R: Reader>(reader: &R, filter: &RecordingFilter, apps: &[i64]) -> Statement {
    let mut sql =
        reader.statement("with scanned as (select m.sdk_app_id, m.task_id, m.at, m.event_id");
    scanned(&mut sql, filter, apps);
    sql.number(TASK_MARKS_SCANNED_MAX.into()).push(
        ") select f.sdk_app_id, f.task_id from scanned f
           where not exists (
               select 1 from recording_marks e
               where e.sdk_app_id = f.sdk_app_id and e.task_id = f.task_id
                   and (e.at, e.event_id) < (f.at, f.event_id))",
    );
    if let Some(app) = filter.app {
        sql.push(" and f.sdk_app_id = ").number(app.as_i64());
    }
    // As the view has it.
    sql.when_text(
        " and (select s.state from recording_marks s
               where s.sdk_app_id = f.sdk_app_id and s.task_id = f.task_id and s.state is not null
               order by s.at desc,
                   case s.state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                                when 'uploading' then 4 when 'finished' then 5 else 6 end desc,
                   s.event_id desc limit 1) = ",
        filter.state.as_deref(),
    );
    // A task of another app may have the same id.
    for (column, value) in named(filter) {
        sql.push(
            " and exists (
                  select 1 from recording_marks r
                  where r.sdk_app_id = f.sdk_app_id and r.task_id = f.task_id",
        );
        sql.push(column).text(value).push(")");
    }
    if let Some(account) = &filter.account {
        // The column holds what this program serialized, so the account stands in it in one form.
        let file = format!("\"user\":{}", serde_json::Value::from(account.as_str()));
        sql.push(
            " and exists (
                  select 1 from recording_marks u
                  where u.sdk_app_id = f.sdk_app_id and u.task_id = f.task_id and u.files is not null
                      and @strpos(@text(u.files), ",
        );
        sql.text(&file).push(") > 0)");
    }
    sql.push(" order by f.at desc, f.event_id desc limit ").number(filter.limit.into());
    sql
}

/// The last event that a page looks through; `None` where there are not so many.
async fn last_scanned<R: Reader>(
    reader: &R,
    filter: &RecordingFilter,
    apps: &[i64],
) -> Result<Option<(UnixMillis, Uuid)>, StoreError> {
    let mut sql = reader.statement("select @ms(m.at) as at, @text(m.event_id) as event_id");
    scanned(&mut sql, filter, apps);
    sql.number(1).push(" offset ").number(i64::from(TASK_MARKS_SCANNED_MAX) - 1);
    let last: Option<Place> = reader.fetch_one(sql).await?;
    Ok(last.map(|last| (last.at, last.event_id)))
}
