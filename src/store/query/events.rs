//! Which stored events a reader wants, and in which order.

use uuid::Uuid;

use crate::callback::AppId;
use crate::clock::UnixMillis;
use crate::store::model::event::StoredEvent;
use crate::store::model::read_models::Room;

/// Which stored events, and in which order.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of this app.
    pub app: Option<AppId>,
    /// Of this family, by its stored name.
    pub family: Option<String>,
    /// Of this command, by its canonical name.
    pub command: Option<String>,
    /// About this call.
    pub call_id: Option<String>,
    /// About this room.
    pub room_id: Option<String>,
    /// By this account.
    pub operator: Option<String>,
    /// From this platform, as sent.
    pub platform: Option<String>,
    /// Of the request that the vendor calls so.
    pub request_id: Option<String>,
    /// Whose body, where it is JSON, has this text in it as it stands.
    pub text: Option<String>,
    /// Only those whose body did not fit its command.
    pub undecoded: bool,
    /// That happened at this time or later.
    pub since: Option<UnixMillis>,
    /// That happened before this time.
    pub until: Option<UnixMillis>,
    /// That arrived at this time or later.
    pub received_since: Option<UnixMillis>,
    /// That arrived before this time.
    pub received_until: Option<UnixMillis>,
    /// Which end to begin at.
    pub order: Order,
    /// At most so many.
    pub limit: u32,
}

impl EventFilter {
    /// The events of one call, the earliest first: its timeline.
    #[must_use]
    pub fn of_call(app: AppId, call_id: &str, limit: u32) -> Self {
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
