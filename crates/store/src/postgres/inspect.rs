//! Examines a PostgreSQL database without changing it.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::database_error::cause;
use crate::error::StoreError;
use crate::inspection::{COUNT_MAX, Examination, Kind, Migrations, PostgresState};
use crate::migrations;
use crate::options::PartitionSpan;
use crate::postgres::connection::address::Address;
use crate::postgres::connection::front::{self, Front, VERSION_MIN};
use crate::postgres::connection::privileges;
use crate::postgres::connection::session::SessionSettings;
use crate::postgres::error::classify;
use crate::postgres::partitions::BOUNDS;
use crate::sql::from_row::from_row;
use protocol::UnixMillis;
use protocol::event_id;

/// Timeout of statements and locks, in ms.
const STATEMENT_MAX: Duration = Duration::from_secs(5);
const LOCK_MAX_MS: &str = "2000";

/// The server's own data.
struct About {
    version: String,
    number: i32,
    encoding: String,
    standby: bool,
    off: Vec<String>,
    clock: i64,
    migrated: bool,
    tables: bool,
}

from_row! { PgRow => About: version, number, encoding, standby, off, clock, migrated, tables; }

pub(crate) async fn examine(
    address: Address,
    direct: Option<Address>,
    partition_span: PartitionSpan,
    now: UnixMillis,
) -> Result<Examination, StoreError> {
    let address = address.named("doctor");
    let direct = direct.map(|direct| direct.named("doctor"));
    let of_sessions = direct.as_ref().unwrap_or(&address);
    let mut connection = of_sessions.connect().await?;
    front::refuse_shared(&mut connection, of_sessions).await?;
    let shares_sessions = match &direct {
        None => None,
        Some(direct) => {
            let front = front::check_pooled(&address, &mut connection, direct).await?;
            Some(front == Front::Shared)
        }
    };
    // The settings of a server session, except those that an unsupported old version, which is to be reported, does
    // not know.
    SessionSettings::new(Some(STATEMENT_MAX), Some(STATEMENT_MAX))
        .with("lock_timeout", LOCK_MAX_MS)
        .without("idle_session_timeout")
        .and(&of_sessions.options)
        .apply(&mut connection)
        .await
        .map_err(classify)?;
    let about = about(&mut connection).await.map_err(classify)?;
    let applied = if about.migrated {
        sqlx::query_as("select version, success, checksum from _sqlx_migrations")
            .fetch_all(&mut connection)
            .await
            .map_err(classify)?
    } else {
        Vec::new()
    };
    let mut without_partition = Vec::new();
    let mut default_rows = 0;
    let mut parked = None;
    let mut writable = None;
    let mut makes_partitions = None;
    if about.tables {
        without_partition =
            uncovered(&mut connection, partition_span, now).await.map_err(classify)?;
        default_rows = count(&mut connection, "events_default").await.map_err(classify)?;
        parked = Some(count(&mut connection, "dead_letter_events").await.map_err(classify)?);
        writable = Some(write(&mut connection, now).await.map_err(|error| cause(&error)));
        makes_partitions = tried(make_partition(&mut connection).await);
    }
    let read_only_by_default = read_only_by_default(&mut connection).await.map_err(classify)?;
    let missing_rights =
        privileges::missing(&mut connection, about.tables).await.map_err(classify)?;
    // The examination is complete: an error on closing loses nothing.
    let _ = connection.close().await;
    Ok(Examination {
        database: format!("PostgreSQL {}", about.version),
        migrations: Migrations::compare(&migrations::postgres(), &applied),
        writable,
        parked,
        kind: Kind::Postgres(PostgresState {
            version_fits: about.number >= VERSION_MIN,
            encoding: about.encoding,
            shares_sessions,
            standby: about.standby,
            unsafe_settings: about.off,
            read_only_by_default,
            makes_partitions,
            missing_rights,
            partition_span,
            without_partition,
            default_rows,
            clock: UnixMillis(about.clock),
        }),
    })
}

async fn about(connection: &mut PgConnection) -> Result<About, sqlx::Error> {
    sqlx::query_as(
        "select
             current_setting('server_version') as version,
             current_setting('server_version_num')::int as number,
             current_setting('server_encoding') as encoding,
             pg_is_in_recovery() as standby,
             array(
                 select name from unnest(array['fsync', 'full_page_writes', 'synchronous_commit']) as name
                 where current_setting(name) = 'off') as off,
             (extract(epoch from clock_timestamp()) * 1000)::bigint as clock,
             to_regclass('_sqlx_migrations') is not null as migrated,
             to_regclass('events_default') is not null and to_regclass('dead_letter_events') is not null as tables",
    )
    .fetch_one(connection)
    .await
}

/// The settings of a session that sets nothing itself.
async fn read_only_by_default(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select reset_val = 'on' from pg_settings where name = 'default_transaction_read_only'",
    )
    .fetch_one(connection)
    .await
}

/// Of this month or day and the next, those for which no partition covers now or the start of the next.
async fn uncovered(
    connection: &mut PgConnection,
    span: PartitionSpan,
    now: UnixMillis,
) -> Result<Vec<String>, sqlx::Error> {
    let (unit, digits) = (span.as_str(), span.digits().replace('_', "-"));
    let uncovered = format!(
        "select to_char(moment at time zone 'UTC', '{digits}')
         from (
             select to_timestamp($1) as moment
             union all
             select (date_trunc('{unit}', to_timestamp($1) at time zone 'UTC') + interval '1 {unit}') at time zone 'UTC'
         ) as moments
         where not exists (select from ({BOUNDS}) as parts where lower <= moment and moment < upper)
         order by moment"
    );
    sqlx::query_scalar(AssertSqlSafe(uncovered)).bind(now.as_secs()).fetch_all(connection).await
}

async fn count(connection: &mut PgConnection, table: &'static str) -> Result<i64, sqlx::Error> {
    let count =
        format!("select count(*) from (select from {table} limit {}) as rows", COUNT_MAX + 1);
    sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(connection).await
}

/// Stores an event and a dead letter, and rolls back.
async fn write(connection: &mut PgConnection, now: UnixMillis) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query(
        "insert into events (id, sdk_app_id, family, command, event_time, received_at, payload)
         values ($1, 0, 'unknown', 'doctor', to_timestamp($2), to_timestamp($2), '{}')",
    )
    .bind(event_id::unique(now))
    .bind(now.as_secs())
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into dead_letter_events (id, refused_at, reason, delivery)
         values ($1, to_timestamp($2), 'doctor', '{}')",
    )
    .bind(event_id::unique(now))
    .bind(now.as_secs())
    .execute(&mut *transaction)
    .await?;
    transaction.rollback().await
}

/// Creates a partition for a month without events as the server does, and rolls back.
async fn make_partition(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for statement in [
        // Readers and writers would wait behind the lock request.
        "set local lock_timeout = '250ms'",
        "create table events_doctor (like events including all)",
        "lock table only events in share update exclusive mode",
        "lock table events_default in access exclusive mode",
        "alter table events attach partition events_doctor for values from ('2999-01-01') to ('2999-02-01')",
    ] {
        transaction.execute(statement).await?;
    }
    transaction.rollback().await
}

/// The result of a trial; `None` where a lock was not available.
fn tried(trial: Result<(), sqlx::Error>) -> Option<Result<(), String>> {
    let Err(error) = trial else { return Some(Ok(())) };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let busy = matches!(code.as_deref(), Some("55P03" | "57014" | "40P01"));
    (!busy).then(|| Err(cause(&error)))
}
