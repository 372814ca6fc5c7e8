//! Decides whether a fact makes a derived event, another revision of one, or nothing.

use crate::forwarding::derived::facts::FactRow;
use crate::store::DerivedEvent;
use forward::derived::DerivedType;

/// What is known of one call, recording, or session of a room.
pub(super) struct Known<'a> {
    /// Its row; `None` where there is none any more.
    pub(super) row: Option<&'a FactRow>,
    /// The latest revision of each type that was derived from it.
    pub(super) latest: &'a [DerivedEvent],
    /// Whether a fact that was never derived is new: the events that were noted may have made it.
    pub(super) may_be_new: bool,
    /// Where there is no row: whether its time belongs to another session now, so that the fact never was. Else the row expired.
    pub(super) is_replaced: bool,
}

/// A revision that is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) r#type: DerivedType,
    pub(super) number: i64,
    pub(super) withdrawn: bool,
}

/// The revisions that follow, in the order in which they are sent.
pub(super) fn revisions(known: &Known<'_>) -> Vec<Revision> {
    let of_type = |r#type: DerivedType| {
        let latest = known.latest.iter().find(|event| event.r#type == r#type.name());
        let holds = known.row.is_some_and(|row| row.facts.contains(&r#type));
        match latest {
            None => (holds && known.may_be_new).then_some(Revision {
                r#type,
                number: 1,
                withdrawn: false,
            }),
            Some(latest) => {
                let is_changed = match known.row {
                    Some(row) if holds => latest.withdrawn || latest.hash != row.hash,
                    Some(_) => !latest.withdrawn,
                    None => !latest.withdrawn && known.is_replaced,
                };
                is_changed.then_some(Revision {
                    r#type,
                    number: latest.revision.saturating_add(1),
                    withdrawn: !holds,
                })
            }
        }
    };
    DerivedType::ALL.into_iter().filter_map(of_type).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{AppId, UnixMillis};
    use uuid::Uuid;

    fn row(hash: i64, facts: &[DerivedType]) -> FactRow {
        FactRow {
            json: "{}".to_owned(),
            hash,
            facts: facts.to_vec(),
            family: "call".to_owned(),
            call_id: None,
            room_id: None,
            happened_at: UnixMillis(0),
            last_at: UnixMillis(0),
            span: None,
        }
    }

    fn latest(of: DerivedType, revision: i64, hash: i64, withdrawn: bool) -> DerivedEvent {
        DerivedEvent {
            id: Uuid::nil(),
            r#type: of.name().to_owned(),
            family: "call".to_owned(),
            app: AppId::parse("1").unwrap(),
            subject: "c".to_owned(),
            session: 0,
            revision,
            withdrawn,
            hash,
            call_id: None,
            room_id: None,
            happened_at: UnixMillis(0),
            last_at: UnixMillis(0),
            created_at: UnixMillis(0),
        }
    }

    /// Types by name, numbers, and whether they are withdrawn.
    fn shown(known: &Known<'_>) -> Vec<(&'static str, i64, bool)> {
        let all = revisions(known).into_iter();
        all.map(|one| (one.r#type.name(), one.number, one.withdrawn)).collect()
    }

    #[test]
    fn a_fact_is_derived_once_and_revised_when_its_row_changes() {
        use DerivedType::{CallEnded, CallMissed};
        let (open, missed, ended) =
            (row(1, &[]), row(2, &[CallMissed, CallEnded]), row(3, &[CallEnded]));
        let of = |row, latest: &[DerivedEvent]| {
            shown(&Known { row: Some(row), latest, may_be_new: true, is_replaced: false })
        };
        assert_eq!(of(&open, &[]), []);
        let both = [("trtc.call.missed", 1, false), ("trtc.call.ended", 1, false)];
        assert_eq!(of(&missed, &[]), both);
        let first = [latest(CallMissed, 1, 2, false), latest(CallEnded, 1, 2, false)];
        assert_eq!(of(&missed, &first), [], "the same row");
        // A late event says that somebody accepted.
        let revised = [("trtc.call.missed", 2, true), ("trtc.call.ended", 2, false)];
        assert_eq!(of(&ended, &first), revised);
        let second = [latest(CallMissed, 2, 3, true), latest(CallEnded, 2, 3, false)];
        assert_eq!(of(&ended, &second), []);
        let again = [("trtc.call.missed", 3, false), ("trtc.call.ended", 3, false)];
        assert_eq!(of(&missed, &second), again);
    }

    #[test]
    fn a_fact_is_withdrawn_where_another_session_has_its_time() {
        let known = [latest(DerivedType::RoomClosed, 1, 5, false)];
        let gone = |is_replaced| Known { row: None, latest: &known, may_be_new: true, is_replaced };
        assert_eq!(shown(&gone(true)), [("trtc.room.closed", 2, true)]);
        assert_eq!(shown(&gone(false)), [], "it expired");
        let withdrawn = [latest(DerivedType::RoomClosed, 2, 5, true)];
        let gone = Known { row: None, latest: &withdrawn, may_be_new: true, is_replaced: true };
        assert_eq!(shown(&gone), []);
    }

    #[test]
    fn an_old_fact_that_no_new_event_made_is_not_derived() {
        let ended = row(3, &[DerivedType::RoomClosed]);
        let known = Known { row: Some(&ended), latest: &[], may_be_new: false, is_replaced: false };
        assert_eq!(shown(&known), []);
    }
}
