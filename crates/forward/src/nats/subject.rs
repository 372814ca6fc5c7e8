//! The subject that an event is published to.
//!
//! `<prefix>.<app>.<family>.<command>.<slot>`, such as `trtc.events.1400000001.call.CallbackAfterEndCall.17`. Ids of calls and rooms
//! never stand in it: they may hold `.`, `*` and blanks, and a subject for each call would let the server's index of subjects grow
//! without end. The slot takes their place: consumers that share the work each take some of the 64, and so each call stays with one
//! of them.

use crate::event_columns::EventColumns;

/// The number of slots.
pub const SLOTS: u64 = 64;

/// The most characters of a token that comes from outside.
const TOKEN_MAX: usize = 64;

/// The subject of an event.
#[must_use]
pub fn subject(prefix: &str, event: &EventColumns) -> String {
    let app = event.app.as_i64();
    let (family, command) = (token(&event.family), token(bare_command(&event.command)));
    format!("{prefix}.{app}.{family}.{command}.{}", slot(event))
}

/// The subjects of all events.
#[must_use]
pub fn wildcard(prefix: &str) -> String {
    format!("{prefix}.*.*.*.*")
}

/// The slot of an event: the first 8 bytes of SHA-256 over the app (8 bytes, big endian), `c` and the call, else `r` and the room, as an
/// unsigned number, modulo 64. An event of neither has no order to keep, and its slot is of its id.
#[must_use]
pub fn slot(event: &EventColumns) -> u64 {
    let hash = event.subject().map_or_else(
        || u64::try_from(event.id.as_u128() % u128::from(SLOTS)).unwrap_or_default(),
        |subject| u64::from_be_bytes(subject.0.to_be_bytes()),
    );
    hash % SLOTS
}

/// A command without its family's prefix.
fn bare_command(command: &str) -> &str {
    command.split_once('.').map_or(command, |(_, bare)| bare)
}

/// A token of a subject, whatever the text is.
fn token(text: &str) -> String {
    let is_usual = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    let letters = text.chars().take(TOKEN_MAX);
    let token: String = letters.map(|l| if is_usual(l) { l } else { '_' }).collect();
    if token.is_empty() { "_".to_owned() } else { token }
}

/// Whether a stream's subject (`pattern`, with wildcards) takes every subject of `wanted`, which has wildcards, too.
#[must_use]
pub(crate) fn covers(pattern: &str, wanted: &str) -> bool {
    matches(pattern, wanted, |pattern, wanted| pattern == "*" || pattern == wanted)
}

/// Whether it takes some of them.
#[must_use]
pub(crate) fn overlaps(pattern: &str, wanted: &str) -> bool {
    matches(pattern, wanted, |pattern, wanted| pattern == "*" || wanted == "*" || pattern == wanted)
}

fn matches(pattern: &str, wanted: &str, fits: impl Fn(&str, &str) -> bool) -> bool {
    let (mut pattern, mut wanted) = (pattern.split('.'), wanted.split('.'));
    loop {
        match (pattern.next(), wanted.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(pattern), Some(wanted)) if fits(pattern, wanted) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use protocol::event::Payload;
    use protocol::{AppId, UnixMillis};

    fn event(family: &str, command: &str, call: Option<&str>, room: Option<&str>) -> EventColumns {
        EventColumns {
            id: Uuid::from_u128(65),
            position: 1,
            app: AppId::parse("1400000001").unwrap(),
            family: family.to_owned(),
            command: command.to_owned(),
            command_sent: None,
            event_time: UnixMillis(0),
            received_at: UnixMillis(0),
            call_id: call.map(str::to_owned),
            room_id: room.map(str::to_owned),
            operator: None,
            client_ip: None,
            platform: None,
            decode_error: None,
            payload: Payload::Json("{}".to_owned()),
        }
    }

    #[test]
    fn a_subject_has_the_command_without_its_family() {
        // Consumers are configured for slots: they must stay what they are.
        for (family, command, call, want) in [
            ("call", "Call.CallbackAfterEndCall", Some("a"), "call.CallbackAfterEndCall.37"),
            ("rtc_room", "EVENT_TYPE_ENTER_ROOM", None, "rtc_room.EVENT_TYPE_ENTER_ROOM.14"),
            ("unknown", "A.b c.*>\u{e9}", Some("a"), "unknown.b_c____.37"),
            ("unknown", "", None, "unknown._.14"),
            ("unknown", "A.", None, "unknown._.14"),
        ] {
            let event = event(family, command, call, Some("r"));
            assert_eq!(subject("trtc.events", &event), format!("trtc.events.1400000001.{want}"));
        }
    }

    #[test]
    fn the_slot_is_of_the_call_else_the_room_else_the_event() {
        let of = |call, room| slot(&event("call", "Call.X", call, room));
        assert_eq!(of(Some("a"), Some("r")), of(Some("a"), None));
        assert_ne!(of(Some("a"), None), of(None, Some("a")));
        assert_eq!(of(None, None), 1);
    }

    #[test]
    fn a_stream_takes_all_of_the_subjects_or_some_or_none() {
        let wanted = wildcard("trtc.events");
        for (pattern, all, some) in [
            (">", true, true),
            ("trtc.>", true, true),
            ("trtc.events.>", true, true),
            ("trtc.events.*.*.*.*", true, true),
            ("trtc.*.>", true, true),
            ("trtc.events.*.call.>", false, true),
            ("trtc.events.*.*.*.7", false, true),
            ("trtc.events", false, false),
            ("trtc.events.*.*.*", false, false),
            ("trtc.events.*.*.*.*.>", false, false),
            ("trtc.other.>", false, false),
            ("", false, false),
        ] {
            assert_eq!(covers(pattern, &wanted), all, "{pattern}");
            assert_eq!(overlaps(pattern, &wanted), some, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_event_has_a_valid_subject_of_six_tokens(
            family in any::<String>(),
            command in any::<String>(),
            call in prop::option::of(any::<String>()),
            room in prop::option::of(any::<String>()),
        ) {
            let event = event(&family, &command, call.as_deref(), room.as_deref());
            let subject = subject("trtc.events", &event);
            let tokens: Vec<&str> = subject.split('.').collect();
            prop_assert_eq!(tokens.len(), 6);
            let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            for token in &tokens {
                prop_assert!((1..=64).contains(&token.len()) && token.bytes().all(is_usual));
            }
            prop_assert!(tokens[5].parse::<u64>().unwrap() < SLOTS);
            prop_assert!(covers(&wildcard("trtc.events"), &subject));
        }
    }
}
