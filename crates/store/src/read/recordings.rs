//! Reads recording tasks, of a call or of one session of a room.

use std::collections::{BTreeMap, HashSet};

use crate::error::StoreError;
use crate::model::read_models::{JsonText, Recording};
use crate::query::filters::Subject;
use crate::query::limits::{DETAIL_BYTES_MAX, DETAILS_MAX};
use crate::query::page::Details;
use crate::read::rooms::within;
use crate::sql::builder::Reader;
use crate::sql::from_row::from_row;
use protocol::UnixMillis;

/// How many events of a subject's tasks are read.
const MARKS_MAX: usize = 10_000;
/// How many files are given of one task.
const FILES_MAX: usize = 1000;
/// The most that they take. In bytes.
const FILES_BYTES_MAX: usize = 256 << 10;

/// What one event says of a recording task.
struct RecordingMark {
    sdk_app_id: i64,
    task_id: String,
    at: UnixMillis,
    call_id: Option<String>,
    room_id: Option<String>,
    state: Option<String>,
    files: Option<String>,
    message: Option<String>,
    cut: Option<bool>,
}

from_row! {
    RecordingMark: sdk_app_id, task_id, at, call_id, room_id, state, files, message, cut;
}

impl RecordingMark {
    fn bytes(&self) -> usize {
        let texts = [&self.call_id, &self.room_id, &self.state, &self.files, &self.message];
        let texts = texts.into_iter().flatten().map(String::len);
        size_of::<Self>() + self.task_id.len() + texts.sum::<usize>()
    }
}

pub(crate) async fn recordings<R: Reader>(
    reader: &R,
    subject: &Subject,
) -> Result<Details<Recording>, StoreError> {
    let app = match subject {
        Subject::Call(app, _) => app.as_i64(),
        Subject::Room(room) => room.sdk_app_id,
    };
    let mut sql = reader.statement("with ids as (select m.task_id from recording_marks m where");
    match subject {
        Subject::Call(_, call_id) => {
            sql.push(" m.sdk_app_id = ").number(app).push(" and m.call_id = ").text(call_id)
        }
        Subject::Room(room) => within(&mut sql, room),
    };
    sql.push(" group by m.task_id order by min(m.at), m.task_id limit ");
    sql.number(i64::from(DETAILS_MAX) + 1).push(
        ") select b.sdk_app_id, b.task_id, @ms(b.at) as at, b.call_id, b.room_id, b.state,
                  @text(b.files) as files, b.message, b.cut
           from ids join recording_marks b on b.task_id = ids.task_id and b.sdk_app_id = ",
    );
    // Of one time, in the order in which a task goes.
    sql.number(app).push(
        " order by b.at,
                   case b.state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                                when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end,
                   b.event_id limit ",
    );
    sql.number(i64::try_from(MARKS_MAX).unwrap_or(i64::MAX));
    let mut bytes = 0;
    let is_enough = |mark: &RecordingMark| {
        bytes += mark.bytes();
        bytes >= DETAIL_BYTES_MAX
    };
    let marks: Vec<RecordingMark> = reader.fetch_until(sql, is_enough).await?;
    let is_cut = bytes >= DETAIL_BYTES_MAX || marks.len() >= MARKS_MAX;
    let mut tasks = tasks(marks);
    let most = usize::try_from(DETAILS_MAX).unwrap_or(usize::MAX);
    let is_cut = is_cut || tasks.len() > most;
    tasks.truncate(most);
    Ok(Details { rows: tasks, is_cut })
}

/// One recording for each task, as the view `recordings` has it. Marks come by time.
fn tasks(marks: Vec<RecordingMark>) -> Vec<Recording> {
    let mut tasks: Vec<Recording> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen: HashSet<(usize, String)> = HashSet::new();
    let mut bytes: Vec<usize> = Vec::new();
    for mark in marks {
        let place = *places.entry(mark.task_id.clone()).or_insert(tasks.len());
        if place == tasks.len() {
            tasks.push(Recording {
                sdk_app_id: mark.sdk_app_id,
                task_id: mark.task_id,
                call_id: None,
                room_id: None,
                state: None,
                message: None,
                started_at: mark.at,
                last_at: mark.at,
                files: Vec::new(),
                files_cut: false,
            });
            bytes.push(0);
        }
        let (task, bytes) = (&mut tasks[place], &mut bytes[place]);
        task.call_id = task.call_id.take().max(mark.call_id);
        task.room_id = task.room_id.take().max(mark.room_id);
        task.state = mark.state.or(task.state.take());
        task.message = mark.message.or(task.message.take());
        task.last_at = mark.at;
        task.files_cut |= mark.cut == Some(true);
        // What is no list holds no files.
        let files = mark.files.and_then(|text| serde_json::from_str::<Vec<JsonText>>(&text).ok());
        for file in files.into_iter().flatten() {
            if task.files.len() >= FILES_MAX || *bytes + file.get().len() > FILES_BYTES_MAX {
                task.files_cut |= !seen.contains(&(place, file.get().to_owned()));
            } else if seen.insert((place, file.get().to_owned())) {
                *bytes += file.get().len();
                task.files.push(file);
            }
        }
    }
    tasks
}
