//! What is known of the registrations. The guard writes it; the settler and the dashboard read it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::failure_report::FailureReport;
use crate::tencent_api::{CallbackConfig, Product};
use protocol::AppId;
use protocol::UnixMillis;

/// How many repairs wait to be listed. More than may wait while the store is away for a day.
const REPAIRS_MAX: usize = 500;

/// What is wanted and what is registered, for every app and product that is watched.
#[derive(Debug, Default)]
pub(crate) struct RegistrationStatus {
    interval: Option<Duration>,
    repairs: bool,
    pages: Mutex<State>,
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<ProductStatus>,
    repaired: VecDeque<Repair>,
}

/// The registration of one product of an app.
#[derive(Debug, Clone)]
pub(crate) struct ProductStatus {
    /// The app.
    pub(crate) app: AppId,
    /// Its product.
    pub(crate) product: Product,
    /// The vendor's host that is asked.
    pub(crate) host: String,
    /// What is to be registered.
    pub(crate) wanted: CallbackConfig,
    /// Whether it is, as far as is known.
    pub(crate) standing: RegistrationState,
    /// The URL that is registered; absent where nothing is, or it is not known.
    pub(crate) registered: Option<String>,
    /// When the vendor last said what is registered.
    pub(crate) checked_at: Option<UnixMillis>,
    /// Why it was not asked since, or not put right; absent where nothing went wrong.
    pub(crate) trouble: Option<FailureReport>,
    /// When it was last put right by us, since the start.
    pub(crate) repaired_at: Option<UnixMillis>,
}

/// Whether what is registered is what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegistrationState {
    /// The vendor has not said since the start.
    Unknown,
    /// It is, and was found to be at this time first.
    Right(UnixMillis),
    /// It is not, and was found not to be at this time first; what differs, in words.
    Differs(UnixMillis, String),
}

/// A difference that was put right by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repair {
    /// The app.
    pub(crate) app: AppId,
    /// Its product.
    pub(crate) product: Product,
    /// When the difference was found.
    pub(crate) found_at: UnixMillis,
    /// When it was put right.
    pub(crate) repaired_at: UnixMillis,
    /// What differed, in words.
    pub(crate) detail: String,
}

impl RegistrationStatus {
    /// Nothing is known yet. Checks come every `interval`; never without one.
    pub(crate) fn new(interval: Duration, repairs: bool, entries: Vec<ProductStatus>) -> Self {
        let pages = Mutex::new(State { entries, repaired: VecDeque::new() });
        Self { interval: Some(interval), repairs, pages, version: AtomicU64::new(0) }
    }

    /// How often the vendor is asked; `None` never.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Whether what differs is put right.
    pub(crate) fn repairs(&self) -> bool {
        self.repairs
    }

    fn pages(&self) -> MutexGuard<'_, State> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is known.
    pub(crate) fn entries(&self) -> Vec<ProductStatus> {
        self.pages().entries.clone()
    }

    /// Another number whenever something is to be listed anew.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Repairs that are not listed yet, the earliest first.
    pub(crate) fn unlisted(&self) -> Vec<Repair> {
        self.pages().repaired.iter().cloned().collect()
    }

    /// Forgets so many of the earliest: they are listed.
    pub(crate) fn listed(&self, count: usize) {
        let repaired = &mut self.pages().repaired;
        repaired.drain(..count.min(repaired.len()));
    }

    /// Changes the entry, if there is one, and returns what `change` does; `None` where there is none.
    pub(crate) fn change<T>(
        &self,
        app: AppId,
        product: Product,
        change: impl FnOnce(&mut ProductStatus) -> T,
    ) -> Option<T> {
        let mut pages = self.pages();
        let entry =
            pages.entries.iter_mut().find(|entry| entry.app == app && entry.product == product)?;
        let before = entry.standing.clone();
        let changed = change(entry);
        if before != entry.standing {
            self.version.fetch_add(1, Ordering::Release);
        }
        Some(changed)
    }

    /// Has a repair listed.
    pub(crate) fn repaired(&self, repair: Repair) {
        let repaired = &mut self.pages().repaired;
        if repaired.len() == REPAIRS_MAX {
            repaired.pop_front();
        }
        repaired.push_back(repair);
        self.version.fetch_add(1, Ordering::Release);
    }
}
