//! Events in an embedded SQLite file.

use std::path::Path;
use std::str::FromStr;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite as Db, Transaction};

use super::rows::{self, Dialect, Row};
use super::{EventFilter, Inserted, Store, StoreError, StoreOptions, StoredEvent};
use crate::callback::Event;
use crate::callback::delivery::Delivery;
use crate::callback::event::Payload;
use crate::clock::UnixMillis;

/// A SQLite file: one connection writes, others read beside it.
#[derive(Debug)]
pub(super) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the file, and makes it and its directory where they are missing.
    pub(super) async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let url = options.url.expose_secret();
        let address = SqliteConnectOptions::from_str(url).map_err(|error| StoreError::Address {
            problem: format!("`store.url` cannot be read: {error}"),
            hint: "give `sqlite://path/to/file.db`".into(),
        })?;
        let file = address.get_filename().to_owned();
        if file.as_os_str().is_empty() || url.contains(":memory:") || url.contains("mode=memory") {
            return Err(StoreError::Address {
                problem: "`store.url` names a database in memory, which forgets every event".into(),
                hint: "give `sqlite://path/to/file.db`".into(),
            });
        }
        if options.create {
            make_directory(&file)?;
        } else if !file.exists() {
            return Err(StoreError::Address {
                problem: format!("there is no SQLite file `{}`", file.display()),
                hint:
                    "`serve` makes it; if it is elsewhere, give `--store sqlite://path/to/file.db`"
                        .into(),
            });
        }
        let address = address
            .create_if_missing(options.create)
            // Readers and the writer do not wait for each other.
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is on the disk before it is answered. NORMAL would lose the last ones with the power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(options.timeout);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(options.timeout)
            .connect_with(address.clone())
            .await
            .map_err(|error| unopened(&file, &error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .acquire_timeout(options.timeout)
            .connect_lazy_with(address.pragma("query_only", "on"));
        Ok(Self { writer, readers })
    }

    /// A transaction that holds the file's one write lock from its start, so that it cannot fail half-way for want
    /// of it.
    async fn begin(&self) -> Result<Transaction<'static, Db>, StoreError> {
        self.writer.begin_with("begin immediate").await.map_err(classify)
    }
}

fn make_directory(file: &Path) -> Result<(), StoreError> {
    let Some(directory) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(directory).map_err(|error| StoreError::Address {
        problem: format!("create the directory `{}` of the store: {error}", directory.display()),
        hint: "make it writable, or set `store.url` to another place".into(),
    })
}

fn unopened(file: &Path, error: &sqlx::Error) -> StoreError {
    StoreError::Address {
        problem: format!("open the SQLite file `{}`: {error}", file.display()),
        hint: "see that it is a SQLite database and writable, or set `store.url` to another place"
            .into(),
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::migrate!("migrations/sqlite").run_direct(None, &mut *transaction, false).await?;
        transaction.commit().await.map_err(classify)
    }

    async fn upkeep(&self, _now: UnixMillis) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1 from events limit 1")
            .execute(&self.readers)
            .await
            .map_err(classify)?;
        Ok(())
    }

    async fn insert(&self, events: &[&Event]) -> Result<Vec<Inserted>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events {
            outcomes.push(insert(&mut transaction, event).await.map_err(classify)?);
        }
        transaction.commit().await.map_err(classify)?;
        Ok(outcomes)
    }

    async fn park(&self, event: &Event, reason: &str, now: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "insert into parked_events (id, parked_at, reason, delivery)
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
        let mut query = rows::select::<Db>(&DIALECT, filter);
        let rows: Vec<Row> =
            query.build_query_as().fetch_all(&self.readers).await.map_err(classify)?;
        rows.into_iter().map(StoredEvent::try_from).collect()
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

const DIALECT: Dialect = Dialect {
    select: "select id, sdk_app_id, family, command, command_sent, event_time, received_at, \
             call_id, room_id, operator, client_ip, platform, payload, raw, decode_error \
             from events",
    time: ("", ""),
    id: "",
};

async fn insert(
    transaction: &mut Transaction<'static, Db>,
    event: &Event,
) -> Result<Inserted, sqlx::Error> {
    let (payload, raw) = match &event.payload {
        Payload::Json(text) => (Some(text.as_str()), None),
        Payload::Raw(bytes) => (None, Some(bytes.as_slice())),
    };
    let done = sqlx::query(
        "insert into events (
             id, sdk_app_id, family, command, command_sent, event_time, received_at,
             call_id, room_id, operator, client_ip, platform, payload, raw, decode_error)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         on conflict do nothing",
    )
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
    .execute(&mut **transaction)
    .await?;
    Ok(if done.rows_affected() == 0 { Inserted::Duplicate } else { Inserted::New })
}

/// Tells a row the database will never take from a database that cannot take any now.
fn classify(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let primary = code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    match primary {
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH. Busy, full, read-only and I/O errors are not the row's.
        Some(18..=20) => StoreError::Refused(error),
        _ => StoreError::Unavailable(error),
    }
}
