//! Writes batches of events to a SQLite file.
//!
//! The driver of all other statements hands each one, and each row of its result, to a thread of its own and back, which costs
//! more than the statement where that inserts a few rows. A batch is handed over once, to a thread that may block, and written
//! there through SQLite's own interface by statements that stay prepared.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, Value as Bound, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, ToSql};
use sqlx::sqlite::SqlitePool;
use tokio::task::spawn_blocking;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::error::StoreError;
use crate::model::event::UNCHECKED;
use crate::model::position::ROW_EVENTS_MAX;
use crate::sql::embedded_error::embedded;
use crate::sql::upsert;
use crate::sqlite::checkpoints::{Checkpoints, WAL_PAGES_MAX};
use crate::sqlite::error::classify;
use crate::sqlite::projections::statement_of;
use crate::traits::{EventInsert, Inserted};
use projections::Batch;
use projections::table::Value;
use protocol::Event;

/// How many statements stay prepared: those of events and of each table of the read models.
const STATEMENTS_MAX: usize = 64;

/// Writes one batch at a time, over a connection that the first one opens, and the next one after an error.
#[derive(Debug)]
pub(crate) struct EventWriter {
    file: PathBuf,
    timeout: Duration,
    /// The one connection of all other statements that write: who has it may write. Waiting for it is in turn and without
    /// delay, where SQLite lets each look for its lock again and again.
    turns: SqlitePool,
    connection: Arc<Mutex<Option<Connection>>>,
    checkpoints: Checkpoints,
}

impl EventWriter {
    pub(crate) fn new(file: &Path, timeout: Duration, turns: SqlitePool) -> Self {
        let checkpoints = Checkpoints::new(file);
        Self { file: file.to_owned(), timeout, turns, connection: Arc::default(), checkpoints }
    }

    /// Stores all of `entries` or none. It goes on where the caller is cancelled: then nobody hears of the result.
    pub(crate) async fn insert(
        &self,
        entries: &[EventInsert],
    ) -> Result<Vec<Inserted>, StoreError> {
        let turn = self.turns.acquire().await.map_err(classify)?;
        let (slot, file, timeout) = (self.connection.clone(), self.file.clone(), self.timeout);
        let entries = entries.to_vec();
        let written = spawn_blocking(move || {
            let _turn = turn;
            let connection = match taken(&slot) {
                Some(connection) => connection,
                None => open(&file, timeout)?,
            };
            let written = write(&connection, &entries);
            if written.is_ok() || is_usable(&connection, &written) {
                *held(&slot) = Some(connection);
            }
            written
        });
        let written = match written.await {
            Ok(written) => written.map_err(|error| classify(embedded(error))),
            Err(panicked) => Err(classify(sqlx::Error::Io(std::io::Error::other(panicked)))),
        }?;
        self.checkpoints.committed();
        Ok(written)
    }

    pub(crate) async fn close(&self) {
        self.checkpoints.close().await;
        let connection = taken(&self.connection);
        // Closing the last connection copies the WAL into the file.
        let _ = spawn_blocking(move || drop(connection)).await;
    }
}

fn held(slot: &Mutex<Option<Connection>>) -> MutexGuard<'_, Option<Connection>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn taken(slot: &Mutex<Option<Connection>>) -> Option<Connection> {
    held(slot).take()
}

/// Rolls back. A refused row leaves the connection as it was; after any other error it is closed.
fn is_usable<T>(connection: &Connection, written: &rusqlite::Result<T>) -> bool {
    let code = written.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
    code == Some(ErrorCode::ConstraintViolation) && connection.execute_batch("rollback").is_ok()
}

fn open(file: &Path, timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(timeout)?;
    // A commit is on disk before the event is answered. NORMAL could lose the last ones at a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", "on")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

fn write(connection: &Connection, entries: &[EventInsert]) -> rusqlite::Result<Vec<Inserted>> {
    // Takes the write lock at once, so that it cannot fail half-way for lack of it.
    connection.prepare_cached("begin immediate")?.raw_execute()?;
    let mut is_new = Vec::with_capacity(entries.len());
    for EventInsert { event, .. } in entries {
        is_new.push(is_unknown(connection, event)? && insert(connection, event)?);
    }
    let new = entries.iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(entry, _)| entry);
    number(connection, new.clone().map(|entry| entry.event.id))?;
    let batch = Batch::of(new.flat_map(|entry| entry.changes.iter()));
    for (table, rows) in batch.tables() {
        let mut statement = connection.prepare_cached(&statement_of(table))?;
        for row in rows {
            let columns = table.columns.iter().zip(row);
            let bound = columns.filter(|(column, _)| upsert::is_bound(column));
            for (place, (_, value)) in (1..).zip(bound) {
                statement.raw_bind_parameter(place, Parameter(*value))?;
            }
            statement.raw_execute()?;
        }
    }
    connection.prepare_cached("commit")?.raw_execute()?;
    let inserted = |is_new| if is_new { Inserted::New } else { Inserted::Duplicate };
    Ok(is_new.into_iter().map(inserted).collect())
}

/// Inserts the key of an event that is identified by its request; `false` where it is stored under another row.
fn is_unknown(connection: &Connection, event: &Event) -> rusqlite::Result<bool> {
    let Some(key) = event.request_key() else { return Ok(true) };
    let mut statement = connection.prepare_cached(
        "insert into request_keys (key, event_id, received_at) values (?, ?, ?)
         on conflict do nothing",
    )?;
    let values = (key.to_string(), event.id.to_string(), event.received_at.0);
    Ok(statement.execute(values)? == 1)
}

/// Inserts an event; `false` where it is there.
fn insert(connection: &Connection, event: &Event) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "insert into events (
             id, sdk_app_id, family, command, command_sent, event_time, received_at,
             call_id, room_id, operator, client_ip, platform, payload, raw, decode_error,
             request_id, query, signature)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         on conflict do nothing",
    )?;
    let (payload, raw) = event.payload.columns();
    let mut row = Row { statement: &mut statement, place: 1 };
    row.bind(IdText::of(event.id).as_str())?;
    row.bind(event.app.as_i64())?;
    row.bind(event.family.as_str())?;
    row.bind(event.command.as_ref())?;
    row.bind(event.command_sent.as_deref())?;
    row.bind(event.event_time.0)?;
    row.bind(event.received_at.0)?;
    row.bind(event.call_id.as_deref())?;
    row.bind(event.room_id.as_deref())?;
    row.bind(event.operator.as_deref())?;
    row.bind(event.client_ip.as_deref())?;
    row.bind(event.platform.as_deref())?;
    row.bind(payload)?;
    row.bind(raw)?;
    row.bind(event.decode_error.as_deref())?;
    row.bind(event.request_id.as_deref())?;
    row.bind(event.query.as_deref())?;
    row.bind(event.unchecked.then_some(UNCHECKED))?;
    Ok(statement.raw_execute()? == 1)
}

/// Gives positions to events, in the transaction that stores them.
fn number(connection: &Connection, ids: impl Iterator<Item = Uuid>) -> rusqlite::Result<()> {
    let ids: Vec<u8> = ids.flat_map(Uuid::into_bytes).collect();
    for ids in ids.chunks(ROW_EVENTS_MAX * size_of::<Uuid>()) {
        let mut statement = connection.prepare_cached(
            "insert into feed (ids, numbered_at) values (?, cast(unixepoch('subsec') * 1000 as integer))",
        )?;
        statement.execute((ids,))?;
    }
    Ok(())
}

struct Row<'a, 'c> {
    statement: &'a mut CachedStatement<'c>,
    place: usize,
}

impl Row<'_, '_> {
    fn bind(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.statement.raw_bind_parameter(self.place, value)?;
        self.place += 1;
        Ok(())
    }
}

/// An id as text, without an allocation.
struct IdText([u8; Hyphenated::LENGTH]);

impl IdText {
    fn of(id: Uuid) -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        id.as_hyphenated().encode_lower(&mut text);
        Self(text)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A value of a read model as SQLite has it.
struct Parameter<'a>(Value<'a>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Number(number) => ToSqlOutput::Borrowed(ValueRef::Integer(number)),
            Value::Truth(truth) => ToSqlOutput::Borrowed(ValueRef::Integer(truth.into())),
            Value::Time(time) => ToSqlOutput::Borrowed(ValueRef::Integer(time.0)),
            Value::Id(id) => ToSqlOutput::Owned(Bound::Text(id.to_string())),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}
