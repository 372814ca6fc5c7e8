//! Compares what is registered with what is wanted, every now and then, and puts it right where that is wanted too.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::clock::{Clock, jittered};
use crate::failure_report::FailureReport;
use crate::registration::diff_text::difference;
use crate::registration::status::{ProductStatus, RegistrationState, RegistrationStatus, Repair};
use crate::telemetry::{CheckResult, Metrics};
use crate::tencent_api::{CallbackConfig, Change, Client, Finding, Product, Severity, VendorError};
use protocol::AppId;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How long one product may take to be looked at, and as long to be put right.
const STEP_MAX: Duration = Duration::from_mins(1);
/// The first check is at random within this time.
const FIRST_WITHIN: Duration = Duration::from_secs(20);

/// An app, and what is to be registered for its products.
pub(crate) struct WatchedApp {
    /// The app.
    pub(crate) app: AppId,
    /// Calls the vendor for the app; or why nobody can.
    pub(crate) client: Result<Client, Diagnostic>,
    /// What is wanted; products that are not named are left alone.
    pub(crate) wanted: Vec<(Product, CallbackConfig)>,
}

/// The background task.
pub(crate) struct DriftMonitor {
    watched: Vec<WatchedApp>,
    interval: Duration,
    repair: bool,
    book: Arc<RegistrationStatus>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl DriftMonitor {
    /// Watches these, asks every `interval`, and puts right what differs where `repair` says so.
    pub(crate) fn new(
        watched: Vec<WatchedApp>,
        interval: Duration,
        repair: bool,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let entry =
            |app: &WatchedApp, (product, wanted): &(Product, CallbackConfig)| ProductStatus {
                app: app.app,
                product: *product,
                host: app
                    .client
                    .as_ref()
                    .map_or_else(|_| String::new(), |client| client.host().into()),
                wanted: wanted.clone(),
                standing: RegistrationState::Unknown,
                registered: None,
                checked_at: None,
                trouble: None,
                repaired_at: None,
            };
        let entries = watched
            .iter()
            .flat_map(|app| app.wanted.iter().map(|wanted| entry(app, wanted)))
            .collect();
        let book = Arc::new(RegistrationStatus::new(interval, repair, entries));
        Self { watched, interval, repair, book, clock, metrics }
    }

    /// What it finds.
    pub(crate) fn book(&self) -> Arc<RegistrationStatus> {
        self.book.clone()
    }

    /// Checks for ever. It may be cancelled at any point: what is half done is found by the next check.
    pub(crate) async fn run(&self) {
        sleep(self.interval.min(FIRST_WITHIN).mul_f64(fastrand::f64())).await;
        loop {
            let begun = Instant::now();
            for app in &self.watched {
                for (product, wanted) in &app.wanted {
                    self.check(app, *product, wanted).await;
                }
            }
            let rest = jittered(self.interval).saturating_sub(begun.elapsed());
            sleep(rest.max(self.interval / 2)).await;
        }
    }

    async fn check(&self, watched: &WatchedApp, product: Product, wanted: &CallbackConfig) {
        let app = watched.app;
        let looked = match &watched.client {
            Ok(client) => self.look(client, product, wanted).await,
            Err(found) => Err(FailureReport::unable("no client", found.clone(), self.clock.now())),
        };
        let checked = match looked {
            Ok(checked) => {
                let was = self.book.change(app, product, |entry| entry.trouble.take()).flatten();
                if was.is_some() {
                    info!(%app, %product, "the registration at the vendor is checked again");
                }
                checked
            }
            Err(trouble) => {
                self.failed(app, product, trouble);
                CheckResult::Failed
            }
        };
        self.metrics.registration_checked(checked);
    }

    /// Looks, and puts right what differs.
    async fn look(
        &self,
        client: &Client,
        product: Product,
        wanted: &CallbackConfig,
    ) -> Result<CheckResult, FailureReport> {
        let app = client.app();
        let plan = self.step(client, client.plan(product, wanted)).await?;
        let detail = difference(plan.before(), wanted);
        if plan.diff().is_empty() {
            self.is_right(app, product, wanted);
            return Ok(CheckResult::Right);
        }
        let registered = plan.before().map(|before| before.url.clone());
        let found_at = self.differs(app, product, registered, &detail);
        if !self.repair {
            return Ok(CheckResult::Differs);
        }
        let before = plan.before().map(|before| before.url.as_str());
        let wrong = |finding: &Finding| finding.severity == Severity::Error;
        if let Some(finding) = wanted.findings(product, before).into_iter().find(wrong) {
            let found = finding.diagnostic.prefixed("not put right: ");
            return Err(FailureReport::unable("unfit", found, found_at));
        }
        let (change, plan) = self.step(client, client.apply(product, wanted)).await?;
        let change = words_of(&change);
        // What was there in the moment of writing.
        let lines = difference(plan.before(), wanted);
        let was = if lines.is_empty() { &detail } else { &lines };
        warn!(%app, %product, was, change, "put right what is registered at the vendor");
        self.is_right(app, product, wanted);
        let repaired_at = self.clock.now();
        self.book.change(app, product, |entry| entry.repaired_at = Some(repaired_at));
        self.book.repaired(Repair { app, product, found_at, repaired_at, detail });
        Ok(CheckResult::Repaired)
    }

    /// Waits for a call, and no longer than it may take.
    async fn step<T>(
        &self,
        client: &Client,
        call: impl Future<Output = Result<T, VendorError>>,
    ) -> Result<T, FailureReport> {
        match timeout(STEP_MAX, call).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(FailureReport::failed(&error, self.clock.now())),
            Err(_) => Err(FailureReport::slow(client.host(), STEP_MAX, self.clock.now())),
        }
    }

    fn is_right(&self, app: AppId, product: Product, wanted: &CallbackConfig) {
        let now = self.clock.now();
        let before = self.book.change(app, product, |entry| {
            let before = entry.standing.clone();
            if !matches!(before, RegistrationState::Right(_)) {
                entry.standing = RegistrationState::Right(now);
            }
            entry.registered = Some(wanted.url.clone());
            entry.checked_at = Some(now);
            before
        });
        if matches!(before, Some(RegistrationState::Differs(..))) {
            info!(%app, %product, "what is registered at the vendor is what is wanted again");
        }
        self.show(app, product, false, now);
    }

    /// Says so once for each difference. Returns since when it differs.
    fn differs(
        &self,
        app: AppId,
        product: Product,
        registered: Option<String>,
        detail: &str,
    ) -> UnixMillis {
        let now = self.clock.now();
        let noted = self.book.change(app, product, |entry| {
            let (since, is_new) = match &entry.standing {
                RegistrationState::Differs(since, known) => (*since, known != detail),
                RegistrationState::Unknown | RegistrationState::Right(_) => (now, true),
            };
            entry.standing = RegistrationState::Differs(since, detail.to_owned());
            entry.registered = registered;
            entry.checked_at = Some(now);
            (since, is_new)
        });
        let (since, is_new) = noted.unwrap_or((now, true));
        if is_new {
            let hint = "`trtc-callbacks callback-config apply` puts it right, `registration.repair` by itself";
            warn!(%app, %product, detail, hint, "what is registered at the vendor is not what is wanted");
        }
        self.show(app, product, true, now);
        since
    }

    /// Says so once for each reason. What was known stays so.
    fn failed(&self, app: AppId, product: Product, trouble: FailureReport) {
        let Diagnostic { problem: reason, hint } = trouble.diagnostic.clone();
        let is_new = self.book.change(app, product, |entry| {
            let before = entry.trouble.take();
            let is_new = before.as_ref().is_none_or(|before| !before.is_like(&trouble));
            entry.trouble = Some(trouble.after(before.as_ref()));
            is_new
        });
        if is_new == Some(true) {
            warn!(%app, %product, reason, hint, "the registration at the vendor could not be checked or put right");
        }
    }

    fn show(&self, app: AppId, product: Product, differs: bool, now: UnixMillis) {
        let at = now.since(UnixMillis(0));
        self.metrics.registration(app, product.as_str(), differs, at);
    }
}

/// What was done, and the vendor's name for it.
fn words_of(change: &Change) -> String {
    let named = |what: &str, id: &Option<String>| {
        let id = id.as_deref().unwrap_or("none given");
        format!("{what}, RequestId {id}")
    };
    match change {
        Change::None => "somebody else had done it".to_owned(),
        Change::Set(receipt) => named("set", &receipt.request_id),
        Change::Updated(receipt) => named("updated", &receipt.request_id),
        Change::Raced => "it was done in between".to_owned(),
    }
}
