//! Secrets that deliveries are signed with, as Standard Webhooks writes them: `whsec_` and base64.
//!
//! Only one spelling is taken: standard base64 with its padding. The official libraries read every other one differently (URL-safe
//! letters are an error in one and another key in the other), so a receiver would refuse every event, and nobody could see why.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use protocol::diagnostic::Hint;

const PREFIX: &str = "whsec_";

/// A key that deliveries are signed with. Its `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct SigningSecret(SecretSlice<u8>);

impl SigningSecret {
    /// The shortest key, in bytes.
    pub const BYTES_MIN: usize = 24;
    /// The longest key, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Reads a secret in its one spelling.
    ///
    /// # Errors
    /// How its spelling or length is wrong.
    pub fn parse(text: &SecretString) -> Result<Self, SecretError> {
        let text = text.expose_secret();
        let encoded = text.strip_prefix(PREFIX).ok_or_else(|| {
            if text.trim() == text { SecretError::Prefix } else { SecretError::Blank }
        })?;
        if encoded.contains(char::is_whitespace) {
            return Err(SecretError::Blank);
        }
        if encoded.contains(['-', '_']) {
            return Err(SecretError::UrlSafe);
        }
        if encoded.len() % 4 != 0 {
            return Err(SecretError::Padding);
        }
        // Bits that no byte is made of must be 0, too: else one key had several spellings.
        let key = STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?;
        Self::of_bytes(key)
    }

    /// The secret of these bytes, which should be random.
    ///
    /// # Errors
    /// There are too few or too many of them.
    pub fn of_bytes(key: Vec<u8>) -> Result<Self, SecretError> {
        if (Self::BYTES_MIN..=Self::BYTES_MAX).contains(&key.len()) {
            Ok(Self(key.into()))
        } else {
            Err(SecretError::Length(key.len()))
        }
    }

    /// Its one spelling.
    #[must_use]
    pub fn encode(&self) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(self.0.expose_secret())).into()
    }

    /// The key.
    pub(crate) fn key(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// What is wrong with a secret. It never holds the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretError {
    /// It does not begin with `whsec_`.
    Prefix,
    /// It has blanks in or around it.
    Blank,
    /// It is written in the other alphabet of base64.
    UrlSafe,
    /// Its length is none of base64: most often its `=` are missing.
    Padding,
    /// It is not base64.
    Base64,
    /// Its key has this many bytes.
    Length(usize),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => f.write_str("the secret does not begin with `whsec_`"),
            Self::Blank => f.write_str("the secret has blanks or line breaks in it"),
            Self::UrlSafe => f.write_str("the secret is in URL-safe base64, with `-` or `_`"),
            Self::Padding => f.write_str("the secret is cut, or its `=` at the end are missing"),
            Self::Base64 => f.write_str("the secret is not base64 in its one spelling"),
            Self::Length(bytes) => {
                let (least, most) = (SigningSecret::BYTES_MIN, SigningSecret::BYTES_MAX);
                write!(f, "the secret's key has {bytes} bytes, and needs {least} to {most}")
            }
        }
    }
}

impl std::error::Error for SecretError {}

impl Hint for SecretError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Prefix | Self::Length(_) => {
                "`printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\"` makes one"
            }
            Self::Blank => "write it on one line, without quotes of a shell",
            Self::UrlSafe => "write `+` for `-` and `/` for `_`, here and at the receiver",
            Self::Padding | Self::Base64 => "copy it again, with all `=` at its end",
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<SigningSecret, SecretError> {
        SigningSecret::parse(&text.into())
    }

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn every_spelling_but_one_is_refused() {
        assert_eq!(parse(KEY).unwrap().encode().expose_secret(), KEY);
        for (wrong, error) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Blank),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", SecretError::Blank),
            ("whsec_MfKQ9r8GKYqrTwj PD8ILPZIo2LaLaSw", SecretError::Blank),
            ("whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::UrlSafe),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ", SecretError::Padding),
            // Bits beyond the last byte.
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaR=", SecretError::Base64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL===", SecretError::Base64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La\u{e9}Sw", SecretError::Base64),
            ("whsec_", SecretError::Length(0)),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==", SecretError::Base64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ=", SecretError::Length(23)),
        ] {
            let found = parse(wrong).unwrap_err();
            assert_eq!(found, error, "{wrong}");
            assert!(found.hint().is_some());
            assert!(!found.to_string().contains("MfKQ"), "{found}");
        }
        assert!(SigningSecret::of_bytes(vec![1; 64]).is_ok());
        assert_eq!(SigningSecret::of_bytes(vec![1; 65]).unwrap_err(), SecretError::Length(65));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", parse(KEY).unwrap());
        assert!(!shown.contains("MfKQ") && !shown.contains("49, 242"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_key_is_read_back_from_its_spelling(key in prop::collection::vec(any::<u8>(), 24..=64)) {
            let secret = SigningSecret::of_bytes(key.clone()).unwrap();
            let read = SigningSecret::parse(&secret.encode()).unwrap();
            prop_assert_eq!(read.key(), &key[..]);
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in any::<String>()) {
            if let Ok(secret) = parse(&text) {
                let spelling = secret.encode();
                prop_assert_eq!(spelling.expose_secret(), text.as_str());
            }
        }
    }
}
