//! A room's id of the RTC Engine, where the JSON type counts.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::scalar::{Scalar, misfit};

/// Whether a room is named by a number or by a text: the number 123 and the text "123" are two rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomIdKind {
    /// A JSON number, from 1 to 4294967295.
    Numeric,
    /// A JSON string, of at most 64 bytes.
    String,
}

impl RoomIdKind {
    /// `numeric` or `string`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::String => "string",
        }
    }

    /// That of a field in which 0 stands for a number and 1 for a text: `RoomIdType` of groups 9, 14 and 15, and `RoomType` of group
    /// 4. (Other parts of the vendor's services count differently.)
    #[must_use]
    pub fn of_callback(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Numeric),
            1 => Some(Self::String),
            _ => None,
        }
    }
}

/// A room's id with the JSON type in which it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypedRoomId {
    /// The id; digits where it is a number.
    pub id: String,
    /// The JSON type in which it was sent. Some events have a text for a room whose others have a number.
    pub sent: RoomIdKind,
}

impl Serialize for TypedRoomId {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_str(&self.id)
    }
}

impl<'de> Deserialize<'de> for TypedRoomId {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(input)?;
        let sent = match Scalar::read(raw) {
            Some(Scalar::Text(_)) => RoomIdKind::String,
            _ => RoomIdKind::Numeric,
        };
        Scalar::read(raw)
            .and_then(Scalar::into_id)
            .map(Cow::into_owned)
            .map(|id| Self { id, sent })
            .ok_or_else(|| misfit(raw, "a string or an integer"))
    }
}
