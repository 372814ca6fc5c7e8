//! What the kit says of a call beside what the media server says: the time for which each member took part.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::read_models::{Call, Member};
use crate::model::rtc::room::RtcStay;
use crate::model::rtc::words::EXIT_TIMED_OUT;
use protocol::UnixMillis;

/// By how much a stay outlasts the talk where the connection was lost, in ms: the media server waits about 90 s.
const LOST_MS: std::ops::RangeInclusive<i64> = 80_000..=110_000;

/// What the explanation `connection_lost` means.
pub const CONNECTION_LOST_MEANING: &str =
    "connection lost; the media server noticed after about 90 s";
/// The explanation of a difference of about 90 s.
pub(crate) const CONNECTION_LOST: &str = "connection_lost";

/// An account of a call by the kit and by the media server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RtcComparison {
    /// The account.
    pub account: String,
    /// Whether the kit names it as a member of the call.
    pub is_member: bool,
    /// Whether it is a robot, which does a task of the cloud.
    pub is_robot: bool,
    /// Its talk time by the kit, in ms; null where it did not talk, or does so still.
    pub talk_ms: Option<i64>,
    /// Its time in the room by the media server, in ms, of a member that talked counted from the beginning of the talk; null
    /// where no stay is known, or one lasts.
    pub stay_ms: Option<i64>,
    /// `stay_ms` less `talk_ms`.
    pub difference_ms: Option<i64>,
    /// `connection_lost` where the difference is about 90 s and the last exit a timeout: the media server noticed the loss
    /// so late. Else null.
    pub explanation: Option<String>,
    /// Its stays, by time.
    pub stays: Vec<RtcStay>,
}

/// When the kit connected a member: the caller by the acceptance of the call, others as they joined.
#[must_use]
pub fn connected_at(call: &Call, member: &Member) -> Option<UnixMillis> {
    if member.is_caller { call.accepted_at } else { member.joined_at }
}

/// The members in their order, then the other accounts that stayed in the room, robots last.
#[must_use]
pub fn compare(call: &Call, members: &[Member], stays: &[RtcStay]) -> Vec<RtcComparison> {
    let mut by_account: BTreeMap<&str, Vec<RtcStay>> = BTreeMap::new();
    for stay in stays {
        by_account.entry(&stay.account).or_default().push(stay.clone());
    }
    let mut compared = Vec::with_capacity(members.len());
    for member in members {
        let stays = by_account.remove(member.account.as_str()).unwrap_or_default();
        compared.push(of_member(call, member, stays));
    }
    let mut others: Vec<_> = by_account.into_values().filter_map(of_other).collect();
    others.sort_by_key(|other| other.is_robot);
    compared.extend(others);
    compared
}

fn of_member(call: &Call, member: &Member, mut stays: Vec<RtcStay>) -> RtcComparison {
    stays.sort_by_key(|stay| (stay.started_at, stay.stay_id));
    let connected = connected_at(call, member);
    let left = member.left_at.or(call.ended_at);
    let talk_ms = connected.zip(left).map(|(from, until)| until.0.saturating_sub(from.0).max(0));
    // Who waits to be answered may be in the room before.
    let stay_ms = stayed(&stays, connected);
    let difference_ms = talk_ms.zip(stay_ms).map(|(talk, stay)| stay.saturating_sub(talk));
    let timed_out = stays.last().is_some_and(|stay| stay.exit_reason == Some(EXIT_TIMED_OUT));
    let is_lost = timed_out && difference_ms.is_some_and(|more| LOST_MS.contains(&more));
    RtcComparison {
        account: member.account.clone(),
        is_member: true,
        is_robot: stays.iter().any(|stay| stay.is_robot),
        talk_ms,
        stay_ms,
        difference_ms,
        explanation: is_lost.then(|| CONNECTION_LOST.to_owned()),
        stays,
    }
}

fn of_other(mut stays: Vec<RtcStay>) -> Option<RtcComparison> {
    stays.sort_by_key(|stay| (stay.started_at, stay.stay_id));
    Some(RtcComparison {
        account: stays.first()?.account.clone(),
        is_member: false,
        is_robot: stays.iter().any(|stay| stay.is_robot),
        talk_ms: None,
        stay_ms: stayed(&stays, None),
        difference_ms: None,
        explanation: None,
        stays,
    })
}

/// How long these stays last together, counted from a moment on; `None` where there is none, or one has no end.
fn stayed(stays: &[RtcStay], since: Option<UnixMillis>) -> Option<i64> {
    let lengths = stays.iter().map(|stay| {
        let from = since.map_or(stay.started_at, |since| since.max(stay.started_at));
        Some(stay.ended_at?.0.saturating_sub(from.0).max(0))
    });
    let lengths: Option<Vec<i64>> = lengths.collect();
    lengths.filter(|lengths| !lengths.is_empty()).map(|lengths| lengths.iter().sum())
}

#[cfg(test)]
mod tests {
    use crate::model::rtc::comparison::*;
    use uuid::Uuid;

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1000)
    }

    fn call() -> Call {
        Call {
            sdk_app_id: 1,
            call_id: "c".into(),
            media: None,
            call_type: None,
            caller: Some("alice".into()),
            chat_group_id: None,
            room_id: Some("7".into()),
            state: "ended".into(),
            result: None,
            started_at: Some(at(0)),
            accepted_at: Some(at(20)),
            ended_at: Some(at(80)),
            ring_seconds: None,
            talk_seconds: Some(60),
            callees: Vec::new(),
            participants: 0,
            hung_up_by: None,
            inferred: false,
            first_at: at(0),
            last_at: at(80),
        }
    }

    fn member(account: &str, is_caller: bool) -> Member {
        Member {
            account: account.into(),
            is_caller,
            state: "left".into(),
            ending: None,
            invited_at: None,
            joined_at: Some(at(20)),
            left_at: Some(at(80)),
            inferred: false,
            first_at: at(0),
            last_at: at(80),
        }
    }

    fn stay(account: &str, from: i64, until: Option<i64>, exit_reason: i64) -> RtcStay {
        RtcStay {
            sdk_app_id: 1,
            room_id: "7".into(),
            room_id_kind: "numeric".into(),
            session: 0,
            stay_id: Uuid::nil(),
            account: account.into(),
            is_robot: account.starts_with("robot"),
            started_at: at(from),
            earliest_start_at: at(from),
            ended_at: until.map(at),
            presumed_end_at: None,
            duration_ms: None,
            enter_reason: None,
            enter_reason_word: None,
            exit_reason: Some(exit_reason),
            exit_reason_word: None,
            terminal_type: None,
            terminal_type_word: None,
            user_type: None,
            user_type_word: None,
            unique_id: None,
            roles: "[]".into(),
            enters: 1,
            late_stops: 0,
            flags: "[]".into(),
        }
    }

    fn told(stays: &[RtcStay]) -> Vec<(String, Option<i64>, bool)> {
        let compared = compare(&call(), &[member("alice", true), member("bob", false)], stays);
        let row = |of: RtcComparison| (of.account, of.difference_ms, of.explanation.is_some());
        compared.into_iter().map(row).collect()
    }

    #[test]
    fn a_stay_is_compared_from_the_talk_on() {
        let stays = [stay("bob", 21, Some(81), 1), stay("alice", 1, Some(81), 1)];
        let expected =
            [("alice".to_owned(), Some(1000), false), ("bob".to_owned(), Some(0), false)];
        assert_eq!(told(&stays), expected);
    }

    #[test]
    fn a_timeout_explains_about_90_s() {
        let more = |until, reason| told(&[stay("alice", 1, Some(until), reason)])[0].clone();
        assert_eq!(more(172, 2), ("alice".into(), Some(92_000), true));
        assert_eq!(more(172, 1), ("alice".into(), Some(92_000), false));
        assert_eq!(more(300, 2), ("alice".into(), Some(220_000), false));
    }

    #[test]
    fn what_is_not_known_is_not_compared() {
        let told = told(&[
            stay("robot", 1, Some(9), 1),
            stay("carol", 2, Some(9), 1),
            stay("bob", 21, None, 1),
        ]);
        let names: Vec<_> = told.iter().map(|row| row.0.as_str()).collect();
        assert_eq!(names, ["alice", "bob", "carol", "robot"]);
        assert!(told.iter().all(|row| row.1.is_none()));
    }
}
