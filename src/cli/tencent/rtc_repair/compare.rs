//! What the vendor knows of one session of a room, compared with what the store has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cli::tencent::rtc_repair::matching::unmatched;
use crate::store::{RepairKind, RepairedMark, RoomFact};
use crate::tencent_api::{RoomLife, UserStay};
use protocol::UnixMillis;
use protocol::json::room_id::RoomIdKind;

/// How far apart a create or an enter of the vendor's, which is in whole seconds, and a stored one may be, in s.
const BEGIN_TOLERANCE_S: u64 = 2;
/// How far apart an exit of the vendor's and a stored one may be, in s: of a user who was lost the one is the loss, the other the
/// end of the timeout behind it.
const EXIT_TOLERANCE_S: u64 = 100;
/// How long after its end a session's dismissal is looked for.
const DISMISSAL_WAIT: Duration = Duration::from_mins(15);

/// A session that the vendor knows.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) life: RoomLife,
    /// When the next session of the room was created, as far as the vendor was asked, in s.
    pub(crate) next_s: Option<i64>,
}

/// What the store has of a session.
pub(crate) struct Stored<'a> {
    session: &'a Session,
    /// The kind of the room's id.
    pub(crate) room_id_kind: RoomIdKind,
    facts: Vec<RoomFact>,
}

impl Session {
    /// The sessions in order, each with the begin of the next.
    pub(crate) fn list(mut lives: Vec<RoomLife>) -> Vec<Self> {
        lives.sort_by(|one, other| {
            (&one.room_id, one.created_s).cmp(&(&other.room_id, other.created_s))
        });
        let mut sessions: Vec<Self> = Vec::with_capacity(lives.len());
        for life in lives {
            // Sessions at the same time are of two rooms: the number 123 and the text "123".
            if let Some(last) = sessions.last_mut()
                && last.life.room_id == life.room_id
                && last.life.created_s < life.created_s
                && last.life.destroyed_s.is_none_or(|end| end <= life.created_s)
            {
                last.next_s = Some(life.created_s);
            }
            sessions.push(Self { life, next_s: None });
        }
        sessions
    }

    /// From when until when its facts are.
    pub(crate) fn window(&self, now: UnixMillis) -> (UnixMillis, UnixMillis) {
        let life = &self.life;
        let end = life.destroyed_s.map_or(now, moment);
        (
            moment(life.created_s).minus(Duration::from_secs(BEGIN_TOLERANCE_S)),
            end.plus(DISMISSAL_WAIT),
        )
    }
}

impl<'a> Stored<'a> {
    /// Takes those of the facts of the room that are of this session.
    pub(crate) fn new(session: &'a Session, mut facts: Vec<RoomFact>) -> Self {
        let created_s = session.life.created_s;
        let room_id_kind = kind_of_room(&session.life, &facts);
        let is_of_kind = |fact: &RoomFact| fact.room_id_kind == room_id_kind;
        let is_next = |fact: &&RoomFact| {
            fact.kind == RepairKind::Create
                && is_of_kind(fact)
                && fact.at.as_secs() > created_s
                && fact.at.as_secs().abs_diff(created_s) > BEGIN_TOLERANCE_S
        };
        let next_s = facts.iter().filter(is_next).map(|fact| fact.at.as_secs()).min();
        let next_s = next_s.into_iter().chain(session.next_s).min();
        // The vendor does not always send the kind of a dismissed room right.
        facts.retain(|fact| {
            (is_of_kind(fact) || fact.kind == RepairKind::Dismiss)
                && next_s.is_none_or(|next| fact.at.as_secs() < next)
        });
        facts.sort_by_key(|fact| (fact.at, fact.kind));
        Self { session, room_id_kind, facts }
    }

    /// Create and dismissal, where they are missing. What is later than `before` may still come.
    pub(crate) fn missing_boundaries(&self, before: UnixMillis) -> Vec<RepairedMark> {
        let life = &self.session.life;
        let mut missing = Vec::new();
        let mut creates = self.of_kind(RepairKind::Create);
        if !creates.any(|fact| fact.at.as_secs().abs_diff(life.created_s) <= BEGIN_TOLERANCE_S) {
            let (at, account) = (moment(life.created_s), life.creator.clone());
            missing.push(RepairedMark { at, kind: RepairKind::Create, account });
        }
        if let Some(destroyed_s) = life.destroyed_s
            && self.of_kind(RepairKind::Dismiss).all(|fact| fact.at.as_secs() < life.created_s)
        {
            // The vendor's second begins before what happened within it.
            let within = self.facts.iter().filter(|fact| fact.at.as_secs() == destroyed_s);
            let at = within.map(|fact| fact.at).max().unwrap_or_else(|| moment(destroyed_s));
            missing.push(RepairedMark { at, kind: RepairKind::Dismiss, account: None });
        }
        missing.retain(|mark| mark.at <= before);
        missing
    }

    /// Whether enters or exits seem to be missing.
    pub(crate) fn lacks_stays(&self, before: UnixMillis) -> bool {
        if self.of_kind(RepairKind::Enter).next().is_none()
            || !self.missing_boundaries(before).is_empty()
        {
            return true;
        }
        let mut begun_by_enter = BTreeMap::new();
        let mut inside = BTreeSet::new();
        for fact in &self.facts {
            let (Some(account), true) = (&fact.account, fact.kind != RepairKind::Create) else {
                continue;
            };
            begun_by_enter.entry(account).or_insert(fact.kind == RepairKind::Enter);
            match fact.kind {
                RepairKind::Enter => inside.insert(account),
                RepairKind::Exit => inside.remove(account),
                _ => false,
            };
        }
        let is_over = self.session.life.destroyed_s.is_some_and(|end| moment(end) <= before);
        begun_by_enter.values().any(|is_so| !is_so) || (is_over && !inside.is_empty())
    }

    /// Enters and exits that are missing, in order of time. What is later than `before` may still come.
    pub(crate) fn missing_stays(
        &self,
        stays: &[UserStay],
        before: UnixMillis,
    ) -> Vec<RepairedMark> {
        let enters = moments(stays.iter().map(|stay| (&stay.account, Some(stay.joined_s))));
        let exits = moments(stays.iter().map(|stay| (&stay.account, stay.left_s)));
        let enters = self.missing(RepairKind::Enter, &enters, BEGIN_TOLERANCE_S);
        let exits = self.missing(RepairKind::Exit, &exits, EXIT_TOLERANCE_S);
        let mut missing: Vec<RepairedMark> = enters.into_iter().chain(exits).collect();
        missing.retain(|mark| mark.at <= before);
        missing.sort_by(|one, other| {
            (one.at, one.kind, &one.account).cmp(&(other.at, other.kind, &other.account))
        });
        missing
    }

    fn missing(
        &self,
        kind: RepairKind,
        wanted: &BTreeMap<&str, BTreeSet<i64>>,
        tolerance_s: u64,
    ) -> Vec<RepairedMark> {
        let known = self.of_kind(kind).filter_map(|fact| Some((fact.account.as_ref()?, fact)));
        let known = moments(known.map(|(account, fact)| (account, Some(fact.at.as_secs()))));
        let nothing = BTreeSet::new();
        let mut missing = Vec::new();
        for (account, wanted) in wanted {
            let known = known.get(account).unwrap_or(&nothing);
            for second in unmatched(wanted, known, tolerance_s) {
                let at = match kind {
                    RepairKind::Exit => self.exit_moment(account, second),
                    _ => moment(second),
                };
                missing.push(RepairedMark { at, kind, account: Some((*account).to_owned()) });
            }
        }
        missing
    }

    /// When an exit of this second was: not before an enter within it.
    fn exit_moment(&self, account: &str, second: i64) -> UnixMillis {
        let from = self.facts.partition_point(|fact| fact.at.as_secs() < second);
        let within = self.facts[from..].iter().take_while(|fact| fact.at.as_secs() == second);
        let enters = within.filter(|fact| {
            fact.kind == RepairKind::Enter && fact.account.as_deref() == Some(account)
        });
        enters.map(|fact| fact.at).max().unwrap_or_else(|| moment(second))
    }

    fn of_kind(&self, kind: RepairKind) -> impl Iterator<Item = &RoomFact> {
        self.facts.iter().filter(move |fact| fact.kind == kind)
    }
}

/// The stays of several answers: a stay that lasts longer than a span is in each of them, and has its end in the last.
pub(crate) fn united(stays: Vec<UserStay>) -> Vec<UserStay> {
    let mut ends: BTreeMap<(String, i64), Option<i64>> = BTreeMap::new();
    for UserStay { account, joined_s, left_s } in stays {
        let end = ends.entry((account, joined_s)).or_default();
        *end = (*end).max(left_s);
    }
    let stay = |((account, joined_s), left_s)| UserStay { account, joined_s, left_s };
    ends.into_iter().map(stay).collect()
}

/// Whether a room is named by a number or a text, which the vendor's answer does not tell: as in the store's facts of that time, or
/// else a number where it can be one.
fn kind_of_room(life: &RoomLife, facts: &[RoomFact]) -> RoomIdKind {
    let sure = facts.iter().filter(|fact| fact.kind != RepairKind::Dismiss);
    let nearest = sure.min_by_key(|fact| {
        let distance = fact.at.as_secs().abs_diff(life.created_s);
        let is_its_create = fact.kind == RepairKind::Create && distance <= BEGIN_TOLERANCE_S;
        (!is_its_create, distance)
    });
    match nearest {
        Some(fact) => fact.room_id_kind,
        None if is_number(&life.room_id) => RoomIdKind::Numeric,
        None => RoomIdKind::String,
    }
}

/// Whether a text is a number that a room can have, as it would be printed.
fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|number| number > 0 && number.to_string() == text)
}

fn moments<'a>(
    all: impl Iterator<Item = (&'a String, Option<i64>)>,
) -> BTreeMap<&'a str, BTreeSet<i64>> {
    let mut moments: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for (account, second) in all {
        moments.entry(account).or_default().extend(second);
    }
    moments
}

fn moment(seconds: i64) -> UnixMillis {
    UnixMillis(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the sessions of these tests are created, in s.
    const T: i64 = 1_793_534_400;
    const LATER: UnixMillis = UnixMillis((T + 100_000) * 1000);

    fn session(room_id: &str, destroyed: Option<i64>) -> Session {
        let life = RoomLife {
            comm_id: format!("1_{room_id}_{T}"),
            room_id: room_id.to_owned(),
            created_s: T,
            destroyed_s: destroyed.map(|after| T + after),
            creator: Some("a".to_owned()),
        };
        Session { life, next_s: None }
    }

    /// A fact of a numeric room, so many ms after its begin.
    fn fact(kind: RepairKind, account: &str, after_ms: i64) -> RoomFact {
        let account = Some(account.to_owned()).filter(|account| !account.is_empty());
        let at = UnixMillis(T * 1000 + after_ms);
        RoomFact { at, kind, room_id_kind: RoomIdKind::Numeric, account }
    }

    fn stay(account: &str, joined: i64, left: Option<i64>) -> UserStay {
        let account = account.to_owned();
        UserStay { account, joined_s: T + joined, left_s: left.map(|after| T + after) }
    }

    /// Kind, account and time after the begin, in ms.
    fn said(marks: &[RepairedMark]) -> Vec<(&'static str, &str, i64)> {
        let said = |mark: &'_ RepairedMark| mark.at.0 - T * 1000;
        let all = marks.iter();
        all.map(|mark| (mark.kind.as_str(), mark.account.as_deref().unwrap_or(""), said(mark)))
            .collect()
    }

    use RepairKind::{Create, Dismiss, Enter, Exit, Presence};

    #[test]
    fn a_session_without_facts_is_missing_whole() {
        let session = session("7", Some(60));
        let stored = Stored::new(&session, Vec::new());
        assert_eq!(stored.room_id_kind, RoomIdKind::Numeric);
        assert!(stored.lacks_stays(LATER));
        let missing = stored.missing_boundaries(LATER);
        assert_eq!(said(&missing), [("create", "a", 0), ("dismiss", "", 60_000)]);
        let stays = [stay("a", 1, Some(60)), stay("b", 5, None)];
        let missing = stored.missing_stays(&stays, LATER);
        let expected = [("enter", "a", 1000), ("enter", "b", 5000), ("exit", "a", 60_000)];
        assert_eq!(said(&missing), expected);
    }

    #[test]
    fn a_complete_session_lacks_nothing() {
        let session = session("7", Some(60));
        let facts = vec![
            fact(Create, "a", 160),
            fact(Enter, "a", 1700),
            fact(Presence, "a", 1800),
            fact(Exit, "a", 60_200),
            fact(Dismiss, "", 60_300),
        ];
        let stored = Stored::new(&session, facts);
        assert!(!stored.lacks_stays(LATER));
        assert_eq!(stored.missing_boundaries(LATER), []);
        let stays = [stay("a", 1, Some(60)), stay("a", 1, Some(60))];
        assert_eq!(stored.missing_stays(&stays, LATER), []);
    }

    #[test]
    fn users_are_asked_for_where_some_seem_to_be_missing() {
        let complete = [
            fact(Create, "a", 160),
            fact(Enter, "a", 1700),
            fact(Exit, "a", 60_200),
            fact(Dismiss, "", 60_300),
        ];
        let over = session("7", Some(60));
        let lacks = |session: &Session, without: usize, more: &[RoomFact]| {
            let mut facts = complete.to_vec();
            facts.remove(without);
            facts.extend(more.iter().cloned());
            Stored::new(session, facts).lacks_stays(LATER)
        };
        for without in 0..4 {
            assert!(lacks(&over, without, &[]), "without the fact {without}");
        }
        let exit_alone = [complete[0].clone(), fact(Exit, "b", 5000)];
        assert!(lacks(&over, 0, &exit_alone));
        let seen_alone = [complete[0].clone(), fact(Presence, "b", 5000)];
        assert!(lacks(&over, 0, &seen_alone));
        // Who is inside of a session that lasts has no exit.
        let lasting = session("7", None);
        assert!(!Stored::new(&lasting, complete[..2].to_vec()).lacks_stays(LATER));
    }

    #[test]
    fn what_may_still_come_is_not_missing() {
        let session = session("7", Some(60));
        let stored = Stored::new(&session, Vec::new());
        let before = UnixMillis((T + 10) * 1000);
        assert_eq!(said(&stored.missing_boundaries(before)), [("create", "a", 0)]);
        let stays = [stay("a", 1, Some(60)), stay("b", 20, Some(60))];
        assert_eq!(said(&stored.missing_stays(&stays, before)), [("enter", "a", 1000)]);
    }

    #[test]
    fn facts_of_the_next_session_do_not_count() {
        let mut first = session("7", Some(60));
        let later =
            vec![fact(Create, "a", 300_000), fact(Enter, "a", 300_500), fact(Dismiss, "", 400_000)];
        let missing = |session: &Session| {
            said(&Stored::new(session, later.clone()).missing_boundaries(LATER)).len()
        };
        assert_eq!(missing(&first), 2);
        // The next create is lost too, and the vendor knows it.
        let later = later[1..].to_vec();
        let missing = |session: &Session| {
            said(&Stored::new(session, later.clone()).missing_boundaries(LATER)).len()
        };
        assert_eq!(missing(&first), 1);
        first.next_s = Some(T + 300);
        assert_eq!(missing(&first), 2);
    }

    #[test]
    fn an_exit_is_not_before_its_enter() {
        let session = session("7", Some(5));
        let facts = vec![fact(Create, "a", 0), fact(Enter, "a", 5700)];
        let stored = Stored::new(&session, facts);
        let missing = stored.missing_stays(&[stay("a", 5, Some(5))], LATER);
        assert_eq!(said(&missing), [("exit", "a", 5700)]);
        assert_eq!(said(&stored.missing_boundaries(LATER)), [("dismiss", "", 5700)]);
    }

    #[test]
    fn the_rooms_kind_is_that_of_the_facts_or_else_a_guess() {
        let kind = |room_id: &str, facts: Vec<RoomFact>| {
            Stored::new(&session(room_id, None), facts).room_id_kind
        };
        let text = |kind, after_ms| RoomFact {
            room_id_kind: RoomIdKind::String,
            ..fact(kind, "a", after_ms)
        };
        assert_eq!(kind("7", vec![text(Enter, 5)]), RoomIdKind::String);
        // The vendor sends the dismissal of a numeric room with a text.
        assert_eq!(kind("7", vec![text(Dismiss, 5)]), RoomIdKind::Numeric);
        assert_eq!(kind("7", vec![text(Enter, 5), fact(Create, "a", 900)]), RoomIdKind::Numeric);
        for (room_id, guess) in [
            ("4294967295", RoomIdKind::Numeric),
            ("4294967296", RoomIdKind::String),
            ("0", RoomIdKind::String),
            ("07", RoomIdKind::String),
            ("+7", RoomIdKind::String),
            ("room", RoomIdKind::String),
        ] {
            assert_eq!(kind(room_id, Vec::new()), guess, "{room_id}");
        }
    }

    #[test]
    fn a_stay_of_several_spans_is_one() {
        let stays = vec![
            stay("a", 1, Some(100)),
            stay("b", 1, None),
            stay("a", 1, Some(200)),
            stay("a", 300, None),
        ];
        let expected = [stay("a", 1, Some(200)), stay("a", 300, None), stay("b", 1, None)];
        assert_eq!(united(stays), expected);
    }

    #[test]
    fn a_session_ends_before_the_next_of_its_room() {
        let life = |room_id: &str, created_s| RoomLife { created_s, ..session(room_id, None).life };
        let sessions =
            Session::list(vec![life("b", T), life("a", T + 9), life("a", T), life("c", T)]);
        let nexts: Vec<_> = sessions.iter().map(|session| session.next_s).collect();
        assert_eq!(nexts, [Some(T + 9), None, None, None]);
        let beside = RoomLife { destroyed_s: Some(T + 10), ..life("a", T) };
        assert_eq!(Session::list(vec![beside, life("a", T + 9)])[0].next_s, None);
    }
}
