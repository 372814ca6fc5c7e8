//! Ids as segments of a path. Users choose them: a browser takes `.` and `..` for steps of the path, also percent-encoded.

use std::fmt::Write;

/// Written before an id of one or two dots, and before one that would be read as such: `~.` is the id `.`.
const MARK: char = '~';

/// An id as a segment of a path.
pub(crate) fn segment(id: &str) -> String {
    let encoded = encoded(id);
    if is_dots(id.trim_start_matches(MARK)) { format!("{MARK}{encoded}") } else { encoded }
}

/// The id that a segment names, as the store holds it. Give it decoded.
pub(crate) fn id(segment: &str) -> String {
    let behind = segment.strip_prefix(MARK).filter(|id| is_dots(id.trim_start_matches(MARK)));
    storable(behind.unwrap_or(segment))
}

fn is_dots(id: &str) -> bool {
    id == "." || id == ".."
}

/// Text as the store holds it: it keeps no NUL, and has U+FFFD there.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// One value of a query, or most segments of a path: all but letters, digits and `-_.~` percent-encoded.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::http::ops::path_segment::*;

    #[test]
    fn every_id_is_a_segment_that_leads_back_to_it() {
        for text in [".", "..", "~.", "~..", "~~.", "...", "~", "~x", "~x.", ".a", "a.", "a"] {
            let segment = segment(text);
            assert!(!is_dots(&segment), "{text}");
            assert_eq!(id(&segment), text);
        }
        assert_eq!(["a/b", ".", "..", "~."].map(segment), ["a%2Fb", "~.", "~..", "~~."]);
        assert_eq!(id("a\0"), "a\u{fffd}");
    }
}
