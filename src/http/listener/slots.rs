//! The places of a listener: which connections are open, and who goes when no place is left.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::callback::source_filter::Networks;
use crate::http::listener::slot::{Order, Place, origin};

/// How long a newcomer waits before it is asked anew who may go: connections fall idle in the meantime.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// One part in this many goes at once, so that a flood does not make us look at every connection for each newcomer.
const BATCH_PART: usize = 16;
/// One part in this many is what one address may have of the places while others need them.
const SHARE_PART: usize = 8;

/// All places of one listener.
#[derive(Debug)]
pub(crate) struct Places {
    open: Mutex<Open>,
    max: usize,
    /// How many more there are for those who come when all others are busy.
    reserved_max: usize,
    /// Peers that stand for many clients: no share is counted for them.
    proxies: Networks,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    places: HashMap<u64, Arc<Place>>,
    /// How many of those are reserved ones.
    reserved: usize,
    /// How many places each address has.
    shares: HashMap<IpAddr, usize>,
}

/// A place that is taken, until this is dropped, however that comes about.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    place: Arc<Place>,
    places: Arc<Places>,
}

impl Places {
    pub(crate) fn new(max: usize, reserved_max: usize, proxies: Networks) -> Arc<Self> {
        let (open, freed) = (Mutex::default(), Notify::new());
        Arc::new(Self { open, max, reserved_max, proxies, freed })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a newcomer: a free one, or that of whom it hurts least to close. While all are busy, a reserved one;
    /// where there is none, it waits.
    pub(crate) async fn take(self: &Arc<Self>, peer: IpAddr) -> Seat {
        loop {
            if let Some(seat) = self.try_take(peer, false) {
                return seat;
            }
            if !self.make_room() {
                if let Some(seat) = self.try_take(peer, true) {
                    return seat;
                }
                self.make_room_among(true);
            }
            self.freed(ASK_AGAIN).await;
        }
    }

    fn try_take(self: &Arc<Self>, peer: IpAddr, reserved: bool) -> Option<Seat> {
        // Whoever asks from this machine is most likely a proxy, named or not.
        let is_many = peer.to_canonical().is_loopback() || self.proxies.holds(peer.to_canonical());
        let origin = (!is_many).then(|| origin(peer));
        let mut open = self.open();
        let ordinary = open.places.len() - open.reserved;
        let is_full =
            if reserved { open.reserved >= self.reserved_max } else { ordinary >= self.max };
        if is_full {
            return None;
        }
        let (number, place) = (open.next, Arc::new(Place::new(origin, reserved)));
        open.next += 1;
        open.places.insert(number, place.clone());
        open.reserved += usize::from(reserved);
        if let Some(origin) = origin {
            *open.shares.entry(origin).or_default() += 1;
        }
        Some(Seat { number, place, places: self.clone() })
    }

    /// Waits until a place comes free, or this long.
    pub(crate) async fn freed(&self, patience: Duration) {
        // Too late is as good as freed: the caller looks either way.
        let _ = timeout(patience, self.freed.notified()).await;
    }

    /// Tells those to go whom it hurts least: a batch of them, by rank, within a rank those who wait longest. False where
    /// all are busy.
    pub(crate) fn make_room(&self) -> bool {
        self.make_room_among(false)
    }

    fn make_room_among(&self, reserved: bool) -> bool {
        let at = Instant::now();
        let open = self.open();
        let batch = (open.places.len() / BATCH_PART).max(1);
        let share = (self.max / SHARE_PART).max(1);
        let over_share = |place: &Place| {
            let has = place.origin().and_then(|origin| open.shares.get(&origin));
            has.is_some_and(|has| *has > share)
        };
        let mut all: Vec<_> = open
            .places
            .values()
            .filter(|place| place.is_reserved() == reserved)
            .filter_map(|place| Some((place.rank(at, over_share(place))?, place.clone())))
            .collect();
        drop(open);
        all.sort_unstable_by_key(|(rank, _)| *rank);
        // Those who are told and have not yet gone are told again, so one batch goes at a time.
        for (_, place) in all.iter().take(batch) {
            place.call(Order::MakeRoom);
        }
        !all.is_empty()
    }

    /// Tells every connection.
    pub(crate) fn call_all(&self, order: Order) {
        self.open().places.values().for_each(|place| place.call(order));
    }
}

impl Seat {
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.places.open();
        open.places.remove(&self.number);
        open.reserved -= usize::from(self.place.is_reserved());
        if let Some(origin) = self.place.origin()
            && let Some(has) = open.shares.get_mut(&origin)
        {
            *has -= 1;
            if *has == 0 {
                open.shares.remove(&origin);
            }
        }
        drop(open);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::http::Extensions;

    use crate::http::listener::slot::{BODY_IN_PEACE, NEWCOMER_IN_PEACE, Patience};
    use crate::http::listener::slots::*;
    use crate::telemetry::Closed;

    /// A proxy's address: no share is counted for it.
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn places(max: usize) -> Arc<Places> {
        Places::new(max, 0, Networks::default())
    }

    fn told(seat: &Seat) -> bool {
        seat.place.is_told_to_go()
    }

    /// Has it bring a verified request, and fall idle.
    fn served(seat: &Seat) {
        let mut extensions = Extensions::new();
        extensions.insert(seat.place.clone());
        seat.place.request_begins(false);
        Place::know(&extensions);
        seat.place.answered();
        seat.place.flushed();
    }

    /// The places that must go next, in this order, each of which then goes.
    fn go_in_turn(places: &Places, seats: &mut [Option<Seat>], order: &[usize]) {
        for next in order {
            places.make_room();
            let gone: Vec<usize> =
                (0..seats.len()).filter(|index| seats[*index].as_ref().is_some_and(told)).collect();
            assert_eq!(gone, [*next]);
            seats[*next] = None;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_go_first_whom_it_hurts_least_and_never_a_busy_one() {
        let places = places(8);
        let mut seats = Vec::new();
        for _ in 0..8 {
            seats.push(Some(places.take(HERE).await));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let seat = |index: usize| seats[index].as_ref().unwrap();
        let known = |index: usize| {
            let mut extensions = Extensions::new();
            extensions.insert(seat(index).place.clone());
            Place::know(&extensions);
        };
        seat(5).place.head_begins();
        seat(4).place.request_begins(true);
        served(seat(3));
        seat(2).place.request_begins(true);
        known(2);
        seat(1).place.request_begins(false);
        tokio::time::advance(NEWCOMER_IN_PEACE.max(BODY_IN_PEACE)).await;
        // It was answered as a stranger, so it is no newcomer any more.
        seat(7).place.request_begins(false);
        seat(7).place.answered();
        seat(7).place.flushed();
        // The last never: it is busy. They are told one at a time: a sixteenth is less than one.
        go_in_turn(&places, &mut seats, &[0, 6, 5, 7, 4, 3, 2]);
        assert!(!places.make_room(), "who is busy is told nothing");
        assert!(!told(seats[1].as_ref().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_known_connection_goes_before_a_newcomer() {
        let places = places(4);
        let mut seats = Vec::new();
        for index in 0..4 {
            if index == 2 {
                tokio::time::advance(NEWCOMER_IN_PEACE).await;
            }
            seats.push(Some(places.take(HERE).await));
            seats.iter().flatten().skip(index).filter(|_| index < 2).for_each(served);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        go_in_turn(&places, &mut seats, &[0, 1]);
        // A flood of newcomers alone: the eldest goes, and so one that comes later has its time.
        go_in_turn(&places, &mut seats, &[2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_more_than_its_share_goes_first() {
        let [one, other] = ["2001:db8::1", "198.51.100.1"].map(|peer| peer.parse().unwrap());
        let neighbour: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        let places = places(16);
        let mut seats = Vec::new();
        for peer in [other, other, one, neighbour, one] {
            seats.push(Some(places.take(peer).await));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // The other address has its share and no more: an idle one of its stays, and so does a newcomer.
        for index in [0, 2, 3] {
            served(seats[index].as_ref().unwrap());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        go_in_turn(&places, &mut seats, &[2]);
        // Now none has more than its share, and who is idle longest goes.
        go_in_turn(&places, &mut seats, &[0, 3, 1, 4]);
        assert!(places.open().shares.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn while_all_are_busy_one_more_gets_a_reserved_place() {
        let places = Places::new(1, 1, Networks::default());
        let busy = places.take(HERE).await;
        busy.place.request_begins(false);
        let reserved = places.take(HERE).await;
        assert!(reserved.place.is_reserved() && !busy.place.is_reserved());
        // The next one has the place of who does nothing with it.
        let taken = tokio::join!(places.take(HERE), async { drop(reserved) }).0;
        assert!(taken.place.is_reserved());
        drop(busy);
        assert!(!places.take(HERE).await.place.is_reserved());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_comes_free_with_its_seat_and_a_batch_is_a_sixteenth() {
        let places = places(32);
        let mut seats = Vec::new();
        for _ in 0..32 {
            seats.push(places.take(HERE).await);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(timeout(Duration::from_secs(5), places.take(HERE)).await.is_err());
        let gone: Vec<bool> = seats.iter().map(told).collect();
        assert_eq!(gone.iter().filter(|told| **told).count(), 2, "told again, not others too");
        assert!(gone[0] && gone[1]);
        seats.remove(0);
        assert!(timeout(Duration::from_secs(5), places.take(HERE)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_gains_no_time_and_each_state_has_its_own() {
        let seconds = Duration::from_secs;
        let patience = Patience { header: seconds(10), idle: seconds(75), write: seconds(5) };
        let places = places(1);
        let seat = places.take(HERE).await;
        let place = seat.place();
        let begun = Instant::now();
        assert_eq!(place.due(&patience), Some((begun + seconds(10), Closed::Idle)));
        place.head_begins();
        tokio::time::advance(seconds(3)).await;
        place.head_begins();
        assert_eq!(place.due(&patience), Some((begun + seconds(10), Closed::HeadTooSlow)));
        place.request_begins(true);
        assert_eq!(place.due(&patience), None);
        place.body_ends();
        place.answered();
        assert_eq!(place.due(&patience), None);
        place.write_moves(false);
        tokio::time::advance(seconds(1)).await;
        place.write_moves(false);
        assert_eq!(place.due(&patience), Some((begun + seconds(8), Closed::WriteTooSlow)));
        place.flushed();
        assert_eq!(place.due(&patience), Some((begun + seconds(79), Closed::Idle)));
        assert!(!place.refused());
        assert!(place.write_begins());
        assert!(place.refused() && place.is_cut_short());
        // An answer in the middle of a body, whose rest hyper then reads: the next request begins anew.
        place.request_begins(true);
        place.answered();
        assert!(place.is_cut_short());
        place.request_begins(false);
        assert!(!place.is_cut_short());
    }
}
