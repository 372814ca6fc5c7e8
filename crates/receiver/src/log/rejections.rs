//! Logs rejected requests, throttled so that strangers cannot fill the log.

use std::collections::HashMap;
use std::sync::Mutex;

use protocol::{AppId, Rejection, UnixMillis};
use tracing::warn;

use crate::log::throttle::LogThrottle;

/// How a request for an app of ours missed the callback endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stray {
    /// Another path.
    Path,
    /// Another method than POST.
    Method,
}

/// Throttles by reason and app. Clients choose the app of `AppForeign`, so all of those share one entry: the size is
/// bounded by reasons times our apps.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<HashMap<(&'static str, Option<AppId>), LogThrottle>>);

impl Rejections {
    /// Logs the reason and the app, at most once a minute for each pair. `unreadable` is the invalid address text,
    /// where there is one.
    pub(crate) fn warn(
        &self,
        rejection: Rejection,
        now: UnixMillis,
        unreadable: impl FnOnce() -> Option<String>,
    ) {
        let Some(more) = self.due(rejection, now) else {
            return;
        };
        let app = rejection.app().map(|app| app.to_string());
        let advice = match rejection {
            Rejection::AppMissing | Rejection::AppMalformed => "not a callback of the vendor",
            Rejection::AppForeign(_) => "configure the app if it is yours",
            Rejection::SignMissing(_) => {
                "turn on authentication at the vendor, or remove the token here"
            }
            Rejection::SignWrong(_) => "compare the token here with the vendor's",
            Rejection::RequestTimeStale(_) => "check this machine's clock",
            Rejection::AppConflicting => {
                "compare the app in the URL's path with the one the URL is configured for in the console"
            }
            Rejection::RtcSignMissing(_) => {
                "set the callback key in the console, or remove rtc_keys here; a proxy must pass the header Sign on"
            }
            Rejection::RtcSignWrong(_) => {
                "compare rtc_keys here with the console's callback key; a proxy must not change the body"
            }
            Rejection::AddressForeign(_) => {
                "if it is the vendor's, add it to the source addresses (auth.source_addresses); if a proxy's, to the trusted proxies (auth.trusted_proxies)"
            }
        };
        let address = match rejection {
            Rejection::AddressForeign(address) => address.map(|address| address.to_string()),
            _ => None,
        };
        let unreadable = match rejection {
            Rejection::AddressForeign(None) => unreadable(),
            _ => None,
        };
        warn!(
            reason = rejection.reason(),
            app.id = app.as_deref().unwrap_or("none"),
            address,
            x_forwarded_for = unreadable,
            more_since_last_warning = more,
            advice,
            "callback rejected"
        );
    }

    /// Logs an app whose callbacks miss their path, at most once a minute. Never the path, which may be a secret.
    pub(crate) fn warn_stray(&self, stray: Stray, app: AppId, now: UnixMillis) {
        let (reason, advice, message) = match stray {
            Stray::Path => (
                "path_unknown",
                "compare the path of the URL registered at the vendor, and what a proxy makes of it, with the callback paths here (server.callback_paths)",
                "a callback came to a path that is no callback path, and is lost",
            ),
            Stray::Method => (
                "method_wrong",
                "the vendor sends POST, and a redirect makes a GET of it: register the URL that is redirected to, or have the proxy pass requests on",
                "a callback came by another method than POST, and is lost",
            ),
        };
        if let Some(more) = self.due_of(reason, Some(app), now) {
            let app = app.to_string();
            warn!(reason, app.id = app, more_since_last_warning = more, advice, "{message}");
        }
    }

    /// The number of suppressed warnings, when one is due.
    fn due(&self, rejection: Rejection, now: UnixMillis) -> Option<u64> {
        let app = match rejection {
            Rejection::AppForeign(_) => None,
            _ => rejection.app(),
        };
        self.due_of(rejection.reason(), app, now)
    }

    fn due_of(&self, reason: &'static str, app: Option<AppId>, now: UnixMillis) -> Option<u64> {
        // A poisoned lock only means that another warning panicked; the counts stay valid.
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.entry((reason, app)).or_default().due(now)
    }
}

#[cfg(test)]
mod tests {
    use crate::log::rejections::*;

    #[test]
    fn a_rejection_reason_is_logged_once_a_minute_with_a_count() {
        let rejections = Rejections::default();
        let at = |seconds: i64| UnixMillis(1_700_000_000_000 + seconds * 1000);
        assert_eq!(rejections.due(Rejection::AppMissing, at(0)), Some(0));
        assert_eq!(rejections.due(Rejection::AppMissing, at(1)), None);
        assert_eq!(rejections.due(Rejection::AppMalformed, at(1)), Some(0));
        assert_eq!(rejections.due(Rejection::AppMissing, at(59)), None);
        assert_eq!(rejections.due(Rejection::AppMissing, at(60)), Some(2));
        let [one, two] = ["1", "2"].map(|id| AppId::parse(id).unwrap());
        assert_eq!(rejections.due(Rejection::SignMissing(one), at(0)), Some(0));
        assert_eq!(rejections.due(Rejection::SignMissing(two), at(1)), Some(0));
        assert_eq!(rejections.due(Rejection::AppForeign(one), at(0)), Some(0));
        assert_eq!(rejections.due(Rejection::AppForeign(two), at(1)), None);
        let stranger = |last| Rejection::AddressForeign(Some([192, 0, 2, last].into()));
        assert_eq!(rejections.due(stranger(1), at(0)), Some(0));
        assert_eq!(rejections.due(stranger(2), at(1)), None);
        // After the clock was set back it must not be suppressed for longer.
        assert_eq!(rejections.due(Rejection::AppMissing, at(-3600)), Some(0));
    }
}
