//! Events in PostgreSQL 14 or newer, partitioned by month or day.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor};
use tokio::time::sleep;
use uuid::Uuid;

use ::projections::Batch;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;
use protocol::recorded_request::Delivery;
use protocol::{Event, event_id};

use crate::error::StoreError;
use crate::migrations;
use crate::model::event::StoredEvent;
use crate::options::StoreOptions;
use crate::postgres::connection::latest::Latest;
use crate::postgres::connection::session;
use crate::postgres::connection::session::SessionSettings;
use crate::postgres::error::classify;
use crate::postgres::events;
use crate::postgres::feed;
use crate::postgres::partitions;
use crate::postgres::partitions::Partitions;
use crate::postgres::projections;
use crate::postgres::retention;
use crate::query::events::EventFilter;
use crate::read;
use crate::sql::builder::{ReadRow, Reader, Statement};
use crate::sql::dialect::{Dialect, POSTGRES};
use crate::traits::EventInsert;
use crate::traits::{Inserted, Store};

/// Compresses bodies above about 2 KB with LZ4 where the server supports it: the default takes ms for some.
const COMPRESSION: &str = "select set_config(name, 'lz4', false) from pg_settings
     where name = 'default_toast_compression' and 'lz4' = any(enumvals)";

/// Maximum number of attempts at a batch after a deadlock or serialization failure.
const CONFLICT_TRIES: u32 = 5;
/// The pause before a retry, multiplied by the number of attempts.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);
/// After this time the server ends an idle migration and frees its locks.
const MIGRATION_IDLE_MAX: Duration = Duration::from_mins(1);

/// A PostgreSQL database. Readers have a pool of their own, so that they cannot delay writers.
#[derive(Debug)]
pub(crate) struct Postgres {
    address: PgConnectOptions,
    writers: PgPool,
    /// The connections of writers that store events.
    latest: Latest,
    readers: PgPool,
    /// The connection of the health check, which must not wait for busy readers.
    pings: PgPool,
    partitions: Partitions,
    /// Whether the last batch with changes contained repeats.
    repeats: AtomicBool,
}

impl Postgres {
    /// Prepares the pools. No connection is made yet.
    pub(crate) fn open(address: PgConnectOptions, options: &StoreOptions) -> Self {
        let address = session::named(address, "");
        // The server's timeout equals ours: a statement that waits for a lock would otherwise keep its connection
        // long after its events went elsewhere. The idle timeout frees the locks of a transaction whose process
        // hangs.
        let writer = SessionSettings::new(Some(options.timeout), Some(options.timeout))
            // Plans of writers do not depend on the values.
            .with("plan_cache_mode", "force_generic_plan")
            // A generic plan outlives the time when a table was small. Every lookup has an index.
            .with("enable_seqscan", "off")
            // The price of a scan that is off would have a statement compiled that has to scan all the same.
            .with("jit", "off");
        // The filters of a list differ by orders of magnitude in selectivity, so each query is planned by its values.
        // None runs long enough for JIT compilation to pay.
        let reader = SessionSettings::new(options.read_timeout, options.read_timeout)
            .with("plan_cache_mode", "force_custom_plan")
            .with("jit", "off");
        let ping = SessionSettings::new(options.read_timeout, options.read_timeout);
        let pool = |connections: u32| {
            PgPoolOptions::new().max_connections(connections).acquire_timeout(options.timeout)
        };
        // One connection for each worker, and one each for spool replay, dead letters, partitions, retention and the
        // feed, so that workers do not wait for those. No ping before use, which costs a round trip: a worker retries.
        let writers = pool(options.writers + 5).test_before_acquire(false);
        let writers = begun_with(writers, writer, Some(COMPRESSION));
        let writers = writers.connect_lazy_with(address.clone());
        Self {
            latest: Latest::of(writers.clone(), options.writers),
            writers,
            readers: begun_with(pool(options.readers), reader, None)
                .connect_lazy_with(address.clone()),
            pings: begun_with(pool(1), ping, None).connect_lazy_with(address.clone()),
            address,
            partitions: Partitions::new(options),
            repeats: AtomicBool::new(false),
        }
    }

    /// One attempt at [`Store::insert`]: all of `entries` or none.
    async fn insert_once(&self, entries: &[EventInsert]) -> Result<HashSet<Uuid>, sqlx::Error> {
        let (connection, since) = self.latest.take().await?;
        let mut lease = Lease(Some(connection));
        let inserted = insert_all(lease.connection(), entries, &self.repeats).await;
        if matches!(inserted, Ok(_) | Err(sqlx::Error::Database(_)))
            && let Some(connection) = lease.0.take()
        {
            self.latest.give_back(connection, since);
        }
        inserted
    }
}

#[async_trait]
impl Store for Postgres {
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut session = session::connect(&self.address).await?;
        session::check_server(&mut session).await?;
        session::refuse_shared(&mut session, &self.address).await?;
        // Migrations have no timeout.
        let settings = SessionSettings::new(None, Some(MIGRATION_IDLE_MAX));
        settings.apply(&mut session).await.map_err(classify)?;
        // sqlx takes an advisory lock, so that replicas that start together wait for each other. When the migration
        // fails or is cancelled, the connection is closed, which frees the lock.
        migrations::postgres().run_direct(None, &mut session, false).await?;
        // The migration is committed: an error on closing loses nothing.
        let _ = session.close().await;
        Ok(())
    }

    async fn upkeep(&self, now: UnixMillis) -> Result<(), StoreError> {
        self.partitions.make_ahead(&self.writers, now).await.map_err(classify)
    }

    async fn expired_partitions(&self, before: UnixMillis) -> Result<Vec<String>, StoreError> {
        partitions::expired(&self.writers, before).await.map_err(classify)
    }

    async fn drop_partition(&self, name: &str, before: UnixMillis) -> Result<bool, StoreError> {
        self.partitions.drop_expired(&self.writers, name, before).await.map_err(classify)
    }

    async fn delete_expired(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError> {
        retention::delete_expired(&self.writers, before, rows_max).await.map_err(classify)
    }

    async fn number_events(&self, from_start: bool) -> Result<Option<u64>, StoreError> {
        feed::number(&self.writers, from_start).await.map(Some).map_err(classify)
    }

    async fn trim_feed(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError> {
        feed::trim(&self.writers, before, rows_max).await.map_err(classify)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // The table exists, and the server is not a standby.
        let standby: bool = sqlx::query_scalar(
            "select pg_is_in_recovery() from (select count(*) from (select from events limit 1) as event) as counted",
        )
        .fetch_one(&self.pings)
        .await
        .map_err(classify)?;
        if standby {
            return Err(StoreError::Unready(Diagnostic::new(
                "the database is a standby and takes no events",
                "name the primary in `store.url`",
            )));
        }
        Ok(())
    }

    async fn insert(&self, entries: &[EventInsert]) -> Result<Vec<Inserted>, StoreError> {
        let mut tries = 1;
        let mut new = loop {
            match self.insert_once(entries).await {
                Err(error) if is_conflict(&error) && tries < CONFLICT_TRIES => {
                    sleep(CONFLICT_PAUSE * tries).await;
                    tries += 1;
                }
                done => break done.map_err(classify)?,
            }
        };
        let outcome = |entry: &EventInsert| {
            if new.remove(&entry.event.id) { Inserted::New } else { Inserted::Duplicate }
        };
        Ok(entries.iter().map(outcome).collect())
    }

    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "insert into dead_letter_events (id, refused_at, reason, delivery)
             values ($1, timestamptz 'epoch' + $2 * interval '1 millisecond', $3, $4)
             on conflict do nothing",
        )
        .bind(event.id)
        .bind(now.0)
        .bind(reason)
        .bind(Delivery::of_event(event).to_line())
        .execute(&self.writers)
        .await
        .map_err(classify)?;
        Ok(())
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError> {
        read::events::events(self, filter).await
    }

    async fn contains(&self, id: Uuid) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "select exists (
                 select from events
                 where event_time = (timestamp 'epoch' + $1 * interval '1 millisecond') at time zone 'UTC' and id = $2)",
        )
        .bind(event_id::time_of(id).0)
        .bind(id)
        .fetch_one(&self.readers)
        .await
        .map_err(classify)
    }

    async fn close(&self) {
        self.latest.close();
        self.writers.close().await;
        self.readers.close().await;
        self.pings.close().await;
    }
}

impl Reader for Postgres {
    const DIALECT: &'static Dialect = &POSTGRES;

    async fn fetch_until<T: ReadRow>(
        &self,
        statement: Statement,
        is_enough: impl FnMut(&T) -> bool + Send,
    ) -> Result<Vec<T>, StoreError> {
        let mut lease = Lease(Some(self.readers.acquire().await.map_err(classify)?));
        let connection: &mut PgConnection = lease.connection();
        let rows = statement.run::<sqlx::Postgres, T, _>(connection, is_enough).await;
        if matches!(rows, Ok(_) | Err(sqlx::Error::Database(_))) {
            lease.release();
        }
        rows.map_err(classify)
    }
}

/// Inserts events, and the changes of new ones. Returns the ids of the new ones.
///
/// The changes depend on which events are new, which needs a transaction of four round trips. Usually all are new,
/// and then a single statement does it. `repeats`: whether the previous batch contained repeats.
async fn insert_all(
    connection: &mut PgConnection,
    entries: &[EventInsert],
    repeats: &AtomicBool,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let events: Vec<&Event> = entries.iter().map(|entry| &*entry.event).collect();
    // Events identified by their request are rare and need another table.
    if events.iter().any(|event| event.request_key().is_some()) {
        return insert_some(connection, entries, &events).await;
    }
    if entries.iter().all(|entry| entry.changes.is_empty()) {
        return events::insert(connection, &events).await;
    }
    let ids: HashSet<Uuid> = events.iter().map(|event| event.id).collect();
    if ids.len() == events.len() && !repeats.load(Ordering::Relaxed) {
        let batch = Batch::of(entries.iter().flat_map(|entry| entry.changes.iter()));
        match projections::write_with_events(connection, &events, &batch).await {
            Ok(true) => return Ok(ids),
            Ok(false) => {}
            // Another writer has just inserted one of them.
            Err(error) if is_there(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let new = insert_some(connection, entries, &events).await?;
    repeats.store(new.len() < events.len(), Ordering::Relaxed);
    Ok(new)
}

/// As [`insert_all`], when some may be stored already.
async fn insert_some(
    connection: &mut PgConnection,
    entries: &[EventInsert],
    events: &[&Event],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let inserted = async {
        let known = events::request_keys(&mut transaction, events).await?;
        let fresh = events.iter().filter(|event| !known.contains(&event.id));
        let fresh: Vec<&Event> = fresh.copied().collect();
        let new = events::insert(&mut transaction, &fresh).await?;
        // A repeat within the batch is one row and changes the read models once.
        let mut fresh = new.clone();
        let changing = entries.iter().filter(|entry| fresh.remove(&entry.event.id));
        let batch = Batch::of(changing.flat_map(|entry| entry.changes.iter()));
        projections::write(&mut transaction, &batch).await?;
        Ok(new)
    };
    match inserted.await {
        Ok(new) => transaction.commit().await.map(|()| new),
        Err(error) => {
            // When the rollback fails too, its error counts: the connection is broken, and the first error could be
            // mistaken for the row's fault.
            transaction.rollback().await?;
            Err(error)
        }
    }
}

/// Applies these settings, and the extra statement if given, to each new connection of a pool.
fn begun_with(
    pool: PgPoolOptions,
    settings: SessionSettings,
    more: Option<&'static str>,
) -> PgPoolOptions {
    let settings = Arc::new(settings);
    pool.after_connect(move |session, _| {
        let settings = settings.clone();
        Box::pin(async move {
            settings.apply(session).await?;
            match more {
                Some(more) => session.execute(more).await.map(|_| ()),
                None => Ok(()),
            }
        })
    })
}

/// Whether PostgreSQL ended a transaction because of concurrent writers of the same rows.
fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Whether it is a violation of a unique key.
fn is_there(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
}

/// A connection that is closed instead of reused when its statement was cancelled: the server may still run it, and
/// the next user would wait.
struct Lease(Option<PoolConnection<sqlx::Postgres>>);

impl Lease {
    fn connection(&mut self) -> &mut PoolConnection<sqlx::Postgres> {
        self.0.as_mut().expect("taken only by `release`, which consumes the lease")
    }

    fn release(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}
