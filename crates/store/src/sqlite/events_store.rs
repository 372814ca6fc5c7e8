//! Events in an embedded SQLite file.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::query::QueryScalar;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection, Sqlite as Db};
use tokio::time::Instant;
use uuid::Uuid;

use ::projections::Batch;
use protocol::UnixMillis;
use protocol::recorded_request::Delivery;
use protocol::{Event, event_id};

use crate::error::StoreError;
use crate::migrations;
use crate::model::event::StoredEvent;
use crate::model::event::UNCHECKED;
use crate::options::StoreOptions;
use crate::query::events::EventFilter;
use crate::read::events;
use crate::sql::builder::{ReadRow, Reader, Statement};
use crate::sql::dialect::{Dialect, SQLITE};
use crate::sqlite::batch::{SIZES, parts, values};
use crate::sqlite::error::{classify, missing, unopened};
use crate::sqlite::file;
use crate::sqlite::file::{STEPS, Writing};
use crate::sqlite::{feed, projections, retention};
use crate::traits::EventInsert;
use crate::traits::{Inserted, Store};

/// A SQLite file: one connection writes, others read concurrently.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: SqlitePool,
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
        Ok(Self { writer, readers, pings })
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

    async fn insert(&self, entries: &[EventInsert<'_>]) -> Result<Vec<Inserted>, StoreError> {
        let mut writing = Writing::begin(&self.writer).await.map_err(classify)?;
        let known = request_keys(writing.connection(), entries).await.map_err(classify)?;
        let fresh: Vec<EventInsert<'_>> =
            entries.iter().filter(|entry| !known.contains(&entry.event.id)).copied().collect();
        let mut new = insert(writing.connection(), &fresh).await.map_err(classify)?;
        // A repeat within the batch is one row and changes the read models once.
        let is_new = entries.iter().map(|entry| new.remove(&entry.event.id.to_string()));
        let is_new: Vec<bool> = is_new.collect();
        let ids = entries.iter().zip(&is_new).filter(|(_, is_new)| **is_new);
        let ids: Vec<Uuid> = ids.map(|(entry, _)| entry.event.id).collect();
        feed::number(writing.connection(), &ids).await.map_err(classify)?;
        let changing = entries.iter().zip(&is_new).filter(|(_, is_new)| **is_new);
        let batch = Batch::of(changing.flat_map(|(entry, _)| entry.changes));
        projections::write(writing.connection(), &batch).await.map_err(classify)?;
        writing.commit().await.map_err(classify)?;
        let outcome = |is_new| if is_new { Inserted::New } else { Inserted::Duplicate };
        Ok(is_new.into_iter().map(outcome).collect())
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

/// Inserts the keys of events that are identified by their request. Returns the ids of events that are stored under
/// another row already.
async fn request_keys(
    connection: &mut SqliteConnection,
    entries: &[EventInsert<'_>],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    // The key may be there from an earlier occurrence of the same event in this batch.
    let (mut added, mut known) = (HashSet::new(), HashSet::new());
    for EventInsert { event, .. } in entries {
        let Some(key) = event.request_key() else { continue };
        let done = sqlx::query(
            "insert into request_keys (key, event_id, received_at) values ($1, $2, $3)
             on conflict do nothing",
        )
        .bind(key.to_string())
        .bind(event.id.to_string())
        .bind(event.received_at.0)
        .execute(&mut *connection)
        .await?;
        if done.rows_affected() > 0 {
            added.insert(event.id);
        } else if !added.contains(&event.id) {
            known.insert(event.id);
        }
    }
    Ok(known)
}

/// Inserts events. Returns the ids of the new rows.
async fn insert(
    connection: &mut SqliteConnection,
    entries: &[EventInsert<'_>],
) -> Result<HashSet<String>, sqlx::Error> {
    static STATEMENTS: LazyLock<[Arc<str>; SIZES.len()]> = LazyLock::new(|| {
        SIZES.map(|rows| {
            let values = values("?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?", rows);
            let statement = format!(
                "insert into events (
                     id, sdk_app_id, family, command, command_sent, event_time, received_at,
                     call_id, room_id, operator, client_ip, platform, payload, raw, decode_error,
                     request_id, query, signature)
                 values {values}
                 on conflict do nothing
                 returning id"
            );
            statement.into()
        })
    });
    let mut new = HashSet::with_capacity(entries.len());
    for part in parts(entries) {
        let size = SIZES.iter().position(|size| *size == part.len()).unwrap_or_default();
        let query = sqlx::query_scalar(AssertSqlSafe(STATEMENTS[size].clone()));
        let query = part.iter().fold(query, |query, entry| bind(query, entry.event));
        new.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(new)
}

type InsertEvents<'q> = QueryScalar<'q, Db, String, SqliteArguments>;

fn bind<'q>(query: InsertEvents<'q>, event: &'q Event) -> InsertEvents<'q> {
    let (payload, raw) = event.payload.columns();
    query
        .bind(event.id.to_string())
        .bind(event.app.as_i64())
        .bind(event.family.as_str())
        .bind(event.command.as_ref())
        .bind(event.command_sent.as_deref())
        .bind(event.event_time.0)
        .bind(event.received_at.0)
        .bind(event.call_id.as_deref())
        .bind(event.room_id.as_deref())
        .bind(event.operator.as_deref())
        .bind(event.client_ip.as_deref())
        .bind(event.platform.as_deref())
        .bind(payload)
        .bind(raw)
        .bind(event.decode_error.as_deref())
        .bind(event.request_id.as_deref())
        .bind(event.query.as_deref())
        .bind(event.unchecked.then_some(UNCHECKED))
}
