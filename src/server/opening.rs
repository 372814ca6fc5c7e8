//! Opens spool and store at the start, and waits for a store that is not there yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::ingest::Ingest;
use crate::server::error::StartError;
use crate::settings::Settings;
use crate::store::deadline::within;
use crate::store::{self, Spool, Store, StoreError};
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
) -> Result<(Arc<dyn Store>, Arc<Ingest>, bool), StartError> {
    let url = store::display_url(&settings.store.url);
    let failed = |reason| StartError::Store { url: url.clone(), reason };
    let store = store::open(&settings.store_options()).await.map_err(failed)?;
    let spool = match settings.spool.path.as_path() {
        path if path.as_os_str().is_empty() => None,
        // The server before has it until it ends, and that one ends when this one takes callbacks.
        path if takes_over => Some((Spool::later(path, settings.spool.bytes_max), None)),
        path => Some(Spool::open(path, settings.spool.bytes_max, SPOOL_WAIT, clock.now()).await?),
    };
    let ready = if spool.is_some() {
        match timeout(STORE_WAIT, store.migrate()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) if !error.is_unavailable() => return Err(failed(error)),
            Ok(Err(_)) | Err(_) => false,
        }
    } else {
        wait_for(&store, &url).await.map_err(failed)?;
        true
    };
    let ingest = Ingest::start_held(&settings.ingest, &store, spool, clock, metrics).await;
    if ready {
        make_partitions(&store, clock).await;
        ingest.release();
    } else {
        warn!(store = url, "starting without the store; events go to the spool until it is there");
    }
    Ok((store, Arc::new(ingest), ready))
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
pub(crate) async fn settle(store: &Arc<dyn Store>, ingest: &Ingest, clock: &Clock) {
    let mut logged = OnChange::default();
    while let Err(found) = within(MIGRATE_TIMEOUT, store.migrate()).await {
        if logged.is_new(&found) {
            let Diagnostic { problem: reason, hint } = found;
            error!(reason, hint, "the store is not ready; events go to the spool until it is");
        }
        sleep(MIGRATE_PAUSE).await;
    }
    make_partitions(store, clock).await;
    ingest.release();
    info!("the store is ready");
}

/// Where it fails, events go on into the partitions there are, the default one last.
pub(crate) async fn make_partitions(store: &Arc<dyn Store>, clock: &Clock) {
    if let Err(found) = within(UPKEEP_TIMEOUT, store.upkeep(clock.now())).await {
        let Diagnostic { problem: reason, hint } = found;
        error!(reason, hint, "partitions were not made ahead; trying again within the hour");
    }
}
