//! What the numbers and words of the RTC Engine's rooms mean.

/// Why an account entered, by the `Reason` of an enter.
pub(crate) fn enter_reason(number: i64) -> &'static str {
    match number {
        1 => "own_decision",
        2 => "network_change",
        3 => "timeout_retry",
        4 => "cross_room_link",
        _ => "other",
    }
}

/// The number of an exit after a timeout.
pub const EXIT_TIMED_OUT: i64 = 2;

/// Why an account left, by the `Reason` of an exit.
pub(crate) fn exit_reason(number: i64) -> &'static str {
    match number {
        1 => "left",
        EXIT_TIMED_OUT => "timed_out",
        3 => "removed",
        4 => "link_cancelled",
        5 => "process_killed",
        _ => "other",
    }
}

/// The device, by `TerminalType`.
pub(crate) fn terminal_type(number: i64) -> &'static str {
    match number {
        1 => "windows",
        2 => "android",
        3 => "ios",
        4 => "linux",
        _ => "other",
    }
}

/// The client, by `UserType`.
pub(crate) fn user_type(number: i64) -> &'static str {
    match number {
        1 => "webrtc",
        2 => "mini_program",
        3 => "native_sdk",
        _ => "other",
    }
}

/// What a flag of a stay means.
#[must_use]
pub fn flag_meaning(flag: &str) -> &'static str {
    match flag {
        "start_estimated" => "no enter event came; another event shows presence",
        "end_inferred" => "no exit event came; the end of the session ended it",
        "replaced" => "another device of the account replaced this one",
        "reentry" => "the SDK entered again by itself after a lost connection",
        "cross_room" => "a cross-room link brought the account here from its own room",
        "order_unknown" => "an enter and an exit have the same time",
        "exit_doubtful" => {
            "an exit was taken for that of the replaced device, so the account may have left then"
        }
        "role_missed" => {
            "the role at the exit is not the last known one; a change of role was lost"
        }
        "coarse" => "a time is not exact to the millisecond",
        "repaired" => "known from the vendor's REST API, since its events were lost",
        _ => "",
    }
}

/// What it means that an interval of publishing ended by this.
#[must_use]
pub fn ended_by_meaning(ended_by: &str) -> &'static str {
    match ended_by {
        "stop" => "stopped",
        "exit" => "ended by the exit",
        "replaced" => "ended by another device of the account",
        "audience" => "no stop event came; becoming audience ended it",
        "other_screen" => "no stop event came; another account's screen ended it",
        "session_end" => "no stop event came; the end of the session ended it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use crate::model::rtc::words::*;
    use projections::rtc::publish::PublishEnd;
    use projections::rtc::stay::StayFlag;

    #[test]
    fn every_flag_and_every_end_has_a_meaning() {
        let flags = [
            StayFlag::StartEstimated,
            StayFlag::EndInferred,
            StayFlag::Replaced,
            StayFlag::Reentry,
            StayFlag::CrossRoom,
            StayFlag::OrderUnknown,
            StayFlag::ExitDoubtful,
            StayFlag::RoleMissed,
            StayFlag::Coarse,
        ];
        assert!(flags.iter().all(|flag| !flag_meaning(flag.as_str()).is_empty()));
        let ends = [
            PublishEnd::Stop,
            PublishEnd::Exit,
            PublishEnd::Replaced,
            PublishEnd::Audience,
            PublishEnd::OtherScreen,
            PublishEnd::SessionEnd,
        ];
        assert!(ends.iter().all(|end| !ended_by_meaning(end.as_str()).is_empty()));
    }
}
