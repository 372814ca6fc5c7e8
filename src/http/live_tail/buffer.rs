//! The latest events, kept so that each is read once for all subscribers.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::http::live_tail::bounds::{RECENT_BYTES_MAX, RECENT_MAX};
use crate::store::{FeedPage, Position, StoredEvent};

/// All events of the feed between two positions.
#[derive(Default)]
pub(crate) struct Buffer {
    events: VecDeque<(Position, Arc<StoredEvent>)>,
    bytes: usize,
    /// The events after this position are here, up to `end`.
    start: Position,
    end: Position,
}

impl Buffer {
    /// Empty, after a position.
    pub(crate) fn after(position: Position) -> Self {
        Self { start: position, end: position, ..Self::default() }
    }

    pub(crate) fn start(&self) -> Position {
        self.start
    }

    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Adds what follows; the oldest make room.
    pub(crate) fn add(&mut self, page: FeedPage) {
        for (position, event) in page.events {
            self.bytes += event.payload.as_bytes().len();
            self.events.push_back((position, Arc::new(event)));
            while self.events.len() > RECENT_MAX || self.bytes > RECENT_BYTES_MAX {
                let Some((oldest, event)) = self.events.pop_front() else { break };
                self.bytes -= event.payload.as_bytes().len();
                self.start = oldest;
            }
        }
        self.end = page.next;
    }

    /// The first event after a position, which is not before the start.
    pub(crate) fn next(&self, after: Position) -> Option<&(Position, Arc<StoredEvent>)> {
        self.events.get(self.events.partition_point(|(position, _)| *position <= after))
    }
}

#[cfg(test)]
mod tests {
    use protocol::event::Payload;
    use protocol::{AppId, UnixMillis};
    use uuid::Uuid;

    use super::*;

    fn event(bytes: usize) -> StoredEvent {
        StoredEvent {
            id: Uuid::now_v7(),
            app: AppId::parse("1").unwrap(),
            family: "call".into(),
            command: "Call.X".into(),
            command_sent: None,
            event_time: UnixMillis(0),
            received_at: UnixMillis(0),
            call_id: None,
            room_id: None,
            operator: None,
            client_ip: None,
            platform: None,
            request_id: None,
            query: None,
            signature: None,
            payload: Payload::Raw(vec![0; bytes]),
            decode_error: None,
        }
    }

    fn position(number: usize) -> Position {
        number.to_string().parse().unwrap()
    }

    fn add(buffer: &mut Buffer, number: usize, bytes: usize) {
        let events = vec![(position(number), event(bytes))];
        buffer.add(FeedPage {
            events,
            derived: Vec::new(),
            gone: Vec::new(),
            unreadable: Vec::new(),
            next: position(number),
            is_end: true,
        });
    }

    #[test]
    fn the_tail_buffer_is_bounded_in_rows_and_bytes() {
        let mut buffer = Buffer::default();
        for number in 1..=RECENT_MAX + 3 {
            add(&mut buffer, number, 1);
        }
        assert_eq!((buffer.events.len(), buffer.start()), (RECENT_MAX, position(3)));
        for number in 6000..6005 {
            add(&mut buffer, number, RECENT_BYTES_MAX / 4);
        }
        assert_eq!((buffer.events.len(), buffer.bytes), (4, RECENT_BYTES_MAX));
        // Also where a single event exceeds the bound.
        add(&mut buffer, 7000, RECENT_BYTES_MAX + 1);
        assert_eq!((buffer.events.len(), buffer.bytes), (0, 0));
        assert_eq!((buffer.start(), buffer.end()), (position(7000), position(7000)));
    }

    #[test]
    fn the_next_event_is_the_first_after_a_position() {
        let mut buffer = Buffer::after(position(5));
        for number in [7, 8, 512] {
            add(&mut buffer, number, 1);
        }
        let next = |after| buffer.next(position(after)).map(|(position, _)| position.number());
        assert_eq!(
            [5, 6, 7, 8, 511, 512].map(next),
            [Some(7), Some(7), Some(8), Some(512), Some(512), None]
        );
    }
}
