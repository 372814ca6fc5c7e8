//! Fills a database with events of the last 30 days and what they left in the read models: what the server made of a sample of
//! the simulator's events, many times over, each time with other ids and at another time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row as _};

use crate::database::make_partitions;

/// Over how many days copies are spread.
const DAYS: i64 = 30;
/// How many copies one statement makes.
const COPIES_AT_ONCE: u64 = 10;
/// What an event takes up with all it left, and with the WAL that is kept for it, at most.
const EVENT_BYTES: u64 = 1050;
/// How many connections fill.
const FILLERS: usize = 2;
/// How long the server may take until it has added up what the sample left to be added up.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// The tables that hold what events leave, each with a statement that adds the copies from one number to another of its sample.
/// Whatever the migrations made: times are moved, and ids get the copy's number. Where a table has none, as that of counts, its
/// copies meet.
const STATEMENTS: &str = r"
    select
        relname,
        bool_or(atttypid = 'uuid'::regtype or attname in ('call_id', 'room_id', 'battle_id', 'task_id', 'subject')) as kept_apart,
        format('create table sample.%1$I as select * from %1$I', relname) as sample,
        format('insert into %1$I (%2$s) select %3$s from sample.%1$I as event, generate_series({from}, {to}) as k,
                lateral (select interval ''1 ms'' * floor(2505600000 * (k * 0.6180339887 %% 1)) as shift) as moved
                on conflict do nothing',
            relname,
            string_agg(quote_ident(attname), ', ' order by attnum),
            string_agg(
                case
                    when atttypid = 'timestamptz'::regtype then format('event.%I - shift', attname)
                    when attname = 'session' then 'session - (extract(epoch from shift) * 1000)::bigint'
                    when relname = 'events' and attname = 'id' then
                        '(lpad(to_hex((extract(epoch from event_time - shift) * 1000)::bigint), 12, ''0'')
                          || substr(md5(id::text || k), 1, 20))::uuid'
                    when atttypid = 'uuid'::regtype then format('md5(event.%I::text || k)::uuid', attname)
                    when attname in ('call_id', 'room_id', 'battle_id', 'task_id', 'subject') then
                        format('event.%I || ''-'' || k', attname)
                    else format('event.%I', attname)
                end, ', ' order by attnum)) as copy
    from pg_class
    join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
    where relnamespace = 'public'::regnamespace
        and relkind in ('r', 'p')
        and not relispartition
        and relname not in ('settle_queue', 'new_event_counts')
        and relname not like 'rebuild%'
        and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'sdk_app_id')
    group by relname
    order by relname = 'events', relname";

/// The indexes of some tables: how each is taken away, and how it is made again.
const INDEXES: &str = r"
    select format('alter table %s drop constraint %I', conrelid::regclass, conname) as dropped,
           format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as made
    from pg_constraint
    where contype in ('p', 'u') and conrelid = any($1::regclass[])
    union all
    -- On a partitioned table it says `only`, and would be made without those of its partitions.
    select format('drop index %s', indexrelid::regclass), replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
    from pg_index
    where indrelid = any($1::regclass[]) and not exists (select from pg_constraint where conindid = indexrelid)";

/// Has all indexes read once. A database in use has in memory what of them fits; after they are made, and all tables are read
/// by `vacuum`, little of it is there, and each event would wait for the disk until it is.
async fn read_indexes(connection: &mut PgConnection) -> Result<()> {
    let made = connection.execute("create extension if not exists pg_prewarm").await;
    if let Err(error) = made {
        println!("SKIPPED: indexes are not read into memory: {error}");
        return Ok(());
    }
    connection
        .execute(
            "select pg_prewarm(oid::regclass, 'read') from pg_class
             where relkind = 'i' and relnamespace = 'public'::regnamespace",
        )
        .await?;
    Ok(())
}

/// A database that is filled bit by bit.
pub(crate) struct Fill {
    url: String,
    copies: Vec<String>,
    /// The tables in which copies never meet.
    kept_apart: Vec<String>,
    sample_events: u64,
    /// How many copies of the sample there are.
    made: u64,
}

impl Fill {
    /// Takes what is there for the sample.
    pub(crate) async fn of(url: &str) -> Result<Self> {
        make_partitions(url, DAYS).await?;
        let mut connection = PgConnection::connect(url).await?;
        wait_until_settled(&mut connection).await?;
        connection.execute("create schema sample").await?;
        let (mut copies, mut kept_apart) = (Vec::new(), Vec::new());
        for row in connection.fetch_all(STATEMENTS).await? {
            connection.execute(AssertSqlSafe(row.get::<String, _>("sample"))).await?;
            copies.push(row.get("copy"));
            if row.get("kept_apart") {
                kept_apart.push(row.get("relname"));
            }
        }
        let events: i64 = sqlx::query_scalar("select count(*) from sample.events")
            .fetch_one(&mut connection)
            .await?;
        ensure!(events > 0, "the sample has no events");
        connection.close().await?;
        let (url, sample_events) = (url.to_owned(), events.unsigned_abs());
        Ok(Self { url, copies, kept_apart, sample_events, made: 0 })
    }

    /// Adds copies until there are so many events, the sample among them.
    pub(crate) async fn up_to(&mut self, events: u64) -> Result<()> {
        let wanted = events.div_ceil(self.sample_events) - 1;
        if wanted <= self.made {
            return Ok(());
        }
        let begun = Instant::now();
        let mut connection = PgConnection::connect(&self.url).await?;
        check_room(&mut connection, self.sample_events * (wanted - self.made)).await?;
        // To sort all keys at the end takes a fraction of the time that finding the place of each does.
        let indexes = drop_indexes(&mut connection, &self.kept_apart).await?;
        let next = AtomicU64::new(self.made + 1);
        all((0..FILLERS).map(|_| self.copy(&next, wanted))).await?;
        let next = AtomicUsize::new(0);
        all((0..FILLERS).map(|_| self.make(&next, &indexes))).await?;
        connection.execute("vacuum analyze").await?;
        read_indexes(&mut connection).await?;
        let size: String =
            sqlx::query_scalar("select pg_size_pretty(pg_database_size(current_database()))")
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        self.made = wanted;
        let (all, seconds) = (self.sample_events * (wanted + 1), begun.elapsed().as_secs());
        println!("filled with {all} events in {seconds} s: {size}");
        Ok(())
    }

    async fn copy(&self, next: &AtomicU64, last: u64) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute("set synchronous_commit = off").await?;
        loop {
            let from = next.fetch_add(COPIES_AT_ONCE, Ordering::Relaxed);
            if from > last {
                return Ok(connection.close().await?);
            }
            let to = (from + COPIES_AT_ONCE - 1).min(last);
            for statement in &self.copies {
                let statement =
                    statement.replace("{from}", &from.to_string()).replace("{to}", &to.to_string());
                let done = connection.execute(AssertSqlSafe(statement.clone())).await;
                done.with_context(|| format!("run `{statement}`"))?;
            }
        }
    }

    async fn make(&self, next: &AtomicUsize, indexes: &[String]) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute("set maintenance_work_mem = '1GB'").await?;
        while let Some(index) = indexes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = connection.execute(AssertSqlSafe(index.clone())).await;
            done.with_context(|| format!("run `{index}`"))?;
        }
        Ok(connection.close().await?)
    }
}

/// That the disk has room for so many events more. Where the database's folder cannot be seen, it is left to chance.
async fn check_room(connection: &mut PgConnection, events: u64) -> Result<()> {
    let folder: String =
        sqlx::query_scalar("show data_directory").fetch_one(&mut *connection).await?;
    let Ok(disk) = rustix::fs::statvfs(folder.as_str()) else { return Ok(()) };
    let (free, needed) = (disk.f_bavail * disk.f_frsize, events * EVENT_BYTES);
    ensure!(
        free > needed,
        "{events} events take some {} GB, and {} GB are free in {folder}\n\
         hint: ask for fewer with BENCH_ROWS, or set TEST_POSTGRES_URL to a PostgreSQL with more room",
        needed / 1_000_000_000,
        free / 1_000_000_000
    );
    Ok(())
}

/// All of some tables; how each is made again.
async fn drop_indexes(connection: &mut PgConnection, tables: &[String]) -> Result<Vec<String>> {
    let mut made = Vec::new();
    for row in sqlx::query(INDEXES).bind(tables).fetch_all(&mut *connection).await? {
        connection.execute(AssertSqlSafe(row.get::<String, _>("dropped"))).await?;
        made.push(row.get("made"));
    }
    Ok(made)
}

async fn all(running: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    futures_util::future::join_all(running).await.into_iter().collect()
}

async fn wait_until_settled(connection: &mut PgConnection) -> Result<()> {
    let until = Instant::now() + SETTLED_WITHIN;
    let waiting =
        "select (select count(*) from settle_queue) + (select count(*) from new_event_counts)";
    while Instant::now() < until {
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut *connection).await?;
        if waiting == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // With `read_models = false` in the environment, or rooms that wait for more: the sample is good enough.
    Ok(())
}
