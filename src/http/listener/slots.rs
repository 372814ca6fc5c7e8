//! The connection slots of a listener, and which connection is evicted when none is free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::http::listener::slot::{Command, ConnectionSlot, origin};
use protocol::source_filter::Networks;

/// Interval at which a waiting connection tries again to evict: others fall idle in the meantime.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Fraction of the connections evicted at once, so that a flood does not cost a scan for each new connection.
const BATCH_PART: usize = 16;
/// Fraction of the slots that one address may hold while others need them.
const SHARE_PART: usize = 8;

/// All slots of one listener.
#[derive(Debug)]
pub(crate) struct ConnectionSlots {
    open: Mutex<Open>,
    max: usize,
    /// Number of reserved slots, for new connections while all others are busy.
    reserved_max: usize,
    /// Peers that stand for many clients: no share is counted for them.
    proxies: Networks,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, Arc<ConnectionSlot>>,
    /// Number of reserved ones among them.
    reserved: usize,
    /// Number of slots of each origin.
    shares: HashMap<IpAddr, usize>,
}

/// A slot in use; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct SlotGuard {
    number: u64,
    slot: Arc<ConnectionSlot>,
    slots: Arc<ConnectionSlots>,
}

impl ConnectionSlots {
    pub(crate) fn new(max: usize, reserved_max: usize, proxies: Networks) -> Arc<Self> {
        let (open, freed) = (Mutex::default(), Notify::new());
        Arc::new(Self { open, max, reserved_max, proxies, freed })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot for a new connection: a free one, or that of an evicted lowest-priority connection. While all are
    /// busy, a reserved one; otherwise waits.
    pub(crate) async fn take(self: &Arc<Self>, peer: IpAddr) -> SlotGuard {
        loop {
            if let Some(guard) = self.try_take(peer, false) {
                return guard;
            }
            if !self.evict() {
                if let Some(guard) = self.try_take(peer, true) {
                    return guard;
                }
                self.evict_among(true);
            }
            self.freed(ASK_AGAIN).await;
        }
    }

    fn try_take(self: &Arc<Self>, peer: IpAddr, reserved: bool) -> Option<SlotGuard> {
        let origin = self.counted_origin(peer);
        let mut open = self.open();
        let ordinary = open.slots.len() - open.reserved;
        let is_full =
            if reserved { open.reserved >= self.reserved_max } else { ordinary >= self.max };
        if is_full {
            return None;
        }
        let (number, slot) = (open.next, Arc::new(ConnectionSlot::new(origin, reserved)));
        open.next += 1;
        open.slots.insert(number, slot.clone());
        open.reserved += usize::from(reserved);
        if let Some(origin) = origin {
            *open.shares.entry(origin).or_default() += 1;
        }
        Some(SlotGuard { number, slot, slots: self.clone() })
    }

    /// The origin whose share a connection of this address counts towards.
    fn counted_origin(&self, peer: IpAddr) -> Option<IpAddr> {
        // A client on this machine is most likely a proxy, configured as one or not.
        let is_many = peer.to_canonical().is_loopback() || self.proxies.holds(peer);
        (!is_many).then(|| origin(peer))
    }

    /// Waits until a slot is freed, at most this long.
    pub(crate) async fn freed(&self, patience: Duration) {
        // A timeout is as good as a freed slot: the caller checks either way.
        let _ = timeout(patience, self.freed.notified()).await;
    }

    /// Evicts a batch of the lowest-priority connections: by rank, within a rank those that wait longest. False where all
    /// are busy.
    pub(crate) fn evict(&self) -> bool {
        self.evict_among(false)
    }

    fn evict_among(&self, reserved: bool) -> bool {
        let at = Instant::now();
        let open = self.open();
        let batch = (open.slots.len() / BATCH_PART).max(1);
        let share = (self.max / SHARE_PART).max(1);
        let over_share = |slot: &ConnectionSlot| {
            let has = slot.origin().and_then(|origin| open.shares.get(&origin));
            has.is_some_and(|has| *has > share)
        };
        let mut all: Vec<_> = open
            .slots
            .values()
            .filter(|slot| slot.is_reserved() == reserved)
            .filter_map(|slot| Some((slot.rank(at, over_share(slot))?, slot.clone())))
            .collect();
        drop(open);
        all.sort_unstable_by_key(|(rank, _)| *rank);
        // Connections that were evicted and are not closed yet are included, so only one batch is evicted at a time.
        for (_, slot) in all.iter().take(batch) {
            slot.call(Command::Evict);
        }
        !all.is_empty()
    }

    /// Sends a command to all connections.
    pub(crate) fn call_all(&self, command: Command) {
        self.open().slots.values().for_each(|slot| slot.call(command));
    }
}

impl SlotGuard {
    pub(crate) fn slot(&self) -> &Arc<ConnectionSlot> {
        &self.slot
    }

    /// Counts a proxy's connection towards the share of its client, once the proxy has named it.
    pub(crate) fn counts_for(&self, client: IpAddr) {
        let Some(origin) = self.slots.counted_origin(client) else { return };
        let mut open = self.slots.open();
        if self.slot.set_origin(origin) {
            *open.shares.entry(origin).or_default() += 1;
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let mut open = self.slots.open();
        open.slots.remove(&self.number);
        open.reserved -= usize::from(self.slot.is_reserved());
        if let Some(origin) = self.slot.origin()
            && let Some(has) = open.shares.get_mut(&origin)
        {
            *has -= 1;
            if *has == 0 {
                open.shares.remove(&origin);
            }
        }
        drop(open);
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::http::Extensions;

    use crate::http::listener::slot::{BODY_GRACE, NEWCOMER_GRACE, Timeouts};
    use crate::http::listener::slots::*;
    use crate::telemetry::Closed;

    /// A proxy's address: no share is counted for it.
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn slots(max: usize) -> Arc<ConnectionSlots> {
        ConnectionSlots::new(max, 0, Networks::default())
    }

    fn told(guard: &SlotGuard) -> bool {
        guard.slot.is_told_to_go()
    }

    /// Lets it bring a verified request and fall idle.
    fn served(guard: &SlotGuard) {
        let mut extensions = Extensions::new();
        extensions.insert(guard.slot.clone());
        guard.slot.request_begins(false);
        ConnectionSlot::mark_verified(&extensions);
        guard.slot.answered();
        guard.slot.flushed();
    }

    /// Asserts the order of eviction; each evicted slot is then freed.
    fn go_in_turn(slots: &ConnectionSlots, seats: &mut [Option<SlotGuard>], command: &[usize]) {
        for next in command {
            slots.evict();
            let gone: Vec<usize> =
                (0..seats.len()).filter(|index| seats[*index].as_ref().is_some_and(told)).collect();
            assert_eq!(gone, [*next]);
            seats[*next] = None;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_lowest_priority_goes_first_and_never_a_busy_one() {
        let slots = slots(8);
        let mut seats = Vec::new();
        for _ in 0..8 {
            seats.push(Some(slots.take(HERE).await));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let guard = |index: usize| seats[index].as_ref().unwrap();
        let known = |index: usize| {
            let mut extensions = Extensions::new();
            extensions.insert(guard(index).slot.clone());
            ConnectionSlot::mark_verified(&extensions);
        };
        guard(5).slot.head_begins();
        guard(4).slot.request_begins(true);
        served(guard(3));
        guard(2).slot.request_begins(true);
        known(2);
        guard(1).slot.request_begins(false);
        tokio::time::advance(NEWCOMER_GRACE.max(BODY_GRACE)).await;
        // It was answered without being verified, so it is no newcomer any more.
        guard(7).slot.request_begins(false);
        guard(7).slot.answered();
        guard(7).slot.flushed();
        // The last is busy and stays. They are evicted one by one: a sixteenth is less than one.
        go_in_turn(&slots, &mut seats, &[0, 6, 5, 7, 4, 3, 2]);
        assert!(!slots.evict(), "who is busy is told nothing");
        assert!(!told(seats[1].as_ref().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_verified_connection_is_evicted_before_a_new_one() {
        let slots = slots(4);
        let mut seats = Vec::new();
        for index in 0..4 {
            if index == 2 {
                tokio::time::advance(NEWCOMER_GRACE).await;
            }
            seats.push(Some(slots.take(HERE).await));
            seats.iter().flatten().skip(index).filter(|_| index < 2).for_each(served);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        go_in_turn(&slots, &mut seats, &[0, 1]);
        // In a flood of newcomers the oldest is evicted, so a later one has its grace period.
        go_in_turn(&slots, &mut seats, &[2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_above_its_share_is_evicted_first() {
        let [one, other] = ["2001:db8::1", "198.51.100.1"].map(|peer| peer.parse().unwrap());
        let neighbour: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        let slots = slots(16);
        let mut seats = Vec::new();
        for peer in [other, other, one, neighbour, one] {
            seats.push(Some(slots.take(peer).await));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // The other address is within its share: its idle connection stays, and so does a newcomer.
        for index in [0, 2, 3] {
            served(seats[index].as_ref().unwrap());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        go_in_turn(&slots, &mut seats, &[2]);
        // Now none is above its share, and the longest idle one is evicted.
        go_in_turn(&slots, &mut seats, &[0, 3, 1, 4]);
        assert!(slots.open().shares.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxys_connections_count_for_the_clients_it_names() {
        let proxies = Networks::parse(["10.0.0.0/8"]).unwrap();
        let [proxy, one, other] =
            ["10.0.0.1", "203.0.113.7", "198.51.100.1"].map(|it| it.parse().unwrap());
        let slots = ConnectionSlots::new(16, 0, proxies);
        let mut seats = Vec::new();
        for client in [other, one, one, one, proxy] {
            let seat = slots.take(proxy).await;
            seat.counts_for(client);
            served(&seat);
            seats.push(Some(seat));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert_eq!(slots.open().shares[&one], 3);
        // One is above its share, so it goes before the one that waits longest.
        go_in_turn(&slots, &mut seats, &[1, 0, 2, 3, 4]);
        assert!(slots.open().shares.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn while_all_are_busy_one_more_gets_a_reserved_slot() {
        let slots = ConnectionSlots::new(1, 1, Networks::default());
        let busy = slots.take(HERE).await;
        busy.slot.request_begins(false);
        let reserved = slots.take(HERE).await;
        assert!(reserved.slot.is_reserved() && !busy.slot.is_reserved());
        // The next one gets the slot of an idle one.
        let taken = tokio::join!(slots.take(HERE), async { drop(reserved) }).0;
        assert!(taken.slot.is_reserved());
        drop(busy);
        assert!(!slots.take(HERE).await.slot.is_reserved());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_guard_frees_its_slot_and_a_batch_is_a_sixteenth() {
        let slots = slots(32);
        let mut seats = Vec::new();
        for _ in 0..32 {
            seats.push(slots.take(HERE).await);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(timeout(Duration::from_secs(5), slots.take(HERE)).await.is_err());
        let gone: Vec<bool> = seats.iter().map(told).collect();
        assert_eq!(gone.iter().filter(|told| **told).count(), 2, "told again, not others too");
        assert!(gone[0] && gone[1]);
        seats.remove(0);
        assert!(timeout(Duration::from_secs(5), slots.take(HERE)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_extends_no_timeout_and_each_state_has_its_own() {
        let seconds = Duration::from_secs;
        let patience = Timeouts { header: seconds(10), idle: seconds(75), write: seconds(5) };
        let slots = slots(1);
        let guard = slots.take(HERE).await;
        let slot = guard.slot();
        let begun = Instant::now();
        assert_eq!(slot.due(&patience), Some((begun + seconds(10), Closed::Idle)));
        slot.head_begins();
        tokio::time::advance(seconds(3)).await;
        slot.head_begins();
        assert_eq!(slot.due(&patience), Some((begun + seconds(10), Closed::HeadTooSlow)));
        slot.request_begins(true);
        assert_eq!(slot.due(&patience), None);
        slot.body_ends();
        slot.answered();
        assert_eq!(slot.due(&patience), None);
        slot.write_moves(false);
        tokio::time::advance(seconds(1)).await;
        slot.write_moves(false);
        assert_eq!(slot.due(&patience), Some((begun + seconds(8), Closed::WriteTooSlow)));
        slot.flushed();
        assert_eq!(slot.due(&patience), Some((begun + seconds(79), Closed::Idle)));
        assert!(!slot.refused());
        assert!(slot.write_begins());
        assert!(slot.refused() && slot.is_cut_short());
        // An answer within a body, whose rest hyper then reads: the next request starts afresh.
        slot.request_begins(true);
        slot.answered();
        assert!(slot.is_cut_short());
        slot.request_begins(false);
        assert!(!slot.is_cut_short());
    }
}
