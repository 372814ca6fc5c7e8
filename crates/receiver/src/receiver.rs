//! The receiver and its settings.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::response::{NotStored, Rejected};
use protocol::{Admission, Apps, UnixMillis};
use tokio_util::task::TaskTracker;

use crate::app_path::AppPath;
use crate::body::budget::BodyBudget;
use crate::log::rejections::Rejections;
use crate::observer::{NoObserver, Observer};
use crate::signature_reuse::Replays;
use crate::sink::Sink;

/// Default of the memory for bodies, in bytes.
const BUDGET_BYTES: usize = 64 << 20;
/// The part of it that unverified bodies may take beside it.
const UNVERIFIED_PART: usize = 4;

/// Verifies, reads and decodes callbacks, hands their events to a [`Sink`] and answers.
pub struct Receiver {
    pub(crate) apps: Apps,
    pub(crate) admission: Admission,
    pub(crate) replays: Replays,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) clock: Box<dyn Fn() -> UnixMillis + Send + Sync>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) rejections: Rejections,
    pub(crate) rejected: Rejected,
    pub(crate) when_not_stored: NotStored,
    pub(crate) body_bytes_max: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) budget: BodyBudget,
    pub(crate) unverified_budget: BodyBudget,
    /// Those callback paths of which one part is the app's id.
    pub(crate) app_paths: Vec<AppPath>,
    pub(crate) submissions: TaskTracker,
}

impl Receiver {
    /// Accepts callbacks of `apps` and passes their events to `sink`. Defaults: bodies of 256 KiB within 10 s, 64 MiB of
    /// them at a time; every request is answered OK.
    #[must_use]
    pub fn new(apps: Apps, sink: Arc<dyn Sink>) -> Self {
        Self {
            replays: Replays::new(apps.request_time_window()),
            apps,
            admission: Admission::default(),
            sink,
            clock: Box::new(system_time),
            observer: Arc::new(NoObserver),
            rejections: Rejections::default(),
            rejected: Rejected::Ok,
            when_not_stored: NotStored::Ok,
            body_bytes_max: 256 << 10,
            body_timeout: Duration::from_secs(10),
            budget: BodyBudget::new(BUDGET_BYTES),
            unverified_budget: BodyBudget::new(BUDGET_BYTES / UNVERIFIED_PART),
            app_paths: Vec::new(),
            submissions: TaskTracker::new(),
        }
    }

    /// Sets the clock, by which signatures expire and events are received. The default is the machine's.
    #[must_use]
    pub fn with_clock(mut self, now: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        self.clock = Box::new(now);
        self
    }

    /// Sets the observer, such as one that counts in the metrics of your app.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Sets the answer to rejected requests.
    #[must_use]
    pub fn with_rejected(mut self, rejected: Rejected) -> Self {
        self.rejected = rejected;
        self
    }

    /// Sets the answer to requests whose event was not stored.
    #[must_use]
    pub fn with_when_not_stored(mut self, when_not_stored: NotStored) -> Self {
        self.when_not_stored = when_not_stored;
        self
    }

    /// Sets the source addresses from which requests are accepted; by default all. With a list, an app of your own
    /// must be served with axum's `into_make_service_with_connect_info::<SocketAddr>()`: a request without a known
    /// peer is rejected.
    #[must_use]
    pub fn with_admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Sets the maximum size of a body, in bytes, and the time it may take to arrive.
    #[must_use]
    pub fn with_body_limits(mut self, bytes_max: usize, timeout: Duration) -> Self {
        self.body_bytes_max = bytes_max;
        self.body_timeout = timeout;
        self
    }

    /// Sets the memory budget of bodies, in bytes. Beyond it requests wait briefly (backpressure); then slow ones are
    /// dropped, and those for which there is no memory are answered as not stored (load shedding). Bodies of requests that are
    /// rejected by their head are not kept in memory at all; those of the RTC Engine, whose signature is over the body, have a
    /// quarter of this size beside it until they are verified, so that strangers cannot take the memory of verified ones.
    #[must_use]
    pub fn with_body_budget(mut self, bytes: usize) -> Self {
        self.budget = BodyBudget::new(bytes);
        self.unverified_budget =
            BodyBudget::new((bytes / UNVERIFIED_PART).max(bytes.min(self.body_bytes_max)));
        self
    }

    /// The app's id in the path of a request, as sent, where one of the callback paths has a place for it.
    pub(crate) fn app_in_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        self.app_paths.iter().find_map(|app_path| app_path.app_in(path))
    }

    /// The submissions to the sink, to be waited for before the sink is closed.
    #[must_use]
    pub fn submissions(&self) -> Submissions {
        Submissions(self.submissions.clone())
    }
}

/// Submissions to the sink, which may outlive their requests: one whose client disconnects goes on.
#[derive(Debug, Clone)]
pub struct Submissions(TaskTracker);

impl Submissions {
    /// Waits until none is left. Call it once no more requests are served.
    pub async fn finished(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the default of a clock that can be set")]
fn system_time() -> UnixMillis {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}
