//! Scale-out mode: opens the connection to the stream, the spool of a receiver and the store of a writer, and looks after the
//! stream.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::ingest::Ingest;
use crate::ingest::batch_writer::BatchWriter;
use crate::ingest::breaker::BreakerTexts;
use crate::ingest::stream_writer::StreamWriter;
use crate::server::error::StartError;
use crate::server::job::Job;
use crate::server::opened::{Opened, Tokens};
use crate::server::opening::{migrated, open_spool, open_store, release};
use crate::settings::{Settings, StreamSettings};
use crate::stream::connection::Connection;
use crate::stream::layout;
use crate::stream::publisher::Publisher;
use crate::stream::state::{look, purge};
use crate::telemetry::{Metrics, OnChange};
use protocol::diagnostic::Diagnostic;

/// How often a stream that cannot be used yet is looked at.
const PREPARE_PAUSE: Duration = Duration::from_millis(500);
/// How often the stream is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How many events a lane fetches at once, and how many bytes of them all lanes may hold together.
const FETCH_ROWS_MAX: usize = 500;
const FETCH_BYTES_MAX: usize = 128 << 20;

/// Opens what the role of this server needs.
pub(crate) async fn open(
    settings: &Settings,
    stream: &StreamSettings,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    takes_over: bool,
    tokens: &Tokens,
) -> Result<Opened, StartError> {
    let ack_wait = Duration::from_millis(settings.ingest.ack_deadline_ms);
    let connection = Connection::open(stream, ack_wait, true).await.map_err(StartError::Stream)?;
    let publisher = Publisher::new(connection.clone(), &stream.subject, metrics);
    let writer = Arc::new(BatchWriter::on_stream(&settings.ingest, publisher, clock, metrics));
    let spool = if stream.role.receives() {
        open_spool(settings, clock, metrics, takes_over).await?
    } else {
        None
    };
    let ingest = Ingest::start_on(&settings.ingest, writer, spool, clock, metrics).await;
    let ingest = Arc::new(ingest);
    let upkeep = Upkeep {
        connection: connection.clone(),
        settings: stream.clone(),
        body_bytes_max: settings.server.body_bytes_max,
        ingest: ingest.clone(),
        prepared: CancellationToken::new(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    let prepared = upkeep.prepared.clone();
    let jobs = vec![
        Job::new("stream set-up", upkeep.clone(), |upkeep| async move { upkeep.prepare().await }),
        Job::new("stream upkeep", upkeep, |upkeep| async move { upkeep.look().await }),
    ];
    let mut opened = Opened { store: None, ingest, jobs, writers: Vec::new() };
    if stream.role.stores() {
        let store = open_store(settings).await?;
        let texts = BreakerTexts {
            opens: "the store does not take events; they stay in the stream until it does",
            closes: "the store takes events",
        };
        let to_store = BatchWriter::on_store(&settings.ingest, &store, texts, clock, metrics);
        let to_store = Arc::new(to_store);
        if migrated(settings, &store).await? {
            release(&store, &to_store, clock).await;
            tokens.store_ready.cancel();
        } else {
            warn!("starting without the store; events stay in the stream until it is there");
        }
        let lane = StreamWriter {
            connection,
            stream: stream.name.clone(),
            writer: to_store.clone(),
            store: store.clone(),
            rows_max: rows_max(settings),
            ready: [tokens.store_ready.clone(), prepared],
            stop: tokens.stop.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let lane =
            || Job::new("stream writer", lane.clone(), |lane| async move { lane.run().await });
        opened.writers.extend((0..settings.ingest.lanes).map(|_| lane()));
        opened.store = Some((store, to_store));
    }
    Ok(opened)
}

/// As many of each lane as fit into memory if all are as large as they may be.
fn rows_max(settings: &Settings) -> usize {
    let bytes_max = FETCH_BYTES_MAX / (settings.ingest.lanes.max(1) as usize);
    (bytes_max / settings.server.body_bytes_max.max(1)).clamp(1, FETCH_ROWS_MAX)
}

/// Looks after the stream.
#[derive(Clone)]
struct Upkeep {
    connection: Connection,
    settings: StreamSettings,
    body_bytes_max: usize,
    ingest: Arc<Ingest>,
    /// Cancelled once the stream can be used.
    prepared: CancellationToken,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Upkeep {
    /// Makes the stream where it is missing, and lets events in once it is known to keep what it acknowledges.
    async fn prepare(self) {
        let mut logged = OnChange::default();
        let found = loop {
            match layout::prepare(&self.connection, &self.settings, self.body_bytes_max).await {
                Ok(found) => break found,
                Err(found) => {
                    if logged.is_new(&found) {
                        let Diagnostic { problem: reason, hint } = found;
                        error!(
                            reason,
                            hint, "the stream is not ready; events go to the spool until it is"
                        );
                    }
                    sleep(PREPARE_PAUSE).await;
                }
            }
        };
        for Diagnostic { problem: reason, hint } in found {
            warn!(reason, hint, "the stream could be safer");
        }
        self.ingest.release();
        self.prepared.cancel();
        info!(stream = self.settings.name, url = self.settings.shown(), "the stream is ready");
    }

    /// Shows how full the stream is, and removes what was stored long ago. Never returns.
    async fn look(self) {
        self.prepared.cancelled().await;
        let mut logged = OnChange::default();
        loop {
            match self.look_once().await {
                Ok(()) => {
                    logged.clear();
                }
                Err(found) => {
                    if logged.is_new(&found) {
                        let Diagnostic { problem: reason, hint } = found;
                        warn!(reason, hint, "the stream cannot be looked at; trying again");
                    }
                    // One that was deleted is made again: what was in it is gone, and what comes has a place.
                    let settings = &self.settings;
                    let made = layout::prepare(&self.connection, settings, self.body_bytes_max);
                    if let Err(Diagnostic { problem: reason, hint }) = made.await {
                        tracing::debug!(reason, hint, "the stream is not ready");
                    }
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    async fn look_once(&self) -> Result<(), Diagnostic> {
        let state = look(&self.connection, &self.settings).await?;
        let metrics = &self.metrics.stream;
        metrics.fill_ratio.set(state.fill());
        if let Some(writers) = &state.writers {
            metrics.pending.set(writers.pending as f64);
            metrics.ack_pending.set(writers.ack_pending as f64);
        }
        if self.settings.role.stores() {
            let purged = purge(&self.connection, &self.settings, &state, self.clock.now()).await?;
            metrics.purged.increment(purged);
        }
        Ok(())
    }
}
