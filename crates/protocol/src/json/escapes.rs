//! Escapes in JSON that are legal and that the JSON functions of databases refuse: `\u0000`, and half a surrogate pair.

use std::borrow::Cow;

/// What stands in the place of each: as long as what it replaces.
const REPLACEMENT: &str = "\\ufffd";

/// A JSON text as databases can read it: `\ufffd` stands in the place of each escape that they refuse. The text itself where
/// there is none, which costs one search.
#[must_use]
pub fn readable(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u") {
        return json.into();
    }
    let mut readable = String::new();
    let mut done = 0;
    for at in refused(json.as_bytes()) {
        readable.push_str(&json[done..at]);
        readable.push_str(REPLACEMENT);
        done = at + REPLACEMENT.len();
    }
    if done == 0 {
        return json.into();
    }
    readable.push_str(&json[done..]);
    readable.into()
}

/// Where the escapes begin that databases refuse.
fn refused(json: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut place = 0;
    while let Some(behind) =
        json.get(place..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\'))
    {
        let at = place + behind;
        place = match unit(json, at) {
            // Another escape, a backslash itself for example.
            None => at + 2,
            Some(0xd800..=0xdbff) if matches!(unit(json, at + 6), Some(0xdc00..=0xdfff)) => at + 12,
            Some(0 | 0xd800..=0xdfff) => {
                found.push(at);
                at + 6
            }
            Some(_) => at + 6,
        };
    }
    found
}

/// The UTF-16 unit that is escaped at this place, where one is.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    // A sign would be read too.
    let digits = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::json::escapes::*;

    #[test]
    fn only_escapes_that_databases_refuse_are_replaced() {
        for (json, expected) in [
            (r#"["c\u0000t"]"#, r#"["c\ufffdt"]"#),
            (r#"{"\u0000":1}"#, r#"{"\ufffd":1}"#),
            (r#"["\ud83d"]"#, r#"["\ufffd"]"#),
            (r#"["\uD83D\uDE00"]"#, r#"["\uD83D\uDE00"]"#),
            (r#"["\ude00\ud83d"]"#, r#"["\ufffd\ufffd"]"#),
            (r#"["\ud83d\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            (r#"["\ud83dx\ude00"]"#, r#"["\ufffdx\ufffd"]"#),
            (r#"["\\u0000"]"#, r#"["\\u0000"]"#),
            (r#"["\\\u0000"]"#, r#"["\\\ufffd"]"#),
            (r#"["\u0001é\u00e9\n\/"]"#, r#"["\u0001é\u00e9\n\/"]"#),
            (r#"["é\u0000é"]"#, r#"["é\ufffdé"]"#),
            ("[]", "[]"),
        ] {
            assert_eq!(readable(json), expected, "{json}");
            assert_eq!(matches!(readable(json), Cow::Borrowed(_)), json == expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn replacing_escapes_keeps_the_length_of_any_text(text in "([\\\\u0d8fé\"+]|\\\\u(0000|d83d|de00)|.){0,20}") {
            let once = readable(&text);
            prop_assert_eq!(once.len(), text.len());
            prop_assert_eq!(readable(&once), once.as_ref());
        }
    }
}
