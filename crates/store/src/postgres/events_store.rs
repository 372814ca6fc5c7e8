//! Events in PostgreSQL 14 or newer, partitioned by month or day.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgPoolOptions;
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
use crate::postgres::connection::address::Address;
use crate::postgres::connection::failover::{Failover, OldestUsed};
use crate::postgres::connection::front;
use crate::postgres::connection::latest::Latest;
use crate::postgres::connection::pool::{Link, Pool};
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
    address: Address,
    /// The address of `store.direct_url`, where sessions of `address` may be shared.
    direct: Option<Address>,
    writers: Pool,
    /// The connections of writers that store events.
    latest: Latest,
    readers: Pool,
    /// The connection of the health check, which must not wait for busy readers.
    pings: Pool,
    failover: Arc<Failover>,
    partitions: Partitions,
    /// Whether the last batch with changes contained repeats.
    repeats: AtomicBool,
}

impl Postgres {
    /// Prepares the pools. Of several hosts the primary is looked for; otherwise no connection is made yet.
    ///
    /// With a `direct` address, `address` may lead to a pooler that gives each transaction another session.
    pub(crate) async fn open(
        address: Address,
        direct: Option<Address>,
        options: &StoreOptions,
    ) -> Self {
        let address = address.named("");
        let direct = direct.map(|direct| direct.named(""));
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
        let oldest_used = OldestUsed::default();
        let pool = |connections: u32, settings: SessionSettings, more: Option<&'static str>| {
            let pool =
                PgPoolOptions::new().max_connections(connections).acquire_timeout(options.timeout);
            let oldest_used = oldest_used.clone();
            let pool = pool.before_acquire(move |_, meta| {
                let may_be_used = oldest_used.allows(meta.age);
                Box::pin(async move { Ok(may_be_used) })
            });
            // No ping of writers before use, which costs a round trip: a worker retries.
            let pool = pool.test_before_acquire(more.is_none());
            let settings = settings.and(&address.options);
            if direct.is_some() {
                let begin = Some(settings.begin().into());
                return Pool { pool: pool.connect_lazy_with(address.first().clone()), begin };
            }
            let pool = begun_with(pool, settings, more);
            Pool { pool: pool.connect_lazy_with(address.first().clone()), begin: None }
        };
        // One connection for each worker, and one each for spool replay, dead letters, partitions, retention and the
        // feed, so that workers do not wait for those.
        let writers = pool(options.writers + 5, writer, Some(COMPRESSION));
        let readers = pool(options.readers, reader, None);
        let pings = pool(1, ping, None);
        let pools = vec![writers.clone(), readers.clone(), pings.clone()];
        let failover = Failover::new(address.clone(), pools, oldest_used);
        failover.seek().await;
        Self {
            latest: Latest::of(writers.clone(), options.writers),
            writers,
            readers,
            pings,
            failover,
            address,
            direct,
            partitions: Partitions::new(options),
            repeats: AtomicBool::new(false),
        }
    }

    /// Classifies an error, and has a lost primary looked for.
    fn failed(&self, error: sqlx::Error) -> StoreError {
        if self.failover.failed(Some(&error)) {
            self.latest.close();
        }
        classify(error)
    }

    /// One attempt at [`Store::insert`]: all of `entries` or none.
    async fn insert_once(&self, entries: &[EventInsert]) -> Result<HashSet<Uuid>, sqlx::Error> {
        let unanswered = Unanswered(Some(&self.failover));
        let (link, since) = self.latest.take().await?;
        let mut lease = Lease(Some(link));
        let inserted = insert_all(lease.link(), entries, &self.repeats).await;
        unanswered.answered();
        let is_whole = match &inserted {
            Ok(_) => true,
            // Of a database that takes no writes no connection is kept.
            Err(error) => error.as_database_error().is_some() && !self.failover.failed(Some(error)),
        };
        if let Some(link) = lease.0.take_if(|_| is_whole) {
            self.latest.give_back(link, since);
        }
        inserted
    }
}

#[async_trait]
impl Store for Postgres {
    async fn migrate(&self) -> Result<(), StoreError> {
        let address = self.direct.as_ref().unwrap_or(&self.address);
        let mut session = address.connect().await?;
        front::check_server(&mut session).await?;
        front::refuse_shared(&mut session, address).await?;
        if self.direct.is_some() {
            front::check_pooled(&self.address, &mut session, address).await?;
        }
        // Migrations have no timeout.
        let settings = SessionSettings::new(None, Some(MIGRATION_IDLE_MAX)).and(&address.options);
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
        feed::number(&self.writers, from_start).await.map(Some).map_err(|error| self.failed(error))
    }

    async fn trim_feed(&self, before: UnixMillis, rows_max: u32) -> Result<u64, StoreError> {
        feed::trim(&self.writers, before, rows_max).await.map_err(classify)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // The table exists, and the server is not a standby.
        let standby: bool = sqlx::query_scalar(
            "select pg_is_in_recovery() from (select count(*) from (select from events limit 1) as event) as counted",
        )
        .fetch_one(&mut self.pings.acquire().await.map_err(|error| self.failed(error))?)
        .await
        .map_err(|error| self.failed(error))?;
        if standby {
            // Another may be the primary by now, behind this address or another of the URL.
            self.failover.standby();
            self.latest.close();
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
                done => break done.map_err(|error| self.failed(error))?,
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
        .execute(&mut self.writers.acquire().await.map_err(|error| self.failed(error))?)
        .await
        .map_err(|error| self.failed(error))?;
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
        .fetch_one(&mut self.readers.acquire().await.map_err(|error| self.failed(error))?)
        .await
        .map_err(|error| self.failed(error))
    }

    async fn close(&self) {
        self.latest.close();
        self.failover.close();
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
        let link = self.readers.acquire().await.map_err(|error| self.failed(error))?;
        let mut lease = Lease(Some(link));
        let rows = read_until(lease.link(), statement, is_enough).await;
        if matches!(rows, Ok(_) | Err(sqlx::Error::Database(_))) {
            lease.release();
        }
        rows.map_err(|error| self.failed(error))
    }
}

/// Reads up to the first row for which `is_enough` is true.
async fn read_until<T: ReadRow>(
    link: &mut Link,
    statement: Statement,
    is_enough: impl FnMut(&T) -> bool + Send,
) -> Result<Vec<T>, sqlx::Error> {
    if !link.is_shared() {
        return statement.run::<sqlx::Postgres, T, _>(link.connection(), is_enough).await;
    }
    let mut transaction = link.begin().await?;
    let rows = statement.run::<sqlx::Postgres, T, _>(&mut transaction, is_enough).await;
    // It wrote nothing, and may have been stopped half-way.
    transaction.rollback().await?;
    rows
}

/// Inserts events, and the changes of new ones. Returns the ids of the new ones.
///
/// The changes depend on which events are new, which needs a transaction of four round trips. Usually all are new,
/// and then a single statement does it. `repeats`: whether the previous batch contained repeats.
async fn insert_all(
    link: &mut Link,
    entries: &[EventInsert],
    repeats: &AtomicBool,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let events: Vec<&Event> = entries.iter().map(|entry| &*entry.event).collect();
    // Events identified by their request are rare and need another table.
    if events.iter().any(|event| event.request_key().is_some()) {
        return insert_some(link, entries, &events).await;
    }
    if entries.iter().all(|entry| entry.changes.is_empty()) {
        return events::insert(link, &events).await;
    }
    let ids: HashSet<Uuid> = events.iter().map(|event| event.id).collect();
    if ids.len() == events.len() && !repeats.load(Ordering::Relaxed) {
        let batch = Batch::of(entries.iter().flat_map(|entry| entry.changes.iter()));
        match projections::write_with_events(&mut *link, &events, &batch).await {
            Ok(true) => return Ok(ids),
            Ok(false) => {}
            // Another writer has just inserted one of them.
            Err(error) if is_there(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let new = insert_some(link, entries, &events).await?;
    repeats.store(new.len() < events.len(), Ordering::Relaxed);
    Ok(new)
}

/// As [`insert_all`], when some may be stored already.
async fn insert_some(
    link: &mut Link,
    entries: &[EventInsert],
    events: &[&Event],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let mut transaction = link.begin().await?;
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
struct Lease(Option<Link>);

impl Lease {
    fn link(&mut self) -> &mut Link {
        self.0.as_mut().expect("taken only by `release`, which consumes the lease")
    }

    fn release(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(link) = &mut self.0 {
            link.close_on_drop();
        }
    }
}

/// A statement that nobody waits for any more: the host may be gone without a word.
struct Unanswered<'a>(Option<&'a Arc<Failover>>);

impl Unanswered<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(failover) = self.0 {
            failover.failed(None);
        }
    }
}
