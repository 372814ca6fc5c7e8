//! Settles rooms that a rebuild names, and says what was not right of them.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Clock;
use crate::sessions::compute::Round;
use crate::sessions::plan::{Plan, plan};
use crate::sessions::rtc;
use crate::settings::{GapsSettings, SettleSettings, seconds};
use crate::store::{Queued, RoomId, RoomQueue, SettlerConnection, StoreError, StoreOptions, Tally};

/// Compares room sessions, live sessions and those of the rooms of the RTC Engine with their facts.
pub(crate) struct SessionVerifier {
    store: SettlerConnection,
    leads: bool,
    clock: Clock,
    idle_max: Option<Duration>,
    bounds: SettleSettings,
    /// Sessions of the present room that were counted: one may last for days, each of which names it.
    counted: Option<(RoomId, HashSet<(&'static str, i64)>)>,
}

/// The comparison of one room, and of one day of it.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// The findings of each table.
    pub(crate) tables: Vec<(&'static str, Tally)>,
}

impl Comparison {
    /// Whether all was right.
    pub(crate) fn is_right(&self) -> bool {
        self.tables.iter().all(|(_, tally)| tally.faults() == 0)
    }
}

impl SessionVerifier {
    pub(crate) async fn open(
        options: &StoreOptions,
        (gaps, bounds): (&GapsSettings, &SettleSettings),
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let store = SettlerConnection::open(options).await?;
        let idle_max = seconds(gaps.room_idle_overdue_s);
        let bounds = bounds.clone();
        Ok(Self { store, leads: false, clock, idle_max, bounds, counted: None })
    }

    /// Whether it is the one who settles; else a server is.
    pub(crate) async fn leads(&mut self) -> Result<bool, StoreError> {
        self.leads = self.leads || self.store.lead().await?;
        Ok(self.leads)
    }

    /// Compares, and writes what was not right where it may and is the one who settles.
    pub(crate) async fn compare(
        &mut self,
        queue: RoomQueue,
        queued: &Queued,
        writes: bool,
    ) -> Result<Comparison, StoreError> {
        let now = self.clock.now();
        let round = Round {
            now,
            idle_max: self.idle_max,
            slot_old: 0,
            keeps_open: true,
            deep: true,
            boundaries_per_day_max: self.bounds.boundaries_per_day_max,
            session_bytes_max: self.bounds.session_bytes_max,
        };
        let writes = writes && self.leads;
        if queue == RoomQueue::Rtc {
            let tables = rtc::compare(&mut self.store, queued, &round, writes).await?;
            return Ok(Comparison { tables });
        }
        let plans = plan(&mut self.store, std::slice::from_ref(queued), &round, writes).await?;
        let Some(mut plan) = plans.into_iter().next().flatten() else {
            return Ok(Comparison::default());
        };
        let compared = self.counted(queued, &plan);
        if writes {
            // If something else queued it, it is settled once more, which does no harm.
            plan.settlement.done = Some(0);
            self.store.write(std::iter::once((queued, &plan.settlement)), now).await?;
        }
        Ok(compared)
    }

    fn counted(&mut self, queued: &Queued, plan: &Plan) -> Comparison {
        if self.counted.as_ref().is_none_or(|(room, _)| *room != queued.room) {
            self.counted = Some((queued.room.clone(), HashSet::new()));
        }
        let mut seen = HashSet::new();
        let counted = self.counted.as_mut().map_or(&mut seen, |(_, counted)| counted);
        let settlement = &plan.settlement;
        let rooms = tally(
            "room_sessions",
            plan,
            &plan.rooms_before,
            &plan.rooms_changed,
            &settlement.rooms_gone,
            counted,
        );
        let sessions = tally(
            "live_sessions",
            plan,
            &plan.live_sessions_before,
            &plan.live_sessions_changed,
            &plan.live_sessions_gone,
            counted,
        );
        let mut anomalies = Tally::default();
        for (kind, session) in plan.found.iter().filter(|found| counted.insert(**found)) {
            if plan.knows(kind, *session) {
                anomalies.wrong += 1;
            } else {
                anomalies.missing += 1;
            }
        }
        anomalies.too_many += plan.resolved as u64;
        let tables =
            [("room_sessions", rooms), ("live_sessions", sessions), ("anomalies", anomalies)];
        Comparison { tables: tables.into() }
    }

    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}

/// Counts the sessions that were not counted yet.
fn tally(
    table: &'static str,
    plan: &Plan,
    before: &[i64],
    changed: &[i64],
    gone: &[i64],
    counted: &mut HashSet<(&'static str, i64)>,
) -> Tally {
    let mut tally = Tally::default();
    for session in gone.iter().filter(|session| counted.insert((table, **session))) {
        debug_assert!(before.contains(session), "what is not there cannot be too much");
        tally.too_many += 1;
    }
    for session in changed.iter().filter(|session| counted.insert((table, **session))) {
        if before.contains(session) {
            tally.wrong += 1;
        } else {
            tally.missing += 1;
        }
    }
    let is_right =
        |session: &&i64| plan.looked_at.contains(session) && counted.insert((table, **session));
    tally.right += before.iter().filter(is_right).count() as u64;
    tally
}
