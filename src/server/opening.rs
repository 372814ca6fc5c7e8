//! Opens spool and store at the start, and waits for a store that is not there yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::ingest::Ingest;
use crate::ingest::batch_writer::BatchWriter;
use crate::server::error::StartError;
use crate::server::opened::{Opened, Tokens};
use crate::settings::Settings;
use crate::store::deadline::within;
use crate::store::{self, Spool, SpoolError, Store, StoreError};
use crate::telemetry::{Metrics, OnChange};
use protocol::diagnostic::{Diagnostic, Hint};

/// How long it may take.
const UPKEEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a start waits for the store where events can go to the spool meanwhile, and where they cannot.
const STORE_WAIT: Duration = Duration::from_secs(1);
const STORE_WAIT_WITHOUT_SPOOL: Duration = Duration::from_secs(30);
/// How long a start waits for another server to be done with the spool: one that is just ending.
const SPOOL_WAIT: Duration = Duration::from_secs(1);
/// How long one try to bring the store's tables up to date may take where something else waits for it.
const MIGRATE_TIMEOUT: Duration = Duration::from_mins(10);
/// How long to wait before a store that is not ready is asked again.
const MIGRATE_PAUSE: Duration = Duration::from_secs(1);

/// Opens the spool and the store, and says whether the store is ready. Where it is not there, events go to the spool until
/// it is; without one the start waits for it.
pub(crate) async fn open(
    settings: &Settings,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    takes_over: bool,
    tokens: &Tokens,
) -> Result<Opened, StartError> {
    let url = store::display_url(&settings.store.url);
    let store = open_store(settings).await?;
    let spool = open_spool(settings, clock, metrics, takes_over).await?;
    let ready = if spool.is_some() {
        migrated(settings, &store).await?
    } else {
        let failed = |reason| StartError::Store { url: url.clone(), reason };
        wait_for(&store, &url).await.map_err(failed)?;
        true
    };
    let ingest = Ingest::start_held(&settings.ingest, &store, spool, clock, metrics).await;
    let writer = ingest.writer().clone();
    if ready {
        release(&store, &writer, clock).await;
        tokens.store_ready.cancel();
    } else {
        warn!(store = url, "starting without the store; events go to the spool until it is there");
    }
    let ingest = Arc::new(ingest);
    Ok(Opened { store: Some((store, writer)), ingest, jobs: Vec::new(), writers: Vec::new() })
}

/// Opens the store, which need not be there.
pub(crate) async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, StartError> {
    let url = store::display_url(&settings.store.url);
    let opened = store::open(&settings.store_options()).await;
    opened.map_err(|reason| StartError::Store { url, reason })
}

/// Opens the spool, where there is to be one, and says why it cannot be used now.
pub(crate) async fn open_spool(
    settings: &Settings,
    clock: &Clock,
    metrics: &Metrics,
    takes_over: bool,
) -> Result<Option<(Spool, Option<SpoolError>)>, StartError> {
    let spool = &settings.spool;
    metrics.spool.limit(if spool.path.as_os_str().is_empty() { 0 } else { spool.bytes_max });
    Ok(match spool.path.as_path() {
        path if path.as_os_str().is_empty() => None,
        // The server before has it until it ends, and that one ends when this one takes callbacks.
        path if takes_over => Some((Spool::later(path, spool.bytes_max), None)),
        path => Some(Spool::open(path, spool.bytes_max, SPOOL_WAIT, clock.now()).await?),
    })
}

/// Brings the store up to this version. `false` where it is not there: somebody else does so then.
pub(crate) async fn migrated(
    settings: &Settings,
    store: &Arc<dyn Store>,
) -> Result<bool, StartError> {
    match timeout(STORE_WAIT, store.migrate()).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(reason)) if !reason.is_unavailable() => {
            let url = store::display_url(&settings.store.url);
            Err(StartError::Store { url, reason })
        }
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}

/// Lets this writer write to a store that is ready.
pub(crate) async fn release(store: &Arc<dyn Store>, writer: &BatchWriter, clock: &Clock) {
    make_partitions(store, clock).await;
    writer.breaker.release();
}

/// Waits some time for a database that starts together with us, and brings it up to this version.
async fn wait_for(store: &Arc<dyn Store>, url: &str) -> Result<(), StoreError> {
    let give_up_at = Instant::now() + STORE_WAIT_WITHOUT_SPOOL;
    loop {
        match store.migrate().await {
            Err(error) if error.is_unavailable() && Instant::now() < give_up_at => {
                let Diagnostic { problem: reason, hint } = error.diagnostic();
                warn!(reason, hint, store = url, "waiting for the store");
                sleep_until((Instant::now() + MIGRATE_PAUSE).min(give_up_at)).await;
            }
            done => return done,
        }
    }
}

/// Brings a store up to this version that was not there at the start.
pub(crate) async fn settle(store: &Arc<dyn Store>, writer: &BatchWriter, clock: &Clock) {
    let mut logged = OnChange::default();
    while let Err(found) = within(MIGRATE_TIMEOUT, store.migrate()).await {
        if logged.is_new(&found) {
            let Diagnostic { problem: reason, hint } = found;
            error!(reason, hint, "the store is not ready; events wait in the spool or the stream");
        }
        sleep(MIGRATE_PAUSE).await;
    }
    release(store, writer, clock).await;
    info!("the store is ready");
}

/// Where it fails, events go on into the partitions there are, the default one last.
pub(crate) async fn make_partitions(store: &Arc<dyn Store>, clock: &Clock) {
    if let Err(found) = within(UPKEEP_TIMEOUT, store.upkeep(clock.now())).await {
        let Diagnostic { problem: reason, hint } = found;
        error!(reason, hint, "partitions were not made ahead; trying again within the hour");
    }
}
