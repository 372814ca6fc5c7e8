//! Memory bounds of the read models, for the facts of one event and for the figures of one session.
//!
//! The event's payload is always whole. Truncation is recorded: for a fact in its column `cut`, for properties in a
//! list of that name, for a session in its column `cut`.

/// Bound of texts whose column has no bound of its own: metadata values, custom info. In bytes of JSON.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;
/// Bound of the metadata values that one event sets. In bytes of JSON.
pub(crate) const METADATA_BYTES_MAX: usize = 64 << 10;
/// Maximum number of categories in a list.
pub(crate) const CATEGORIES_MAX: usize = 100;
/// Maximum number of receivers of a gift.
pub(crate) const RECEIVERS_MAX: usize = 100;
/// Maximum number of files of a recording task in one event.
pub(crate) const FILES_MAX: usize = 500;
/// Bound of these files. In bytes of JSON.
pub(crate) const FILES_BYTES_MAX: usize = 64 << 10;
/// Bound of the distinct accounts counted in one session, each as visitors, senders and receivers. In bytes.
pub(crate) const ACCOUNTS_BYTES_MAX: usize = 32 << 20;
/// Approximate memory of an account beside its text. In bytes.
pub(crate) const ACCOUNT_BYTES: usize = 64;

/// The length of a character as JSON, in bytes.
fn letter_bytes(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => letter.len_utf8(),
    }
}

/// The length of a text as JSON, without its quotes. In bytes.
#[must_use]
pub(crate) fn json_bytes(text: &str) -> usize {
    text.chars().map(letter_bytes).sum()
}

/// The longest prefix of `text` that is at most `bytes_max` bytes as JSON.
pub(crate) fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, letter)| {
        bytes += letter_bytes(*letter);
        bytes > bytes_max
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// Truncates properties and collects the names of those that were too long.
#[derive(Default)]
pub(crate) struct Properties {
    pub(crate) cut: Vec<&'static str>,
}

impl Properties {
    /// The text, truncated to its bound.
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

    use crate::session::bounds::*;

    proptest! {
        #[test]
        fn a_text_is_cut_by_its_length_as_json(text in any::<String>(), bytes_max in 0..40_usize) {
            prop_assert_eq!(json_bytes(&text) + 2, serde_json::to_string(&text).unwrap().len());
            let cut = beginning(&text, bytes_max);
            prop_assert!(text.starts_with(cut) && json_bytes(cut) <= bytes_max);
            let next = text[cut.len()..].chars().next();
            prop_assert!(next.is_none_or(|next| json_bytes(cut) + letter_bytes(next) > bytes_max));
        }
    }
}
