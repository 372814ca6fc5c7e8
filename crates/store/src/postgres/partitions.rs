//! Monthly partitions of `events` in PostgreSQL: created ahead, and dropped once all of their events have expired.

use std::time::Duration;

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, Transaction};

use crate::options::StoreOptions;
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

/// How partitions are created.
#[derive(Debug)]
pub(crate) struct Partitions {
    ahead: u32,
    keep: Option<Duration>,
    /// Lock timeout of creating a partition, since others wait behind the request.
    lock_timeout: Duration,
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
            ahead: options.partitions_ahead,
            keep: options.keep,
            lock_timeout: options.timeout / 4,
        }
    }

    /// Creates missing partitions, from the previous month, for late events around its end, to some months ahead.
    /// Already expired ones are skipped.
    pub(crate) async fn make_ahead(
        &self,
        pool: &PgPool,
        now: UnixMillis,
    ) -> Result<(), sqlx::Error> {
        let keep = self.keep.map(|keep| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        let missing: Vec<Missing> = sqlx::query_as(
            "select
                 'events_' || to_char(month, 'YYYY_MM') as name,
                 month::text as lower,
                 (month + interval '1 month')::text as upper
             from generate_series(
                 date_trunc('month', to_timestamp($1) at time zone 'UTC') - interval '1 month',
                 date_trunc('month', to_timestamp($1) at time zone 'UTC') + $2 * interval '1 month',
                 interval '1 month') as month
             where to_regclass('events_' || to_char(month, 'YYYY_MM')) is null
                 and ($3::bigint is null or
                     extract(epoch from month + interval '1 month') * 1000 > $3)",
        )
        .bind(now.as_secs())
        .bind(i64::from(self.ahead))
        .bind(keep.map(|keep| now.0.saturating_sub(keep)))
        .fetch_all(pool)
        .await?;
        let mut done = Ok(());
        for partition in missing {
            // A partition that fails must not prevent the others.
            done = done.and(self.make(pool, &partition).await);
        }
        done
    }

    /// Creates one partition. An advisory lock serializes replicas.
    ///
    /// It is created as a table and then attached: `create table … partition of` would block every reader and writer
    /// of `events`.
    async fn make(&self, pool: &PgPool, partition: &Missing) -> Result<(), sqlx::Error> {
        let Missing { name, upper, .. } = partition;
        let mut transaction = pool.begin().await?;
        // The bounds have no zone: they are read in the session's, UTC.
        execute(&mut transaction, "set local time zone 'UTC'".into()).await?;
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(PARTITIONS_LOCK)
            .execute(&mut *transaction)
            .await?;
        let made: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(name)
            .fetch_one(&mut *transaction)
            .await?;
        if made {
            // Another replica created it while we waited for the lock.
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
        pool: &PgPool,
        name: &str,
        before: UnixMillis,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = pool.begin().await?;
        let wait = self.lock_timeout.min(DROP_WAIT_MAX).as_millis();
        execute(&mut transaction, format!("set local lock_timeout = '{wait}ms'")).await?;
        let alone: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
            .bind(PARTITIONS_LOCK)
            .fetch_one(&mut *transaction)
            .await?;
        let found = format!(
            "select format('%I', name) from ({BOUNDS}) as parts
             where name = $1 and upper <= timestamptz 'epoch' + $2 * interval '1 millisecond'"
        );
        let found: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(found))
            .bind(name)
            .bind(before.0)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(quoted) = found.filter(|_| alone) else {
            return transaction.rollback().await.map(|()| false);
        };
        execute(&mut transaction, format!("drop table {quoted}")).await?;
        transaction.commit().await.map(|()| true)
    }
}

/// Moves the rows of a new partition out of the default one, as it could not be attached otherwise. Returns its lower
/// bound.
///
/// When there are too many rows to move, they stay, and the new partition begins behind them; queries find them
/// there. `None` when they reach to its end.
async fn make_room(
    transaction: &mut Transaction<'static, Postgres>,
    Missing { name, lower, upper }: &Missing,
) -> Result<Option<String>, sqlx::Error> {
    let between = format!("event_time >= '{lower}' and event_time < '{upper}'");
    let waiting = format!(
        "select count(*) from (
             select from events_default where {between} limit {}) as waiting",
        MOVE_ROWS_MAX + 1
    );
    let waiting: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(waiting)).fetch_one(&mut **transaction).await?;
    if waiting > MOVE_ROWS_MAX {
        let behind = format!(
            "select behind::text from (
                 select (date_trunc('hour', max(event_time)) + interval '1 hour')::timestamp as behind
                 from events_default where {between}) as last
             where behind < '{upper}'"
        );
        return sqlx::query_scalar(sqlx::AssertSqlSafe(behind))
            .fetch_optional(&mut **transaction)
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
async fn execute(
    transaction: &mut Transaction<'static, Postgres>,
    statement: String,
) -> Result<(), sqlx::Error> {
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut **transaction).await.map(|_| ())
}

/// The partitions whose upper bound is at or before `before`, the oldest first.
pub(crate) async fn expired(pool: &PgPool, before: UnixMillis) -> Result<Vec<String>, sqlx::Error> {
    let expired = format!(
        "select name from ({BOUNDS}) as parts
         where upper <= timestamptz 'epoch' + $1 * interval '1 millisecond' order by upper"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(expired)).bind(before.0).fetch_all(pool).await
}
