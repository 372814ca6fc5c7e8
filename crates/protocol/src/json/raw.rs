//! Looking into a body without decoding it: is it JSON, and what stands at a path?

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::json::scalar::{Scalar, same_word, string};

/// How deep arrays and objects may nest. Deeper is legal JSON, but neither store's JSON functions take it.
const DEPTH_MAX: usize = 1000;

/// Among how many elements of an array one is looked for: each is taken apart for it.
const CHOICES_MAX: usize = 1000;

/// The mark of UTF-8 that some programs write before a text. It is no part of the text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of a body that is JSON, without a byte order mark before it, and its members where it is an object; or why it
/// is not JSON.
pub(crate) fn read(bytes: &[u8]) -> Result<(&str, Option<Object<'_>>), String> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.is_empty() {
        return Err("the body is empty".into());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        format!("not UTF-8: byte {} is no part of a letter", error.valid_up_to())
    })?;
    if may_be_deep(text) && depth(text) > DEPTH_MAX {
        return Err(format!("nested deeper than {DEPTH_MAX} levels"));
    }
    // Nearly all are objects, which are looked through only once then.
    match Object::parse(text) {
        Some(object) => Ok((text, Some(object))),
        None => serde_json::from_str::<&RawValue>(text)
            .map(|_| (text, None))
            .map_err(|error| format!("not JSON: {error}")),
    }
}

/// The text of a body that is JSON, or why it is not.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, String> {
    read(bytes).map(|(text, _)| text)
}

/// Whether there are more brackets than may be open at once: to count them is cheap, to see which are in strings is not.
fn may_be_deep(text: &str) -> bool {
    text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > DEPTH_MAX
}

/// The deepest nesting of brackets outside strings.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The members of one JSON object, their values still text.
#[derive(Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// `None` when `json` is not an object.
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        // Nearly always the first does. The second takes names with half a surrogate pair too.
        members::<Name<'_>>(json).or_else(|_| members::<RawName<'_>>(json)).ok().map(Self)
    }

    /// The value of a member; the last one where a key repeats, as most parsers have it.
    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(name, _)| name == key)?;
        Some(value)
    }

    /// Every member, in the order they stand there.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// The scalar at `path`, in the little language of [`crate::Command`]: names between dots, and behind
    /// the name of an array `[0]` for an index or `[Key=value]` for its first object with that member.
    pub(crate) fn at(&self, path: &str) -> Option<Scalar<'a>> {
        let (step, rest) = match path.split_once('.') {
            Some((step, rest)) => (step, Some(rest)),
            None => (path, None),
        };
        let value = match step.split_once('[') {
            Some((name, choice)) => element(self.get(name)?, choice.strip_suffix(']')?)?,
            None => self.get(step)?,
        };
        match (rest, Scalar::read(value)) {
            (None, scalar) => scalar,
            // An object that came as JSON in a string, as some tables type it.
            (Some(rest), Some(Scalar::Text(json))) => {
                Object::parse(&json)?.at(rest).map(Scalar::into_owned)
            }
            (Some(rest), _) => Self::parse(value.get())?.at(rest),
        }
    }
}

fn element<'a>(array: &'a RawValue, choice: &str) -> Option<&'a RawValue> {
    let elements: Vec<&RawValue> = serde_json::from_str(array.get()).ok()?;
    let Some((key, wanted)) = choice.split_once('=') else {
        return elements.get(choice.parse::<usize>().ok()?).copied();
    };
    elements.into_iter().take(CHOICES_MAX).find(|element| {
        let member = Object::parse(element.get()).and_then(|object| object.at(key));
        member.and_then(Scalar::into_id).is_some_and(|word| same_word(&word, wanted))
    })
}

/// The members of the object that `json` is.
fn members<'a, N: Deserialize<'a> + Into<Cow<'a, str>>>(
    json: &'a str,
) -> serde_json::Result<Vec<(Cow<'a, str>, &'a RawValue)>> {
    struct Members<N>(PhantomData<N>);

    impl<'de, N: Deserialize<'de> + Into<Cow<'de, str>>> Visitor<'de> for Members<N> {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<N, _>()? {
                members.push((name.into(), value));
            }
            Ok(members)
        }
    }

    let mut input = serde_json::Deserializer::from_str(json);
    let members = input.deserialize_map(Members::<N>(PhantomData))?;
    input.end()?;
    Ok(members)
}

/// A member's name, borrowed unless it holds an escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> From<Name<'a>> for Cow<'a, str> {
    fn from(name: Name<'a>) -> Self {
        name.0
    }
}

/// A member's name as it was written.
#[derive(Deserialize)]
struct RawName<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> From<RawName<'a>> for Cow<'a, str> {
    fn from(name: RawName<'a>) -> Self {
        string(name.0.get())
    }
}

/// Whether a string holds an object as JSON.
pub(crate) fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use crate::json::raw::*;

    fn at<'a>(json: &'a str, path: &str) -> Option<Cow<'a, str>> {
        Object::parse(json)?.at(path)?.into_id()
    }

    #[test]
    fn a_path_goes_through_objects_arrays_and_choices() {
        let body = r#"{"A":{"B":7},"L":[{"U":"x","S":"Waiting"},{"U":99,"S":"Calling"}]}"#;
        assert_eq!(at(body, "A.B").unwrap(), "7");
        assert_eq!(at(body, "L[0].U").unwrap(), "x");
        assert_eq!(at(body, "L[S=Calling].U").unwrap(), "99");
        assert_eq!(at(r#"{"A":"{\"B\":[8]}"}"#, "A.B[0]").unwrap(), "8");
        assert_eq!(at(r#"{"L":[{"S":"calling","U":1}]}"#, "L[S=Calling].U").unwrap(), "1");
        let far = format!(r#"{{"L":[{}{{"S":"Calling","U":1}}]}}"#, "{},".repeat(CHOICES_MAX));
        assert!(at(&far, "L[S=Calling].U").is_none());
        assert_eq!(at(&far, &format!("L[{CHOICES_MAX}].U")).unwrap(), "1");
        for path in ["A", "A.C", "B", "L[2].U", "L[S=Gone].U", "L[S=Calling", "A.B.C", ""] {
            assert!(at(body, path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts_and_escaped_keys_are_read() {
        assert_eq!(at(r#"{"A":1,"A":2}"#, "A").unwrap(), "2");
        assert_eq!(at(r#"{"\u0041":3}"#, "A").unwrap(), "3");
        assert_eq!(at(r#"{"\ud83d":1,"A":"\ud83d"}"#, "A").unwrap(), "\u{fffd}");
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert_eq!(depth(r#"{"a":["[[[[\"[[",{}]}"#), 3);
        assert_eq!(depth("]]][["), 2);
    }

    #[test]
    fn a_body_that_is_not_json_says_why() {
        let cases: [(&[u8], &str); 4] = [
            (b"", "empty"),
            (b"\xff{}", "not UTF-8: byte 0"),
            (b"{} x", "not JSON: trailing characters"),
            (b"// x\n{}", "not JSON"),
        ];
        for (bytes, reason) in cases {
            let error = read(bytes).err().unwrap();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(read(b"1e999").ok().unwrap().0, "1e999");
        assert_eq!(read(b"\xef\xbb\xbf [1]").ok().unwrap().0, " [1]");
        assert!(read(b"\xef\xbb\xbf\xef\xbb\xbf[1]").is_err());
        assert!(read(b"\xef\xbb\xbf").err().unwrap().contains("empty"));
        let deep = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(read(deep(DEPTH_MAX).as_bytes()).is_ok());
        assert!(read(deep(10_000).as_bytes()).err().unwrap().contains("1000 levels"));
        let brackets_in_a_string = format!(r#"{{"a":"{}"}}"#, "[".repeat(10_000));
        assert!(read(brackets_in_a_string.as_bytes()).ok().unwrap().1.is_some());
    }
}
