//! Recording tasks, on the pages of what they record.

use serde::Deserialize;

use crate::http::ui::html::{Html, badge, id, nothing, time, visible};
use crate::store::Recording;
use protocol::UnixMillis;

/// How many files are named.
const FILES_MAX: usize = 100;

/// A recording task, as a row of a table.
pub(crate) struct RecordingRow {
    pub(crate) task: Html,
    pub(crate) state: Html,
    pub(crate) message: String,
    pub(crate) started: Html,
    pub(crate) last: Html,
    /// Names and addresses, as the vendor sent them: to be read, not to be followed.
    pub(crate) files: Vec<String>,
}

/// As the read model writes it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    name: Option<String>,
    url: Option<String>,
    #[serde(rename = "file_id")]
    id: Option<String>,
}

pub(crate) fn recording(task: &Recording, now: UnixMillis) -> RecordingRow {
    let files = task.files.iter().map(|json| {
        let file: File = serde_json::from_str(json.get()).unwrap_or_default();
        let parts = [file.name, file.url, file.id];
        let words: Vec<String> =
            parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        let text = if words.is_empty() { json.get().to_owned() } else { words.join(" · ") };
        visible(&text).into_owned()
    });
    RecordingRow {
        task: id(&task.task_id),
        state: task.state.as_deref().map_or_else(nothing, badge),
        message: task.message.clone().unwrap_or_default(),
        started: time(task.started_at, now),
        last: time(task.last_at, now),
        files: files.take(FILES_MAX).collect(),
    }
}
