//! Which stored events a reader wants, and in which order.

use uuid::Uuid;

use crate::filter;
use crate::model::event::StoredEvent;
use crate::model::read_models::{Call, Room};
use crate::query::conditions::ConditionKind;
use protocol::UnixMillis;
use protocol::{AppId, Family};

/// How far from a call's own times its timeline goes, in ms. Recordings, and ends that could not be decoded, come later.
const AROUND_CALL_MS: i64 = 2 * 86_400_000;

filter! {
    /// Which stored events, and in which order.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct EventFilter {
        /// Only this family
        "family" "Family" ConditionKind::OneOf(Family::NAMES) => family: Option<String>,
        /// Only this command, by its name or an alias
        "command" "Command" ConditionKind::Command => command: Option<String>,
        /// Only this call
        "call" "Call id" ConditionKind::Text => call_id: Option<String>,
        /// Only this room
        "room" "Room id" ConditionKind::Text => room_id: Option<String>,
        /// Only this acting account
        "user" "Acting account" ConditionKind::Text => operator: Option<String>,
        /// Only this platform, as sent
        "platform" "Platform" ConditionKind::Text => platform: Option<String>,
        /// Only the request with this id of the vendor's (`RequestId`)
        "request" "Request id" ConditionKind::Text => request_id: Option<String>,
        /// Only bodies of JSON that hold this text, as received
        "text" "Body holds" ConditionKind::Text => text: Option<String>,
        /// Only events whose body could not be decoded
        "undecoded" "Body" ConditionKind::Flag(["undecoded", "any"]) => undecoded: bool,
        /// Only this app (`SDKAppID`)
        "app" "App" ConditionKind::App => app: Option<AppId>,
        /// Only from this time on: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
        "since" "From (UTC)" ConditionKind::Time => since: Option<UnixMillis>,
        /// Only before this time
        "until" "Until (UTC)" ConditionKind::Time => until: Option<UnixMillis>,
    } and {
        /// That arrived at this time or later.
        received_since: Option<UnixMillis>,
        /// That arrived before this time.
        received_until: Option<UnixMillis>,
        /// Which end to begin at.
        order: Order,
        /// At most so many.
        limit: u32,
    }
}

impl EventFilter {
    /// The events of one call, the earliest first: its timeline. Without those more than two days away from all that the
    /// call is made of, so that only the partitions of its days are read.
    #[must_use]
    pub fn of_call(call: &Call, limit: u32) -> Self {
        let within = |time: i64| Some(UnixMillis(time));
        Self {
            app: AppId::parse(&call.sdk_app_id.to_string()),
            call_id: Some(call.call_id.clone()),
            since: within(call.first_at.0.saturating_sub(AROUND_CALL_MS)),
            until: within(call.last_at.0.saturating_add(AROUND_CALL_MS)),
            order: Order::Oldest { after: None },
            limit,
            ..Self::default()
        }
    }

    /// The events that name a call of which nothing else is known, the earliest first.
    #[must_use]
    pub fn of_call_id(app: AppId, call_id: &str, limit: u32) -> Self {
        Self {
            app: Some(app),
            call_id: Some(call_id.to_owned()),
            order: Order::Oldest { after: None },
            limit,
            ..Self::default()
        }
    }

    /// The events of one session of a room, the earliest first: its timeline.
    #[must_use]
    pub fn of_room(room: &Room, limit: u32) -> Self {
        Self {
            app: AppId::parse(&room.sdk_app_id.to_string()),
            room_id: Some(room.room_id.clone()),
            since: Some(room.from_at),
            until: room.until_at,
            order: Order::Oldest { after: None },
            limit,
            ..Self::default()
        }
    }

    /// Whether it lets `event` through, as the stores would: its order and limit aside.
    #[must_use]
    pub fn matches(&self, event: &StoredEvent) -> bool {
        let same = |wanted: &Option<String>, column: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| column == Some(wanted))
        };
        let within = |since: Option<UnixMillis>, time, until: Option<UnixMillis>| {
            since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
        };
        let holds = |text: &String| {
            let (payload, _) = event.payload.columns();
            payload.is_some_and(|json| json.contains(text.as_str()))
        };
        self.app.is_none_or(|app| app == event.app)
            && same(&self.family, Some(&event.family))
            && same(&self.command, Some(&event.command))
            && same(&self.call_id, event.call_id.as_deref())
            && same(&self.room_id, event.room_id.as_deref())
            && same(&self.operator, event.operator.as_deref())
            && same(&self.platform, event.platform.as_deref())
            && same(&self.request_id, event.request_id.as_deref())
            && self.text.as_ref().is_none_or(holds)
            && (!self.undecoded || event.decode_error.is_some())
            && within(self.since, event.event_time, self.until)
            && within(self.received_since, event.received_at, self.received_until)
    }
}

/// The order of a list of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By event time, the latest first, behind this event where one is named.
    Newest {
        /// The time and id of the last event of the page before.
        after: Option<(UnixMillis, Uuid)>,
    },
    /// By event time, the earliest first, behind this event where one is named.
    Oldest {
        /// The time and id of the last event of the page before.
        after: Option<(UnixMillis, Uuid)>,
    },
    /// By the time of their arrival, the earliest first, behind this event where one is named.
    Arrived {
        /// The time of arrival and the id of the last event of the page before.
        after: Option<(UnixMillis, Uuid)>,
    },
}

impl Default for Order {
    fn default() -> Self {
        Self::Newest { after: None }
    }
}
