//! Ids as path segments. Users choose ids, and browsers resolve the segments `.` and `..`, even percent-encoded.

use std::fmt::Write;

/// Prefix of ids of one or two dots, and of ids that would be decoded as such: `~.` is the id `.`.
const MARK: char = '~';

/// Encodes an id as a path segment.
pub(crate) fn segment(id: &str) -> String {
    let encoded = encoded(id);
    if is_dots(id.trim_start_matches(MARK)) { format!("{MARK}{encoded}") } else { encoded }
}

/// Decodes a percent-decoded path segment to the id as the store holds it.
pub(crate) fn id(segment: &str) -> String {
    let behind = segment.strip_prefix(MARK).filter(|id| is_dots(id.trim_start_matches(MARK)));
    storable(behind.unwrap_or(segment))
}

fn is_dots(id: &str) -> bool {
    id == "." || id == ".."
}

/// Text as the store holds it: NUL becomes U+FFFD.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Percent-encodes a query value or path segment: all but letters, digits and `-_.~`.
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
    fn every_id_round_trips_through_a_path_segment() {
        for text in [".", "..", "~.", "~..", "~~.", "...", "~", "~x", "~x.", ".a", "a.", "a"] {
            let segment = segment(text);
            assert!(!is_dots(&segment), "{text}");
            assert_eq!(id(&segment), text);
        }
        assert_eq!(["a/b", ".", "..", "~."].map(segment), ["a%2Fb", "~.", "~..", "~~."]);
        assert_eq!(id("a\0"), "a\u{fffd}");
    }
}
