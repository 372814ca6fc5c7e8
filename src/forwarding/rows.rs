//! What the window decides on, as the store keeps it, and the other way round.

use crate::store::{
    DeliveryException, DeliveryState, DerivedEvent, DestinationStateRow, DestinationWrite,
    Position, StoredEvent,
};
use forward::breaker::{DestinationState, OpenReason, PauseReason};
use forward::derived::{Derived, DerivedType};
use forward::event_columns::{Content, EventColumns, Subject};
use forward::window::{Exception, ExceptionState, FeedContent, FeedEvent, StateRow, Write};
use protocol::diagnostic::Diagnostic;
use uuid::Uuid;

/// What forwarding needs of an event.
pub(crate) fn columns(position: Position, event: StoredEvent) -> EventColumns {
    EventColumns {
        id: event.id,
        position: position.number(),
        app: event.app,
        family: event.family,
        command: event.command,
        command_sent: event.command_sent,
        event_time: event.event_time,
        received_at: event.received_at,
        call_id: event.call_id,
        room_id: event.room_id,
        operator: event.operator,
        client_ip: event.client_ip,
        platform: event.platform,
        decode_error: event.decode_error,
        content: Content::Vendor(event.payload),
    }
}

/// The same of a derived event, with its row where it was read; `None` where another version of this program made its type.
pub(super) fn derived(
    position: Position,
    event: DerivedEvent,
    row: Option<String>,
) -> Option<EventColumns> {
    let r#type = DerivedType::of_name(&event.r#type)?;
    let DerivedEvent { revision, withdrawn, .. } = event;
    let is_of_room = matches!(r#type, DerivedType::RoomClosed | DerivedType::LiveEnded);
    let session = is_of_room.then_some(event.session);
    Some(EventColumns {
        id: event.id,
        position: position.number(),
        app: event.app,
        family: event.family,
        command: event.r#type,
        command_sent: None,
        event_time: event.happened_at,
        received_at: event.created_at,
        call_id: event.call_id,
        room_id: event.room_id,
        operator: None,
        client_ip: None,
        platform: None,
        decode_error: None,
        content: Content::Derived(Derived { r#type, session, revision, withdrawn, row }),
    })
}

/// The feed has no such place.
pub(super) fn nowhere() -> Diagnostic {
    Diagnostic::new(
        "the feed ends before the place of the destination",
        "was a part of the store replaced by an older copy? Without its row of the table `destinations` it begins anew",
    )
}

/// An event of the feed that is stored.
pub(super) fn known(event: &EventColumns) -> FeedEvent<'_> {
    let content = FeedContent::Columns(event);
    FeedEvent { position: event.position, id: event.id, content }
}

/// One that was deleted meanwhile.
pub(super) fn gone<'a>((position, id): &(Position, Uuid)) -> FeedEvent<'a> {
    FeedEvent { position: position.number(), id: *id, content: FeedContent::Gone }
}

/// One that cannot be read.
pub(super) fn unreadable<'a>((position, id): &(Position, Uuid)) -> FeedEvent<'a> {
    FeedEvent { position: position.number(), id: *id, content: FeedContent::Unreadable }
}

/// A row of the store.
pub(super) fn exception(row: DeliveryException) -> Exception {
    Exception {
        id: row.event_id,
        position: row.position,
        subject: row.subject_hash.map(Subject),
        attempts: row.attempts,
        next_at: row.next_at,
        state: match row.state {
            DeliveryState::Waiting => ExceptionState::Waiting,
            DeliveryState::Dead => ExceptionState::Dead,
            DeliveryState::Replay => ExceptionState::Replay,
        },
        last_status: row.last_status,
        last_error: row.last_error,
        first_failed_at: row.first_failed_at,
    }
}

fn row(exception: Exception) -> DeliveryException {
    DeliveryException {
        event_id: exception.id,
        position: exception.position,
        subject_hash: exception.subject.map(|subject| subject.0),
        attempts: exception.attempts,
        next_at: exception.next_at,
        state: match exception.state {
            ExceptionState::Waiting => DeliveryState::Waiting,
            ExceptionState::Dead => DeliveryState::Dead,
            ExceptionState::Replay => DeliveryState::Replay,
        },
        last_status: exception.last_status,
        last_error: exception.last_error,
        first_failed_at: exception.first_failed_at,
    }
}

/// What is written.
pub(super) fn write(write: Write, last_error: Option<String>) -> DestinationWrite {
    DestinationWrite {
        position: write.position,
        upserts: write.upserts.into_iter().map(row).collect(),
        removals: write.removals,
        state: write.state.map(state_row),
        last_error,
    }
}

/// A state as it is kept.
pub(super) fn state_row(row: StateRow) -> DestinationStateRow {
    let (state, reason) = words(row.state);
    DestinationStateRow {
        state: state.to_owned(),
        reason: reason.map(str::to_owned),
        failing_since: row.failing_since,
    }
}

/// The words for a state, and for why it is so.
pub(super) fn words(state: DestinationState) -> (&'static str, Option<&'static str>) {
    match state {
        DestinationState::Running => ("running", None),
        DestinationState::Failing(OpenReason::Failing) => ("failing", Some("failing")),
        DestinationState::Failing(OpenReason::Misconfigured) => {
            ("misconfigured", Some("misconfigured"))
        }
        DestinationState::Failing(OpenReason::TooManyWaiting) => {
            ("failing", Some("too_many_waiting"))
        }
        DestinationState::Failing(OpenReason::Resumed) => ("failing", Some("resumed")),
        DestinationState::Paused(PauseReason::ByHand) => ("paused", Some("by_hand")),
        DestinationState::Paused(PauseReason::Gone) => ("paused", Some("gone")),
    }
}

/// The state that the store has.
pub(super) fn state(row: &DestinationStateRow) -> StateRow {
    let state = match (row.state.as_str(), row.reason.as_deref()) {
        ("paused", Some("gone")) => DestinationState::Paused(PauseReason::Gone),
        ("paused", _) => DestinationState::Paused(PauseReason::ByHand),
        ("misconfigured", _) => DestinationState::Failing(OpenReason::Misconfigured),
        ("failing", Some("too_many_waiting")) => {
            DestinationState::Failing(OpenReason::TooManyWaiting)
        }
        ("failing", Some("resumed")) => DestinationState::Failing(OpenReason::Resumed),
        ("failing", _) => DestinationState::Failing(OpenReason::Failing),
        _ => DestinationState::Running,
    };
    StateRow { state, failing_since: row.failing_since }
}

/// The figure for a state in the metrics.
pub(super) fn figure(state: DestinationState) -> u8 {
    match state {
        DestinationState::Running => 0,
        DestinationState::Failing(OpenReason::Misconfigured) => 3,
        DestinationState::Failing(_) => 1,
        DestinationState::Paused(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::UnixMillis;

    #[test]
    fn every_state_is_read_as_it_was_kept() {
        use DestinationState::{Failing, Paused, Running};
        let states = [
            Running,
            Failing(OpenReason::Failing),
            Failing(OpenReason::Misconfigured),
            Failing(OpenReason::TooManyWaiting),
            Failing(OpenReason::Resumed),
            Paused(PauseReason::ByHand),
            Paused(PauseReason::Gone),
        ];
        for kept in states {
            let kept = StateRow { state: kept, failing_since: Some(UnixMillis(5)) };
            assert_eq!(state(&state_row(kept)), kept);
        }
    }
}
