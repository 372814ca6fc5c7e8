//! Reads recordings by their tasks: those of a call or of one session of a room, and one of them.

use std::collections::HashMap;

use crate::error::StoreError;
use crate::model::recording::{Recording, RecordingStep};
use crate::query::filters::Subject;
use crate::query::limits::{DETAIL_BYTES_MAX, DETAILS_MAX};
use crate::query::page::Details;
use crate::read::recordings::files::{self, FileMark, Files};
use crate::read::rooms::within;
use crate::read::task_keys::{Key, any_of};
use crate::sql::builder::Reader;
use protocol::AppId;

/// How many events that name files are read at once.
const MARKS_MAX: usize = 10_000;
/// How many tasks are read by one statement.
pub(crate) const TASKS_AT_ONCE: usize = 20;

/// The recordings of these tasks, in their order, each as the view has it and with its files. A task that has just expired is
/// left out.
pub(crate) async fn of_keys<R: Reader>(
    reader: &R,
    keys: &[Key],
) -> Result<Vec<Recording>, StoreError> {
    let mut sql = reader.statement(
        "select sdk_app_id, task_id, call_id, room_id, state, message, @ms(started_at) as started_at,
                @ms(ended_at) as ended_at, @ms(last_at) as last_at, end_reason, leave_code, recorder, reporters,
                @text(event_id) as event_id
         from recordings where ",
    );
    any_of(&mut sql, keys);
    let rows: Vec<Recording> = reader.fetch(sql).await?;
    let mut rows: HashMap<Key, Recording> =
        rows.into_iter().map(|row| ((row.sdk_app_id, row.task_id.clone()), row)).collect();
    let mut sql = reader.statement(files::SELECT);
    any_of(&mut sql, keys);
    sql.push(files::ORDER).number(i64::try_from(MARKS_MAX).unwrap_or(i64::MAX));
    let mut bytes = 0;
    let is_enough = |mark: &FileMark| {
        bytes += mark.bytes();
        bytes >= DETAIL_BYTES_MAX
    };
    let marks: Vec<FileMark> = reader.fetch_until(sql, is_enough).await?;
    let is_cut = bytes >= DETAIL_BYTES_MAX || marks.len() >= MARKS_MAX;
    let mut files: HashMap<Key, Files> = HashMap::new();
    for mark in &marks {
        files.entry((mark.sdk_app_id, mark.task_id.clone())).or_default().add(mark);
    }
    let with_files = keys.iter().filter_map(|key| {
        let mut row = rows.remove(key)?;
        files.remove(key).unwrap_or_default().give(&mut row, is_cut);
        Some(row)
    });
    Ok(with_files.collect())
}

pub(crate) async fn one<R: Reader>(
    reader: &R,
    app: AppId,
    task_id: &str,
) -> Result<Option<Recording>, StoreError> {
    Ok(of_keys(reader, &[(app.as_i64(), task_id.to_owned())]).await?.pop())
}

pub(crate) async fn of_subject<R: Reader>(
    reader: &R,
    subject: &Subject,
) -> Result<Details<Recording>, StoreError> {
    let app = match subject {
        Subject::Call(app, _) => app.as_i64(),
        Subject::Room(room) => room.sdk_app_id,
    };
    let mut sql = reader.statement("select m.task_id from recording_marks m where");
    match subject {
        Subject::Call(_, call_id) => {
            sql.push(" m.sdk_app_id = ").number(app).push(" and m.call_id = ").text(call_id)
        }
        Subject::Room(room) => within(&mut sql, room),
    };
    sql.push(" group by m.task_id order by min(m.at), m.task_id limit ");
    sql.number(i64::from(DETAILS_MAX) + 1);
    let ids: Vec<(String,)> = reader.fetch(sql).await?;
    let keys: Vec<Key> = ids.into_iter().map(|(id,)| (app, id)).collect();
    let (mut rows, mut bytes, mut read) = (Vec::new(), 0, 0);
    for keys in keys.chunks(TASKS_AT_ONCE) {
        let tasks = of_keys(reader, keys).await?;
        bytes += tasks.iter().map(Recording::bytes).sum::<usize>();
        rows.extend(tasks);
        read += keys.len();
        if bytes >= DETAIL_BYTES_MAX {
            break;
        }
    }
    let most = usize::try_from(DETAILS_MAX).unwrap_or(usize::MAX);
    let is_cut = read < keys.len() || rows.len() > most;
    rows.truncate(most);
    Ok(Details { rows, is_cut })
}

/// What each event reports.
pub(crate) async fn steps<R: Reader>(
    reader: &R,
    app: AppId,
    task_id: &str,
) -> Result<Details<RecordingStep>, StoreError> {
    let mut sql = reader.statement(
        "select @ms(at) as at, @text(event_id) as event_id, reporter, event_type, status, state, end_reason, leave_code,
                message
         from recording_marks where sdk_app_id = ",
    );
    sql.number(app.as_i64()).push(" and task_id = ").text(task_id);
    sql.push(files::ORDER).number(i64::from(DETAILS_MAX) + 1);
    reader.fetch_details(sql, DETAILS_MAX, RecordingStep::bytes).await
}
