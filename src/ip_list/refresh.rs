//! Keeps the list of the vendor's addresses fresh, in force, and on disk.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::clock::{Clock, jittered};
use crate::failure_report::FailureReport;
use crate::ip_list::cache_file::CachedLists;
use crate::ip_list::merge::merge;
use crate::telemetry::Metrics;
use crate::tencent_api::{Client, Egress, IpList};
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;
use protocol::source_filter::{Networks, VendorNetworks};

/// How long one app's client may take to be told the list.
const ASK_MAX: Duration = Duration::from_mins(1);
/// How long to wait after it was not, where that is shorter than usual.
const AGAIN_MAX: Duration = Duration::from_mins(5);

/// The background task.
pub(crate) struct Addresses {
    clients: Vec<Client>,
    in_force: VendorNetworks,
    file: Option<PathBuf>,
    refresh: Duration,
    book: Arc<AddressBook>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What is known of the list. The task writes it; the operations listener reads it.
#[derive(Debug, Default)]
pub(crate) struct AddressBook(Mutex<(CachedLists, AddressState)>);

/// How the list stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddressState {
    /// How many ranges are in force; 0 while all addresses are let in.
    pub(crate) networks: usize,
    /// When the vendor gave them; absent while there are none.
    pub(crate) fetched_at: Option<UnixMillis>,
    /// Why it was not asked since, or what is odd about its answer; absent where all is well.
    pub(crate) trouble: Option<FailureReport>,
}

impl AddressBook {
    fn lock(&self) -> MutexGuard<'_, (CachedLists, AddressState)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the list stands.
    pub(crate) fn state(&self) -> AddressState {
        self.lock().1.clone()
    }
}

impl Addresses {
    /// Asks these clients, the first that gets an answer, every `refresh`, and puts the list in force. The last good one
    /// is kept in `file`.
    pub(crate) fn new(
        clients: Vec<Client>,
        in_force: VendorNetworks,
        file: Option<PathBuf>,
        refresh: Duration,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { clients, in_force, file, refresh, book: Arc::default(), clock, metrics }
    }

    /// What is known.
    pub(crate) fn book(&self) -> Arc<AddressBook> {
        self.book.clone()
    }

    /// Puts the list in force that the file has, and says loudly where there is none. To be done before callbacks are
    /// taken.
    pub(crate) async fn load(&self) {
        self.metrics.vendor_list(0, None);
        let read = match self.file.clone() {
            None => Ok(None),
            Some(file) => in_background(move || CachedLists::read(&file)).await,
        };
        match read {
            Ok(Some(kept)) => {
                info!(networks = kept.len(), fetched_at = %kept.fetched_at, "the vendor's addresses are those of the last list");
                self.put_in_force(kept);
                return;
            }
            Ok(None) => {}
            Err(reason) => {
                let file = self.file.as_ref().map(|file| file.display().to_string());
                error!(file, %reason, "the last list of the vendor's addresses cannot be read");
            }
        }
        let hint =
            "this lasts until the vendor's API gives the list; signatures are checked all the same";
        warn!(
            hint,
            "no list of the vendor's addresses is known, so callbacks from every address are taken"
        );
    }

    /// Keeps it fresh for ever. It may be cancelled at any point.
    pub(crate) async fn run(&self) {
        let fetched_at = self.book.state().fetched_at;
        if let Some(fetched_at) = fetched_at {
            let age = self.clock.now().since(fetched_at);
            sleep(jittered(self.refresh.saturating_sub(age))).await;
        }
        loop {
            let good = self.ask().await;
            let pause = if good { self.refresh } else { self.refresh.min(AGAIN_MAX) };
            sleep(jittered(pause)).await;
        }
    }

    /// Asks once. Whether all went well.
    async fn ask(&self) -> bool {
        let trouble = match self.fetch().await {
            Err(trouble) => Some(trouble),
            Ok(answers) => self.take(&answers).await,
        };
        let now_good = trouble.is_none();
        if now_good {
            self.metrics.vendor_list_done.increment(1);
        } else {
            self.metrics.vendor_list_failed.increment(1);
        }
        let before = self.book.lock().1.trouble.take();
        match trouble {
            Some(trouble) => {
                if before.as_ref().is_none_or(|before| !before.is_like(&trouble)) {
                    let Diagnostic { problem: reason, hint } = &trouble.diagnostic;
                    warn!(reason, hint, "the list of the vendor's addresses is not fresh");
                }
                self.book.lock().1.trouble = Some(trouble.after(before.as_ref()));
            }
            None if before.is_some() => info!("the list of the vendor's addresses is fresh again"),
            None => {}
        }
        now_good
    }

    /// What the first app is told that is told anything.
    async fn fetch(&self) -> Result<Vec<IpList>, FailureReport> {
        let mut failed = None;
        for client in &self.clients {
            let both = async {
                let mut lists = Vec::new();
                for egress in Egress::ALL {
                    lists.push(client.ip_list(egress).await?);
                }
                Ok(lists)
            };
            failed = Some(match timeout(ASK_MAX, both).await {
                Ok(Ok(lists)) => return Ok(lists),
                Ok(Err(error)) => FailureReport::failed(&error, self.clock.now()),
                Err(_) => FailureReport::slow(client.host(), ASK_MAX, self.clock.now()),
            });
        }
        Err(failed.unwrap_or_else(|| {
            let text = "no app has a secret key to ask the vendor's API with".to_owned();
            FailureReport::list("no client", text, self.clock.now())
        }))
    }

    /// Puts in force what may be, and keeps it. Returns what is odd about the answer.
    async fn take(&self, answers: &[IpList]) -> Option<FailureReport> {
        let now = self.clock.now();
        let before = self.book.lock().0.clone();
        let (lists, doubt) = match merge(&before.lists, answers) {
            Ok(merged) => merged,
            Err(doubt) => return Some(FailureReport::list(doubt.kind, doubt.text, now)),
        };
        let kept = CachedLists { lists, fetched_at: now };
        if kept.lists != before.lists {
            info!(
                networks = kept.len(),
                before = before.len(),
                "the list of the vendor's addresses changed"
            );
        }
        self.put_in_force(kept.clone());
        let unwritten = self.keep(kept).await;
        doubt.map(|doubt| FailureReport::list(doubt.kind, doubt.text, now)).or(unwritten)
    }

    fn put_in_force(&self, kept: CachedLists) {
        let words = kept.words();
        // They were parsed before: none is left out.
        let Ok(networks) = Networks::parse(words.iter().map(String::as_str)) else { return };
        self.in_force.set(networks);
        let at = kept.fetched_at;
        self.metrics.vendor_list(kept.len(), Some(at.since(UnixMillis(0))));
        let mut book = self.book.lock();
        (book.1.networks, book.1.fetched_at) = (kept.len(), Some(at));
        book.0 = kept;
    }

    /// Writes the list to the file. Returns why it could not.
    async fn keep(&self, kept: CachedLists) -> Option<FailureReport> {
        let file = self.file.clone()?;
        let shown = file.display().to_string();
        let written = in_background(move || kept.write(&file)).await;
        let text = format!("the list could not be written to {shown}: {}", written.err()?);
        Some(FailureReport::list("unwritten", text, self.clock.now()))
    }
}

/// Disks may be slow today.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
