//! Headers that a destination gets beside those of the envelope, most often its authorization.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use protocol::diagnostic::Hint;

/// The most headers of a destination.
pub const HEADERS_MAX: usize = 16;
/// The most bytes that the names and values of all may have together.
pub const BYTES_MAX: usize = 4096;

/// Names that belong to the connection, to the envelope or to us.
const REFUSED: [&str; 13] = [
    "connection",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const REFUSED_BEGINNINGS: [&str; 3] = ["content-", "trtc-", "webhook-"];

/// Checked headers: their names in lower case. Values are secrets.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(String, SecretString)>);

impl Headers {
    /// Checks headers.
    ///
    /// # Errors
    /// Which of them is wrong, and why.
    pub fn check(headers: BTreeMap<String, SecretString>) -> Result<Self, HeaderError> {
        if headers.len() > HEADERS_MAX {
            return Err(HeaderError::TooMany(headers.len()));
        }
        let bytes =
            headers.iter().map(|(name, value)| name.len() + value.expose_secret().len()).sum();
        if bytes > BYTES_MAX {
            return Err(HeaderError::TooLong(bytes));
        }
        let mut checked: Vec<(String, SecretString)> = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let lower = name.to_ascii_lowercase();
            if !is_token(&lower) {
                return Err(HeaderError::Name(name));
            }
            let is_refused = REFUSED.contains(&lower.as_str())
                || REFUSED_BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning));
            if is_refused {
                return Err(HeaderError::Refused(lower));
            }
            if checked.iter().any(|(other, _)| *other == lower) {
                return Err(HeaderError::Twice(lower));
            }
            if !is_value(value.expose_secret()) {
                return Err(HeaderError::Value(lower));
            }
            checked.push((lower, value));
        }
        Ok(Self(checked))
    }

    /// Each with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_token(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_letter)
}

/// Visible ASCII, with blanks within: what every server reads the same way.
fn is_value(value: &str) -> bool {
    value.trim() == value && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// What is wrong with headers. It never holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderError {
    /// There are this many.
    TooMany(usize),
    /// They have this many bytes.
    TooLong(usize),
    /// A name is no name of a header.
    Name(String),
    /// A name may not be set.
    Refused(String),
    /// A name stands there twice, in other cases.
    Twice(String),
    /// The value of this header has other characters than visible ASCII.
    Value(String),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(count) => write!(f, "{count} headers: there may be {HEADERS_MAX}"),
            Self::TooLong(bytes) => {
                write!(f, "the headers have {bytes} bytes: there may be {BYTES_MAX}")
            }
            Self::Name(name) => write!(f, "`{name}` is not the name of a header"),
            Self::Refused(name) => write!(f, "the header `{name}` may not be set"),
            Self::Twice(name) => write!(f, "the header `{name}` is set twice"),
            Self::Value(name) => {
                write!(f, "the value of `{name}` has other characters than visible ASCII")
            }
        }
    }
}

impl std::error::Error for HeaderError {}

impl Hint for HeaderError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TooMany(_) | Self::TooLong(_) => return None,
            Self::Name(_) => "letters, digits and `-`, such as `authorization`",
            Self::Refused(_) => {
                "it belongs to the connection or to the envelope; take another name, such as `x-tenant`"
            }
            Self::Twice(_) => "case does not matter in names of headers: remove one",
            Self::Value(_) => "check it for line breaks and blanks around it",
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)]) -> Result<Headers, HeaderError> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        Headers::check(headers.collect())
    }

    #[test]
    fn usual_headers_are_taken_in_lower_case() {
        let headers = check(&[("Authorization", "Bearer a b"), ("x-Tenant", "")]).unwrap();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["authorization", "x-tenant"]);
        assert!(!headers.is_empty() && check(&[]).unwrap().is_empty());
        assert!(!format!("{headers:?}").contains("Bearer"));
    }

    #[test]
    fn headers_of_the_connection_and_of_the_envelope_are_refused() {
        for name in [
            "Host",
            "connection",
            "TE",
            "transfer-encoding",
            "upgrade",
            "keep-alive",
            "trailer",
            "proxy-authorization",
            "Content-Type",
            "content-length",
            "webhook-id",
            "Webhook-Other",
            "trtc-attempt",
            "user-agent",
            "expect",
        ] {
            let error = check(&[(name, "a")]).unwrap_err();
            assert_eq!(error, HeaderError::Refused(name.to_ascii_lowercase()));
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn odd_names_and_values_and_too_many_are_refused() {
        for name in ["", "a b", "a:", "\u{e9}", "a\n"] {
            assert_eq!(check(&[(name, "a")]).unwrap_err(), HeaderError::Name(name.to_owned()));
        }
        for value in ["a\r\nx: y", "a\0", "\u{e9}", " a", "a\t"] {
            assert_eq!(check(&[("x", value)]).unwrap_err(), HeaderError::Value("x".to_owned()));
        }
        assert_eq!(check(&[("X", "a"), ("x", "b")]).unwrap_err(), HeaderError::Twice("x".into()));
        let names: Vec<String> = (0..17).map(|number| format!("x-{number}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert_eq!(check(&many).unwrap_err(), HeaderError::TooMany(17));
        assert!(check(&many[..16]).is_ok());
        let long = "a".repeat(4096);
        assert_eq!(check(&[("x", &long)]).unwrap_err(), HeaderError::TooLong(4097));
        assert!(check(&[("x", &long[1..])]).is_ok());
    }
}
