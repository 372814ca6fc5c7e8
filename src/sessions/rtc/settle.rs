//! Settles rooms of the RTC Engine that are queued.

use std::iter::once;

use crate::projections::rtc::MARKS_MAX;
use crate::projections::rtc::cut::CUT_BEFORE_MS;
use crate::projections::rtc::session::RtcAnomaly;
use crate::sessions::compute::Round;
use crate::sessions::plan::SettleReport;
use crate::sessions::rtc::changes::{Changes, Stored, changes};
use crate::sessions::rtc::portion::Portion;
use crate::store::{Queued, RTC_HOUR_MS, RoomId, RtcMarks, SettlerConnection, StoreError, Tally};
use protocol::UnixMillis;

/// How many marks are read of all rooms that are settled together, or of one that is settled beside others.
const QUICK_MARKS: usize = 8000;

/// Settles rooms whose marks of an hour and later are new.
pub(crate) async fn settle(
    store: &mut SettlerConnection,
    queued: &[Queued],
    round: &Round,
) -> Result<SettleReport, StoreError> {
    let from = store.rtc_cuts(queued.iter().map(cut_of)).await?;
    if let ([queued], [from], true) = (queued, from.as_slice(), round.deep) {
        let mut report = SettleReport::default();
        by_portions(store, queued, *from, (round, true), |changes| {
            report.found.append(&mut changes.new);
        })
        .await?;
        return Ok(report);
    }
    let limit = QUICK_MARKS / queued.len().max(1);
    let rooms = queued.iter().map(|queued| &queued.room).zip(from.iter().copied());
    let marks = store.rtc_marks(rooms, limit).await?;
    let mut report = SettleReport::default();
    let mut small: Vec<(&Queued, UnixMillis, RtcMarks)> = Vec::with_capacity(queued.len());
    for (place, ((queued, from), marks)) in queued.iter().zip(from).zip(marks).enumerate() {
        if marks.is_full {
            report.too_much.push(place);
        } else {
            small.push((queued, from, marks));
        }
    }
    let ranges: Vec<(&RoomId, (i64, i64))> =
        small.iter().map(|(queued, from, _)| (&queued.room, (from.0, i64::MAX))).collect();
    let stored = stored(store, &ranges).await?;
    let mut settlements = Vec::with_capacity(small.len());
    for ((queued, _, marks), stored) in small.into_iter().zip(stored) {
        let portion = Portion::of(marks).await;
        let mut changes = changes(&queued.room, portion, stored, (round, is_quiet(queued, round)));
        changes.settlement.done = done(queued, round);
        report.found.extend(changes.new);
        settlements.push((queued, changes.settlement));
    }
    let all = settlements.iter().map(|(queued, settlement)| (*queued, settlement));
    store.write_rtc(all, round.now).await?;
    Ok(report)
}

/// A room, and the time before which a computation of it is to begin.
fn cut_of(queued: &Queued) -> (&RoomId, UnixMillis) {
    let hour = queued.day.saturating_mul(RTC_HOUR_MS);
    (&queued.room, UnixMillis(hour.saturating_sub(CUT_BEFORE_MS)))
}

/// Compares the rows of a room with its marks from an hour on, and writes what is not right where it may.
pub(crate) async fn compare(
    store: &mut SettlerConnection,
    queued: &Queued,
    round: &Round,
    writes: bool,
) -> Result<Vec<(&'static str, Tally)>, StoreError> {
    let from = store.rtc_cuts(once(cut_of(queued))).await?;
    let from = from.into_iter().next().unwrap_or(UnixMillis(0));
    let mut tables: Vec<(&'static str, Tally)> = Vec::new();
    by_portions(store, queued, from, (round, writes), |changes| {
        for (table, found) in std::mem::take(&mut changes.tallies).tables() {
            match tables.iter_mut().find(|(of, _)| *of == table) {
                Some((_, tally)) => tally.add(found),
                None => tables.push((table, found)),
            }
        }
    })
    .await?;
    Ok(tables)
}

/// Computes a room of which there may be much, a portion of its marks after the other, and writes each where `writes`
/// says so.
async fn by_portions(
    store: &mut SettlerConnection,
    queued: &Queued,
    mut from: UnixMillis,
    (round, writes): (&Round, bool),
    mut take: impl FnMut(&mut Changes) + Send,
) -> Result<(), StoreError> {
    let room = &queued.room;
    loop {
        let found = store.rtc_marks(once((room, from)), MARKS_MAX).await?;
        let marks = found.into_iter().next().unwrap_or_default();
        let is_full = marks.is_full;
        let mut portion = Portion::of(marks).await;
        let mut until = None;
        if is_full {
            until = portion.next_cut(from);
            if until.is_none() {
                // What is between the last mark that was read and the next create is left out.
                let behind = portion.last_at().map(|at| UnixMillis(at.0 + 1));
                until = store.rtc_next_create(room, behind.unwrap_or(from)).await?;
                portion.cut_off(until.is_some());
            }
        }
        if let Some(until) = until {
            portion.end_before(until);
        }
        let range = (from.0, until.map_or(i64::MAX, |until| until.0 - 1));
        let stored = stored(store, &[(room, range)]).await?.into_iter().next();
        if let Some(stored) = stored {
            let mut changes = changes(room, portion, stored, (round, is_quiet(queued, round)));
            changes.settlement.done = done(queued, round).filter(|_| until.is_none());
            take(&mut changes);
            if writes {
                store.write_rtc(once((queued, &changes.settlement)), round.now).await?;
            }
        }
        let Some(until) = until else { return Ok(()) };
        from = until;
    }
}

/// What is there of each room, of its sessions from the first to the last.
async fn stored(
    store: &mut SettlerConnection,
    ranges: &[(&RoomId, (i64, i64))],
) -> Result<Vec<Stored>, StoreError> {
    let rows = store.rtc_rows(ranges.iter().copied()).await?;
    let kinds = RtcAnomaly::ALL.map(RtcAnomaly::as_str);
    let known = store.known(&kinds, ranges.iter().copied()).await?;
    Ok(rows.into_iter().zip(known).map(|(rows, known)| Stored { rows, known }).collect())
}

/// What is out of order mostly comes within seconds, so what is missing is listed when it was quiet for a while.
fn is_quiet(queued: &Queued, round: &Round) -> bool {
    queued.slot_last <= round.slot_old
}

/// Up to which slot the room may leave the queue.
fn done(queued: &Queued, round: &Round) -> Option<i64> {
    (queued.slot_first <= round.slot_old).then_some(round.slot_old)
}
