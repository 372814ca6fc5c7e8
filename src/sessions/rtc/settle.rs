//! Settles rooms of the RTC Engine that are queued.

use std::iter::once;

use crate::projections::rtc::MARKS_MAX;
use crate::projections::rtc::cut::CUT_BEFORE_MS;
use crate::projections::rtc::session::RtcAnomaly;
use crate::sessions::compute::Round;
use crate::sessions::plan::SettleReport;
use crate::sessions::rtc::changes::{Stored, changes};
use crate::sessions::rtc::portion::Portion;
use crate::store::{
    Queued, RTC_HOUR_MS, RoomId, RtcMarks, RtcSettlement, SettlerConnection, StoreError,
};
use protocol::UnixMillis;

/// How many marks are read of all rooms that are settled together, or of one that is settled beside others.
const QUICK_MARKS: usize = 8000;

/// Settles rooms whose marks of an hour and later are new.
pub(crate) async fn settle(
    store: &mut SettlerConnection,
    queued: &[Queued],
    round: &Round,
) -> Result<SettleReport, StoreError> {
    let rooms = queued.iter().map(|queued| {
        (
            &queued.room,
            UnixMillis(queued.day.saturating_mul(RTC_HOUR_MS).saturating_sub(CUT_BEFORE_MS)),
        )
    });
    let from = store.rtc_cuts(rooms).await?;
    if let ([queued], [from], true) = (queued, from.as_slice(), round.deep) {
        return settle_large(store, queued, *from, round).await;
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
        let mut settlement = new(&mut report, queued, portion, stored, round);
        settlement.done = done(queued, round);
        settlements.push((queued, settlement));
    }
    let all = settlements.iter().map(|(queued, settlement)| (*queued, settlement));
    store.write_rtc(all, round.now).await?;
    Ok(report)
}

/// Settles a room of which there is much, a portion of its marks after the other.
async fn settle_large(
    store: &mut SettlerConnection,
    queued: &Queued,
    mut from: UnixMillis,
    round: &Round,
) -> Result<SettleReport, StoreError> {
    let (room, mut report) = (&queued.room, SettleReport::default());
    loop {
        let found = store.rtc_marks(once((room, from)), MARKS_MAX).await?;
        let marks = found.into_iter().next().unwrap_or_default();
        let is_full = marks.is_full;
        let mut portion = Portion::of(marks).await;
        let mut until = None;
        if is_full {
            until = portion.next_cut(from);
            if until.is_none() {
                portion.is_cut();
                // What is between the last mark that was read and the next create is left out.
                let behind = portion.last_at().map(|at| UnixMillis(at.0 + 1));
                until = store.rtc_next_create(room, behind.unwrap_or(from)).await?;
            }
        }
        if let Some(until) = until {
            portion.end_before(until);
        }
        let range = (from.0, until.map_or(i64::MAX, |until| until.0 - 1));
        let stored = stored(store, &[(room, range)]).await?;
        for stored in stored {
            let mut settlement =
                new(&mut report, queued, std::mem::take(&mut portion), stored, round);
            settlement.done = done(queued, round).filter(|_| until.is_none());
            store.write_rtc(once((queued, &settlement)), round.now).await?;
        }
        let Some(until) = until else { return Ok(report) };
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

fn new(
    report: &mut SettleReport,
    queued: &Queued,
    portion: Portion,
    stored: Stored,
    round: &Round,
) -> RtcSettlement {
    let quiet = queued.slot_last <= round.slot_old;
    let known: Vec<(String, i64)> =
        stored.known.iter().map(|known| (known.kind.clone(), known.session)).collect();
    let settlement = changes(&queued.room, portion, stored, (round, quiet));
    let is_new = |of: &&crate::store::Finding| {
        !known.iter().any(|known| (known.0.as_str(), known.1) == (of.kind, of.session))
    };
    report.found.extend(settlement.found.iter().filter(is_new).map(|of| of.kind));
    settlement
}

/// Up to which slot the room may leave the queue.
fn done(queued: &Queued, round: &Round) -> Option<i64> {
    (queued.slot_first <= round.slot_old).then_some(round.slot_old)
}
