//! Partitions of `events` in PostgreSQL, one for each month or day: created ahead, and dropped once all of their events have
//! expired.

use std::time::Duration;

use sqlx::postgres::PgRow;

use crate::options::{PartitionSpan, StoreOptions};
use crate::postgres::connection::pool::{Pool, Tx};
use crate::sql::from_row::from_row;
use protocol::UnixMillis;

/// The key of the advisory lock for creating and dropping partitions: the letters `trtc`.
const PARTITIONS_LOCK: i64 = 0x7472_7463;
/// Lock timeout of dropping a partition. Writers wait behind the request, and it is retried later.
const DROP_WAIT_MAX: Duration = Duration::from_millis(100);
/// Maximum number of rows moved out of the default partition at once. Writers to it wait meanwhile.
const MOVE_ROWS_MAX: i64 = 2000;
/// Statement timeout of scanning the default partition. Only events that belong there wait.
const DEFAULT_SCAN: &str = "10s";
/// Number of days made before and after today: for late events, and so that a week may pass before one is missing.
const DAYS_AROUND: u32 = 7;
/// The partitions of `events` with bounds: name, lower bound, exclusive upper bound.
pub(crate) const BOUNDS: &str = r"
    select part.relname::text as name,
        substring(pg_get_expr(part.relpartbound, part.oid) from $$FROM \('([^']+)'\)$$)::timestamptz as lower,
        substring(pg_get_expr(part.relpartbound, part.oid) from $$ TO \('([^']+)'\)$$)::timestamptz as upper
    from pg_inherits
    join pg_class as part on part.oid = inhrelid
    where inhparent = 'events'::regclass
        and part.relkind = 'r'
        and pg_get_expr(part.relpartbound, part.oid) <> 'DEFAULT'";
/// Whether one of [`BOUNDS`] as `parts` overlaps the partition `wanted`. A bound that is no time is infinite.
const OVERLAPS: &str = "coalesce(parts.lower < wanted.upper at time zone 'UTC', true)
    and coalesce(parts.upper > wanted.lower at time zone 'UTC', true)";

/// How partitions are created.
#[derive(Debug)]
pub(crate) struct Partitions {
    span: PartitionSpan,
    ahead: u32,
    keep: Option<Duration>,
    /// Lock timeout of creating a partition, since others wait behind the request.
    lock_timeout: Duration,
}

/// The partitions wanted around a moment.
struct Wanted {
    span: PartitionSpan,
    before: u32,
    ahead: u32,
    /// Whether only those in a month that has days already.
    beside_days: bool,
}

/// A partition to create.
struct Missing {
    name: String,
    /// Its lower bound, in PostgreSQL's format.
    lower: String,
    /// Its exclusive upper bound.
    upper: String,
}

from_row! { PgRow => Missing: name, lower, upper; }

impl Partitions {
    pub(crate) fn new(options: &StoreOptions) -> Self {
        Self {
            span: options.partition_span,
            ahead: options.partitions_ahead,
            keep: options.keep,
            lock_timeout: options.timeout / 4,
        }
    }

    /// Creates missing partitions, from the previous month or week, for late events, to some months or days ahead.
    /// Already expired ones are skipped, and so are those that overlap an existing one.
    pub(crate) async fn make_ahead(&self, pool: &Pool, now: UnixMillis) -> Result<(), sqlx::Error> {
        let span = PartitionSpan::Day;
        let days = Wanted { span, before: DAYS_AROUND, ahead: DAYS_AROUND, beside_days: false };
        let (done, days) = match self.span {
            PartitionSpan::Month => {
                let span = PartitionSpan::Month;
                let months = Wanted { span, before: 1, ahead: self.ahead, beside_days: false };
                // Where days were made before, the month goes on with days to its end.
                (self.make_missing(pool, now, &months).await, Wanted { beside_days: true, ..days })
            }
            PartitionSpan::Day => {
                let days = Wanted { ahead: self.ahead.max(DAYS_AROUND), ..days };
                (self.drop_empty_months(pool, now, days.ahead).await, days)
            }
        };
        // What fails must not prevent the others.
        done.and(self.make_missing(pool, now, &days).await)
    }

    async fn make_missing(
        &self,
        pool: &Pool,
        now: UnixMillis,
        wanted: &Wanted,
    ) -> Result<(), sqlx::Error> {
        let keep = self.keep.map(|keep| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        let missing: Vec<Missing> = sqlx::query_as(sqlx::AssertSqlSafe(wanted.missing()))
            .bind(now.as_secs())
            .bind(i64::from(wanted.before))
            .bind(i64::from(wanted.ahead))
            .bind(keep.map(|keep| now.0.saturating_sub(keep)))
            .bind(wanted.beside_days)
            .fetch_all(&mut pool.acquire().await?)
            .await?;
        let mut done = Ok(());
        for partition in missing {
            // A partition that fails must not prevent the others.
            done = done.and(self.make(pool, &partition).await);
        }
        done
    }

    /// Drops months made ahead in which a day is wanted, unless they have events. The month of now is left to its end.
    ///
    /// The days are made afterwards, each in a transaction of its own, since everybody waits for a drop and attaching
    /// may scan the default partition. An event of the future that arrives in between moves into its day from there.
    async fn drop_empty_months(
        &self,
        pool: &Pool,
        now: UnixMillis,
        days_ahead: u32,
    ) -> Result<(), sqlx::Error> {
        let months = format!(
            "select name from ({BOUNDS}) as parts
             where name = 'events_' || to_char(lower at time zone 'UTC', 'YYYY_MM')
                 and upper at time zone 'UTC' = date_trunc('month', lower at time zone 'UTC') + interval '1 month'
                 and lower > to_timestamp($1)
                 and lower at time zone 'UTC' <=
                     date_trunc('day', to_timestamp($1) at time zone 'UTC') + $2 * interval '1 day'
             order by lower"
        );
        let months: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(months))
            .bind(now.as_secs())
            .bind(i64::from(days_ahead))
            .fetch_all(&mut pool.acquire().await?)
            .await?;
        let mut done = Ok(());
        for month in months {
            done = done.and(self.drop_empty(pool, &month).await);
        }
        done
    }

    /// Drops a partition if it still exists and has no events. Its name needs no quotes.
    async fn drop_empty(&self, pool: &Pool, name: &str) -> Result<(), sqlx::Error> {
        let mut transaction = pool.begin().await?;
        lock_partitions(&mut transaction).await?;
        let exists = format!("select exists (select from ({BOUNDS}) as parts where name = $1)");
        let exists: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(exists))
            .bind(name)
            .fetch_one(&mut transaction)
            .await?;
        // Asked before the locks, so that nobody waits where it has events, and again behind them.
        if !exists || !is_empty(&mut transaction, name).await? {
            return transaction.rollback().await;
        }
        let wait = self.lock_timeout.min(DROP_WAIT_MAX).as_millis();
        for statement in [
            format!("set local lock_timeout = '{wait}ms'"),
            "lock table only events in access exclusive mode".to_owned(),
            format!("lock table {name} in access exclusive mode"),
        ] {
            execute(&mut transaction, statement).await?;
        }
        if !is_empty(&mut transaction, name).await? {
            return transaction.rollback().await;
        }
        execute(&mut transaction, format!("drop table {name}")).await?;
        transaction.commit().await
    }

    /// Creates one partition. An advisory lock serializes replicas.
    ///
    /// It is created as a table and then attached: `create table … partition of` would block every reader and writer
    /// of `events`.
    async fn make(&self, pool: &Pool, partition: &Missing) -> Result<(), sqlx::Error> {
        let Missing { name, lower, upper } = partition;
        let mut transaction = pool.begin().await?;
        // The bounds have no zone: they are read in the session's, UTC.
        execute(&mut transaction, "set local time zone 'UTC'".into()).await?;
        lock_partitions(&mut transaction).await?;
        let made = format!(
            "select to_regclass($1) is not null or exists (
                 select from ({BOUNDS}) as parts
                 cross join (select $2::text::timestamp as lower, $3::text::timestamp as upper) as wanted
                 where {OVERLAPS})"
        );
        let made: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(made))
            .bind(name)
            .bind(lower)
            .bind(upper)
            .fetch_one(&mut transaction)
            .await?;
        if made {
            // Another replica created it, or one of another span, while we waited for the lock.
            return transaction.commit().await;
        }
        for statement in [
            format!("set local lock_timeout = '{}ms'", self.lock_timeout.as_millis()),
            format!("set local statement_timeout = '{DEFAULT_SCAN}'"),
            format!("create table {name} (like events including all)"),
            // The same lock order as when a partition is dropped.
            "lock table only events in share update exclusive mode".to_owned(),
            "lock table events_default in access exclusive mode".to_owned(),
        ] {
            execute(&mut transaction, statement).await?;
        }
        let Some(lower) = make_room(&mut transaction, partition).await? else {
            tracing::debug!(partition = name, "its events stay in the default partition");
            return transaction.rollback().await;
        };
        let attach = format!(
            "alter table events attach partition {name} for values from ('{lower}') to ('{upper}')"
        );
        execute(&mut transaction, attach).await?;
        transaction.commit().await
    }

    /// Drops a partition if it still exists and has expired.
    pub(crate) async fn drop_expired(
        &self,
        pool: &Pool,
        name: &str,
        before: UnixMillis,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = pool.begin().await?;
        let wait = self.lock_timeout.min(DROP_WAIT_MAX).as_millis();
        execute(&mut transaction, format!("set local lock_timeout = '{wait}ms'")).await?;
        let alone: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
            .bind(PARTITIONS_LOCK)
            .fetch_one(&mut transaction)
            .await?;
        let found = format!(
            "select format('%I', name) from ({BOUNDS}) as parts
             where name = $1 and upper <= timestamptz 'epoch' + $2 * interval '1 millisecond'"
        );
        let found: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(found))
            .bind(name)
            .bind(before.0)
            .fetch_optional(&mut transaction)
            .await?;
        let Some(quoted) = found.filter(|_| alone) else {
            return transaction.rollback().await.map(|()| false);
        };
        execute(&mut transaction, format!("drop table {quoted}")).await?;
        transaction.commit().await.map(|()| true)
    }
}

impl Wanted {
    /// The query for those that are missing. Its parameters: now, how many before and after, the time before which events
    /// have expired, and whether only those beside days.
    fn missing(&self) -> String {
        let (unit, digits) = (self.span.as_str(), self.span.digits());
        format!(
            "with parts as materialized ({BOUNDS}),
                 wanted as (
                     select 'events_' || to_char(lower, '{digits}') as name, lower, lower + interval '1 {unit}' as upper
                     from (select date_trunc('{unit}', to_timestamp($1) at time zone 'UTC') as at) as present,
                         generate_series(at - $2 * interval '1 {unit}', at + $3 * interval '1 {unit}', interval '1 {unit}') as lower)
             select name, lower::text as lower, upper::text as upper
             from wanted
             where to_regclass(name) is null
                 and ($4::bigint is null or extract(epoch from upper) * 1000 > $4)
                 and not exists (select from parts where {OVERLAPS})
                 and (not $5 or exists (
                     select from parts
                     where parts.upper - parts.lower <= interval '1 day'
                         and date_trunc('month', parts.lower at time zone 'UTC') = date_trunc('month', wanted.lower)))
             order by wanted.lower"
        )
    }
}

/// Waits until no other replica creates or drops partitions, and keeps them from it to the end of the transaction.
async fn lock_partitions(transaction: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(PARTITIONS_LOCK)
        .execute(&mut *transaction)
        .await
        .map(|_| ())
}

async fn is_empty(transaction: &mut Tx<'_>, name: &str) -> Result<bool, sqlx::Error> {
    let is_empty = format!("select not exists (select from {name})");
    sqlx::query_scalar(sqlx::AssertSqlSafe(is_empty)).fetch_one(&mut *transaction).await
}

/// Moves the rows of a new partition out of the default one, as it could not be attached otherwise. Returns its lower
/// bound.
///
/// When there are too many rows to move, they stay, and the new partition begins behind them; queries find them
/// there. `None` when they reach to its end.
async fn make_room(
    transaction: &mut Tx<'_>,
    Missing { name, lower, upper }: &Missing,
) -> Result<Option<String>, sqlx::Error> {
    let between = format!("event_time >= '{lower}' and event_time < '{upper}'");
    let waiting = format!(
        "select count(*) from (
             select from events_default where {between} limit {}) as waiting",
        MOVE_ROWS_MAX + 1
    );
    let waiting: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(waiting)).fetch_one(&mut *transaction).await?;
    if waiting > MOVE_ROWS_MAX {
        let behind = format!(
            "select behind::text from (
                 select (date_trunc('hour', max(event_time)) + interval '1 hour')::timestamp as behind
                 from events_default where {between}) as last
             where behind < '{upper}'"
        );
        return sqlx::query_scalar(sqlx::AssertSqlSafe(behind))
            .fetch_optional(&mut *transaction)
            .await;
    }
    if waiting > 0 {
        let moved = format!(
            "with moved as (delete from events_default where {between} returning *)
             insert into {name} select * from moved"
        );
        execute(transaction, moved).await?;
    }
    Ok(Some(lower.clone()))
}

/// Runs a statement composed of constants, numbers, dates and quoted names.
async fn execute(transaction: &mut Tx<'_>, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await.map(|_| ())
}

/// The partitions whose upper bound is at or before `before`, the oldest first.
pub(crate) async fn expired(pool: &Pool, before: UnixMillis) -> Result<Vec<String>, sqlx::Error> {
    let expired = format!(
        "select name from ({BOUNDS}) as parts
         where upper <= timestamptz 'epoch' + $1 * interval '1 millisecond' order by upper"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(expired))
        .bind(before.0)
        .fetch_all(&mut pool.acquire().await?)
        .await
}
