//! The beginning of an answer as text, without what the receiver repeats of our secrets.

use reqwest::header::HeaderMap;
use url::Url;

/// The most bytes of an excerpt.
pub const EXCERPT_BYTES_MAX: usize = 1024;

/// What stands in the place of a secret.
const MASK: &str = "[secret]";

/// Shorter paths and values are no secrets, and may stand in any text.
const SECRET_BYTES_MIN: usize = 6;

/// Parts of them that are shorter are words rather than secrets.
const PART_BYTES_MIN: usize = 12;

/// What of a request must not be shown. Not `Debug`, for that reason.
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Values of headers marked as sensitive, and what of the URL is never shown: a path or query often is a secret.
    pub(crate) fn of(headers: &HeaderMap, url: &Url) -> Self {
        let values = headers.values().filter(|value| value.is_sensitive());
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let parts = [Some(url.path()), url.query(), url.password(), Some(url.username())];
        let parts = parts.into_iter().flatten().map(ToOwned::to_owned);
        let whole = values.chain(parts).filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        let mut secrets: Vec<_> = whole.flat_map(with_parts).collect();
        // A secret that holds another one is taken out as a whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The beginning of a body.
    pub(crate) fn excerpt(&self, body: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(body).into_owned();
        for secret in &self.0 {
            if text.contains(secret) {
                text = text.replace(secret, MASK);
            }
        }
        text.truncate(text.floor_char_boundary(EXCERPT_BYTES_MAX));
        text
    }
}

/// A secret and its parts, as receivers also repeat it in pieces or with what is between them escaped (`\/`, `&amp;`).
fn with_parts(secret: String) -> Vec<String> {
    let parts = secret.split(['/', '&', '=', ',', ' ']);
    let parts = parts.filter(|part| (PART_BYTES_MIN..secret.len()).contains(&part.len()));
    let mut all: Vec<_> = parts.map(ToOwned::to_owned).collect();
    all.push(secret);
    all
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn secrets() -> Secrets {
        let mut headers = HeaderMap::new();
        let mut token = HeaderValue::from_static("Bearer 0123456789");
        token.set_sensitive(true);
        headers.insert("authorization", token);
        headers.insert("webhook-id", HeaderValue::from_static("0198f3c0-aaaa"));
        Secrets::of(&headers, &Url::parse("https://h.test/hooks/abc?key=hunter22").unwrap())
    }

    #[test]
    fn secrets_that_the_receiver_repeats_are_masked() {
        let body = b"Cannot POST /hooks/abc?key=hunter22\nBearer 0123456789, id 0198f3c0-aaaa";
        let expected = "Cannot POST [secret]?[secret]\n[secret], id 0198f3c0-aaaa";
        assert_eq!(secrets().excerpt(body), expected);
    }

    #[test]
    fn parts_of_secrets_are_masked() {
        let url = "https://h.test/services/T0001/abcdefghijklmnop?token=0123456789ab&x=y";
        let secrets = Secrets::of(&HeaderMap::new(), &Url::parse(url).unwrap());
        let body = r#"{"url":"\/services\/T0001\/abcdefghijklmnop?token=0123456789ab&amp;x=y"}"#;
        let expected = r#"{"url":"\/services\/T0001\/[secret]?token=[secret]&amp;x=y"}"#;
        assert_eq!(secrets.excerpt(body.as_bytes()), expected);
    }

    #[test]
    fn a_secret_across_the_cut_is_masked_whole() {
        let mut body = vec![b'x'; EXCERPT_BYTES_MAX - 4];
        body.extend_from_slice(b"Bearer 0123456789");
        let excerpt = secrets().excerpt(&body);
        assert!(excerpt.ends_with("x[sec"), "{excerpt}");
    }

    #[test]
    fn any_bytes_are_text_of_bounded_length() {
        let excerpt = secrets().excerpt(&[0xff; 16 * 1024]);
        assert!(excerpt.len() <= EXCERPT_BYTES_MAX && excerpt.starts_with('\u{fffd}'));
        assert_eq!(secrets().excerpt("ü".repeat(600).as_bytes()), "ü".repeat(512));
        assert_eq!(secrets().excerpt(b""), "");
    }
}
