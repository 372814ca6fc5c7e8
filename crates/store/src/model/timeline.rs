//! The timeline of a call, derived from its rows.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::event::StoredEvent;
use crate::model::read_models::{Call, Member};
use protocol::UnixMillis;

/// One step of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CallStep {
    /// The time.
    pub at: UnixMillis,
    /// `called`, `rang`, `joined`, `answered`, `left`, `ended`, or `gap`: events are missing here.
    pub kind: &'static str,
    /// The account; null for a step of the call itself.
    pub account: Option<String>,
    /// For `left`, how it ended for the account; for `ended`, the result; for `gap`, a description of what is missing.
    pub detail: Option<String>,
    /// Whether the step was inferred: no event says so.
    pub inferred: bool,
}

/// The steps of a call by time; those of one time in the natural order of a call.
#[must_use]
pub fn steps(call: &Call, members: &[Member]) -> Vec<CallStep> {
    let mut steps = Vec::new();
    let mut add =
        |at: Option<UnixMillis>, kind, account: Option<&String>, detail: Option<&str>, inferred| {
            let (account, detail) = (account.cloned(), detail.map(str::to_owned));
            steps.extend(at.map(|at| CallStep { at, kind, account, detail, inferred }));
        };
    match call.started_at {
        None => add(Some(call.first_at), "gap", None, Some("no event tells of its start"), true),
        started => add(started, "called", call.caller.as_ref(), None, false),
    }
    for member in members {
        let account = Some(&member.account);
        if !member.is_caller {
            add(member.invited_at, "rang", account, None, false);
        }
        let joined = if member.is_caller { "joined" } else { "answered" };
        add(member.joined_at, joined, account, None, false);
        add(member.left_at, "left", account, member.ending.as_deref(), member.inferred);
    }
    if call.inferred {
        add(call.ended_at, "gap", None, Some("no event tells of its end"), true);
    }
    add(call.ended_at, "ended", None, call.result.as_deref(), call.inferred);
    steps.sort_by_key(|step| (step.at, rank(step.kind)));
    steps
}

/// The positions of these events in the order of arrival, from 1; within one ms by id.
#[must_use]
pub fn arrivals(events: &[StoredEvent]) -> Vec<usize> {
    let mut arrived: Vec<usize> = (0..events.len()).collect();
    arrived.sort_by_key(|place| (events[*place].received_at, events[*place].id));
    let mut arrivals = vec![0; events.len()];
    for (arrival, place) in arrived.into_iter().enumerate() {
        arrivals[place] = arrival + 1;
    }
    arrivals
}

fn rank(kind: &str) -> usize {
    let order = ["called", "rang", "joined", "answered", "left", "gap", "ended"];
    order.iter().position(|known| *known == kind).unwrap_or(order.len())
}

#[cfg(test)]
mod tests {
    use crate::model::timeline::*;

    fn call() -> Call {
        Call {
            sdk_app_id: 1,
            call_id: "c".into(),
            media: None,
            call_type: None,
            caller: Some("alice".into()),
            chat_group_id: None,
            room_id: None,
            state: "ended".into(),
            result: Some("normal_end".into()),
            started_at: Some(UnixMillis(1)),
            accepted_at: Some(UnixMillis(3)),
            ended_at: Some(UnixMillis(9)),
            ring_seconds: None,
            talk_seconds: Some(0),
            callees: Vec::new(),
            participants: 0,
            hung_up_by: None,
            inferred: false,
            first_at: UnixMillis(1),
            last_at: UnixMillis(9),
        }
    }

    fn member(account: &str, is_caller: bool, joined: Option<i64>) -> Member {
        Member {
            account: account.into(),
            is_caller,
            state: "left".into(),
            ending: Some(if joined.is_some() { "hung_up" } else { "missed" }.into()),
            invited_at: Some(UnixMillis(2)),
            joined_at: joined.map(UnixMillis),
            left_at: Some(UnixMillis(9)),
            inferred: joined.is_some(),
            first_at: UnixMillis(1),
            last_at: UnixMillis(9),
        }
    }

    fn told(call: &Call, members: &[Member]) -> Vec<String> {
        let steps = steps(call, members).into_iter().map(|step| {
            let guess = if step.inferred { " by rule" } else { "" };
            let [who, what] = [step.account, step.detail].map(|text| text.unwrap_or("-".into()));
            format!("{} {} {who} {what}{guess}", step.at.0, step.kind)
        });
        steps.collect()
    }

    #[test]
    fn a_calls_timeline_is_in_order_of_time() {
        let members = [
            member("alice", true, Some(1)),
            member("bob", false, Some(3)),
            member("eve", false, None),
        ];
        assert_eq!(
            told(&call(), &members),
            [
                "1 called alice -",
                "1 joined alice -",
                "2 rang bob -",
                "2 rang eve -",
                "3 answered bob -",
                "9 left alice hung_up by rule",
                "9 left bob hung_up by rule",
                "9 left eve missed",
                "9 ended - normal_end",
            ]
        );
    }

    #[test]
    fn inferred_timeline_entries_are_named() {
        let call = Call { started_at: None, inferred: true, result: None, ..call() };
        assert_eq!(
            told(&call, &[]),
            [
                "1 gap - no event tells of its start by rule",
                "9 gap - no event tells of its end by rule",
                "9 ended - - by rule",
            ]
        );
    }
}
