//! `UserSig`, the vendor's ticket for one user: made, read, and checked. Source: the vendor's own `tls-sig-api-v2`
//! packages.

use std::fmt;
use std::io::{Read, Write};
use std::time::Duration;

use base64::Engine;
use base64::alphabet::{Alphabet, Symbol};
use base64::engine::general_purpose::{GeneralPurpose, PAD, STANDARD};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::Sha256;

use protocol::AppId;
use protocol::UnixMillis;
use protocol::diagnostic::Hint;

/// The longest text that is read: what the vendor makes has a few hundred characters.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// The most that a text may inflate to: a few bytes could stand for gigabytes.
const JSON_BYTES_MAX: usize = 16 << 10;
/// The vendor's limit for an account's name.
const IDENTIFIER_BYTES_MAX: usize = 32;

/// The ticket of one user of one app, as it stands in a `UserSig`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSig {
    /// The version of the format, `2.0`.
    #[serde(rename = "TLS.ver")]
    pub version: String,
    /// The account that it is for.
    #[serde(rename = "TLS.identifier")]
    pub identifier: String,
    /// The app's `SDKAppID`.
    #[serde(rename = "TLS.sdkappid", deserialize_with = "number")]
    pub sdk_app_id: i64,
    /// How long it is valid from [`UserSig::time_s`] on, in s.
    #[serde(rename = "TLS.expire", deserialize_with = "number")]
    pub expire_s: i64,
    /// When it was made, in s since 1970.
    #[serde(rename = "TLS.time", deserialize_with = "number")]
    pub time_s: i64,
    /// What a ticket for single rooms says of them, in base64; absent in all others.
    #[serde(rename = "TLS.userbuf", default, skip_serializing_if = "Option::is_none")]
    pub userbuf: Option<String>,
    /// HMAC-SHA256 over all of the above but the version, in base64.
    #[serde(rename = "TLS.sig")]
    sig: String,
}

impl UserSig {
    /// Makes the ticket of `identifier`, valid from `now` for `expire`, whose parts of a second do not count.
    ///
    /// # Errors
    /// The name cannot be an account's, or the key is empty or has white space in it.
    pub fn new(
        app: AppId,
        identifier: &str,
        key: &SecretString,
        now: UnixMillis,
        expire: Duration,
    ) -> Result<Self, UserSigError> {
        let blank = |letter: char| letter.is_whitespace() || letter.is_control();
        if identifier.is_empty() || identifier.contains(blank) {
            return Err(UserSigError::Identifier("empty, or with white space in it"));
        }
        if identifier.len() > IDENTIFIER_BYTES_MAX {
            return Err(UserSigError::Identifier("longer than 32 bytes"));
        }
        let secret = key.expose_secret();
        if secret.is_empty() || secret.contains(blank) {
            return Err(UserSigError::Key);
        }
        let mut ticket = Self {
            version: "2.0".to_owned(),
            identifier: identifier.to_owned(),
            sdk_app_id: app.as_i64(),
            expire_s: i64::try_from(expire.as_secs()).unwrap_or(i64::MAX),
            time_s: now.as_secs(),
            userbuf: None,
            sig: String::new(),
        };
        ticket.sig = STANDARD.encode(ticket.mac(key).finalize().into_bytes());
        Ok(ticket)
    }

    /// The ticket as it is sent: JSON, zlib, and base64 in the vendor's alphabet.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "what it expects holds always")]
    pub fn encode(&self) -> SecretString {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let written = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .and_then(|json| zlib.write_all(&json))
            .and_then(|()| zlib.finish());
        let bytes = written.expect("text and numbers are JSON, and memory takes all of it");
        alphabet().encode(bytes).into()
    }

    /// Reads a ticket without checking its signature.
    ///
    /// # Errors
    /// What of it cannot be read.
    pub fn decode(text: &str) -> Result<Self, UserSigError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(UserSigError::TooLong);
        }
        if text.contains(['+', '/', '=']) {
            return Err(UserSigError::PlainBase64);
        }
        let bytes = alphabet().decode(text).map_err(|_| UserSigError::Base64)?;
        let mut json = Vec::new();
        let most = JSON_BYTES_MAX as u64 + 1;
        let read = ZlibDecoder::new(&bytes[..]).take(most).read_to_end(&mut json);
        read.map_err(|_| UserSigError::Zlib)?;
        if json.len() > JSON_BYTES_MAX {
            return Err(UserSigError::TooLong);
        }
        // What serde says may quote a value; only its place is shown.
        serde_json::from_slice(&json)
            .map_err(|error| UserSigError::Json { column: error.column(), line: error.line() })
    }

    /// Whether it was signed with this key.
    #[must_use]
    pub fn is_signed_with(&self, key: &SecretString) -> bool {
        // It takes as long whatever the place is where they differ.
        let sig = STANDARD.decode(&self.sig).unwrap_or_default();
        self.mac(key).verify_slice(&sig).is_ok()
    }

    /// From when on it is not valid any more.
    #[must_use]
    pub fn expires_at(&self) -> UnixMillis {
        UnixMillis(self.time_s.saturating_add(self.expire_s).saturating_mul(1000))
    }

    /// The HMAC over the lines that are signed, in the vendor's order.
    fn mac(&self, key: &SecretString) -> Hmac<Sha256> {
        // The key is its text, not the bytes that its hex digits stand for.
        let mut mac = Hmac::new_from_slice(key.expose_secret().as_bytes())
            .expect("an HMAC takes keys of any length");
        let Self { identifier, sdk_app_id, time_s, expire_s, .. } = self;
        mac.update(format!("TLS.identifier:{identifier}\n").as_bytes());
        mac.update(format!("TLS.sdkappid:{sdk_app_id}\n").as_bytes());
        mac.update(format!("TLS.time:{time_s}\nTLS.expire:{expire_s}\n").as_bytes());
        if let Some(userbuf) = &self.userbuf {
            mac.update(format!("TLS.userbuf:{userbuf}\n").as_bytes());
        }
        mac
    }
}

/// Without the signature: with it, a reader of a log could act as that user.
impl fmt::Debug for UserSig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSig")
            .field("identifier", &self.identifier)
            .field("sdk_app_id", &self.sdk_app_id)
            .field("time_s", &self.time_s)
            .field("expire_s", &self.expire_s)
            .finish_non_exhaustive()
    }
}

/// Why a `UserSig` cannot be made or read. No text of it is ever shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserSigError {
    /// No account has such a name.
    #[error("`identifier` is not an account's name: {0}")]
    Identifier(&'static str),
    /// The key is none.
    #[error("the secret key is empty, or has white space in it")]
    Key,
    /// It is longer, or inflates to more, than any that the vendor makes.
    #[error("the UserSig is too long to be one")]
    TooLong,
    /// Somebody left out the last step.
    #[error("the UserSig has `+`, `/` or `=` in it")]
    PlainBase64,
    /// Not base64 in the vendor's alphabet.
    #[error("the UserSig is not base64 in the vendor's alphabet")]
    Base64,
    /// Not compressed, or cut off.
    #[error("the UserSig holds no zlib stream, or not all of it")]
    Zlib,
    /// Not the expected document.
    #[error("the UserSig holds no ticket: line {line}, column {column} of its JSON")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
}

impl Hint for UserSigError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Identifier(_) => "give the name alone, `administrator` for example",
            Self::Key => {
                "copy the key of the app, `SDKSecretKey`, from the vendor's console, and nothing else"
            }
            Self::TooLong => "give the text of one UserSig alone",
            Self::PlainBase64 => {
                "whoever made it left out the last step: `*` for `+`, `-` for `/`, `_` for `=`"
            }
            Self::Base64 => "was it cut off, or its `*` lost on the way?",
            Self::Zlib => "was it cut off?",
            Self::Json { .. } => "is it of version 2, and not an older one or a JWT?",
        };
        Some(hint.to_owned())
    }
}

/// Base64 as the vendor writes it, which is not that of RFC 4648 for URLs: there `-` stands for `+`, here for `/`.
fn alphabet() -> GeneralPurpose {
    const SYMBOLS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-";
    const PADDING: Symbol = match Symbol::new(b'_') {
        Some(symbol) => symbol,
        None => panic!("`_` can be read"),
    };
    const ALPHABET: Alphabet = match Alphabet::new_with_padding(SYMBOLS, PADDING) {
        Ok(alphabet) => alphabet,
        Err(_) => panic!("64 symbols, all different"),
    };
    GeneralPurpose::new(&ALPHABET, PAD)
}

/// Some makers of tickets write numbers as text.
fn number<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Bare(i64),
        Text(String),
    }
    match Number::deserialize(input)? {
        Number::Bare(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}
