//! A file of a recording, as the API returns it.

use serde::{Deserialize, Deserializer, Serialize};
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
    /// What is recorded, as the vendor says: audio, video, `audio_video`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub track: Option<String>,
    /// Of which stream, as the vendor says: main (camera), aux (screen) or mix (all in one).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub media: Option<String>,
    /// When it begins.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "millis")]
    #[schema(nullable = false)]
    pub from: Option<UnixMillis>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "millis")]
    #[schema(nullable = false)]
    pub to: Option<UnixMillis>,
    /// uploaded, `left_on_recorder` or failed; absent where no event reported it.
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    #[schema(nullable = false)]
    pub state: Option<String>,
}

impl RecordingFile {
    /// The memory it takes, approximately, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.name, &self.url, &self.file_id, &self.user, &self.track, &self.media];
        size_of::<Self>() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// The column has times in ms.
fn millis<'de, D: Deserializer<'de>>(input: D) -> Result<Option<UnixMillis>, D::Error> {
    Ok(Option::<i64>::deserialize(input)?.map(UnixMillis))
}
