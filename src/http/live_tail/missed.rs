//! The events that a resuming subscriber missed.

use std::sync::Arc;

use uuid::Uuid;

use crate::http::live_tail::arrival::Arrival;
use crate::http::live_tail::bounds::{
    BACK_FAR, LISTENERS_MAX, PAGE, PAGES_MAX, PAUSE_MAX, RECENT_BYTES_MAX, earlier,
};
use crate::store::{EventPage, StoredEvent};
use protocol::UnixMillis;

/// Bound of buffered bodies per subscriber: all subscribers together hold no more than the tail. The rest is read
/// later.
const PART_BYTES_MAX: usize = RECENT_BYTES_MAX / LISTENERS_MAX;

/// The events missed by a subscriber that resumes from another server, or from this one before a restart. Its event
/// numbers are unknown here, so it resumes by time, and some events are repeated rather than lost.
pub(crate) struct Missed {
    pub(crate) since: UnixMillis,
    /// The event to continue reading after.
    pub(crate) after: Option<(UnixMillis, Uuid)>,
    /// Events read and not yet delivered, the latest first.
    pub(crate) ready: Vec<Arrival>,
    /// The number of rows that may still be read.
    pub(crate) rows_left: u32,
    pub(crate) is_whole: bool,
}

impl Missed {
    pub(crate) fn since(told: UnixMillis, now: UnixMillis) -> Self {
        let wanted = earlier(told, BACK_FAR);
        let since = wanted.max(earlier(now, PAUSE_MAX));
        let ready = if wanted < since { vec![Arrival::Missed] } else { Vec::new() };
        Self { since, after: None, ready, rows_left: PAGE * PAGES_MAX / 4, is_whole: false }
    }

    /// Buffers as much of a page as the bound allows. `wanted` is the subscriber's filter.
    pub(crate) fn take(
        &mut self,
        page: EventPage,
        mut wanted: impl FnMut(StoredEvent) -> Option<StoredEvent>,
    ) {
        let (mut arrivals, mut bytes) = (Vec::new(), 0);
        self.is_whole = page.next.is_none();
        self.after = page.next;
        let mut events = page.events.into_iter();
        for event in events.by_ref() {
            let place = (event.received_at, event.id);
            self.rows_left = self.rows_left.saturating_sub(1);
            if let Some(event) = wanted(event) {
                bytes += event.payload.as_bytes().len();
                arrivals.push(Arrival::Event(Arc::new(event)));
            }
            if bytes >= PART_BYTES_MAX {
                // The events after it are read again later.
                self.is_whole &= events.len() == 0;
                self.after = if events.len() == 0 { self.after } else { Some(place) };
                break;
            }
        }
        if !self.is_whole && self.rows_left == 0 {
            arrivals.push(Arrival::Missed);
            self.is_whole = true;
        }
        arrivals.reverse();
        arrivals.append(&mut self.ready);
        self.ready = arrivals;
    }
}

#[cfg(test)]
mod tests {
    use crate::http::live_tail::missed::*;
    use protocol::AppId;
    use protocol::event::Payload;

    fn event(at: i64, bytes: usize) -> StoredEvent {
        StoredEvent {
            id: Uuid::now_v7(),
            app: AppId::parse("1").unwrap(),
            family: "call".into(),
            command: "Call.X".into(),
            command_sent: None,
            event_time: UnixMillis(at),
            received_at: UnixMillis(at),
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

    fn times(missed: &mut Missed) -> Vec<Option<i64>> {
        let time = |arrival: Arrival| match arrival {
            Arrival::Event(event) => Some(event.received_at.0),
            Arrival::Missed => None,
        };
        std::iter::from_fn(|| missed.ready.pop()).map(time).collect()
    }

    #[test]
    fn a_part_is_bounded_in_bytes_and_the_rest_is_read_again() {
        let now = UnixMillis(1_793_534_400_000);
        let mut missed = Missed::since(now, now);
        let events: Vec<_> = (0..5).map(|at| event(at, PART_BYTES_MAX / 2)).collect();
        let second = (events[1].received_at, events[1].id);
        missed.take(EventPage { events, next: None }, Some);
        assert_eq!(times(&mut missed), [Some(0), Some(1)]);
        assert_eq!((missed.after, missed.is_whole), (Some(second), false));
        missed.take(EventPage { events: vec![event(2, PART_BYTES_MAX)], next: None }, Some);
        assert_eq!(times(&mut missed), [Some(2)]);
        assert!(missed.is_whole, "a part that ends with the page is the last");
    }

    #[test]
    fn a_client_away_too_long_or_missing_too_much_is_told() {
        let now = UnixMillis(1_793_534_400_000);
        let mut missed = Missed::since(now.minus(2 * PAUSE_MAX), now);
        missed.rows_left = 2;
        let next = Some((UnixMillis(1), Uuid::now_v7()));
        missed.take(EventPage { events: vec![event(0, 1), event(1, 1)], next }, Some);
        assert_eq!(times(&mut missed), [None, Some(0), Some(1), None]);
        assert!(missed.is_whole);
    }
}
