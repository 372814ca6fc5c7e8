//! Bounds of what the read models take: of one event, and of what is summed up of one session, whatever is sent.
//!
//! The event itself has all of it in its payload. What is cut says so: a fact in its column `cut`, properties in a list
//! of that name, a session in its column `cut`.

/// The longest text that no column of its own bounds: a value of the metadata, a room's custom info. In bytes of JSON.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;
/// The most that the values of the metadata take that one event sets. In bytes of JSON.
pub(crate) const METADATA_BYTES_MAX: usize = 64 << 10;
/// How many numbers a list of categories has at most.
pub(crate) const CATEGORIES_MAX: usize = 100;
/// How many accounts a gift names as its receivers at most.
pub(crate) const RECEIVERS_MAX: usize = 100;
/// How many files of a recording task one event names at most.
pub(crate) const FILES_MAX: usize = 500;
/// The most that those take. In bytes of JSON.
pub(crate) const FILES_BYTES_MAX: usize = 64 << 10;
/// The most that the accounts take that are told apart in one session: as visitors, as senders, as receivers. In bytes.
pub(crate) const ACCOUNTS_BYTES_MAX: usize = 32 << 20;
/// What an account takes beside its letters, about. In bytes.
pub(crate) const ACCOUNT_BYTES: usize = 64;

/// How many bytes a letter takes as JSON.
fn letter_bytes(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => letter.len_utf8(),
    }
}

/// How many bytes a text takes as JSON, its quotes aside.
#[must_use]
pub(crate) fn json_bytes(text: &str) -> usize {
    text.chars().map(letter_bytes).sum()
}

/// The beginning of a text that takes at most so many bytes as JSON.
pub(crate) fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, letter)| {
        bytes += letter_bytes(*letter);
        bytes > bytes_max
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// Cuts properties, and remembers the names of those that were too long.
#[derive(Default)]
pub(crate) struct Properties {
    pub(crate) cut: Vec<&'static str>,
}

impl Properties {
    /// A text, or its beginning.
    pub(crate) fn text<'a>(
        &mut self,
        name: &'static str,
        text: Option<&'a str>,
    ) -> Option<&'a str> {
        let text = text?;
        let beginning = beginning(text, TEXT_BYTES_MAX);
        if beginning.len() < text.len() {
            self.cut.push(name);
        }
        Some(beginning)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::projections::session::bounds::*;

    proptest! {
        #[test]
        fn a_text_is_cut_by_what_it_takes_as_json(text in any::<String>(), bytes_max in 0..40_usize) {
            prop_assert_eq!(json_bytes(&text) + 2, serde_json::to_string(&text).unwrap().len());
            let cut = beginning(&text, bytes_max);
            prop_assert!(text.starts_with(cut) && json_bytes(cut) <= bytes_max);
            let next = text[cut.len()..].chars().next();
            prop_assert!(next.is_none_or(|next| json_bytes(cut) + letter_bytes(next) > bytes_max));
        }
    }
}
