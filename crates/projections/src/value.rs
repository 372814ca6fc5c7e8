//! Conversion of body values to column values: bounded, truncated, and absent where empty.

use serde_json::value::RawValue;

use crate::table::Json;
use protocol::Event;
use protocol::UnixMillis;
use protocol::event::{clipped, is_sensible};
use protocol::json::escapes::readable;
use protocol::json::scalar::{Known, Seconds, Vocabulary};

/// Maximum number of rows that one event may change, and of list entries considered, so that its statements stay
/// within their timeout. The vendor's largest bodies have a few dozen.
pub const CHANGES_MAX: usize = 1000;

/// The largest magnitude of an amount: the last integer that every JSON reader keeps exactly. No real amount is
/// larger; the event's payload has the sent value.
pub const AMOUNT_MAX: i64 = (1 << 53) - 1;

/// The considered entries of a list, in the order of the body.
pub(crate) fn first<T>(list: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    list.into_iter().take(CHANGES_MAX)
}

/// An amount of a body, clamped to [`AMOUNT_MAX`].
pub(crate) fn amount(number: i64) -> i64 {
    number.clamp(-AMOUNT_MAX, AMOUNT_MAX)
}

/// A known value in the spelling of the tables, `NotAnswer` as `not_answer`; an unknown one as sent. `None` where
/// empty.
pub(crate) fn word<T: Vocabulary>(known: Option<&Known<T>>) -> Option<String> {
    let text = match known? {
        Known::Value(value) => snake(value.as_str()),
        Known::Other(text) => clipped(text),
    };
    Some(text).filter(|text| !text.is_empty())
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// An id or short text, truncated to its column's bound; `None` where empty, the vendor's form of absent.
pub(crate) fn text(value: &str) -> Option<String> {
    Some(clipped(value)).filter(|text| !text.is_empty())
}

/// The time that a body gives in s; `None` where it is 0 or implausible.
pub(crate) fn moment(seconds: Option<Seconds>, event: &Event) -> Option<UnixMillis> {
    let time = UnixMillis(seconds?.0.checked_mul(1000)?);
    is_sensible(time, event.received_at).then_some(time)
}

/// `value` as JSON text that databases accept. Values of texts and numbers always serialize.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Option<Json> {
    let json = serde_json::to_string(value).ok()?;
    RawValue::from_string(readable(&json).into_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::body::call::{ActionType, CallResult};

    #[test]
    fn known_values_have_one_spelling_in_tables() {
        let known = |text| word(Some(&Known::<CallResult>::parse(text)));
        assert_eq!(known("NotAnswer").as_deref(), Some("not_answer"));
        assert_eq!(known("Cancel").as_deref(), Some("cancel"));
        assert_eq!(known("SomethingNew").as_deref(), Some("SomethingNew"));
        assert_eq!(known(""), None);
        let action = |text| word(Some(&Known::<ActionType>::parse(text)));
        assert_eq!(action("Canncel_Invite").as_deref(), Some("cancel_invite"));
        assert_eq!(action("Hang Up").as_deref(), Some("hangup"));
    }
}
