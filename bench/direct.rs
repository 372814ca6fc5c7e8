//! The lower limit on SQLite: rows of `events` through its own interface, as many in a transaction as 64 connections give.

use anyhow::{Context, Result};
use rusqlite::{Connection, params};

use protocol::Event;
use protocol::event::Payload;

/// How many rows a transaction has.
const ROWS: usize = 64;

/// A connection to the file of a SQLite store.
pub(crate) struct Direct(Connection);

impl Direct {
    pub(crate) fn open(url: &str) -> Result<Self> {
        let file = url.strip_prefix("sqlite://").context("the store is no SQLite file")?;
        let connection = Connection::open(file)?;
        // As the server has it.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", 16_000)?;
        Ok(Self(connection))
    }

    pub(crate) fn insert(&mut self, events: &[Event]) -> Result<()> {
        let sql = "insert into events (id, sdk_app_id, family, command, command_sent, event_time, received_at, call_id,
                       room_id, operator, client_ip, platform, payload)
                   values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        for rows in events.chunks(ROWS) {
            let transaction = self.0.transaction()?;
            let mut insert = transaction.prepare_cached(sql)?;
            for event in rows {
                let Payload::Json(body) = &event.payload else { continue };
                insert.execute(params![
                    event.id.to_string(),
                    event.app.as_i64(),
                    event.family.as_str(),
                    &*event.command,
                    event.command_sent.as_deref(),
                    event.event_time.0,
                    event.received_at.0,
                    event.call_id.as_deref(),
                    event.room_id.as_deref(),
                    event.operator.as_deref(),
                    event.client_ip.as_deref(),
                    event.platform.as_deref(),
                    &**body,
                ])?;
            }
            drop(insert);
            transaction.commit()?;
        }
        Ok(())
    }
}
