//! Letters that steer what shows a text: controls, those that turn the direction of others, and those nobody sees. Users
//! choose names and ids, so such letters are shown and never obeyed.

use std::borrow::Cow;
use std::fmt::Write;

/// First and last of each range of such letters.
pub const UNSAFE: [(char, char); 11] = [
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{e0000}', '\u{e007f}'),
];

/// Whether a letter must not reach a terminal or a page as it is.
#[must_use]
pub fn is_unsafe(letter: char) -> bool {
    letter.is_ascii_control()
        || !letter.is_ascii()
            && UNSAFE.iter().any(|(first, last)| (*first..=*last).contains(&letter))
}

/// The text with such letters spelled out, as in `\u{202e}`.
#[must_use]
pub fn spelled(text: &str) -> Cow<'_, str> {
    rewritten(text, is_unsafe, |out, letter| {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
    })
}

/// The same of a text of several lines, whose ends and indents stay.
#[must_use]
pub fn spelled_in_lines(text: &str) -> Cow<'_, str> {
    rewritten(
        text,
        |letter| is_unsafe(letter) && !['\n', '\t'].contains(&letter),
        |out, letter| {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
        },
    )
}

/// The text with U+FFFD in the place of each such letter: as wide as it was.
#[must_use]
pub fn replaced(text: &str) -> String {
    text.chars().map(|letter| if is_unsafe(letter) { '\u{fffd}' } else { letter }).collect()
}

/// One or more JSON texts with such letters escaped, as in `\u202e`: the same values.
#[must_use]
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    // JSON has these outside of its strings only.
    let kept = ['\n', '\t'];
    rewritten(
        json,
        |letter| is_unsafe(letter) && !kept.contains(&letter),
        |out, letter| {
            if letter == '\r' {
                out.push(' ');
                return;
            }
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

fn rewritten(
    text: &str,
    is_meant: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(&is_meant) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_meant(letter) { write(&mut out, letter) } else { out.push(letter) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ESC, DEL, a C1 control, a soft hyphen, marks of direction, spaces without width, ends of lines, a byte order mark,
    /// and a tag.
    const BAD: &str = "\u{1b}\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{202e}\u{2028}\u{2029}\u{2066}\u{feff}\u{e0041}";

    #[test]
    fn no_unsafe_letter_is_left() {
        let text = format!("a{BAD}é漢😀");
        for made in [spelled(&text), spelled_in_lines(&text), replaced(&text).into()] {
            assert!(!made.contains(is_unsafe), "{made:?}");
            assert!(made.starts_with('a') && made.ends_with("é漢😀"), "{made}");
        }
        assert_eq!(spelled("\u{202e}\n"), "\\u{202e}\\u{a}");
        assert_eq!(spelled_in_lines("\u{9b}1\n\t2"), "\\u{9b}1\n\t2");
        assert!(matches!(spelled("plain é 漢"), Cow::Borrowed(_)));
    }

    #[test]
    fn escaped_json_says_the_same() {
        let value = serde_json::json!({ "text": format!("a{BAD}b\n\r\t\"\\"), BAD: 1 });
        let json = format!("{value}\n{{\r\n\t\"a\": 1 }}\n");
        let escaped = escaped_json(&json);
        assert!(!escaped.contains(|letter| is_unsafe(letter) && !['\n', '\t'].contains(&letter)));
        let read: Vec<serde_json::Value> =
            serde_json::Deserializer::from_str(&escaped).into_iter().map(Result::unwrap).collect();
        assert_eq!(read, [value, serde_json::json!({"a": 1})]);
    }
}
