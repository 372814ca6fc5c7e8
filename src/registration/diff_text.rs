//! How a difference is told: in a line for logs and lists, without what may be secret.

use crate::tencent_api::{CallbackConfig, Diff};

/// How many commands are named, and how many letters of each: what is registered may be anything.
const NAMED_MAX: usize = 20;
const LETTERS_MAX: usize = 80;

/// A callback URL without its path, which may be a secret, and without whatever else may stand in it.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "an invalid address".to_owned();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // Whom one would guess anyway.
    let path = if matches!(path, "" | "/" | "/callback") { path } else { "/…" };
    format!("{}://{}{path}", shortened(scheme), shortened(host))
}

/// What differs between what is registered, if anything, and what is wanted; empty where nothing does.
pub(crate) fn difference(before: Option<&CallbackConfig>, wanted: &CallbackConfig) -> String {
    let Some(before) = before else {
        return format!(
            "nothing is registered, so no callback comes; wanted is {}",
            shown(&wanted.url)
        );
    };
    let diff = Diff::between(Some(before), wanted);
    let mut parts = Vec::new();
    if diff.url_after.is_some() {
        let (is, wanted) = (shown(&before.url), shown(&wanted.url));
        parts.push(if is == wanted {
            format!("callbacks go to another path than the wanted one at {is}")
        } else {
            format!("callbacks go to {is}, wanted is {wanted}")
        });
    }
    for (words, what) in
        [(&diff.added, "not registered"), (&diff.removed, "registered, not wanted")]
    {
        if !words.is_empty() {
            parts.push(format!("{what}: {}", named(words)));
        }
    }
    parts.join("; ")
}

fn named(words: &[String]) -> String {
    let mut named: Vec<String> = words.iter().take(NAMED_MAX).map(|word| shortened(word)).collect();
    if words.len() > NAMED_MAX {
        named.push(format!("and {} more", words.len() - NAMED_MAX));
    }
    named.join(", ")
}

fn shortened(text: &str) -> String {
    // No store takes a NUL in a text.
    text.chars().take(LETTERS_MAX).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_possible_secrets() {
        for (url, expected) in [
            ("https://cb.example.com", "https://cb.example.com"),
            ("https://cb.example.com/", "https://cb.example.com/"),
            ("https://cb.example.com:8443/callback", "https://cb.example.com:8443/callback"),
            ("https://cb.example.com/callback/s3cret", "https://cb.example.com/…"),
            ("https://cb.example.com?s3cret", "https://cb.example.com/…"),
            ("https://user:s3cret@cb.example.com/", "https://cb.example.com/"),
            ("s3cret", "an invalid address"),
        ] {
            assert_eq!(shown(url), expected);
        }
        assert!(shown(&format!("https://{}", "x".repeat(5000))).len() < 200);
    }

    #[test]
    fn a_difference_is_described_in_a_bounded_line() {
        let config = |url: &str, words: &[&str]| CallbackConfig::new(url, words.iter().copied());
        let wanted = config("https://a.example/callback/s3cret", &["Call.A", "Call.B"]);
        assert_eq!(difference(Some(&wanted), &wanted), "");
        assert!(difference(None, &wanted).starts_with("nothing is registered"));
        let other = config("https://a.example/callback/0ther", &["Call.B", "Call.C"]);
        assert_eq!(
            difference(Some(&other), &wanted),
            "callbacks go to another path than the wanted one at https://a.example/…; \
             not registered: Call.A; registered, not wanted: Call.C"
        );
        let many: Vec<String> =
            (0..5000).map(|n| format!("Call.{n}\0{}", "x".repeat(500))).collect();
        let text = difference(Some(&CallbackConfig::new("", many)), &wanted);
        assert!(text.chars().count() < 2500 && text.contains("and 4980 more"), "{text}");
        assert!(!text.contains('\0'));
    }
}
