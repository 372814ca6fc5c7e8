//! Events in PostgreSQL 14 or newer, partitioned by month.

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

use crate::callback::recorded_request::Delivery;
use crate::callback::{Event, event_id};
use crate::clock::UnixMillis;
use crate::diagnostic::Diagnostic;
use crate::projections::Batch;

use crate::store::error::StoreError;
use crate::store::model::event::StoredEvent;
use crate::store::options::StoreOptions;
use crate::store::postgres::connection::latest::Latest;
use crate::store::postgres::connection::session;
use crate::store::postgres::connection::session::SessionSettings;
use crate::store::postgres::error::classify;
use crate::store::postgres::events;
use crate::store::postgres::partitions;
use crate::store::postgres::partitions::Partitions;
use crate::store::postgres::projections;
use crate::store::postgres::retention;
use crate::store::query::events::EventFilter;
use crate::store::read;
use crate::store::sql::builder::{ReadRow, Reader, Statement};
use crate::store::sql::dialect::{Dialect, POSTGRES};
use crate::store::traits::Entry;
use crate::store::traits::{Inserted, Store};

/// Has bodies of more than 2 KB or so compressed by LZ4, where the server was built with it: its own way takes ms for some.
const COMPRESSION: &str = "select set_config(name, 'lz4', false) from pg_settings
     where name = 'default_toast_compression' and 'lz4' = any(enumvals)";

/// How often a batch is tried that PostgreSQL ends because others write the same rows (a deadlock, a serialization failure).
const CONFLICT_TRIES: u32 = 5;
/// How long to wait before it is tried again, so often as it was tried.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);
/// How long a migration may stand still before the server ends it and its locks.
const MIGRATION_IDLE_MAX: Duration = Duration::from_mins(1);

/// A PostgreSQL database. Readers have connections of their own, so that none of them can keep a writer waiting.
#[derive(Debug)]
pub(crate) struct Postgres {
    address: PgConnectOptions,
    writers: PgPool,
    /// Of the writers, those that store events.
    latest: Latest,
    readers: PgPool,
    /// Tells whether the store answers, also while every reader is busy.
    pings: PgPool,
    partitions: Partitions,
    /// The last events that were stored with what they change were not all new.
    repeats: AtomicBool,
}

impl Postgres {
    /// Prepares the connections; none is made yet.
    pub(crate) fn open(address: PgConnectOptions, options: &StoreOptions) -> Self {
        let address = session::named(address, "");
        // The server gives up a statement when we do. Without it a statement that waits for a lock would hold its
        // connection long after its events went elsewhere. Nor must one that stood still within a transaction go on
        // holding what others wait for.
        let writer = SessionSettings::new(Some(options.timeout), Some(options.timeout))
            // What it writes is never planned otherwise for other values.
            .with("plan_cache_mode", "force_generic_plan")
            // Such a plan outlives the moment when a table was small. What is looked up has an index.
            .with("enable_seqscan", "off");
        // What a list asks for differs from time to time by orders of magnitude: each time has a plan of its own. None
        // takes so long that compiling it would pay.
        let reader = SessionSettings::new(options.read_timeout, options.read_timeout)
            .with("plan_cache_mode", "force_custom_plan")
            .with("jit", "off");
        let ping = SessionSettings::new(options.read_timeout, options.read_timeout);
        let pool = |connections: u32| {
            PgPoolOptions::new().max_connections(connections).acquire_timeout(options.timeout)
        };
        // A connection for each worker, and one each for spool replay, for dead letters, for making partitions and for
        // deleting what is old, so that no worker waits for those. No ping before each use, which would be a round trip
        // more: a worker tries again.
        let writers = pool(options.writers + 4).test_before_acquire(false);
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

    /// Stores all of `entries` or none, as [`Store::insert`], with one try.
    async fn insert_once(&self, entries: &[Entry<'_>]) -> Result<HashSet<Uuid>, sqlx::Error> {
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
        // It may take as long as it does.
        let settings = SessionSettings::new(None, Some(MIGRATION_IDLE_MAX));
        settings.apply(&mut session).await.map_err(classify)?;
        // Takes an advisory lock, so that replicas that start together wait for each other. Where it fails or is given up
        // half-way, the connection goes, and the lock with it.
        sqlx::migrate!("migrations/postgres").run_direct(None, &mut session, false).await?;
        // All is done: a farewell that fails changes nothing.
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

    async fn ping(&self) -> Result<(), StoreError> {
        // The table is there, and this is no standby, which only reads.
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

    async fn insert(&self, entries: &[Entry<'_>]) -> Result<Vec<Inserted>, StoreError> {
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
        let outcome = |entry: &Entry<'_>| {
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
                 where event_time = timestamptz 'epoch' + $1 * interval '1 millisecond' and id = $2)",
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

/// Stores events, and what the new ones change. Returns the ids of the new ones.
///
/// Which are new the server knows when it has taken them, and what they change depends on it: that takes a transaction of
/// four round trips. Nearly always all are new, and then one statement does. `repeats` says that the batch before had others.
async fn insert_all(
    connection: &mut PgConnection,
    entries: &[Entry<'_>],
    repeats: &AtomicBool,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let events: Vec<&Event> = entries.iter().map(|entry| entry.event).collect();
    // Rare, and told by another table.
    if events.iter().any(|event| event.request_key().is_some()) {
        return insert_some(connection, entries, &events).await;
    }
    if entries.iter().all(|entry| entry.changes.is_empty()) {
        return events::insert(connection, &events).await;
    }
    let ids: HashSet<Uuid> = events.iter().map(|event| event.id).collect();
    if ids.len() == events.len() && !repeats.load(Ordering::Relaxed) {
        let batch = Batch::of(entries.iter().flat_map(|entry| entry.changes));
        match projections::write_with_events(connection, &events, &batch).await {
            Ok(true) => return Ok(ids),
            Ok(false) => {}
            // Another writer has just stored one of them.
            Err(error) if is_there(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let new = insert_some(connection, entries, &events).await?;
    repeats.store(new.len() < events.len(), Ordering::Relaxed);
    Ok(new)
}

/// As [`insert_all`], where some may be stored already.
async fn insert_some(
    connection: &mut PgConnection,
    entries: &[Entry<'_>],
    events: &[&Event],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let inserted = async {
        let known = events::request_keys(&mut transaction, events).await?;
        let fresh = events.iter().filter(|event| !known.contains(&event.id));
        let fresh: Vec<&Event> = fresh.copied().collect();
        let new = events::insert(&mut transaction, &fresh).await?;
        // An event that stands here twice has one row, and changes things once.
        let mut fresh = new.clone();
        let changing = entries.iter().filter(|entry| fresh.remove(&entry.event.id));
        let batch = Batch::of(changing.flat_map(|entry| entry.changes));
        projections::write(&mut transaction, &batch).await?;
        Ok(new)
    };
    match inserted.await {
        Ok(new) => transaction.commit().await.map(|()| new),
        Err(error) => {
            // Where that fails the connection is no good: the first error may be taken for the row's fault.
            transaction.rollback().await?;
            Err(error)
        }
    }
}

/// Has each connection of a pool begin with these settings and, where it is given, another statement.
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

/// Whether PostgreSQL ended a transaction only because of others that write the same rows.
fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Whether a row was not added because one of its key is there.
fn is_there(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
}

/// A connection that is closed, not used again, when its statement was given up half-way: what the server still does
/// with it would make the next user wait.
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
