//! An event's id. The vendor sends none, so one is made from what it sends.
//!
//! An id is a UUID whose first 48 bits are the event's time in ms since 1970: it sorts by time, and alone it tells
//! the partition its row is in. The rest depends on whether the vendor may send the same event twice:
//!
//! - version 8, where it may: 74 bits of SHA-256 over app, command and body, so that a repeat has the same id on every
//!   replica;
//! - version 8 of the RTC Engine, whose retries have another body: over the fields that identify the event;
//! - version 8 over the request's id too, where the body has no time: a repeat, which arrives at another time, has another id
//!   with the same [`content`];
//! - version 7, where two equal bodies are two events ("before" commands, and bodies without a time or a request's id): random.

use sha2::{Digest, Sha256};
use uuid::{Builder, NoContext, Timestamp, Uuid};

use crate::request::verify::AppId;
use crate::time::UnixMillis;

/// The id that a repeat of the same request gets too.
#[must_use]
pub fn repeatable(time: UnixMillis, app: AppId, command: &str, body: &[u8]) -> Uuid {
    hashed(time, app, &[command.as_bytes()], body)
}

/// The id of an event without a time that arrived at this one: a repeat of the same request gets one of the same [`content`].
#[must_use]
pub fn of_request(
    received_at: UnixMillis,
    app: AppId,
    command: &str,
    request_id: &str,
    body: &[u8],
) -> Uuid {
    hashed(received_at, app, &[command.as_bytes(), request_id.as_bytes()], body)
}

/// The id of an event of the RTC Engine, by a hash of what identifies it: see [`crate::rtc::identity`]. A repeat of one without a time
/// of its own gets one of the same [`content`].
#[must_use]
pub(crate) fn of_identity(time: UnixMillis, app: AppId, identity: &[u8; 32]) -> Uuid {
    hashed(time, app, &[b"EventGroupId"], identity)
}

fn hashed(time: UnixMillis, app: AppId, names: &[&[u8]], body: &[u8]) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(app.as_i64().to_be_bytes());
    for name in names {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
    }
    hash.update(body);
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&time.0.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&digest[..10]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// What an id says beside its time, as an id of the time 0.
#[must_use]
pub fn content(id: Uuid) -> Uuid {
    let (high, low) = id.as_u64_pair();
    Uuid::from_u64_pair(high & 0xffff, low)
}

/// An id that no other event gets.
#[must_use]
pub fn unique(time: UnixMillis) -> Uuid {
    let millis = u64::try_from(time.0).unwrap_or(0);
    let nanos = u32::try_from(millis % 1000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, millis / 1000, nanos))
}

/// The event's time that an id holds.
#[must_use]
pub fn time_of(id: Uuid) -> UnixMillis {
    let (high, _) = id.as_u64_pair();
    UnixMillis(i64::try_from(high >> 16).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: UnixMillis = UnixMillis(1_740_464_128_807);

    fn app(id: &str) -> AppId {
        AppId::parse(id).unwrap()
    }

    #[test]
    fn the_format_is_fixed() {
        let id = repeatable(TIME, app("1400000001"), "Call.CallbackAfterStartCall", b"{}");
        assert_eq!(id.to_string(), "01953bbf-0327-87bc-a201-79a1a4c2eb4d");
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(unique(TIME).get_version_num(), 7);
    }

    #[test]
    fn the_id_depends_on_app_command_body_and_time() {
        let id = repeatable(TIME, app("1"), "a", b"b");
        assert_eq!(id, repeatable(TIME, app("1"), "a", b"b"));
        assert_ne!(id, repeatable(UnixMillis(TIME.0 + 1), app("1"), "a", b"b"));
        assert_ne!(id, repeatable(TIME, app("2"), "a", b"b"));
        assert_ne!(id, repeatable(TIME, app("1"), "ab", b""));
        assert_ne!(id, repeatable(TIME, app("1"), "a", b"c"));
        assert_ne!(unique(TIME), unique(TIME));
    }

    #[test]
    fn a_request_sent_again_has_the_same_content_at_another_time() {
        let id = of_request(TIME, app("1"), "a", "r", b"b");
        let later = of_request(UnixMillis(TIME.0 + 5000), app("1"), "a", "r", b"b");
        assert_ne!(id, later);
        assert_eq!(content(id), content(later));
        assert_eq!(
            (time_of(id), time_of(content(id)), id.get_version_num()),
            (TIME, UnixMillis(0), 8)
        );
        for other in [
            of_request(TIME, app("1"), "a", "s", b"b"),
            of_request(TIME, app("1"), "a", "r", b"c"),
            of_request(TIME, app("1"), "ar", "", b"b"),
            of_request(TIME, app("2"), "a", "r", b"b"),
            repeatable(TIME, app("1"), "a", b"b"),
        ] {
            assert_ne!(content(id), content(other));
        }
    }

    proptest! {
        #[test]
        fn an_id_contains_its_time(millis in 0..(1_i64 << 48), body: Vec<u8>) {
            let time = UnixMillis(millis);
            prop_assert_eq!(time_of(repeatable(time, app("1"), "c", &body)), time);
            prop_assert_eq!(time_of(unique(time)), time);
        }
    }
}
