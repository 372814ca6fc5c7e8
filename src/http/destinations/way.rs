//! The delivery of one event at each destination.

use std::collections::HashMap;

use crate::http::ops::setup::Setup;
use crate::http::ui::html::clock;
use forward::filter::FilterKey;

use crate::store::{
    DeliveryException, DeliveryState, DestinationRow, EventDeliveries, EventPlace, StoredEvent,
};

/// The delivery state of an event at a destination.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) name: String,
    /// One word.
    pub(crate) state: &'static str,
    /// Why, in a sentence.
    pub(crate) text: String,
}

/// The ways of an event to all destinations.
pub(crate) fn ways(found: EventDeliveries, event: &StoredEvent, setup: &Setup) -> Vec<Way> {
    let exceptions: HashMap<String, DeliveryException> = found.exceptions.into_iter().collect();
    let of = |row: DestinationRow| {
        let (state, text) = match exceptions.get(&row.name) {
            Some(exception) => of_exception(exception),
            None => of_place(&row, found.place, event, setup),
        };
        Way { name: row.name, state, text }
    };
    found.destinations.into_iter().map(of).collect()
}

fn of_exception(exception: &DeliveryException) -> (&'static str, String) {
    let failed = match exception.attempts {
        1 => "1 try failed".to_owned(),
        attempts => format!("{attempts} attempts failed"),
    };
    let next = clock(exception.next_at, false);
    let last = match &exception.last_error {
        Some(error) => format!(": {error}"),
        None => String::new(),
    };
    match exception.state {
        DeliveryState::Waiting => ("waiting", format!("{failed}; the next is at {next}{last}")),
        DeliveryState::Dead => ("dead", format!("a dead letter, {failed}{last}")),
        DeliveryState::Replay => ("replay", "queued by `forward replay`".to_owned()),
    }
}

fn of_place(
    row: &DestinationRow,
    place: EventPlace,
    event: &StoredEvent,
    setup: &Setup,
) -> (&'static str, String) {
    let configured = setup.destination(&row.name);
    let misfit = configured.and_then(|destination| {
        destination.filter.misfit(&FilterKey {
            app: event.app,
            family: &event.family,
            command: &event.command,
            room_id: event.room_id.as_deref(),
            call_id: event.call_id.as_deref(),
            is_derived: false,
        })
    });
    if let Some(key) = misfit {
        return ("filtered", format!("not for this destination: its {key} leave it out"));
    }
    let before = || {
        let made = clock(row.created_at, false);
        ("before", format!("stored before this destination was created at {made}"))
    };
    let delivered = || {
        let text = "its position is passed, and it is neither waiting nor a dead letter";
        let text = if configured.is_some() {
            text.to_owned()
        } else {
            format!("{text}; what its filter takes, this server's configuration does not say")
        };
        ("delivered", text)
    };
    match place {
        EventPlace::At(position, _) if position > row.position => {
            let since = row.state.failing_since.map(|since| clock(since, false));
            let why = match (row.state.state.as_str(), since) {
                ("running", _) => "it is sent soon".to_owned(),
                (state, Some(since)) => format!("the destination has been {state} since {since}"),
                (state, None) => format!("the destination is {state}"),
            };
            ("behind", format!("in the backlog: {why}"))
        }
        EventPlace::At(_, at) if at < row.created_at => before(),
        EventPlace::At(_, at) => match row.skipped.span {
            Some((from, until)) if from <= at && at <= until => {
                let (from, until) = (clock(from, false), clock(until, false));
                let text = format!(
                    "events stored from {from} to {until} were skipped, as the backlog was longer than its bound: this may be one"
                );
                ("skipped", text)
            }
            _ => delivered(),
        },
        EventPlace::Unnumbered => {
            ("behind", "it has no position yet: it gets one within moments".to_owned())
        }
        EventPlace::Passed if event.received_at < row.created_at => before(),
        EventPlace::Passed => delivered(),
        EventPlace::Unknown => {
            ("unknown", "the feed is long, and its position was not found in it".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::ops::setup::{Addresses, DestinationSetup, Sources};
    use crate::registration::RegistrationStatus;
    use crate::store::{Control, DestinationStateRow, Position, Skipped};
    use forward::filter::{Filter, Words};
    use protocol::event::Payload;
    use protocol::{AppId, UnixMillis};
    use uuid::Uuid;

    fn event() -> StoredEvent {
        StoredEvent {
            id: Uuid::nil(),
            app: AppId::parse("1400000001").unwrap(),
            family: "call".to_owned(),
            command: "Call.CallbackAfterEndCall".to_owned(),
            command_sent: None,
            event_time: UnixMillis(1000),
            received_at: UnixMillis(1000),
            call_id: Some("c".to_owned()),
            room_id: Some("r".to_owned()),
            operator: None,
            client_ip: None,
            platform: None,
            payload: Payload::Json("{}".to_owned()),
            decode_error: None,
            request_id: None,
            query: None,
            signature: None,
        }
    }

    fn setup(rooms: &[&str]) -> Setup {
        let filter = Filter { rooms: Words::compile(rooms).unwrap(), ..Filter::default() };
        let destination = DestinationSetup {
            name: "billing".to_owned(),
            kind: "http",
            url: "https://billing.example".to_owned(),
            filter,
            definition_hash: String::new(),
        };
        Setup {
            apps: Vec::new(),
            book: Arc::new(RegistrationStatus::default()),
            sources: Sources { given: Vec::new(), proxies: Vec::new(), vendor: None },
            addresses: Addresses::default(),
            destinations: vec![destination],
            backlog_age_max: None,
            sections: Vec::new(),
        }
    }

    fn row(position: i64) -> DestinationRow {
        DestinationRow {
            name: "billing".to_owned(),
            position: Position::of_number(position),
            epoch: 1,
            holder: None,
            lease_ms: None,
            definition_hash: String::new(),
            created_at: UnixMillis(500),
            state: DestinationStateRow {
                state: "paused".to_owned(),
                reason: Some("by_hand".to_owned()),
                failing_since: Some(UnixMillis(0)),
            },
            last_error: None,
            control: Control::default(),
            skipped: Skipped { events: 1, span: Some((UnixMillis(5000), UnixMillis(6000))) },
            now: UnixMillis(9000),
        }
    }

    fn state(place: EventPlace, setup: &Setup) -> (&'static str, String) {
        let found =
            EventDeliveries { destinations: vec![row(1024)], exceptions: Vec::new(), place };
        let Way { state, text, .. } = ways(found, &event(), setup).remove(0);
        (state, text)
    }

    #[test]
    fn an_event_is_delivered_behind_the_position_only() {
        let at = |position, at| EventPlace::At(Position::of_number(position), UnixMillis(at));
        let all = setup(&[]);
        assert_eq!(state(at(1024, 1000), &all).0, "delivered");
        let (word, text) = state(at(1025, 1000), &all);
        assert_eq!(word, "behind");
        assert_eq!(
            text,
            "in the backlog: the destination has been paused since 1970-01-01 00:00:00"
        );
        assert_eq!(state(at(600, 499), &all).0, "before");
        assert_eq!(state(at(600, 5500), &all).0, "skipped");
        assert_eq!(state(EventPlace::Unnumbered, &all).0, "behind");
        assert_eq!(state(EventPlace::Passed, &all).0, "delivered");
        assert_eq!(state(EventPlace::Unknown, &all).0, "unknown");
    }

    #[test]
    fn a_filter_is_named_by_its_key() {
        let place = EventPlace::Passed;
        let (word, text) = state(place, &setup(&["other"]));
        assert_eq!(
            (word, text.as_str()),
            ("filtered", "not for this destination: its rooms leave it out")
        );
        assert_eq!(state(place, &setup(&["r*"])).0, "delivered");
    }

    #[test]
    fn an_exception_says_what_went_wrong() {
        let exception = |state| DeliveryException {
            event_id: Uuid::nil(),
            position: 5,
            subject_hash: None,
            attempts: 1,
            next_at: UnixMillis(60_000),
            state,
            last_status: Some(400),
            last_error: Some("answered 400: no".to_owned()),
            first_failed_at: None,
        };
        let (word, text) = of_exception(&exception(DeliveryState::Waiting));
        assert_eq!(word, "waiting");
        assert_eq!(text, "1 try failed; the next is at 1970-01-01 00:01:00: answered 400: no");
        assert_eq!(of_exception(&exception(DeliveryState::Dead)).0, "dead");
    }
}
