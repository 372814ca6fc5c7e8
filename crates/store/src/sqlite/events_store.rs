//! Events in an embedded SQLite file.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection, Sqlite as Db};
use tokio::time::Instant;
use uuid::Uuid;

use protocol::UnixMillis;
use protocol::recorded_request::Delivery;
use protocol::{Event, event_id};

use crate::error::StoreError;
use crate::migrations;
use crate::model::event::StoredEvent;
use crate::options::StoreOptions;
use crate::query::events::EventFilter;
use crate::read::events;
use crate::sql::builder::{ReadRow, Reader, Statement};
use crate::sql::dialect::{Dialect, SQLITE};
use crate::sqlite::error::{classify, missing, unopened};
use crate::sqlite::event_writer::EventWriter;
use crate::sqlite::file;
use crate::sqlite::file::STEPS;
use crate::sqlite::{feed, retention};
use crate::traits::EventInsert;
use crate::traits::{Inserted, Store};

/// A SQLite file: one connection writes, others read concurrently.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: SqlitePool,
    batches: EventWriter,
    readers: SqlitePool,
    /// The connection of the health check, which must not wait for busy readers.
    pings: SqlitePool,
}

impl Sqlite {
    /// Opens the file; creates it and its directory where missing.
    pub(crate) async fn open(
        address: SqliteConnectOptions,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        let path = address.get_filename().to_owned();
        if options.create {
            file::make(&path).map_err(|error| unopened(&path, &error))?;
        } else if !path.exists() {
            return Err(missing(&path));
        }
        let address = address
            .create_if_missing(false)
            // In WAL mode readers and the writer do not block each other.
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is on disk before the event is answered. NORMAL could lose the last ones at a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(options.timeout);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // A file is not away, and each batch waits for its turn here.
            .test_before_acquire(false)
            .acquire_timeout(options.timeout)
            .connect_with(address.clone())
            .await
            .map_err(|error| unopened(&path, &error))?;
        let most = options.read_timeout;
        let address = address.pragma("query_only", "on");
        let pings = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(options.timeout)
            .connect_lazy_with(address.clone());
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .acquire_timeout(options.timeout)
            .after_connect(move |connection, _| Box::pin(give_up_after(most, connection)))
            .before_acquire(move |connection, _| {
                Box::pin(async move { give_up_after(most, connection).await.map(|()| true) })
            })
            .connect_lazy_with(address);
        let batches = EventWriter::new(&path, options.timeout, writer.clone());
        Ok(Self { writer, batches, readers, pings })
    }
}

/// Makes SQLite interrupt statements of this connection that run longer: nothing else would stop them, also after the
/// caller was cancelled.
async fn give_up_after(
    most: Option<Duration>,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    if let Some(most) = most {
        let begun = Instant::now();
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(STEPS, move || begun.elapsed() < most);
    }
    Ok(())
}

#[async_trait]
impl Store for Sqlite {
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await.map_err(classify)?;
        // See `Writing`; each migration has a nested transaction.
        connection.close_on_drop();
        let begun = connection.begin_with("begin immediate");
        let mut transaction = begun.await.map_err(classify)?;
        migrations::sqlite().run_direct(None, &mut *transaction, false).await?;
        transaction.commit().await.map_err(classify)
    }

    async fn upkeep(&self, _now: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    async fn delete_expired(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError> {
        retention::delete_expired(&self.writer, before, rows_max).await.map_err(classify)
    }

    async fn trim_feed(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError> {
        feed::trim(&self.writer, before, rows_max).await.map_err(classify)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1 from events limit 1").execute(&self.pings).await.map_err(classify)?;
        Ok(())
    }

    async fn insert(&self, entries: &[EventInsert]) -> Result<Vec<Inserted>, StoreError> {
        self.batches.insert(entries).await
    }

    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "insert into dead_letter_events (id, refused_at, reason, delivery)
             values ($1, $2, $3, $4)
             on conflict do nothing",
        )
        .bind(event.id.to_string())
        .bind(now.0)
        .bind(reason)
        .bind(Delivery::of_event(event).to_line())
        .execute(&self.writer)
        .await
        .map_err(classify)?;
        Ok(())
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError> {
        events::events(self, filter).await
    }

    async fn contains(&self, id: Uuid) -> Result<bool, StoreError> {
        sqlx::query_scalar("select exists (select 1 from events where event_time = $1 and id = $2)")
            .bind(event_id::time_of(id).0)
            .bind(id.to_string())
            .fetch_one(&self.readers)
            .await
            .map_err(classify)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.pings.close().await;
        self.batches.close().await;
        self.writer.close().await;
    }
}

impl Reader for Sqlite {
    const DIALECT: &'static Dialect = &SQLITE;

    async fn fetch_until<T: ReadRow>(
        &self,
        statement: Statement,
        is_enough: impl FnMut(&T) -> bool + Send,
    ) -> Result<Vec<T>, StoreError> {
        statement.run::<Db, T, _>(&self.readers, is_enough).await.map_err(classify)
    }
}
