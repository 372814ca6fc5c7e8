//! Is this request for an app of ours, and was it signed with that app's token?

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::dialect::Dialect;
use crate::request::query::Query;
use crate::rtc::sign::is_signed as is_rtc_signed;
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

/// The apps whose callbacks are taken, each with its tokens and keys.
#[derive(Debug, Clone)]
pub struct Apps {
    apps: BTreeMap<AppId, Secrets>,
    request_time_window: Duration,
}

/// What one app's callbacks are signed with. One dialect's secrets never open the other.
#[derive(Debug, Clone, Default)]
struct Secrets {
    /// Callback tokens of the dialect of Chat.
    tokens: Vec<SecretString>,
    /// Callback keys of the RTC Engine.
    rtc_keys: Vec<SecretString>,
}

/// How far `RequestTime` may be from our clock, as the vendor's Live page advises (trtc.io/document/69528).
pub const REQUEST_TIME_WINDOW: Duration = Duration::from_mins(1);

impl Apps {
    /// No app yet, and the vendor's window of 60 s both ways for `RequestTime`.
    #[must_use]
    pub fn new() -> Self {
        Self { apps: BTreeMap::new(), request_time_window: REQUEST_TIME_WINDOW }
    }

    /// Takes callbacks of `app`. With `tokens`, each must be signed with one of them: name the old and the new one
    /// while you rotate. Without, they are taken unsigned.
    #[must_use]
    pub fn with(mut self, app: AppId, tokens: Vec<SecretString>) -> Self {
        self.apps.entry(app).or_default().tokens = tokens;
        self
    }

    /// Takes callbacks of `app`, and with `keys` only those events of the RTC Engine that are signed with one of them: the console's
    /// callback key, and that of the automatic recording template where it has one of its own. Without, they are taken unsigned.
    #[must_use]
    pub fn with_rtc_keys(mut self, app: AppId, keys: Vec<SecretString>) -> Self {
        self.apps.entry(app).or_default().rtc_keys = keys;
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
        self.apps.keys().copied()
    }

    /// Whether callbacks of `app` are taken.
    #[must_use]
    pub fn holds(&self, app: AppId) -> bool {
        self.apps.contains_key(&app)
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
        let tokens = &self.apps.get(&app).ok_or(Rejection::AppForeign(app))?.tokens;
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
        Ok(Verified { app, dialect: Dialect::Im, is_checked: !tokens.is_empty(), signed_at, query })
    }

    /// The app whose event of the RTC Engine a request claims to be: what its header `SdkAppId`, its path and its query say of it
    /// must be one and the same. Nothing of it is signed.
    ///
    /// # Errors
    /// Why the request is not taken.
    pub fn rtc_app<'a>(
        &self,
        claims: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<AppId, Rejection> {
        let mut claimed = None;
        for claim in claims {
            let text = str::from_utf8(claim).map_err(|_| Rejection::AppMalformed)?;
            let app = AppId::parse(text.trim()).ok_or(Rejection::AppMalformed)?;
            if claimed.is_some_and(|claimed| claimed != app) {
                return Err(Rejection::AppConflicting);
            }
            claimed = Some(app);
        }
        let app = claimed.ok_or(Rejection::AppMissing)?;
        if self.holds(app) { Ok(app) } else { Err(Rejection::AppForeign(app)) }
    }

    /// Checks an event of the RTC Engine for `app`, from [`Apps::rtc_app`], by the values of its header `Sign` and its body as received.
    ///
    /// The signature covers the body alone, and no time that could be checked: one that was overheard can be sent again, and meets its
    /// own event then.
    ///
    /// # Errors
    /// The first reason why the request is not taken.
    pub fn verify_rtc<'a>(
        &self,
        app: AppId,
        signs: impl IntoIterator<Item = &'a [u8]>,
        body: &[u8],
        query: Query,
    ) -> Result<Verified, Rejection> {
        let keys = &self.apps.get(&app).ok_or(Rejection::AppForeign(app))?.rtc_keys;
        if !keys.is_empty() {
            let mut signs = signs.into_iter();
            let sign = signs.next().ok_or(Rejection::RtcSignMissing(app))?;
            if signs.next().is_some() || !is_rtc_signed(keys, sign, body) {
                return Err(Rejection::RtcSignWrong(app));
            }
        }
        let is_checked = !keys.is_empty();
        Ok(Verified { app, dialect: Dialect::RtcEngine, is_checked, signed_at: None, query })
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

/// A request for an app of ours, signed where that app demands it. Only [`Apps::verify`] and [`Apps::verify_rtc`] make one, so
/// nothing unverified can be decoded or stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    app: AppId,
    dialect: Dialect,
    is_checked: bool,
    signed_at: Option<i64>,
    query: Query,
}

impl Verified {
    /// The app the event belongs to.
    #[must_use]
    pub fn app(&self) -> AppId {
        self.app
    }

    /// The dialect in which it came.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether a signature was checked; not so where the app has no token or key for this dialect.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.is_checked
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
    /// Header, path and query of an RTC Engine event name different apps.
    AppConflicting,
    /// The app has keys for the RTC Engine, and the request has no header `Sign`.
    RtcSignMissing(AppId),
    /// The header `Sign` of an RTC Engine event fits none of the app's keys.
    RtcSignWrong(AppId),
    /// It came from this address, which is not one of those that are taken from; absent where there is no telling it.
    AddressForeign(Option<IpAddr>),
}

impl Rejection {
    /// Every reason's word, for counters and logs.
    pub const REASONS: [&'static str; 10] = [
        "app_missing",
        "app_malformed",
        "app_foreign",
        "sign_missing",
        "sign_wrong",
        "request_time_stale",
        "address_foreign",
        "app_conflicting",
        "rtc_sign_missing",
        "rtc_sign_wrong",
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
            Self::AppConflicting => 7,
            Self::RtcSignMissing(_) => 8,
            Self::RtcSignWrong(_) => 9,
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
            Self::AppMissing
            | Self::AppMalformed
            | Self::AppConflicting
            | Self::AddressForeign(_) => None,
            Self::AppForeign(app)
            | Self::RtcSignMissing(app)
            | Self::RtcSignWrong(app)
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

    fn rtc_apps(keys: &[&str]) -> (Apps, AppId) {
        let app = AppId::parse("1400000001").unwrap();
        let keys = keys.iter().map(|key| (*key).into()).collect();
        (Apps::new().with(app, vec!["token".into()]).with_rtc_keys(app, keys), app)
    }

    fn verify_rtc(keys: &[&str], signs: &[&[u8]], body: &[u8]) -> Result<bool, &'static str> {
        let (apps, app) = rtc_apps(keys);
        let verified = apps.verify_rtc(app, signs.iter().copied(), body, Query::default());
        verified.map(|verified| verified.is_checked()).map_err(Rejection::reason)
    }

    #[test]
    fn the_app_of_an_rtc_event_is_stated_at_least_once_and_alike() {
        let (apps, app) = rtc_apps(&[]);
        let found = |claims: &[&str]| {
            let claims = claims.iter().map(|claim| claim.as_bytes());
            apps.rtc_app(claims).map_err(Rejection::reason)
        };
        assert_eq!(found(&["1400000001"]), Ok(app));
        assert_eq!(found(&[" 1400000001", "1400000001"]), Ok(app));
        assert_eq!(found(&[]), Err("app_missing"));
        assert_eq!(found(&["1400000001", "1400000002"]), Err("app_conflicting"));
        assert_eq!(found(&["1400000002"]), Err("app_foreign"));
        for malformed in ["", "x", "-1", "1400000001, 1400000001"] {
            assert_eq!(found(&["1400000001", malformed]), Err("app_malformed"), "{malformed}");
        }
        assert_eq!(apps.rtc_app([&b"\xff"[..]]).map_err(Rejection::reason), Err("app_malformed"));
    }

    #[test]
    fn each_rtc_key_signs_and_a_token_does_not() {
        let sign = |key: &str, body: &[u8]| crate::rtc::sign::sign(&key.into(), body).into_bytes();
        let body = b"{}";
        for key in ["new", "old"] {
            assert_eq!(verify_rtc(&["new", "old"], &[&sign(key, body)], body), Ok(true));
        }
        assert_eq!(verify_rtc(&["new"], &[&sign("token", body)], body), Err("rtc_sign_wrong"));
        assert_eq!(verify_rtc(&["new"], &[&sign("new", b"{ }")], body), Err("rtc_sign_wrong"));
        assert_eq!(verify_rtc(&["new"], &[], body), Err("rtc_sign_missing"));
        let twice = sign("new", body);
        assert_eq!(verify_rtc(&["new"], &[&twice, &twice], body), Err("rtc_sign_wrong"));
        assert_eq!(verify_rtc(&["new"], &[b""], body), Err("rtc_sign_wrong"));
    }

    #[test]
    fn without_rtc_keys_everything_is_taken_unchecked() {
        for signs in [&[][..], &[&b"nonsense"[..]][..]] {
            assert_eq!(verify_rtc(&[], signs, b"not json"), Ok(false));
        }
        assert_eq!(verify_rtc(&[""], &[b""], b""), Err("rtc_sign_wrong"));
    }
}
