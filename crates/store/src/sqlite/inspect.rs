//! Examines a SQLite file without changing it.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use crate::database_error::cause;
use crate::error::StoreError;
use crate::inspection::{COUNT_MAX, Examination, Kind, Migrations, SqliteState};
use crate::migrations;
use crate::sqlite::error::{classify, missing, unopened};
use protocol::UnixMillis;
use protocol::event_id;

pub(crate) async fn examine(
    address: SqliteConnectOptions,
    now: UnixMillis,
    thorough: bool,
) -> Result<Examination, StoreError> {
    let file = address.get_filename().to_owned();
    if !file.exists() {
        return Err(missing(&file));
    }
    let connected = address.create_if_missing(false).connect().await;
    let mut connection = connected.map_err(|error| unopened(&file, &error))?;
    // SQLite opens the file lazily: errors show at the first read.
    let journal_mode: String = sqlx::query_scalar("pragma journal_mode")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| unopened(&file, &error))?;
    let (version, migrated, tables): (String, bool, bool) = sqlx::query_as(
        "select sqlite_version(),
             exists (select 1 from sqlite_master where name = '_sqlx_migrations'),
             (select count(*) from sqlite_master where name in ('events', 'dead_letter_events')) = 2",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(classify)?;
    let applied = if migrated {
        sqlx::query_as("select version, success, checksum from _sqlx_migrations")
            .fetch_all(&mut connection)
            .await
            .map_err(classify)?
    } else {
        Vec::new()
    };
    let (mut parked, mut writable) = (None, None);
    if tables {
        let count = format!(
            "select count(*) from (select 1 from dead_letter_events limit {})",
            COUNT_MAX + 1
        );
        let counted = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut connection).await;
        parked = Some(counted.map_err(classify)?);
        writable = Some(write(&mut connection, now).await.map_err(|error| cause(&error)));
    }
    let damage = if thorough { damage(&mut connection).await.map_err(classify)? } else { None };
    // The examination is complete: an error on closing loses nothing.
    let _ = connection.close().await;
    Ok(Examination {
        database: format!("SQLite {version}"),
        migrations: Migrations::compare(&migrations::sqlite(), &applied),
        writable,
        parked,
        kind: Kind::Sqlite(SqliteState { journal_mode, damage }),
    })
}

/// The first damage that `pragma integrity_check` reports.
async fn damage(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let found: String =
        sqlx::query_scalar("pragma integrity_check(1)").fetch_one(connection).await?;
    Ok((found != "ok").then_some(found))
}

/// Stores an event and a dead letter, and rolls back.
async fn write(connection: &mut SqliteConnection, now: UnixMillis) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("begin immediate").await?;
    sqlx::query(
        "insert into events (id, sdk_app_id, family, command, event_time, received_at, payload)
         values ($1, 0, 'unknown', 'doctor', $2, $2, '{}')",
    )
    .bind(event_id::unique(now).to_string())
    .bind(now.0)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into dead_letter_events (id, refused_at, reason, delivery) values ($1, $2, 'doctor', '{}')",
    )
    .bind(event_id::unique(now).to_string())
    .bind(now.0)
    .execute(&mut *transaction)
    .await?;
    transaction.rollback().await
}
