//! The strings and numbers of a JSON text, each at its place, for editing the text there.

use std::ops::Range;

/// The strings and numbers of a JSON text.
pub(crate) struct Tokens<'a> {
    text: &'a str,
    place: usize,
    /// Of each open array and object, whether the last name in it stands for an account; an array takes its own's.
    open: Vec<bool>,
}

pub(crate) enum Token {
    /// The content of a string, without its quotes.
    String { at: Range<usize> },
    Number {
        at: Range<usize>,
        /// Whether it stands under a name that stands for an account.
        names_account: bool,
    },
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, place: 0, open: vec![false] }
    }

    fn string(&mut self) -> Token {
        let bytes = self.text.as_bytes();
        let begin = self.place + 1;
        let mut end = begin;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(bytes.len());
        self.place = end + 1;
        let mut behind = bytes.get(self.place..).unwrap_or_default().iter();
        if behind.find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
            && let Some(innermost) = self.open.last_mut()
        {
            *innermost = names_account(&self.text[begin..end]);
        }
        Token::String { at: begin..end }
    }

    fn number(&mut self) -> Token {
        let begin = self.place;
        let rest = &self.text.as_bytes()[begin..];
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        self.place += rest.iter().position(|byte| !part(byte)).unwrap_or(rest.len());
        let names_account = self.open.last().copied().unwrap_or(false);
        Token::Number { at: begin..self.place, names_account }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            match *self.text.as_bytes().get(self.place)? {
                b'"' => return Some(self.string()),
                b'-' | b'0'..=b'9' => return Some(self.number()),
                b'{' => self.open.push(false),
                b'[' => self.open.push(self.open.last().copied().unwrap_or(false)),
                b'}' | b']' => _ = self.open.pop(),
                _ => {}
            }
            self.place += 1;
        }
    }
}

/// Whether a member of this name holds an account: `Operator_Account`, `MemberList_Account`, `UserId`, `UserID`.
fn names_account(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('s').unwrap_or(&name);
    ["account", "userid", "user_id"].iter().any(|ending| name.ends_with(ending))
}

/// The content of a JSON string, and for each of its bytes, and for its end, where that stands in the text.
pub(crate) struct Unescaped {
    pub(crate) text: String,
    pub(crate) places: Vec<usize>,
}

impl Unescaped {
    /// A half of a surrogate pair becomes U+FFFD.
    pub(crate) fn new(content: &str) -> Self {
        let mut unescaped = Self { text: String::with_capacity(content.len()), places: Vec::new() };
        let mut rest = content;
        while let Some(letter) = rest.chars().next() {
            let (letter, taken) =
                if letter == '\\' { escaped(rest) } else { (letter, letter.len_utf8()) };
            let place = content.len() - rest.len();
            unescaped.text.push(letter);
            unescaped.places.resize(unescaped.text.len(), place);
            rest = &rest[taken..];
        }
        unescaped.places.push(content.len());
        unescaped
    }
}

/// The letter that the escape at the begin of `text` stands for, and how many bytes it takes.
fn escaped(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..).filter(|rest| rest.starts_with("\\u"))?.get(2..6)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let letter = match text.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let units = unit(0).into_iter().chain(unit(6));
            return match char::decode_utf16(units).next() {
                Some(Ok(letter)) => (letter, 6 * letter.len_utf16()),
                Some(Err(_)) => (char::REPLACEMENT_CHARACTER, 6),
                None => (char::REPLACEMENT_CHARACTER, text.len().min(2)),
            };
        }
        Some(plain @ (b'"' | b'\\' | b'/')) => char::from(*plain),
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (letter, 2)
}
