//! The tolerant scalars: each accepts every form the vendor's pages and captured traffic show for its kind of value,
//! so that no body needs a special case. What fits none of the forms is an error with a path, never a guess.

use std::borrow::Cow;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::escapes::readable;
use crate::json::lexer::Unescaped;

/// A JSON value that is no array and no object, before a type is asked for.
///
/// Read from the raw text because `serde_json` takes an integer beyond 64 bits through `f64` and loses its last digits.
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    /// A number as it was written.
    Number(Cow<'a, str>),
    Bool(bool),
}

impl<'a> Scalar<'a> {
    /// `None` for `null`, arrays and objects.
    pub(crate) fn read(raw: &'a RawValue) -> Option<Self> {
        let text = raw.get();
        match text.as_bytes().first()? {
            b'"' => Some(Self::Text(string(text))),
            b'-' | b'0'..=b'9' => Some(Self::Number(Cow::Borrowed(text))),
            b't' => Some(Self::Bool(true)),
            b'f' => Some(Self::Bool(false)),
            _ => None,
        }
    }

    /// The text of a string or the digits of an integer; `None` for everything else.
    pub(crate) fn into_id(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(digits) if is_integer(&digits) => Some(digits),
            Self::Number(_) | Self::Bool(_) => None,
        }
    }

    /// A whole number, also when it is sent as a string or with a zero fraction or an exponent.
    pub(crate) fn into_integer(self) -> Option<i64> {
        match self {
            Self::Text(text) | Self::Number(text) => integer(text.trim()),
            Self::Bool(_) => None,
        }
    }

    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> Scalar<'static> {
        match self {
            Self::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
            Self::Number(digits) => Scalar::Number(Cow::Owned(digits.into_owned())),
            Self::Bool(flag) => Scalar::Bool(flag),
        }
    }
}

/// The content of a JSON string, borrowed unless it holds an escape. Half a surrogate pair, as where somebody cut a text
/// within an emoji, becomes U+FFFD.
pub(crate) fn string(json: &str) -> Cow<'_, str> {
    let inner = json.get(1..json.len() - 1).unwrap_or_default();
    if inner.contains('\\') {
        let whole = serde_json::from_str(json);
        Cow::Owned(whole.unwrap_or_else(|_| Unescaped::new(inner).text))
    } else {
        Cow::Borrowed(inner)
    }
}

fn is_integer(digits: &str) -> bool {
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the value is whole and inside the range of i64"
)]
fn integer(text: &str) -> Option<i64> {
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    let float: f64 = text.parse().ok()?;
    let exact = float.fract() == 0.0 && float.abs() < 9_223_372_036_854_775_808.0;
    exact.then_some(float as i64)
}

fn scalar<'de, D: Deserializer<'de>>(input: D, expected: &str) -> Result<Scalar<'de>, D::Error> {
    let raw = <&RawValue>::deserialize(input)?;
    Scalar::read(raw).ok_or_else(|| misfit(raw, expected))
}

/// Names the kind of what came, never its content: the reason is stored beside the event and shown in tables.
pub(crate) fn misfit<E: Error>(raw: &RawValue, expected: &str) -> E {
    let found = match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "another text",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "another number",
    };
    E::custom(format_args!("expected {expected}, found {found}"))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let raw = <&RawValue>::deserialize(input)?;
                Scalar::read(raw)
                    .and_then(Scalar::into_id)
                    .map(|id| Self(id.into_owned()))
                    .ok_or_else(|| misfit(raw, "a string or an integer"))
            }
        }
    )*};
}

ids! {
    /// A user's account (`…_Account`). Text inside; an integer on the wire keeps every digit, also beyond 2^53.
    AccountId;
    /// A room's id. Text inside, also where the room has a number.
    RoomId;
    /// A call's id, given by the vendor, usually shaped like a UUID.
    CallId;
    /// A battle's id, given by the vendor; it looks like base64.
    BattleId;
    /// A recording task's id, given by the vendor. Some services send it as a number.
    TaskId;
    /// A gift's id, given by the app.
    GiftId;
    /// A code of the vendor's. Text inside: some events have an integer, others a word.
    Code;
}

macro_rules! integers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// On the wire an integer, or a string that holds one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let raw = <&RawValue>::deserialize(input)?;
                Scalar::read(raw)
                    .and_then(Scalar::into_integer)
                    .map(Self)
                    .ok_or_else(|| misfit(raw, "a whole number"))
            }
        }
    )*};
}

integers! {
    /// Milliseconds: a moment since 1970 UTC, or a length of time, as the field says.
    Millis;
    /// Seconds: a moment since 1970 UTC, or a length of time, as the field says.
    Seconds;
    /// A number of things, an index or a code.
    Count;
}

/// Yes or no: `true`, `"false"` (room updates send it as text), `0` or `1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "true, false, 0 or 1";
        let raw = <&RawValue>::deserialize(input)?;
        let text = match Scalar::read(raw) {
            Some(Scalar::Bool(flag)) => return Ok(Self(flag)),
            Some(Scalar::Number(text) | Scalar::Text(text)) => text,
            None => return Err(misfit(raw, EXPECTED)),
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Self(true)),
            "false" | "0" => Ok(Self(false)),
            _ => Err(misfit(raw, EXPECTED)),
        }
    }
}

/// A closed list of words the vendor uses for one field. Made with `vocabulary!`.
pub trait Vocabulary: Copy + 'static {
    /// Each value with every spelling met on the wire or in the pages; the first is the canonical one.
    const SPELLINGS: &'static [(Self, &'static [&'static str])];

    /// The canonical spelling.
    fn as_str(self) -> &'static str;

    /// The value whose spelling `text` is: case, spaces and underscores do not count.
    fn parse(text: &str) -> Option<Self> {
        let known = |spellings: &&[&str]| spellings.iter().any(|word| same_word(word, text));
        let (value, _) = Self::SPELLINGS.iter().find(|(_, words)| known(words))?;
        Some(*value)
    }
}

/// Whether two spellings are the same word: case, spaces and underscores do not count.
pub(crate) fn same_word(left: &str, right: &str) -> bool {
    fn folded(word: &str) -> impl Iterator<Item = char> + '_ {
        let counts = |letter: &char| !matches!(letter, ' ' | '_');
        word.chars().filter(counts).map(|letter| letter.to_ascii_lowercase())
    }
    left == right || folded(left).eq(folded(right))
}

/// A word of a [`Vocabulary`], or the text as it was sent where it is none: a new value is data, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Known<T> {
    /// A word this version knows.
    Value(T),
    /// Any other text, exactly as sent.
    Other(String),
}

impl<T: Vocabulary> Known<T> {
    /// Reads one word.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        T::parse(text).map_or_else(|| Self::Other(text.to_owned()), Self::Value)
    }

    /// The canonical spelling, or the text as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Value(value) => value.as_str(),
            Self::Other(text) => text,
        }
    }

    /// The value, when it is a known one.
    #[must_use]
    pub fn value(&self) -> Option<T> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Other(_) => None,
        }
    }
}

impl<T: Vocabulary> Serialize for Known<T> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_str(self.as_str())
    }
}

impl<'de, T: Vocabulary> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(match scalar(input, "a word")? {
            Scalar::Text(text) | Scalar::Number(text) => Self::parse(&text),
            Scalar::Bool(flag) => Self::parse(if flag { "true" } else { "false" }),
        })
    }
}

/// Declares a [`Vocabulary`]: an enum whose values list their spellings, the canonical one first.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $($spelling:literal)|+,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(unreachable_pub, clippy::allow_attributes, reason = "a test declares a private one")]
        pub enum $name { $($(#[$word_doc])* $word,)* }

        impl $crate::json::scalar::Vocabulary for $name {
            const SPELLINGS: &'static [(Self, &'static [&'static str])] =
                &[$((Self::$word, &[$($spelling),+]),)*];

            fn as_str(self) -> &'static str {
                match self { $(Self::$word => $crate::json::scalar::first(&[$($spelling),+]),)* }
            }
        }
    };
}
pub(crate) use vocabulary;

/// The canonical one of a value's spellings.
pub(crate) const fn first(spellings: &[&'static str]) -> &'static str {
    spellings[0]
}

/// Any JSON value, as it was written: its shape is the app's own affair, and nothing in it is too large to be kept. Only
/// the escapes that no JSON function takes are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawJson(Box<str>);

impl RawJson {
    /// The value's text, to be read with `serde_json::from_str`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(input).map(|raw| Self(readable(raw.get()).into()))
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(output)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;

    use crate::json::scalar::*;

    vocabulary! {
        /// Fruit.
        Fruit {
            /// Round.
            Apple = "Apple" | "Granny_Smith",
            /// Long.
            Pear = "Pear",
        }
    }

    fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn account(json: &str) -> Result<String, String> {
        read::<AccountId>(json).map(|id| id.to_string())
    }

    #[test]
    fn an_account_is_a_string_or_any_integer_with_every_digit() {
        assert_eq!(account("\"user1\"").unwrap(), "user1");
        assert_eq!(account("144115212830834855").unwrap(), "144115212830834855");
        assert_eq!(
            account("123456789012345678901234567890").unwrap(),
            "123456789012345678901234567890"
        );
        assert_eq!(account(r#""a\u4e2d""#).unwrap(), "a中");
    }

    #[test]
    fn an_invalid_id_is_an_error_without_the_value() {
        for json in ["1.5", "1e3", "true", "{}", "[17]"] {
            let error = account(json).unwrap_err();
            assert!(error.contains("expected a string or an integer"), "{error}");
            assert!(!error.contains("17"), "{error}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_read_as_a_replacement_character() {
        for (json, text) in [
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\ude00 \ud83d\ude00 \n\ud83dx""#, "\u{fffd} \u{1f600} \n\u{fffd}x"),
        ] {
            assert_eq!(account(json).unwrap(), text);
            assert_eq!(read(json), Ok(Known::<Fruit>::Other(text.into())));
        }
        assert!(read::<Millis>(r#""1\ud83d""#).is_err());
        assert!(read::<Flag>(r#""\ud83d""#).is_err());
    }

    #[test]
    fn a_time_is_an_integer_or_a_string_that_holds_one() {
        for json in ["1670574414123", "\"1670574414123\"", "1670574414123.0", "1.670574414123e12"] {
            assert_eq!(read::<Millis>(json), Ok(Millis(1_670_574_414_123)), "{json}");
        }
        assert_eq!(read::<Millis>("-1"), Ok(Millis(-1)));
        assert_eq!(read::<Millis>("9e18"), Ok(Millis(9_000_000_000_000_000_000)));
        for json in ["1e999", "9.3e18", "1.5", "\"soon\"", "\"\"", "{}"] {
            assert!(read::<Millis>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_flag_is_a_boolean_a_text_or_a_digit() {
        for json in ["true", "\"true\"", "\"True\"", "1", "\"1\""] {
            assert_eq!(read::<Flag>(json), Ok(Flag(true)), "{json}");
        }
        for json in ["false", "\"false\"", "0"] {
            assert_eq!(read::<Flag>(json), Ok(Flag(false)), "{json}");
        }
        assert!(read::<Flag>("2").is_err());
    }

    #[test]
    fn enum_values_ignore_case_space_and_underscore() {
        for json in ["\"Apple\"", "\"apple\"", "\"granny smith\"", "\"GrannySmith\""] {
            assert_eq!(read(json), Ok(Known::Value(Fruit::Apple)), "{json}");
        }
        assert_eq!(read("\"Plum\""), Ok(Known::<Fruit>::Other("Plum".into())));
        assert_eq!(read("7"), Ok(Known::<Fruit>::Other("7".into())));
        assert_eq!(Fruit::Apple.as_str(), "Apple");
        assert_eq!(Fruit::Pear.as_str(), "Pear");
    }

    #[test]
    fn any_value_is_kept_as_it_was_written() {
        let json = r#"{"a": 123456789012345678901234567890, "b": [1e999]}"#;
        let value: RawJson = read(json).unwrap();
        assert_eq!(value.as_str(), json);
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        let value: RawJson = read(r#"{"Text":"cut \ud83d"}"#).unwrap();
        assert_eq!(serde_json::to_value(&value).unwrap()["Text"], "cut \u{fffd}");
    }

    proptest! {
        #[test]
        fn any_integer_account_keeps_its_digits(digits in "-?[1-9][0-9]{0,60}") {
            prop_assert_eq!(account(&digits), Ok(digits));
        }

        #[test]
        fn any_text_account_comes_back(text in ".*") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(account(&json), Ok(text));
        }
    }
}
