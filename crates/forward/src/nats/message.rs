//! What is published of an event.

use async_nats::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::destination::checked::NatsTarget;
use crate::envelope::event_type;
use crate::event_columns::EventColumns;
use crate::nats::subject::subject;

/// What stands in a header as it is: the unreserved characters of URLs.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The most bytes of a call or room that stand in a header. The vendor's have some dozens; the body has them whole.
const ID_BYTES_MAX: usize = 1024;

/// One event, as it is published.
#[derive(Debug, Clone)]
pub struct Message {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Message {
    /// An event with its envelope. `replay`: somebody asked to send it again.
    #[must_use]
    pub fn new(target: &NatsTarget, event: &EventColumns, body: String, replay: bool) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", event.id.to_string());
        if let Some(stream) = &target.stream {
            // Refused by any other, so that an ack means what the operator takes it for.
            headers.insert("Nats-Expected-Stream", stream.as_str());
        }
        headers.insert("Trtc-Type", event_type(&event.command));
        headers.insert("Trtc-App", event.app.as_i64().to_string());
        for (name, id) in [("Trtc-Call", &event.call_id), ("Trtc-Room", &event.room_id)] {
            if let Some(id) = id.as_deref().filter(|id| id.len() <= ID_BYTES_MAX) {
                headers.insert(name, utf8_percent_encode(id, ENCODED).to_string());
            }
        }
        headers.insert("Trtc-Event-Time", event.event_time.to_string());
        // 0 is not known, as of an event that is sent again.
        if event.position > 0 {
            headers.insert("Trtc-Position", event.position.to_string());
        }
        if replay {
            headers.insert("Trtc-Replay", "1");
        }
        Self { subject: subject(&target.subject_prefix, event), headers, body }
    }
}
