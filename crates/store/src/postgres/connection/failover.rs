//! What is done when a primary went away or became a standby: its connections are closed, and where the URL names several
//! hosts, new ones go to the primary that is there now.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::error::DatabaseError;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::info;

use crate::postgres::connection::address::{Address, shown};
use crate::postgres::connection::pool::Pool;

/// Moments are counted from here, in ms.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The moment before which a connection must have been made to be closed instead of used, in ms since [`BEGIN`].
#[derive(Debug, Clone, Default)]
pub(crate) struct OldestUsed(Arc<AtomicU64>);

impl OldestUsed {
    /// Whether a connection of this age may be used.
    pub(crate) fn allows(&self, age: Duration) -> bool {
        let oldest = Duration::from_millis(self.0.load(Ordering::Acquire));
        // Those made within this very ms count as old, too.
        oldest.is_zero() || BEGIN.elapsed().saturating_sub(age) > oldest
    }

    fn is_now(&self) {
        let now = u64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.store(now.max(1), Ordering::Release);
    }
}

/// The hosts of a store, and the pools whose connections go to one of them.
#[derive(Debug)]
pub(crate) struct Failover {
    address: Address,
    pools: Vec<Pool>,
    oldest_used: OldestUsed,
    /// The place of the host that is used.
    used: AtomicUsize,
    /// Whether a primary is being looked for.
    seeking: AtomicBool,
    /// Who looks for it beside those who failed.
    search: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Failover {
    pub(crate) fn new(address: Address, pools: Vec<Pool>, oldest_used: OldestUsed) -> Arc<Self> {
        // So that every moment is after it.
        LazyLock::force(&BEGIN);
        Arc::new(Self {
            address,
            pools,
            oldest_used,
            used: AtomicUsize::new(0),
            seeking: AtomicBool::new(false),
            search: Mutex::default(),
        })
    }

    /// Looks for the primary, where there are several hosts, and leads new connections there. Finding none changes nothing.
    pub(crate) async fn seek(&self) {
        if !self.address.has_several_hosts() || self.seeking.swap(true, Ordering::AcqRel) {
            return;
        }
        let _done = Done(&self.seeking);
        let Ok((place, connection)) = self.address.primary().await else { return };
        // It only said what it is: an error on closing it loses nothing.
        let _ = connection.close().await;
        let Some(host) = self.address.hosts.get(place) else { return };
        if self.used.swap(place, Ordering::AcqRel) != place {
            for pool in &self.pools {
                pool.moved(host);
            }
            self.oldest_used.is_now();
            info!(host = shown(host), "this host is the primary");
        }
    }

    /// After a connection turned out to lead to a standby.
    pub(crate) fn standby(self: &Arc<Self>) {
        self.oldest_used.is_now();
        self.seek_soon();
    }

    fn seek_soon(self: &Arc<Self>) {
        if !self.address.has_several_hosts() {
            return;
        }
        let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        if search.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let this = self.clone();
            // Bounded by the timeout of the hosts.
            let task = TaskTracker::new().spawn(async move { this.seek().await });
            *search = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Ends the search.
    pub(crate) fn close(&self) {
        self.search.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// After an error, or a statement that did not return in time. `true`: the connections that there are lead to a
    /// database that takes no writes.
    pub(crate) fn failed(self: &Arc<Self>, error: Option<&sqlx::Error>) -> bool {
        let code = error.and_then(sqlx::Error::as_database_error).and_then(DatabaseError::code);
        let is_read_only = code.as_deref() == Some("25006");
        if is_read_only {
            // The host may be another by now behind the same address.
            self.oldest_used.is_now();
        }
        let is_lost = code.is_none_or(|code| code.starts_with("08") || code.starts_with("57P"));
        if is_read_only || is_lost {
            self.seek_soon();
        }
        is_read_only
    }
}

/// Says that nobody looks any more, however it ended.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
