//! Detects signatures that are reused for a new event. The vendor's `Sign` covers only token and second, and two
//! genuine events of one second share it; so this is a hint for operators, never a reason to reject.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::{AppId, UnixMillis, Verified};
use tracing::warn;

use crate::log::throttle::LogThrottle;

/// Up to this time after its first use, reuse is explained by a pending request or events of one second.
const REPLAY_AFTER: Duration = Duration::from_secs(5);

/// The first use of each signature. Bounded: one per app of ours and second of the `RequestTime` window; those of
/// other seconds are removed.
#[derive(Debug)]
pub(crate) struct Replays {
    window: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first_seen: BTreeMap<(i64, AppId), UnixMillis>,
    throttle: LogThrottle,
}

impl Replays {
    /// `window`: the allowed difference between `RequestTime` and our clock, both ways.
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, state: Mutex::default() }
    }

    /// Records a verified request. Returns true when its signature was first seen so long ago that a new event under
    /// it is suspicious.
    pub(crate) fn is_late(&self, verified: &Verified, now: UnixMillis) -> bool {
        let Some(signed_at) = verified.signed_at() else {
            return false;
        };
        let mut state = self.lock();
        let first_seen = *state.first_seen.entry((signed_at, verified.app())).or_insert(now);
        let window = i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX);
        let (oldest, newest) =
            (now.as_secs().saturating_sub(window), now.as_secs().saturating_add(window));
        while state.first_seen.first_key_value().is_some_and(|((second, _), _)| *second < oldest) {
            state.first_seen.pop_first();
        }
        // Such entries only exist after the clock was set back.
        while state.first_seen.last_key_value().is_some_and(|((second, _), _)| *second > newest) {
            state.first_seen.pop_last();
        }
        now.since(first_seen) > REPLAY_AFTER
    }

    /// Logs a suspicious reuse, at most once a minute.
    pub(crate) fn warn(&self, app: AppId, now: UnixMillis) {
        let Some(more) = self.lock().throttle.due(now) else {
            return;
        };
        warn!(
            app.id = %app,
            more_since_last_warning = more,
            advice = "if it goes on, change the callback path and the token: someone may have seen a request",
            "a signature was used again for another event"
        );
    }

    /// A poisoned lock only means that another thread panicked; the entries stay valid.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::signature_reuse::*;
    use protocol::verify::sign;
    use protocol::{Apps, Query};

    const SECOND: i64 = 1_669_872_112;

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis((SECOND + seconds) * 1000)
    }

    /// A request that app `app` signed `signed_at` seconds after [`SECOND`] and that arrives at once.
    fn request(app: &str, signed_at: i64) -> Verified {
        let apps = Apps::new().with(AppId::parse(app).unwrap(), vec!["t".into()]);
        let time = (SECOND + signed_at).to_string();
        let query = format!("SdkAppid={app}&Sign={}&RequestTime={time}", sign(&"t".into(), &time));
        apps.verify(Query::parse(&query), at(signed_at)).unwrap()
    }

    #[test]
    fn a_signature_is_late_five_seconds_after_it_was_first_seen() {
        let replays = Replays::new(Duration::from_mins(1));
        // A late arrival is not suspicious: the first time we saw it counts.
        assert!(!replays.is_late(&request("1", 0), at(30)));
        assert!(!replays.is_late(&request("1", 0), at(35)));
        assert!(replays.is_late(&request("1", 0), at(36)));
        assert!(!replays.is_late(&request("2", 0), at(36)), "another app");
        assert!(!replays.is_late(&request("1", 1), at(36)), "another second");
    }

    #[test]
    fn an_unsigned_request_is_never_late() {
        let replays = Replays::new(Duration::from_mins(1));
        let app = AppId::parse("1").unwrap();
        let query = Query::parse("SdkAppid=1&Sign=x&RequestTime=1669872112");
        let verified = Apps::new().with(app, Vec::new()).verify(query, at(0)).unwrap();
        assert!(!replays.is_late(&verified, at(0)));
        assert!(!replays.is_late(&verified, at(60)));
        assert!(replays.lock().first_seen.is_empty());
    }

    #[test]
    fn only_the_seconds_of_the_window_are_kept() {
        let replays = Replays::new(Duration::from_mins(1));
        for second in 0..1000 {
            for app in ["1", "2"] {
                replays.is_late(&request(app, second), at(second));
            }
        }
        assert_eq!(replays.lock().first_seen.len(), 2 * 61);
        // After the clock was set back the others are out of the window.
        replays.is_late(&request("1", 0), at(0));
        assert_eq!(replays.lock().first_seen.len(), 1);
    }
}
