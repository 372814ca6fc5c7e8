//! The files of a recording, each once, as its events name them.

use std::collections::HashMap;

use crate::model::read_models::JsonText;
use crate::model::recording::Recording;
use crate::model::recording_file::RecordingFile;
use crate::sql::from_row::from_row;

/// How many files are given of one recording.
const FILES_MAX: usize = 1000;
/// The most that they take. In bytes.
const FILES_BYTES_MAX: usize = 256 << 10;

/// Selects [`FileMark`]s from `recording_marks`; conditions follow.
pub(crate) const SELECT: &str =
    "select sdk_app_id, task_id, event_type, status, @text(files) as files, cut from recording_marks
     where (files is not null or event_type in (305, 310, 311)) and ";
/// Behind the conditions: by time, and of one time in the order in which a task goes.
pub(crate) const ORDER: &str = " order by at,
           case state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                      when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end,
           event_id limit ";

/// What one event says of files.
pub(crate) struct FileMark {
    pub(crate) sdk_app_id: i64,
    pub(crate) task_id: String,
    event_type: Option<i64>,
    status: Option<i64>,
    files: Option<String>,
    cut: Option<bool>,
}

from_row! { FileMark: sdk_app_id, task_id, event_type, status, files, cut; }

impl FileMark {
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.task_id.len() + self.files.as_ref().map_or(0, String::len)
    }

    /// The state of the files it names. Source: trtc.io/document/54914.
    fn state(&self) -> Option<&'static str> {
        match (self.event_type?, self.status) {
            (310 | 311, Some(1)) => Some(LEFT),
            (310 | 311, Some(2)) => Some("failed"),
            // 304 comes when the index is uploaded. Old copies of 311 have no status.
            (310 | 311, Some(0)) | (304 | 311, None) => Some(UPLOADED),
            _ => None,
        }
    }
}

const UPLOADED: &str = "uploaded";
const LEFT: &str = "left_on_recorder";

/// The files of one recording, gathered from its events in their order.
#[derive(Default)]
pub(crate) struct Files {
    rows: Vec<RecordingFile>,
    /// Where each stands, by its name.
    places: HashMap<String, usize>,
    bytes: usize,
    is_cut: bool,
    /// By the latest event that ends the upload of HLS files, some are left.
    hls_left: bool,
    /// Some are left, and no event names them.
    unnamed_left: bool,
}

impl Files {
    pub(crate) fn add(&mut self, mark: &FileMark) {
        self.is_cut |= mark.cut == Some(true);
        if mark.event_type == Some(305) {
            self.hls_left = mark.status == Some(1);
        }
        let state = mark.state();
        // What is no list holds no files, and what is no object is none.
        let listed: Vec<JsonText> = mark
            .files
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let files = listed.iter().filter_map(|file| serde_json::from_str(file.get()).ok());
        let mut is_named = false;
        for file in files {
            self.merge(file, state);
            is_named = true;
        }
        self.unnamed_left |= state == Some(LEFT) && !is_named;
    }

    /// Several events may name a file, and each knows a part.
    fn merge(&mut self, file: RecordingFile, state: Option<&'static str>) {
        let name = file.name.as_ref().or(file.file_id.as_ref()).or(file.url.as_ref());
        let Some(name) = name.cloned() else { return };
        if let Some(place) = self.places.get(&name) {
            let known = &mut self.rows[*place];
            fill(&mut known.url, file.url);
            fill(&mut known.file_id, file.file_id);
            fill(&mut known.user, file.user);
            fill(&mut known.track, file.track);
            fill(&mut known.media, file.media);
            fill(&mut known.from, file.from);
            fill(&mut known.to, file.to);
            // Of several files of an event one may be left: what another reports as uploaded is.
            if let Some(state) = state.filter(|_| known.state.as_deref() != Some(UPLOADED)) {
                known.state = Some(state.to_owned());
            }
            return;
        }
        self.bytes += file.bytes();
        if self.rows.len() >= FILES_MAX || self.bytes > FILES_BYTES_MAX {
            self.is_cut = true;
            return;
        }
        self.places.insert(name, self.rows.len());
        self.rows.push(RecordingFile { state: state.map(str::to_owned), ..file });
    }

    /// Whether a file is left on the recorder.
    pub(crate) fn is_left(&self) -> bool {
        let is_left = |file: &RecordingFile| file.state.as_deref() == Some(LEFT);
        self.hls_left || self.unnamed_left || self.rows.iter().any(is_left)
    }

    /// Gives them to their recording; `is_cut` where not all events were read.
    pub(crate) fn give(self, recording: &mut Recording, is_cut: bool) {
        recording.files_left = self.is_left();
        recording.files_cut = self.is_cut || is_cut;
        recording.files = self.rows;
    }
}

fn fill<T>(known: &mut Option<T>, new: Option<T>) {
    if known.is_none() {
        *known = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files and whether one is left, after events given as type, status and files.
    fn gathered(marks: &[(i64, Option<i64>, &str)]) -> (Vec<String>, bool) {
        let mut files = Files::default();
        for (event_type, status, listed) in marks {
            files.add(&FileMark {
                sdk_app_id: 1,
                task_id: "t".to_owned(),
                event_type: Some(*event_type),
                status: *status,
                files: Some((*listed).to_owned()).filter(|text| !text.is_empty()),
                cut: None,
            });
        }
        let is_left = files.is_left();
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let line = |file: &RecordingFile| {
            format!("{} {} {}", text(&file.name), text(&file.file_id), text(&file.state))
        };
        (files.rows.iter().map(line).collect(), is_left)
    }

    #[test]
    fn a_file_is_left_until_its_upload_is_reported() {
        let (a, b) = (r#"[{"name":"a"}]"#, r#"[{"name":"a"},{"name":"b"}]"#);
        assert_eq!(gathered(&[(310, Some(1), a)]), (vec!["a - left_on_recorder".to_owned()], true));
        assert!(!gathered(&[(310, Some(1), a), (310, Some(0), a)]).1);
        // One of the two is left, and the other event says which is not.
        let one = gathered(&[(310, Some(0), a), (310, Some(1), b)]);
        assert_eq!(one, (vec!["a - uploaded".to_owned(), "b - left_on_recorder".to_owned()], true));
        let failed = gathered(&[(311, Some(2), a)]);
        assert_eq!(failed, (vec!["a - failed".to_owned()], false));
        assert_eq!(gathered(&[(310, Some(1), "")]), (Vec::new(), true));
    }

    #[test]
    fn an_upload_of_hls_that_recovers_leaves_no_file() {
        assert!(gathered(&[(305, Some(1), "")]).1);
        assert!(!gathered(&[(305, Some(1), ""), (305, Some(2), "")]).1);
        let index = r#"[{"name":"a.m3u8"}]"#;
        let files = gathered(&[(307, None, index), (304, None, index)]).0;
        assert_eq!(files, ["a.m3u8 - uploaded"]);
    }

    #[test]
    fn events_that_name_one_file_are_put_together() {
        let marks = [
            (311, Some(1), r#"[{"name":"a.mp4","user":"ann"}]"#),
            (311, Some(0), r#"[{"name":"a.mp4","file_id":"7","url":"https://a.test"}]"#),
            (311, None, r#"[{"file_id":"8"},{"name":7},"x"]"#),
        ];
        let (files, is_left) = gathered(&marks);
        assert_eq!(files, ["a.mp4 7 uploaded", "- 8 uploaded"]);
        assert!(!is_left);
        assert_eq!(gathered(&[(310, Some(0), r#"{"name":"a"}"#)]).0, Vec::<String>::new());
    }
}
