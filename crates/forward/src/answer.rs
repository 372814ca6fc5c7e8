//! What an answer means, for the event that was sent and for the destination.
//!
//! The two are judged apart. An answer that speaks of the event (most of 4xx) is that event's failure; one that speaks of the service
//! (429, 503, no connection) costs no event an attempt. Where it may be either (500, a timeout), the event waits until others have
//! shown which: see [`crate::window`].
//!
//! | answer | event | destination |
//! |---|---|---|
//! | 2xx | delivered | fine |
//! | 3xx, other 4xx | failed | failing, after five in a row of more than one event |
//! | 410 | waits | paused |
//! | 429, 502, 503, 504 | waits, or failed where others go well | failing at once; `Retry-After` is obeyed |
//! | other 5xx, timeout, reset, no connection, DNS, TLS | waits, or failed where others go well | failing, after five in a row |
//! | address not allowed, URL or secret unusable | waits | misconfigured |
//! | too large for the destination | never to be sent | fine |

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use protocol::UnixMillis;

/// The longest `Retry-After` that is obeyed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// The result of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response<'a> {
    /// An answer.
    Status {
        /// Its status.
        status: u16,
        /// The text of its header `Retry-After`.
        retry_after: Option<&'a str>,
    },
    /// None.
    Failure(Failure),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It took too long.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The name has no address, or could not be looked up.
    Dns,
    /// TLS was not agreed on, or the certificate is not trusted.
    Tls,
    /// The connection broke, or what came is not HTTP.
    Reset,
    /// The egress guard allows none of its addresses.
    BlockedAddress,
    /// The URL, a secret or a certificate of ours cannot be used.
    Unusable,
    /// The event is larger than the destination ever takes.
    TooLarge,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// For the event.
    pub event: EventMeaning,
    /// For the destination.
    pub destination: DestinationMeaning,
    /// Its label in metrics.
    pub result: AttemptResult,
    /// What people are told beside the status.
    pub note: Option<&'static str>,
}

/// What an answer means for the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventMeaning {
    /// It is delivered.
    Delivered,
    /// It failed, and goes on its retry schedule.
    Failed,
    /// It waits, unless others go well: then it failed. `suspect`: the event itself may be the cause.
    Waits {
        /// Whether the event itself may be the cause: never where there was no connection, or the service asked for fewer.
        suspect: bool,
    },
    /// No other try can be better.
    Undeliverable,
}

/// What an answer means for the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationMeaning {
    /// It works.
    Works,
    /// It fails where this goes on.
    Counts {
        /// Whether failures of one single event prove nothing.
        of_several: bool,
    },
    /// It is not to be tried for a while, at least for what it asked for.
    Fails(Option<Duration>),
    /// It wants nothing until somebody resumes it.
    Gone,
    /// It cannot be called as it is configured.
    Misconfigured,
    /// This says nothing of it.
    Nothing,
}

/// The label of a try in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AttemptResult {
    Ok,
    ClientError,
    ServerError,
    Throttled,
    Timeout,
    Connect,
    Tls,
    Redirect,
    BlockedAddress,
    TooLarge,
}

impl AttemptResult {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::ClientError,
        Self::ServerError,
        Self::Throttled,
        Self::Timeout,
        Self::Connect,
        Self::Tls,
        Self::Redirect,
        Self::BlockedAddress,
        Self::TooLarge,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Redirect => "redirect",
            Self::BlockedAddress => "blocked_address",
            Self::TooLarge => "too_large",
        }
    }
}

impl Response<'_> {
    /// What it means. A moment is needed since `Retry-After` may be a date.
    #[must_use]
    pub fn meaning(self, now: UnixMillis) -> Meaning {
        match self {
            Self::Status { status, retry_after } => of_status(status, retry_after, now),
            Self::Failure(failure) => of_failure(failure),
        }
    }
}

fn of_status(status: u16, retry_after: Option<&str>, now: UnixMillis) -> Meaning {
    use AttemptResult::{ClientError, Ok, Redirect, ServerError, Throttled};
    use EventMeaning::{Delivered, Failed, Waits};
    let wait = || retry_after.and_then(|text| parse_retry_after(text, now));
    let throttled = |suspect, result| {
        meaning(Waits { suspect }, DestinationMeaning::Fails(wait()), result, None)
    };
    let failed =
        |note| meaning(Failed, DestinationMeaning::Counts { of_several: true }, ClientError, note);
    match status {
        200..=299 => meaning(Delivered, DestinationMeaning::Works, Ok, None),
        300..=399 => Meaning { result: Redirect, ..failed(Some(REDIRECT)) },
        401 | 403 | 404 => failed(Some(LIKELY_DESTINATION)),
        410 => {
            let event = Waits { suspect: false };
            meaning(event, DestinationMeaning::Gone, ClientError, Some(GONE))
        }
        429 => throttled(false, Throttled),
        // A gateway says so also where its application crashes or hangs on one event.
        502..=504 => throttled(true, ServerError),
        400..=499 => failed(None),
        _ => {
            let destination = DestinationMeaning::Counts { of_several: false };
            meaning(Waits { suspect: true }, destination, ServerError, None)
        }
    }
}

const REDIRECT: &str = "redirect, not followed: put the new URL into the configuration";
const LIKELY_DESTINATION: &str = "most likely the destination, not the event";
const GONE: &str = "the destination wants no more events";

fn of_failure(failure: Failure) -> Meaning {
    use AttemptResult::{BlockedAddress, Connect, Timeout, Tls, TooLarge};
    let counts = DestinationMeaning::Counts { of_several: false };
    let waits = |suspect, result| meaning(EventMeaning::Waits { suspect }, counts, result, None);
    let misconfigured =
        |result| Meaning { destination: DestinationMeaning::Misconfigured, ..waits(false, result) };
    match failure {
        Failure::Timeout => waits(true, Timeout),
        Failure::Reset => waits(true, Connect),
        Failure::Connect | Failure::Dns => waits(false, Connect),
        Failure::Tls => waits(false, Tls),
        Failure::BlockedAddress => misconfigured(BlockedAddress),
        Failure::Unusable => misconfigured(Connect),
        Failure::TooLarge => {
            meaning(EventMeaning::Undeliverable, DestinationMeaning::Nothing, TooLarge, None)
        }
    }
}

fn meaning(
    event: EventMeaning,
    destination: DestinationMeaning,
    result: AttemptResult,
    note: Option<&'static str>,
) -> Meaning {
    Meaning { event, destination, result, note }
}

/// How long a header `Retry-After` asks to wait, in seconds or up to a date, at most [`RETRY_AFTER_MAX`]; `None` where it is
/// neither.
#[must_use]
pub fn parse_retry_after(text: &str, now: UnixMillis) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are a long time, too.
        let wait = Duration::from_secs(text.parse().unwrap_or(u64::MAX));
        return Some(wait.min(RETRY_AFTER_MAX));
    }
    let date = UnixMillis(http_date(text)?.as_millisecond());
    Some(date.since(now).min(RETRY_AFTER_MAX))
}

/// A date in one of the three forms of HTTP.
fn http_date(text: &str) -> Option<Timestamp> {
    const FORMS: [&str; 3] =
        ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let read =
        |form: &&str| -> Option<DateTime> { strtime::parse(form, text).ok()?.to_datetime().ok() };
    let date = FORMS.iter().find_map(read)?;
    date.to_zoned(TimeZone::UTC).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29T09:07:39Z
    const NOW: UnixMillis = UnixMillis(1_795_943_259_000);

    fn of(status: u16) -> Meaning {
        Response::Status { status, retry_after: None }.meaning(NOW)
    }

    #[test]
    fn each_status_means_what_the_table_says() {
        use DestinationMeaning::{Counts, Fails, Gone, Works};
        use EventMeaning::{Delivered, Failed, Waits};
        for status in 100..=600 {
            let (event, destination) = match status {
                200..=299 => (Delivered, Works),
                410 => (Waits { suspect: false }, Gone),
                429 => (Waits { suspect: false }, Fails(None)),
                502..=504 => (Waits { suspect: true }, Fails(None)),
                300..=499 => (Failed, Counts { of_several: true }),
                _ => (Waits { suspect: true }, Counts { of_several: false }),
            };
            let meaning = of(status);
            assert_eq!((meaning.event, meaning.destination), (event, destination), "{status}");
        }
        let results = [200, 301, 400, 429, 500, 503].map(|status| of(status).result.as_str());
        let labels =
            ["ok", "redirect", "client_error", "throttled", "server_error", "server_error"];
        assert_eq!(results, labels);
        assert!(of(302).note.unwrap().contains("not followed"));
        assert!([401, 403, 404].iter().all(|status| of(*status).note.is_some()));
        assert_eq!(of(400).note, None);
    }

    #[test]
    fn each_failure_means_what_the_table_says() {
        use DestinationMeaning::{Counts, Misconfigured, Nothing};
        use EventMeaning::{Undeliverable, Waits};
        let counts = Counts { of_several: false };
        for (failure, event, destination, label) in [
            (Failure::Timeout, Waits { suspect: true }, counts, "timeout"),
            (Failure::Reset, Waits { suspect: true }, counts, "connect"),
            (Failure::Connect, Waits { suspect: false }, counts, "connect"),
            (Failure::Dns, Waits { suspect: false }, counts, "connect"),
            (Failure::Tls, Waits { suspect: false }, counts, "tls"),
            (Failure::BlockedAddress, Waits { suspect: false }, Misconfigured, "blocked_address"),
            (Failure::Unusable, Waits { suspect: false }, Misconfigured, "connect"),
            (Failure::TooLarge, Undeliverable, Nothing, "too_large"),
        ] {
            let meaning = Response::Failure(failure).meaning(NOW);
            assert_eq!((meaning.event, meaning.destination), (event, destination), "{failure:?}");
            assert_eq!(meaning.result.as_str(), label, "{failure:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_an_hour_at_most() {
        let wait = |text| parse_retry_after(text, NOW).map(|wait| wait.as_secs());
        assert_eq!(wait("0"), Some(0));
        assert_eq!(wait(" 120 "), Some(120));
        assert_eq!(wait("86400"), Some(3600));
        assert_eq!(wait("99999999999999999999999"), Some(3600));
        for date in [
            "Sun, 29 Nov 2026 09:08:39 GMT",
            "Sunday, 29-Nov-26 09:08:39 GMT",
            "Sun Nov 29 09:08:39 2026",
        ] {
            assert_eq!(wait(date), Some(60), "{date}");
        }
        assert_eq!(wait("Sun, 29 Nov 2026 09:00:00 GMT"), Some(0), "it is over");
        assert_eq!(wait("Tue, 29 Dec 2026 09:00:00 GMT"), Some(3600));
        for none in ["", "-1", "1.5", "soon", "2026-11-29T09:08:39Z", "1e3", "٣"] {
            assert_eq!(wait(none), None, "{none}");
        }
        let throttled = Response::Status { status: 429, retry_after: Some("7") }.meaning(NOW);
        let wait = DestinationMeaning::Fails(Some(Duration::from_secs(7)));
        assert_eq!(throttled.destination, wait);
        let ignored = Response::Status { status: 500, retry_after: Some("7") }.meaning(NOW);
        assert_eq!(ignored.destination, DestinationMeaning::Counts { of_several: false });
    }
}
