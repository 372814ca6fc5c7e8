//! A circuit breaker in front of the store, or of the stream: during an outage events must not each wait for their deadline.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use metrics::Gauge;
use tracing::{info, warn};

use protocol::diagnostic::Diagnostic;

/// Number of consecutive failures that open the breaker. A first failure may be due to a dead connection.
const FAILURES_MAX: u32 = 2;

/// What the log says when a breaker opens, and when it closes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BreakerTexts {
    pub(crate) opens: &'static str,
    pub(crate) closes: &'static str,
}

/// Open while the store (or the stream) does not accept events. Attempts that bypass it close it again: those of the spool
/// replay, and events that the spool did not accept.
pub(crate) struct Breaker {
    /// Set until the store's tables are known to be of this version: before that nothing is written.
    held: AtomicBool,
    open: AtomicBool,
    failures: AtomicU32,
    /// 1 while it is open.
    gauge: Gauge,
    texts: BreakerTexts,
}

impl Breaker {
    /// A closed breaker, or a `held` one where the store is not ready yet.
    pub(crate) fn new(held: bool, gauge: &Gauge, texts: BreakerTexts) -> Self {
        gauge.set(f64::from(u8::from(held)));
        Self {
            held: held.into(),
            open: held.into(),
            failures: AtomicU32::new(0),
            gauge: gauge.clone(),
            texts,
        }
    }

    /// Permits writes.
    pub(crate) fn release(&self) {
        self.held.store(false, Ordering::Release);
        self.failures.store(0, Ordering::Release);
        self.open.store(false, Ordering::Release);
        self.gauge.set(0.0);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Records an attempt that failed because of the store.
    pub(crate) fn failed(&self, found: &Diagnostic) {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel) + 1;
        if failures >= FAILURES_MAX && !self.open.swap(true, Ordering::AcqRel) {
            self.gauge.set(1.0);
            let Diagnostic { problem: reason, hint } = found;
            warn!(reason, hint, "{}", self.texts.opens);
        }
    }

    /// Records a successful attempt.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Acquire) > 0 {
            self.failures.store(0, Ordering::Release);
        }
        if self.is_open() && !self.is_held() && self.open.swap(false, Ordering::AcqRel) {
            self.gauge.set(0.0);
            info!("{}", self.texts.closes);
        }
    }
}
