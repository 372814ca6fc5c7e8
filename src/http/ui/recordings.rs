//! Recordings and their files, in lists and on the pages of what they record.

use crate::http::ui::html::{
    Html, account_or, badge, external, id, moment_or, nothing, recording_href, span, stayed, time,
};
use crate::http::ui::html::{link, remark};
use crate::store::{Recording, RecordingFile};
use protocol::UnixMillis;

/// How many files are named in a row of a list.
const NAMED_MAX: usize = 3;

/// A recording, as a row of a table.
pub(crate) struct RecordingRow {
    pub(crate) task: Html,
    pub(crate) state: Html,
    pub(crate) left: Html,
    pub(crate) message: String,
    pub(crate) started: Html,
    pub(crate) lasted: String,
    pub(crate) reason: Html,
    /// The first files, as links where the vendor gives an address.
    pub(crate) files: Vec<Html>,
    /// How many more there are.
    pub(crate) more: usize,
}

pub(crate) fn recording(task: &Recording, now: UnixMillis) -> RecordingRow {
    RecordingRow {
        task: link(&recording_href(task.sdk_app_id, &task.task_id), &task.task_id),
        state: task.state.as_deref().map_or_else(nothing, badge),
        left: left(task),
        message: task.message.clone().unwrap_or_default(),
        started: time(task.started_at, now),
        lasted: stayed(task.started_at, task.ended_at, now),
        reason: task.end_reason.as_deref().map_or_else(Html::default, badge),
        files: task.files.iter().take(NAMED_MAX).map(name).collect(),
        more: task.files.len().saturating_sub(NAMED_MAX),
    }
}

/// A remark where a file is left on the recorder.
pub(crate) fn left(task: &Recording) -> Html {
    if task.files_left {
        remark(
            "left_on_recorder",
            "file left",
            "a file was not uploaded; the vendor may recover it",
        )
    } else {
        Html::default()
    }
}

/// A file of a recording, as a row of a table.
pub(crate) struct FileRow {
    pub(crate) name: Html,
    pub(crate) id: Html,
    pub(crate) state: Html,
    pub(crate) account: Html,
    pub(crate) what: String,
    pub(crate) from: Html,
    pub(crate) lasts: String,
}

pub(crate) fn file(app: i64, file: &RecordingFile) -> FileRow {
    let lasts = file.from.zip(file.to).map(|(from, to)| span(to.0.saturating_sub(from.0)));
    FileRow {
        name: name(file),
        id: file.file_id.as_deref().map_or_else(nothing, id),
        state: file.state.as_deref().map_or_else(nothing, badge),
        account: account_or(app, file.user.as_deref()),
        what: what(file),
        from: moment_or(file.from),
        lasts: lasts.unwrap_or_else(|| "–".to_owned()),
    }
}

/// The name of a file, which leads to it where an address is known.
fn name(file: &RecordingFile) -> Html {
    let name = file.name.as_deref().or(file.file_id.as_deref()).or(file.url.as_deref());
    let Some(name) = name else { return nothing() };
    file.url.as_deref().map_or_else(|| id(name), |url| external(url, name))
}

/// What is recorded, in words; as sent where the vendor has a new one.
fn what(file: &RecordingFile) -> String {
    let track = file.track.as_deref().map(|track| match track {
        "audio_video" => "audio and video",
        track => track,
    });
    let media = file.media.as_deref().map(|media| match media {
        "main" => "camera",
        "aux" => "screen",
        "mix" => "mixed",
        media => media,
    });
    let words: Vec<&str> = [track, media].into_iter().flatten().collect();
    if words.is_empty() { "–".to_owned() } else { words.join(", ") }
}
