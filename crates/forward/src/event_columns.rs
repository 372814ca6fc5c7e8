//! What forwarding needs of a stored event.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use protocol::event::Payload;
use protocol::{AppId, UnixMillis};

/// The columns of a stored event, and its position in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of `events`; see `protocol::Event`")]
pub struct EventColumns {
    pub id: Uuid,
    /// It grows in the order of storing; 0 where it is not known.
    pub position: i64,
    pub app: AppId,
    pub family: String,
    pub command: String,
    pub command_sent: Option<String>,
    pub event_time: UnixMillis,
    pub received_at: UnixMillis,
    pub call_id: Option<String>,
    pub room_id: Option<String>,
    pub operator: Option<String>,
    pub client_ip: Option<String>,
    pub platform: Option<String>,
    pub decode_error: Option<String>,
    /// As [`Payload::of_columns`] reads it: where the store holds `raw` beside `payload`, `raw` is the truth.
    pub payload: Payload,
}

impl EventColumns {
    /// The call of the event, else its room; `None` for an event of neither.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        Subject::of(self.app, self.call_id.as_deref(), self.room_id.as_deref())
    }
}

/// A call or a room, as a hash: events of one subject are sent one after the other. Two subjects of one hash merely wait for each
/// other, so 64 bits do. The store keeps it as `subject_hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(pub i64);

impl Subject {
    /// The subject of an event of this app, call and room.
    #[must_use]
    pub fn of(app: AppId, call: Option<&str>, room: Option<&str>) -> Option<Self> {
        let (kind, name) = match (call, room) {
            (Some(call), _) => (b'c', call),
            (None, Some(room)) => (b'r', room),
            (None, None) => return None,
        };
        let mut hash = Sha256::new();
        hash.update(app.as_i64().to_be_bytes());
        hash.update([kind]);
        hash.update(name);
        let digest: [u8; 32] = hash.finalize().into();
        let (first, _) = digest.split_first_chunk::<8>()?;
        Some(Self(i64::from_be_bytes(*first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_call_else_the_room_of_one_app() {
        let (one, other) = (AppId::parse("1").unwrap(), AppId::parse("2").unwrap());
        let call = Subject::of(one, Some("a"), Some("r"));
        assert_eq!(call, Subject::of(one, Some("a"), None));
        assert_eq!(Subject::of(one, None, None), None);
        for different in [
            Subject::of(one, None, Some("a")),
            Subject::of(one, Some("b"), Some("r")),
            Subject::of(other, Some("a"), Some("r")),
        ] {
            assert!(different.is_some() && different != call);
        }
        // Stored in `subject_hash`: it must stay what it is.
        assert_eq!(call, Some(Subject(8_648_334_477_861_399_535)));
    }
}
