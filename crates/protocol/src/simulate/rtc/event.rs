//! Events of the RTC Engine while a scenario is written, and what is posted of them.

use serde_json::{Map, Value, json};

use crate::command::description::Command;
use crate::dialect::Dialect;
use crate::simulate::rtc::body::written;
use crate::simulate::timed_delivery::TimedDelivery;
use crate::time::UnixMillis;

/// One event: what happened, and when.
#[derive(Debug, Clone)]
pub(crate) struct EngineEvent {
    pub(crate) at: UnixMillis,
    /// `EventType`.
    pub(crate) number: u16,
    /// `RoomId`: a number or a text.
    pub(crate) room: Value,
    /// What `EventInfo` has beside room and times.
    pub(crate) more: Map<String, Value>,
}

impl EngineEvent {
    pub(crate) fn new(at: UnixMillis, number: u16, room: Value, more: Value) -> Self {
        let more = match more {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        Self { at, number, room, more }
    }

    /// `EventInfo`.
    pub(crate) fn info(self) -> Value {
        // The samples of these have a text here.
        let seconds: Value = match self.number {
            301 | 302 | 307 => self.at.as_secs().to_string().into(),
            _ => self.at.as_secs().into(),
        };
        let mut info = json!({
            "RoomId": self.room,
            "EventTs": seconds,
            "EventMsTs": self.at.0,
        });
        if let Value::Object(members) = &mut info {
            members.extend(self.more);
        }
        info
    }

    /// What is posted of it at `sent`.
    pub(crate) fn into_delivery(self, sent: UnixMillis) -> TimedDelivery {
        let number = self.number;
        let body = json!({
            "EventGroupId": number / 100,
            "EventType": number,
            "CallbackTs": sent.0,
            "EventInfo": self.info(),
        });
        TimedDelivery {
            at: sent,
            dialect: Dialect::RtcEngine,
            command: Command::of_event_type(number.into()).map_or("", |row| row.name),
            body: written(&body),
            platform: "",
            client_ip: String::new(),
        }
    }
}
