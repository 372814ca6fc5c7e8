//! Fills a database with events of the last 30 days and what they left in the read models: what the server made of a sample of
//! the simulator's events, many times over, each time with other ids and at another time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row as _};

/// How many copies one statement makes.
const COPIES_AT_ONCE: u64 = 10;
/// What an event takes up with all it left, and with the WAL that is kept for it, at most.
const EVENT_BYTES: u64 = 1050;
/// How many connections fill.
const FILLERS: usize = 2;
/// How long the server may take until it has added up what the sample left to be added up.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// The tables that hold what events leave, each with a statement that adds the copies `$1` to `$2` of its sample. Whatever the
/// migrations made: times are moved, and ids get the copy's number.
const STATEMENTS: &str = r"
    select
        format('create table sample.%1$I as select * from %1$I', relname) as sample,
        format('insert into %1$I (%2$s) select %3$s from sample.%1$I as event, generate_series({from}, {to}) as k,
                lateral (select interval ''1 ms'' * floor(2505600000 * (k * 0.6180339887 %% 1)) as shift) as moved
                on conflict do nothing',
            relname,
            string_agg(quote_ident(attname), ', ' order by attnum),
            string_agg(
                case
                    when atttypid = 'timestamptz'::regtype then format('event.%I - shift', attname)
                    when attname = 'life' then 'life - (extract(epoch from shift) * 1000)::bigint'
                    when relname = 'events' and attname = 'id' then
                        '(lpad(to_hex((extract(epoch from event_time - shift) * 1000)::bigint), 12, ''0'')
                          || substr(md5(id::text || k), 1, 20))::uuid'
                    when atttypid = 'uuid'::regtype then format('md5(event.%I::text || k)::uuid', attname)
                    when attname in ('call_id', 'room_id', 'battle_id', 'task_id', 'subject') then
                        format('event.%I || ''-'' || k', attname)
                    else format('event.%I', attname)
                end, ', ' order by attnum)) as copy
    from pg_class
    join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped and attgenerated = ''
    where relnamespace = 'public'::regnamespace
        and relkind in ('r', 'p')
        and not relispartition
        and relname not in ('settle_queue', 'new_event_counts')
        and relname not like 'rebuild%'
        and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'sdk_app_id')
    group by relname
    order by relname = 'events', relname";

/// A database that is filled bit by bit.
pub(crate) struct Fill {
    url: String,
    copies: Vec<String>,
    sample_events: u64,
    /// How many copies of the sample there are.
    made: u64,
}

impl Fill {
    /// Takes what is there for the sample.
    pub(crate) async fn of(url: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        wait_until_settled(&mut connection).await?;
        connection.execute("create schema sample").await?;
        let mut copies = Vec::new();
        for row in connection.fetch_all(STATEMENTS).await? {
            connection.execute(AssertSqlSafe(row.get::<String, _>("sample"))).await?;
            copies.push(row.get("copy"));
        }
        let events: i64 = sqlx::query_scalar("select count(*) from sample.events")
            .fetch_one(&mut connection)
            .await?;
        ensure!(events > 0, "the sample has no events");
        connection.close().await?;
        Ok(Self { url: url.to_owned(), copies, sample_events: events.unsigned_abs(), made: 0 })
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
        let indexes = drop_indexes(&mut connection).await?;
        let next = AtomicU64::new(self.made + 1);
        let fillers = (0..FILLERS).map(|_| self.copy(&next, wanted));
        for done in futures_util::future::join_all(fillers).await {
            done?;
        }
        for index in indexes {
            connection.execute(AssertSqlSafe(index)).await?;
        }
        connection.execute("vacuum analyze").await?;
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

/// Those of `events`, but the one that makes its rows unique; how each is made again.
async fn drop_indexes(connection: &mut PgConnection) -> Result<Vec<String>> {
    let indexes = "select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as made
                   from pg_index where indrelid = 'events'::regclass and not indisunique";
    let mut made = Vec::new();
    for row in connection.fetch_all(indexes).await? {
        let drop = format!("drop index {}", row.get::<String, _>("name"));
        connection.execute(AssertSqlSafe(drop)).await?;
        // Else it would be made of the table alone, without its partitions.
        made.push(row.get::<String, _>("made").replace(" ON ONLY ", " ON "));
    }
    Ok(made)
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
