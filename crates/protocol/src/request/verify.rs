//! Is this request for an app of ours, and was it signed with that app's token?

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::request::query::Query;
use crate::time::UnixMillis;

/// An application's `SDKAppID` at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct AppId(i64);

impl AppId {
    /// Reads a decimal id; `None` unless it is a whole number from 1 to 2^63-1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|id| digits && *id > 0).map(Self)
    }

    /// The id as the stores keep it.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The apps whose callbacks are taken, each with its tokens.
#[derive(Debug, Clone)]
pub struct Apps {
    tokens: BTreeMap<AppId, Vec<SecretString>>,
    request_time_window: Duration,
}

/// How far `RequestTime` may be from our clock, as the vendor's Live page advises (trtc.io/document/69528).
pub const REQUEST_TIME_WINDOW: Duration = Duration::from_mins(1);

impl Apps {
    /// No app yet, and the vendor's window of 60 s both ways for `RequestTime`.
    #[must_use]
    pub fn new() -> Self {
        Self { tokens: BTreeMap::new(), request_time_window: REQUEST_TIME_WINDOW }
    }

    /// Takes callbacks of `app`. With `tokens`, each must be signed with one of them: name the old and the new one
    /// while you rotate. Without, they are taken unsigned.
    #[must_use]
    pub fn with(mut self, app: AppId, tokens: Vec<SecretString>) -> Self {
        self.tokens.insert(app, tokens);
        self
    }

    /// Sets how far `RequestTime` may be from our clock, both ways.
    #[must_use]
    pub fn with_request_time_window(mut self, window: Duration) -> Self {
        self.request_time_window = window;
        self
    }

    /// How far `RequestTime` may be from our clock, both ways.
    #[must_use]
    pub fn request_time_window(&self) -> Duration {
        self.request_time_window
    }

    /// The apps' ids in order.
    pub fn ids(&self) -> impl Iterator<Item = AppId> + '_ {
        self.tokens.keys().copied()
    }

    /// Whether callbacks of `app` are taken.
    #[must_use]
    pub fn holds(&self, app: AppId) -> bool {
        self.tokens.contains_key(&app)
    }

    /// Checks one request's query at the time `now`.
    ///
    /// The vendor's signature covers neither body nor command: it proves that the sender knew the token within the
    /// last minute, no more.
    ///
    /// # Errors
    /// The first reason why the request is not taken.
    pub fn verify(&self, query: Query, now: UnixMillis) -> Result<Verified, Rejection> {
        let sent = query.sdk_app_id.as_deref().ok_or(Rejection::AppMissing)?;
        let app = AppId::parse(sent.trim()).ok_or(Rejection::AppMalformed)?;
        let tokens = self.tokens.get(&app).ok_or(Rejection::AppForeign(app))?;
        let mut signed_at = None;
        if !tokens.is_empty() {
            let sign = query.sign.as_deref().ok_or(Rejection::SignMissing(app))?;
            let time = query.request_time.as_deref().ok_or(Rejection::SignMissing(app))?;
            if !is_signed(tokens, sign, time) {
                return Err(Rejection::SignWrong(app));
            }
            let seconds: i64 = time.parse().map_err(|_| Rejection::RequestTimeStale(app))?;
            if now.as_secs().abs_diff(seconds) > self.request_time_window.as_secs() {
                return Err(Rejection::RequestTimeStale(app));
            }
            signed_at = Some(seconds);
        }
        Ok(Verified { app, signed_at, query })
    }
}

impl Default for Apps {
    fn default() -> Self {
        Self::new()
    }
}

/// `Sign` as the vendor computes it: lower-case hex of SHA-256 over the token and then `RequestTime` (seconds, as
/// sent), with nothing between. Source: trtc.io/document/34354, section on authentication.
#[must_use]
pub fn sign(token: &SecretString, request_time: &str) -> String {
    hex::encode(digest(token, request_time))
}

fn digest(token: &SecretString, request_time: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(token.expose_secret());
    hash.update(request_time);
    hash.finalize().into()
}

/// Compares with every token and always all 32 bytes, so that the time taken tells nothing about where they differ. An
/// empty token signs nothing: everybody knows it.
fn is_signed(tokens: &[SecretString], sign: &str, request_time: &str) -> bool {
    let mut claimed = [0; 32];
    if hex::decode_to_slice(sign, &mut claimed).is_err() {
        return false;
    }
    let known = tokens.iter().filter(|token| !token.expose_secret().is_empty());
    let matches =
        known.fold(Choice::from(0), |any, token| any | digest(token, request_time).ct_eq(&claimed));
    matches.into()
}

/// A request for an app of ours, signed where that app demands it. Only [`Apps::verify`] makes one, so nothing
/// unverified can be decoded or stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    app: AppId,
    signed_at: Option<i64>,
    query: Query,
}

impl Verified {
    /// The app the event belongs to.
    #[must_use]
    pub fn app(&self) -> AppId {
        self.app
    }

    /// The signed `RequestTime`, in s since 1970; absent where the app has no token, as nobody checked it then.
    #[must_use]
    pub fn signed_at(&self) -> Option<i64> {
        self.signed_at
    }

    /// What else the query said.
    #[must_use]
    pub fn query(&self) -> &Query {
        &self.query
    }
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The query has no `SdkAppid`.
    AppMissing,
    /// `SdkAppid` is not a positive whole number.
    AppMalformed,
    /// `SdkAppid` is of an app that is not configured here.
    AppForeign(AppId),
    /// The app has a token, and `Sign` or `RequestTime` is not in the query.
    SignMissing(AppId),
    /// `Sign` fits none of the app's tokens.
    SignWrong(AppId),
    /// `Sign` fits, but `RequestTime` is too far from our clock, or not a time.
    RequestTimeStale(AppId),
    /// It came from this address, which is not one of those that are taken from; absent where there is no telling it.
    AddressForeign(Option<IpAddr>),
}

impl Rejection {
    /// Every reason's word, for counters and logs.
    pub const REASONS: [&'static str; 7] = [
        "app_missing",
        "app_malformed",
        "app_foreign",
        "sign_missing",
        "sign_wrong",
        "request_time_stale",
        "address_foreign",
    ];

    /// The reason's place in [`Rejection::REASONS`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::AppMissing => 0,
            Self::AppMalformed => 1,
            Self::AppForeign(_) => 2,
            Self::SignMissing(_) => 3,
            Self::SignWrong(_) => 4,
            Self::RequestTimeStale(_) => 5,
            Self::AddressForeign(_) => 6,
        }
    }

    /// The reason in one word.
    #[must_use]
    pub fn reason(self) -> &'static str {
        Self::REASONS[self.index()]
    }

    /// The app the request claimed, when it claimed one.
    #[must_use]
    pub fn app(self) -> Option<AppId> {
        match self {
            Self::AppMissing | Self::AppMalformed | Self::AddressForeign(_) => None,
            Self::AppForeign(app)
            | Self::SignMissing(app)
            | Self::SignWrong(app)
            | Self::RequestTimeStale(app) => Some(app),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "1669872112";
    const NOW: UnixMillis = UnixMillis(1_669_872_112_000);

    fn apps(tokens: &[&str]) -> Apps {
        let app = AppId::parse("1400000001").unwrap();
        Apps::new().with(app, tokens.iter().map(|token| (*token).into()).collect())
    }

    fn verify(apps: &Apps, query: &str, now: UnixMillis) -> Result<AppId, &'static str> {
        let verified = apps.verify(Query::parse(query), now);
        verified.map(|verified| verified.app()).map_err(Rejection::reason)
    }

    fn signed(token: &str) -> String {
        let sign = sign(&token.into(), TIME);
        format!("SdkAppid=1400000001&Sign={sign}&RequestTime={TIME}")
    }

    #[test]
    fn the_vendors_vector_is_reproduced() {
        assert_eq!(
            sign(&"xxxxyyyy".into(), TIME),
            "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061"
        );
    }

    #[test]
    fn an_app_without_a_token_is_taken_unsigned() {
        assert!(verify(&apps(&[]), "sdkappid=1400000001", NOW).is_ok());
    }

    #[test]
    fn a_wrong_app_is_rejected_with_its_reason() {
        let apps = apps(&[]);
        for (query, reason) in [
            ("", "app_missing"),
            ("SdkAppid=x", "app_malformed"),
            ("SdkAppid=-5", "app_malformed"),
            ("SdkAppid=%2B5", "app_malformed"),
            ("SdkAppid=99999999999999999999", "app_malformed"),
            ("SdkAppid=1400000002", "app_foreign"),
        ] {
            assert_eq!(verify(&apps, query, NOW), Err(reason), "{query}");
        }
    }

    #[test]
    fn every_configured_token_signs_in_either_case_of_hex() {
        let apps = apps(&["new", "old"]);
        for token in ["new", "old"] {
            assert!(verify(&apps, &signed(token), NOW).is_ok());
            let upper = signed(token).to_uppercase();
            assert!(verify(&apps, &upper, NOW).is_ok(), "{upper}");
        }
        assert_eq!(verify(&apps, &signed("older"), NOW), Err("sign_wrong"));
    }

    #[test]
    fn an_empty_token_signs_nothing() {
        assert_eq!(verify(&apps(&[""]), &signed(""), NOW), Err("sign_wrong"));
        assert_eq!(verify(&apps(&["", "t"]), &signed(""), NOW), Err("sign_wrong"));
        assert!(verify(&apps(&["", "t"]), &signed("t"), NOW).is_ok());
    }

    #[test]
    fn a_token_makes_the_signature_mandatory() {
        let apps = apps(&["t"]);
        for query in ["", "&Sign=ab", "&RequestTime=1669872112"] {
            let query = format!("SdkAppid=1400000001{query}");
            assert_eq!(verify(&apps, &query, NOW), Err("sign_missing"), "{query}");
        }
        for sign in ["zz", "abc", "é", &"0".repeat(64), &"a".repeat(9000)] {
            let query = format!("SdkAppid=1400000001&RequestTime={TIME}&Sign={sign}");
            assert_eq!(verify(&apps, &query, NOW), Err("sign_wrong"), "{query}");
        }
    }

    #[test]
    fn the_window_is_sixty_seconds_both_ways() {
        let apps = apps(&["t"]);
        let at = |seconds: i64| verify(&apps, &signed("t"), UnixMillis(NOW.0 + seconds * 1000));
        assert!(at(60).is_ok());
        assert!(at(-60).is_ok());
        assert_eq!(at(61), Err("request_time_stale"));
        assert_eq!(at(-61), Err("request_time_stale"));
    }

    #[test]
    fn an_invalid_request_time_is_stale_even_when_signed() {
        for time in ["soon", "9223372036854775807", "-9223372036854775808", "1e9"] {
            let sign = sign(&"t".into(), time);
            let query = format!("SdkAppid=1400000001&Sign={sign}&RequestTime={time}");
            assert_eq!(verify(&apps(&["t"]), &query, NOW), Err("request_time_stale"));
        }
    }
}
