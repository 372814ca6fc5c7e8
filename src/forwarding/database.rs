//! The forwarder's two connections to the store, which all destinations share: a slow destination holds neither.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;
use tracing::{error, warn};

use crate::forwarding::derived::facts;
use crate::forwarding::rows;
use crate::store::deadline::within;
use crate::store::{
    Backlog, Control, DeliveryException, DerivedProgress, DestinationRow, DestinationWrite,
    EXCEPTIONS_MAX, FeedLimit, FeedRead, ForwardingConnection, Lease, Position, Store, StoreError,
    StoreOptions,
};
use crate::telemetry::OnChange;
use forward::event_columns::EventColumns;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;
use uuid::Uuid;

/// How long one step may take.
const STEP_MAX: Duration = Duration::from_secs(10);

/// How long to wait while another server gives positions.
const NUMBER_PAUSE: Duration = Duration::from_millis(20);

/// The result of reading an event.
pub(super) enum ReadEvent {
    /// It is there.
    Found(Arc<EventColumns>),
    /// It was deleted, or the row that it is about.
    Gone,
    /// It is not stored as this program does it: reading it again gives the same.
    Unreadable,
}

/// The connections. Each step may be cancelled: then its connection is closed.
pub(super) struct Database {
    options: StoreOptions,
    writer: Mutex<Option<ForwardingConnection>>,
    reader: Arc<dyn Store>,
    /// Why an event could not be read.
    failed_event: Mutex<OnChange<Diagnostic>>,
}

/// What the store knows of a destination when somebody begins to forward to it.
pub(super) struct Loaded {
    pub(super) row: DestinationRow,
    pub(super) exceptions: Vec<DeliveryException>,
    pub(super) dead: usize,
}

impl Database {
    pub(super) async fn open(options: StoreOptions) -> Result<Self, Diagnostic> {
        let options = StoreOptions {
            writers: 1,
            readers: 1,
            timeout: STEP_MAX,
            read_timeout: Some(STEP_MAX),
            ..options
        };
        let reader = within(STEP_MAX, crate::store::open(&options)).await?;
        let failed_event = Mutex::default();
        Ok(Self { options, writer: Mutex::new(None), reader, failed_event })
    }

    /// Creates a destination at the end of the feed, unless it is there.
    pub(super) async fn ensure(&self, name: &str, hash: &str) -> Result<(), Diagnostic> {
        if self.destination(name).await?.is_some() {
            return Ok(());
        }
        self.number_all().await?;
        let mut held = self.take().await?;
        within(STEP_MAX, held.connection.ensure(name, hash)).await?;
        held.give_back();
        Ok(())
    }

    /// Waits until what is stored by now has positions: without one it would come behind the end of the feed.
    async fn number_all(&self) -> Result<(), Diagnostic> {
        let mut held = self.take().await?;
        let connection = &mut held.connection;
        within(STEP_MAX, async {
            let Some(marker) = connection.last_marker().await? else { return Ok(()) };
            loop {
                self.reader.number_events(true).await?;
                if connection.is_numbered(marker).await? {
                    return Ok(());
                }
                sleep(NUMBER_PAUSE).await;
            }
        })
        .await?;
        held.give_back();
        Ok(())
    }

    /// Takes the lease and reads all that is known; `None` where another server has it.
    pub(super) async fn lease(
        &self,
        (name, holder, hash): (&str, &str, &str),
        length: Duration,
    ) -> Result<Option<(Lease, Loaded)>, Diagnostic> {
        let mut held = self.take().await?;
        let connection = &mut held.connection;
        let leased = within(STEP_MAX, async {
            let Some((lease, row)) = connection.lease(name, holder, hash, length).await? else {
                return Ok(None);
            };
            let mut exceptions = connection.pending_exceptions(name).await?;
            let (ahead, dead) = connection.dead_letters_ahead(name, row.position.number()).await?;
            exceptions.extend(ahead);
            Ok(Some((lease, Loaded { row, exceptions, dead })))
        });
        let leased = leased.await?;
        held.give_back();
        Ok(leased)
    }

    pub(super) async fn destination(
        &self,
        name: &str,
    ) -> Result<Option<DestinationRow>, Diagnostic> {
        let mut held = self.take().await?;
        let row = within(STEP_MAX, held.connection.destination(name)).await?;
        held.give_back();
        Ok(row)
    }

    pub(super) async fn renew(
        &self,
        lease: &Lease,
        length: Duration,
    ) -> Result<Option<(Control, UnixMillis)>, Diagnostic> {
        let mut held = self.take().await?;
        let renewed = within(STEP_MAX, held.connection.renew(lease, length)).await?;
        held.give_back();
        Ok(renewed)
    }

    pub(super) async fn release(&self, lease: &Lease) -> Result<(), Diagnostic> {
        let mut held = self.take().await?;
        within(STEP_MAX, held.connection.release(lease)).await?;
        held.give_back();
        Ok(())
    }

    pub(super) async fn write(
        &self,
        lease: &Lease,
        write: &DestinationWrite,
        length: Duration,
    ) -> Result<bool, Diagnostic> {
        let mut held = self.take().await?;
        let is_mine = within(STEP_MAX, held.connection.write(lease, write, length)).await?;
        held.give_back();
        Ok(is_mine)
    }

    pub(super) async fn pending(&self, name: &str) -> Result<Vec<DeliveryException>, Diagnostic> {
        let mut held = self.take().await?;
        let rows = within(STEP_MAX, held.connection.pending_exceptions(name)).await?;
        held.give_back();
        debug_assert!(rows.len() <= EXCEPTIONS_MAX as usize);
        Ok(rows)
    }

    pub(super) async fn backlog(&self, name: &str) -> Result<Backlog, Diagnostic> {
        let mut held = self.take().await?;
        let backlog = within(STEP_MAX, held.connection.backlog(name)).await?;
        held.give_back();
        Ok(backlog)
    }

    /// How far the job that derives events is; `None` where it never began.
    pub(super) async fn derived_progress(&self) -> Result<Option<DerivedProgress>, Diagnostic> {
        let mut held = self.take().await?;
        let progress = within(STEP_MAX, held.connection.derived_progress()).await?;
        held.give_back();
        Ok(progress)
    }

    pub(super) async fn skip_excess(&self, events_max: u64) -> Result<bool, Diagnostic> {
        let mut held = self.take().await?;
        let skipped = within(STEP_MAX, held.connection.skip_excess(events_max)).await?;
        held.give_back();
        Ok(skipped)
    }

    /// The events behind a position.
    pub(super) async fn page(&self, after: i64, limit: FeedLimit) -> Result<FeedRead, Diagnostic> {
        within(STEP_MAX, self.reader.events_after(Position::of_number(after), limit)).await
    }

    /// One event, of the vendor or a derived one with its row as it is now.
    pub(super) async fn event(&self, position: i64, id: Uuid) -> Result<ReadEvent, Diagnostic> {
        within(STEP_MAX, async {
            match self.try_event(Position::of_number(position), id).await {
                Ok(Some(event)) => Ok(ReadEvent::Found(Arc::new(event))),
                Ok(None) => Ok(ReadEvent::Gone),
                Err(error) if error.is_unreadable() => {
                    error!(event = %id, %error, "an event cannot be read: it is not sent");
                    Ok(ReadEvent::Unreadable)
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn try_event(
        &self,
        position: Position,
        id: Uuid,
    ) -> Result<Option<EventColumns>, StoreError> {
        if let Some(event) = self.reader.event(id).await? {
            return Ok(Some(rows::columns(position, event)));
        }
        let Some(event) = self.reader.derived_event(id).await? else { return Ok(None) };
        let row = facts::of(&*self.reader, &event).await?;
        if row.is_none() && !event.withdrawn {
            return Ok(None);
        }
        Ok(rows::derived(position, event, row.map(|row| row.json)))
    }

    /// Says once why an event cannot be read.
    pub(super) async fn event_failed(&self, event: Uuid, found: Diagnostic) {
        if self.failed_event.lock().await.is_new(&found) {
            let Diagnostic { problem: reason, hint } = found;
            warn!(%event, reason, hint, "an event that is to be sent cannot be read; trying again");
        }
    }

    /// An event was read that could not be before.
    pub(super) async fn event_recovered(&self) {
        self.failed_event.lock().await.clear();
    }

    /// The connection that reads.
    pub(super) fn reader(&self) -> Arc<dyn Store> {
        self.reader.clone()
    }

    /// The end of the feed.
    pub(super) async fn feed_end(&self) -> Result<i64, Diagnostic> {
        Ok(within(STEP_MAX, self.reader.feed_span()).await?.end.number())
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.writer.lock().await.take() {
            connection.close().await;
        }
        self.reader.close().await;
    }

    async fn take(&self) -> Result<Held<'_>, Diagnostic> {
        let mut slot = self.writer.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => within(STEP_MAX, ForwardingConnection::open(&self.options)).await?,
        };
        Ok(Held { slot, connection })
    }
}

/// The connection for one step. It is closed unless it is given back: after an error nobody knows its state.
struct Held<'a> {
    slot: MutexGuard<'a, Option<ForwardingConnection>>,
    connection: ForwardingConnection,
}

impl Held<'_> {
    fn give_back(mut self) {
        *self.slot = Some(self.connection);
    }
}
