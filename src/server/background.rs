//! The background jobs, beside the callbacks: each is a supervised task of its own.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::access::AccessTokens;
use crate::clock::Clock;
use crate::http::Tls;
use crate::ingest::batch_writer::BatchWriter;
use crate::ingest::supervisor::keep_running;
use crate::registration::VendorMonitor;
use crate::retention;
use crate::server::feed::{self, Numberer};
use crate::server::job::Job;
use crate::server::opening::{make_partitions, settle};
use crate::sessions::Settler;
use crate::store::Store;
use crate::telemetry::{Metrics, log_lines_dropped};

/// How often partitions are made ahead and old events are deleted.
const UPKEEP_EVERY: Duration = Duration::from_hours(1);
/// How long to wait before a job that panicked is begun again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long a stop waits for the writers of scale-out mode to store and acknowledge what they fetched.
const WRITERS_END_MAX: Duration = Duration::from_secs(3);
/// How often metrics that nobody scrapes are folded together, and dropped log lines are counted.
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// What the background jobs work on.
pub(crate) struct Background {
    /// Absent on a receiver of scale-out mode.
    pub(crate) store: Option<StoreJobs>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tls: Option<Tls>,
    pub(crate) access: Arc<AccessTokens>,
    /// How long events are kept; for ever without it.
    pub(crate) keep: Option<Duration>,
    pub(crate) watch: Arc<VendorMonitor>,
    /// Those of scale-out mode.
    pub(crate) more: Vec<Job>,
}

/// What the jobs on the store work on.
pub(crate) struct StoreJobs {
    pub(crate) store: Arc<dyn Store>,
    /// What events are written to it with.
    pub(crate) writer: Arc<BatchWriter>,
    pub(crate) settler: Arc<Settler>,
    /// Is told when stored events have got positions, and how often they do.
    pub(crate) numbered: (Arc<Notify>, Duration),
}

impl Background {
    /// Runs all jobs, those on the store once it `is_ready` for this version. Never returns; dropping it ends them.
    pub(crate) async fn run(self, is_ready: CancellationToken) {
        supervise(self.jobs(&is_ready)).await;
    }

    fn jobs(self, is_ready: &CancellationToken) -> Vec<Job> {
        let Self { store, clock, metrics, tls, access, keep, watch, more } = self;
        let mut jobs = vec![
            Job::new("metrics", metrics.clone(), fold_metrics),
            Job::new("registration checks", watch.clone(), |watch| async move {
                watch.check_registrations().await;
            }),
            Job::new("source addresses", watch, |watch| async move {
                watch.refresh_addresses().await;
            }),
        ];
        if let Some(tls) = tls {
            jobs.push(Job::new("certificate", tls, |tls| async move { tls.keep_up().await }));
        }
        if access.has_files() {
            jobs.push(Job::new("tokens", access, AccessTokens::keep_up));
        }
        jobs.extend(more);
        if let Some(store) = store {
            jobs.extend(store.jobs(is_ready, &clock, &metrics, keep));
        }
        jobs
    }
}

impl StoreJobs {
    pub(crate) fn new(
        (store, writer): (Arc<dyn Store>, Arc<BatchWriter>),
        settler: Settler,
        (numbered, every): (&Arc<Notify>, Duration),
    ) -> Self {
        Self { store, writer, settler: Arc::new(settler), numbered: (numbered.clone(), every) }
    }

    fn jobs(
        self,
        is_ready: &CancellationToken,
        clock: &Clock,
        metrics: &Arc<Metrics>,
        keep: Option<Duration>,
    ) -> Vec<Job> {
        let Self { store, writer, settler, numbered } = self;
        let ready = is_ready.is_cancelled();
        let on_store = (is_ready.clone(), store, clock.clone());
        let mut jobs = vec![
            Job::new("sessions", (is_ready.clone(), settler), |(is_ready, settler)| async move {
                is_ready.cancelled().await;
                settler.run().await;
            }),
            Job::new("partitions", on_store.clone(), |(is_ready, store, clock)| async move {
                is_ready.cancelled().await;
                loop {
                    sleep(UPKEEP_EVERY).await;
                    make_partitions(&store, &clock).await;
                }
            }),
        ];
        jobs.extend(feed_jobs(&on_store, metrics, writer.stored.clone(), numbered));
        if let Some(keep) = keep {
            let state = (on_store.clone(), metrics.clone());
            jobs.push(Job::new("retention", state, move |(on_store, metrics)| async move {
                let (is_ready, store, clock) = on_store;
                is_ready.cancelled().await;
                loop {
                    retention::run(&store, keep, &clock, &metrics).await;
                    sleep(UPKEEP_EVERY).await;
                }
            }));
        }
        if !ready {
            let state = (on_store, writer);
            jobs.push(Job::new("store set-up", state, |(on_store, writer)| async move {
                let (is_ready, store, clock) = on_store;
                settle(&store, &writer, &clock).await;
                is_ready.cancel();
            }));
        }
        jobs
    }
}

/// Gives stored events their positions, shows how many there are, and forgets old ones.
fn feed_jobs(
    on_store: &(CancellationToken, Arc<dyn Store>, Clock),
    metrics: &Arc<Metrics>,
    stored: Arc<Notify>,
    (numbered, every): (Arc<Notify>, Duration),
) -> [Job; 3] {
    let (is_ready, store, _) = on_store;
    let (store, metrics) = (store.clone(), metrics.clone());
    let shown = (is_ready.clone(), store.clone(), metrics.clone());
    let state = Numberer { store, metrics, stored, numbered, every };
    [
        Job::new("feed", (is_ready.clone(), state), |(is_ready, state)| async move {
            is_ready.cancelled().await;
            feed::number(state).await;
        }),
        Job::new("feed figures", shown, |(is_ready, store, metrics)| async move {
            is_ready.cancelled().await;
            feed::show(store, metrics).await;
        }),
        Job::new("positions", on_store.clone(), |(is_ready, store, clock)| async move {
            is_ready.cancelled().await;
            feed::trim(store, clock).await;
        }),
    ]
}

async fn fold_metrics(metrics: Arc<Metrics>) {
    let handle = metrics.handle();
    loop {
        sleep(METRICS_EVERY).await;
        handle.run_upkeep();
        metrics.log_lines_dropped.absolute(log_lines_dropped());
    }
}

/// Runs the writers of scale-out mode until they end by themselves, at their `stop`, which `end` brings too. After it they have a
/// while.
pub(crate) async fn run_writers(
    writers: Vec<Job>,
    stop: CancellationToken,
    end: &CancellationToken,
) {
    let late = async {
        end.cancelled().await;
        stop.cancel();
        sleep(WRITERS_END_MAX).await;
    };
    tokio::select! {
        () = run_each(writers) => {}
        () = late => warn!("events in the hands of the writers are given to others after a while"),
    }
}

/// Runs each job as a task of its own. Never returns.
async fn supervise(jobs: Vec<Job>) {
    run_each(jobs).await;
    pending::<()>().await;
}

async fn run_each(jobs: Vec<Job>) {
    join_all(jobs.into_iter().map(|job| keep_running(job.name, RESTART_PAUSE, job.begin))).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;
    use tokio_util::task::{AbortOnDropHandle, TaskTracker};

    use super::*;

    /// A fake job: how often it was begun, and what makes it panic.
    #[derive(Default)]
    struct Fake {
        begun: AtomicU32,
        began: Notify,
        panic: Notify,
    }

    impl Fake {
        fn job(self: &Arc<Self>) -> Job {
            Job::new("fake", self.clone(), |fake| async move {
                fake.begun.fetch_add(1, Ordering::SeqCst);
                fake.began.notify_one();
                fake.panic.notified().await;
                panic!("a bug in the job");
            })
        }

        fn begun(&self) -> u32 {
            self.begun.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_restarts_that_job_and_no_other() {
        let [one, other] = [Arc::new(Fake::default()), Arc::new(Fake::default())];
        let supervised = AbortOnDropHandle::new(
            TaskTracker::new().spawn(supervise(vec![one.job(), other.job()])),
        );
        one.began.notified().await;
        other.began.notified().await;
        for restarts in 1..=3 {
            one.panic.notify_one();
            one.began.notified().await;
            assert_eq!((one.begun(), other.begun()), (1 + restarts, 1));
        }
        assert!(!supervised.is_finished());
        drop(supervised);
        while Arc::strong_count(&other) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!((one.begun(), other.begun()), (4, 1), "both ended with the supervisor");
    }
}
