//! A call in one sentence, for somebody who opens it.

use crate::model::read_models::Call;

/// How many callees are named before the others are counted.
const NAMED: usize = 3;

/// `ann video-called ben; no answer after 28 s`.
#[must_use]
pub fn call_summary(call: &Call) -> String {
    let caller = call.caller.as_deref().unwrap_or("an unknown account");
    let verb = match call.media.as_deref() {
        Some("video") => "video-called",
        Some("audio") => "audio-called",
        _ => "called",
    };
    format!("{caller} {verb} {}; {}", callees(call), course(call))
}

fn callees(call: &Call) -> String {
    let named: Vec<&str> = call.callees.iter().take(NAMED).map(String::as_str).collect();
    let known = call.participants - i64::from(call.caller.is_some());
    match (named.as_slice(), known - i64::try_from(named.len()).unwrap_or_default()) {
        ([], _) => "nobody that an event names".to_owned(),
        ([one], ..=0) => (*one).to_owned(),
        ([before @ .., last], ..=0) => format!("{} and {last}", before.join(", ")),
        (_, 1) => format!("{} and 1 other", named.join(", ")),
        (_, others) => format!("{} and {others} others", named.join(", ")),
    }
}

/// How it went, or where it stands.
fn course(call: &Call) -> String {
    let rang = call.ring_seconds.map(|ring| format!(" after {}", duration(ring)));
    let rang = rang.unwrap_or_default();
    match call.state.as_str() {
        "ringing" => return "ringing".to_owned(),
        "active" => return format!("answered{rang} and in progress"),
        "overdue" if call.accepted_at.is_some() => {
            return format!("answered{rang}, and no event tells of its end");
        }
        "overdue" => return "no event tells how it ended".to_owned(),
        _ => {}
    }
    match call.result.as_deref() {
        Some("not_answer") => format!("no answer{rang}"),
        Some("reject") => format!("rejected{rang}"),
        Some("cancel") => format!("cancelled by the caller{rang}"),
        Some("call_busy") => format!("busy{rang}"),
        Some("interrupt") => talked(call, "interrupted"),
        Some("offline") => talked(call, "a member went offline"),
        Some("normal_end") | None => match &call.hung_up_by {
            Some(account) => talked(call, &format!("{account} hung up first")),
            None => talked(call, "ended"),
        },
        Some(result) => talked(call, &format!("ended as `{result}`")),
    }
}

fn talked(call: &Call, end: &str) -> String {
    match call.talk_seconds {
        Some(talk) if call.accepted_at.is_some() => format!("talked for {}, {end}", duration(talk)),
        _ => format!("never connected, {end}"),
    }
}

fn duration(seconds: i64) -> String {
    match (seconds / 3600, seconds / 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (hours, minutes) => format!("{hours} h {} min", minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use protocol::UnixMillis;

    use super::*;

    fn call(state: &str, result: Option<&str>) -> Call {
        Call {
            sdk_app_id: 1,
            call_id: "c".into(),
            media: Some("video".into()),
            call_type: None,
            caller: Some("ann".into()),
            chat_group_id: None,
            room_id: None,
            state: state.into(),
            result: result.map(str::to_owned),
            started_at: Some(UnixMillis(0)),
            accepted_at: None,
            ended_at: None,
            ring_seconds: Some(28),
            talk_seconds: None,
            callees: vec!["ben".into()],
            participants: 2,
            hung_up_by: None,
            inferred: false,
            first_at: UnixMillis(0),
            last_at: UnixMillis(0),
        }
    }

    #[test]
    fn a_call_that_nobody_took_says_how_long_it_rang() {
        for (result, end) in [
            ("not_answer", "no answer after 28 s"),
            ("reject", "rejected after 28 s"),
            ("cancel", "cancelled by the caller after 28 s"),
            ("call_busy", "busy after 28 s"),
        ] {
            let summary = call_summary(&call("ended", Some(result)));
            assert_eq!(summary, format!("ann video-called ben; {end}"));
        }
        let unknown = Call { ring_seconds: None, ..call("ended", Some("not_answer")) };
        assert_eq!(call_summary(&unknown), "ann video-called ben; no answer");
    }

    #[test]
    fn a_call_that_was_taken_says_how_long_they_talked() {
        let taken = |result| Call {
            accepted_at: Some(UnixMillis(1)),
            talk_seconds: Some(303),
            ..call("ended", result)
        };
        let ended = |call: &Call| call_summary(call).split_once("; ").unwrap().1.to_owned();
        assert_eq!(ended(&taken(Some("normal_end"))), "talked for 5 min 3 s, ended");
        let hung_up = Call { hung_up_by: Some("ben".into()), ..taken(Some("normal_end")) };
        assert_eq!(ended(&hung_up), "talked for 5 min 3 s, ben hung up first");
        assert_eq!(ended(&taken(Some("interrupt"))), "talked for 5 min 3 s, interrupted");
        assert_eq!(ended(&taken(Some("odd"))), "talked for 5 min 3 s, ended as `odd`");
        assert_eq!(
            ended(&call("ended", Some("offline"))),
            "never connected, a member went offline"
        );
    }

    #[test]
    fn a_call_that_goes_on_says_where_it_stands() {
        let ends = |call: &Call| call_summary(call).split_once("; ").unwrap().1.to_owned();
        assert_eq!(ends(&call("ringing", None)), "ringing");
        let active = Call { accepted_at: Some(UnixMillis(1)), ..call("active", None) };
        assert_eq!(ends(&active), "answered after 28 s and in progress");
        assert_eq!(ends(&call("overdue", None)), "no event tells how it ended");
        let lost = Call { state: "overdue".into(), ..active };
        assert_eq!(ends(&lost), "answered after 28 s, and no event tells of its end");
    }

    #[test]
    fn many_callees_are_named_and_counted() {
        let called = |names: &[&str], participants| {
            let callees = names.iter().map(|name| (*name).to_owned()).collect();
            let summary = call_summary(&Call { callees, participants, ..call("ringing", None) });
            let (_, rest) = summary.split_once("video-called ").unwrap();
            rest.split_once(';').unwrap().0.to_owned()
        };
        assert_eq!(called(&[], 1), "nobody that an event names");
        assert_eq!(called(&["ben", "eve"], 3), "ben and eve");
        assert_eq!(called(&["ben", "eve", "kim"], 4), "ben, eve and kim");
        assert_eq!(called(&["ben", "eve", "kim", "lee"], 5), "ben, eve, kim and 1 other");
        assert_eq!(called(&["ben", "eve", "kim", "lee"], 40), "ben, eve, kim and 36 others");
        let unknown = Call { caller: None, media: None, participants: 1, ..call("ringing", None) };
        assert_eq!(call_summary(&unknown), "an unknown account called ben; ringing");
    }
}
