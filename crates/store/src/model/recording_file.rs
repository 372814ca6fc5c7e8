//! A file of a recording, as the API returns it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use protocol::UnixMillis;

/// A file that a recording task made, as far as the vendor names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordingFile {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// URL for playing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub url: Option<String>,
    /// Its id in video on demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub file_id: Option<String>,
    /// The recorded account; absent where the file has everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub user: Option<String>,
    /// The recorded media, as the vendor says: audio, video, `audio_video`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub track: Option<String>,
    /// When it begins.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "millis")]
    #[schema(nullable = false)]
    pub from: Option<UnixMillis>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "millis")]
    #[schema(nullable = false)]
    pub to: Option<UnixMillis>,
}

/// The column has times in ms.
fn millis<'de, D: Deserializer<'de>>(input: D) -> Result<Option<UnixMillis>, D::Error> {
    Ok(Option::<i64>::deserialize(input)?.map(UnixMillis))
}

/// Serializes `recording_marks.files` with times in RFC 3339. Entries of another form are passed through.
pub(crate) fn all<S: Serializer>(files: &[Box<RawValue>], output: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Given<'a> {
        Read(RecordingFile),
        Kept(&'a RawValue),
    }
    output.collect_seq(files.iter().map(|file| {
        serde_json::from_str(file.get()).map_or_else(|_| Given::Kept(file), Given::Read)
    }))
}

#[cfg(test)]
mod tests {
    use crate::model::recording_file::*;

    #[test]
    fn times_of_a_recording_file_use_the_common_format() {
        #[derive(Serialize)]
        struct Files {
            #[serde(serialize_with = "all")]
            files: Vec<Box<RawValue>>,
        }
        let file = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let files = Files {
            files: vec![
                file(r#"{"name":"a.mp4","from":1793534400123,"to":1793534460000}"#),
                file(r#"{"name":7}"#),
            ],
        };
        let text = serde_json::to_string(&files).unwrap();
        let expected = r#"{"files":[{"name":"a.mp4","from":"2026-11-01T12:00:00.123Z","to":"2026-11-01T12:01:00.000Z"},{"name":7}]}"#;
        assert_eq!(text, expected);
    }
}
