//! What is to be written of a room: its computed sessions compared with those that are there.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::projections::rtc::session::{RtcAnomaly, RtcSession};
use crate::sessions::compute::Round;
use crate::sessions::rtc::portion::Portion;
use crate::store::{
    Finding, OpenAnomaly, RoomId, RtcIntervalRow, RtcRows, RtcSessionRow, RtcSettlement,
    RtcStayRow, Tally,
};
use protocol::json::room_id::RoomIdKind;

/// What is there of a room.
pub(crate) struct Stored {
    /// Its rows.
    pub(crate) rows: RtcRows,
    /// Its listed anomalies.
    pub(crate) known: Vec<OpenAnomaly>,
}

/// What is not so as it should be.
pub(crate) struct Changes {
    /// What is to be written.
    pub(crate) settlement: RtcSettlement,
    /// The kinds of anomalies that were not listed before.
    pub(crate) new: Vec<&'static str>,
    /// How many rows are so and how many are not.
    pub(crate) tallies: Tallies,
}

/// How many rows are as they should be.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    sessions: Tally,
    stays: Tally,
    intervals: Tally,
    anomalies: Tally,
}

impl Tallies {
    /// Each with its table.
    pub(crate) fn tables(self) -> Vec<(&'static str, Tally)> {
        vec![
            ("rtc_room_sessions", self.sessions),
            ("rtc_stays", self.stays),
            ("rtc_publish_intervals", self.intervals),
            ("anomalies", self.anomalies),
        ]
    }
}

/// What of the rows of a room is new or changed, and what is no longer so. Anomalies that are new are listed where
/// `quiet`: what is out of order mostly comes within seconds.
pub(crate) fn changes(
    room: &RoomId,
    mut portion: Portion,
    stored: Stored,
    (round, quiet): (&Round, bool),
) -> Changes {
    let Stored { rows: before, known } = stored;
    let is_open = |kind: RoomIdKind, session: i64| {
        before.sessions.iter().any(|row| {
            row.session == session && row.room_id_kind == kind.as_str() && row.state == "open"
        })
    };
    for (kind, session) in &mut portion.sessions {
        // A comparison that is no settling leaves it to the settler to close a session in time.
        if !(round.keeps_open && is_open(*kind, session.session)) {
            session.close_overdue(round.now);
        }
    }
    let found = findings(room, &portion);
    let now = rows(room, &portion);
    let mut settlement = RtcSettlement::default();
    let mut tallies = Tallies::default();
    let sessions = |row: &RtcSessionRow| (row.room_id_kind.clone(), row.session);
    (settlement.changed.sessions, settlement.gone.sessions) =
        compared(before.sessions, now.sessions, sessions, &mut tallies.sessions);
    let stays = |row: &RtcStayRow| (row.room_id_kind.clone(), row.stay_id);
    (settlement.changed.stays, settlement.gone.stays) =
        compared(before.stays, now.stays, stays, &mut tallies.stays);
    let intervals = |row: &RtcIntervalRow| (row.room_id_kind.clone(), row.interval_id);
    (settlement.changed.intervals, settlement.gone.intervals) =
        compared(before.intervals, now.intervals, intervals, &mut tallies.intervals);
    let mut new = Vec::new();
    for known in &known {
        if !found.contains_key(&(known.kind.as_str(), known.session)) {
            settlement.resolved.push((known.kind.clone(), known.session));
            tallies.anomalies.too_many += 1;
        }
    }
    let is_listed = |of: &Finding| {
        known.iter().any(|known| {
            (known.kind.as_str(), known.session) == (of.kind, of.session)
                && (known.happened_at, &known.detail) == (of.happened_at, &of.detail)
        })
    };
    for found in found.into_values().filter(|of| quiet && !is_listed(of)) {
        let of_key = |known: &OpenAnomaly| {
            (known.kind.as_str(), known.session) == (found.kind, found.session)
        };
        if known.iter().any(of_key) {
            tallies.anomalies.wrong += 1;
        } else {
            tallies.anomalies.missing += 1;
            new.push(found.kind);
        }
        settlement.found.push(found);
    }
    Changes { settlement, new, tallies }
}

fn rows(room: &RoomId, portion: &Portion) -> RtcRows {
    let mut rows = RtcRows::default();
    for (kind, session) in &portion.sessions {
        let (kind, key) = (*kind, session.session);
        let is_cut = portion.cut.contains(&(kind, key));
        rows.sessions.push(RtcSessionRow::of(room, kind, session, is_cut));
        rows.stays.extend(session.stays.iter().map(|of| RtcStayRow::of(room, kind, key, of)));
        let intervals = session.intervals.iter();
        rows.intervals.extend(intervals.map(|of| RtcIntervalRow::of(room, kind, key, of)));
    }
    rows
}

/// The rows that are new or changed, and those that are gone.
fn compared<R: PartialEq, K: Hash + Eq>(
    before: Vec<R>,
    now: Vec<R>,
    key: impl Fn(&R) -> K,
    tally: &mut Tally,
) -> (Vec<R>, Vec<R>) {
    let mut before: HashMap<K, R> = before.into_iter().map(|row| (key(&row), row)).collect();
    let mut changed = Vec::new();
    for row in now {
        match before.remove(&key(&row)) {
            Some(old) if old == row => tally.right += 1,
            Some(_) => {
                tally.wrong += 1;
                changed.push(row);
            }
            None => {
                tally.missing += 1;
                changed.push(row);
            }
        }
    }
    tally.too_many += before.len() as u64;
    (changed, before.into_values().collect())
}

/// What is missing, by kind and session. The two rooms of one text share their subject: of two findings of one kind that
/// happen to have the same key, the first is listed.
fn findings(room: &RoomId, portion: &Portion) -> BTreeMap<(&'static str, i64), Finding> {
    let mut found = BTreeMap::new();
    let mut add = |kind: RtcAnomaly, session, happened_at, detail| {
        let (app, subject, kind) = (room.app, room.room_id.clone(), kind.as_str());
        let finding = Finding { app, kind, subject, session, happened_at, detail };
        found.entry((kind, session)).or_insert(finding);
    };
    for (_, session) in &portion.sessions {
        for finding in session.findings() {
            let detail = detail(finding.kind, finding.count, session);
            add(finding.kind, finding.session, finding.happened_at, detail);
        }
    }
    for mark in &portion.unattached {
        let detail = "a dismissal came as text, and either both the room of that number and the room of that text \
                      were in session, or none";
        add(RtcAnomaly::DismissUnattached, mark.at.0, mark.at, detail.to_owned());
    }
    found
}

fn detail(kind: RtcAnomaly, count: usize, session: &RtcSession) -> String {
    match kind {
        RtcAnomaly::RoomWithoutCreate => {
            "no create event came; it began with the first event there is".to_owned()
        }
        RtcAnomaly::RoomWithoutDismiss => {
            "no dismissal came; it is said to have ended with its last event".to_owned()
        }
        RtcAnomaly::ExitsMissing => {
            format!("{count} of {} stays had no exit event when it ended", session.stays.len())
        }
        RtcAnomaly::StopsMissing => format!(
            "{count} of {} publish intervals had neither a stop event nor an exit event",
            session.intervals.len()
        ),
        RtcAnomaly::DismissUnattached => String::new(),
    }
}
