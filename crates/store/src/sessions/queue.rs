//! The connection of the session worker, and its queue of rooms with new facts.

use crate::error::StoreError;
use crate::options::StoreOptions;
use crate::sql::connection::{Arg, DbConnection};
use crate::url::StoreUrl;

/// The key of the session worker's advisory lock: the letters `trts`.
const SETTLER_LOCK: i64 = 0x7472_7473;
/// After every time: the last ms of the year 9999.
pub(crate) const END: i64 = 253_402_300_799_999;
/// Number of queue rows read at once.
const QUEUE_ROWS: i64 = 10_000;
/// Maximum number of rows counted.
pub const QUEUE_COUNTED_MAX: u32 = 100_000;

/// The connection of the session worker, which computes rooms from their facts. After an error it must not be used
/// again.
#[derive(Debug)]
pub struct SettlerConnection(pub(crate) DbConnection);

/// A room id of an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId {
    /// The app.
    pub app: i64,
    /// The room.
    pub room_id: String,
}

impl RoomId {
    /// Its columns followed by more parameters of a statement.
    pub(crate) fn and<const N: usize>(&self, more: [Arg; N]) -> Vec<Arg> {
        let mut args = vec![self.app.into(), self.room_id.as_str().into()];
        args.extend(more);
        args
    }
}

/// Which rooms are settled: each kind has a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomQueue {
    /// Conferences and live rooms, by the day of their new facts.
    Kit,
    /// Rooms of the RTC Engine, each as a whole, from the hour of its earliest new fact on.
    Rtc,
}

/// A queue in SQL.
pub(crate) struct QueueSql {
    pub(crate) table: &'static str,
    /// The column of the facts' time.
    pub(crate) time: &'static str,
    /// What of it is read of a group.
    pub(crate) first: &'static str,
    /// The columns of a group: what is settled together.
    pub(crate) group: &'static str,
}

impl RoomQueue {
    pub(crate) fn sql(self) -> QueueSql {
        match self {
            Self::Kit => QueueSql {
                table: "settle_queue",
                time: "day",
                first: "day",
                group: "sdk_app_id, room_id, day",
            },
            Self::Rtc => QueueSql {
                table: "rtc_settle_queue",
                time: "at",
                first: "min(at)",
                group: "sdk_app_id, room_id",
            },
        }
    }
}

/// A room with new facts of one day; of the RTC Engine from one hour on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The room.
    pub room: RoomId,
    /// The day of the facts, in days since 1970, UTC; of a room of the RTC Engine the hour of the earliest.
    pub day: i64,
    /// The slot of the oldest unsettled fact, in units of [`SLOT_MS`].
    pub slot_first: i64,
    /// The slot of the newest.
    pub slot_last: i64,
}

/// The length of a slot, in ms.
pub const SLOT_MS: i64 = 2000;

impl SettlerConnection {
    /// Opens the store of the URL, over a connection of its own.
    ///
    /// # Errors
    /// When the store is unreachable.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let connection = match StoreUrl::of_sessions(options)? {
            StoreUrl::Postgres(address) => {
                // A generic plan outlives the time when a table was small. Every lookup has an index.
                let settings = [
                    ("enable_seqscan", "off"),
                    ("jit", "off"),
                    // The results can be computed again. So on a stalling disk the commit holds row locks that
                    // writers wait for no longer, and adds no sync.
                    ("synchronous_commit", "off"),
                ];
                DbConnection::postgres(address, "settler", &settings).await?
            }
            StoreUrl::Sqlite(address) => DbConnection::sqlite(address, options.timeout).await?,
        };
        Ok(Self(connection))
    }

    /// Tries to become the leader; `false` where another server is. Leadership lasts as long as the connection.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lead(&mut self) -> Result<bool, StoreError> {
        if !self.0.is_postgres() {
            return Ok(true);
        }
        let got: Option<(bool,)> =
            self.0.row("select pg_try_advisory_lock($1)", &[SETTLER_LOCK.into()]).await?;
        Ok(got.is_some_and(|got| got.0))
    }

    /// The database's clock, in ms.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn clock_ms(&mut self) -> Result<i64, StoreError> {
        let clock: Option<(i64,)> = self.0.row("select @clock", &[]).await?;
        Ok(clock.map_or(0, |clock| clock.0))
    }

    /// Queued days of the rooms after `after`, ordered by app and room, from a part of the queue, and the room to
    /// continue after, `None` at the end. Of a room with very many days only the first are returned.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn queued(
        &mut self,
        queue: RoomQueue,
        after: Option<&RoomId>,
    ) -> Result<(Vec<Queued>, Option<RoomId>), StoreError> {
        let QueueSql { table, time, first, group } = queue.sql();
        let sql = format!(
            "select sdk_app_id, room_id, cast({first} as bigint), min(slot), max(slot), count(*) from (
                 select sdk_app_id, room_id, {time}, slot from {table}
                 where (sdk_app_id, room_id) > ($1, $2)
                 order by {table}.sdk_app_id, {table}.room_id, {table}.{time}, {table}.slot
                 limit {QUEUE_ROWS}) as part
             group by {group} order by {group}"
        );
        let after = after.map_or((-1, ""), |room| (room.app, room.room_id.as_str()));
        let rows: Vec<(i64, String, i64, i64, i64, i64)> =
            self.0.rows(&sql, &[after.0.into(), after.1.into()]).await?;
        let read: i64 = rows.iter().map(|row| row.5).sum();
        let queued = |(app, room_id, day, slot_first, slot_last, _)| Queued {
            room: RoomId { app, room_id },
            day,
            slot_first,
            slot_last,
        };
        let queued: Vec<Queued> = rows.into_iter().map(queued).collect();
        let next = queued.last().filter(|_| read >= QUEUE_ROWS).map(|last| last.room.clone());
        Ok((queued, next))
    }

    /// Queued days of one room, at most `limit`, the longest-waiting first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn queued_of(
        &mut self,
        queue: RoomQueue,
        room: &RoomId,
        limit: u32,
    ) -> Result<Vec<Queued>, StoreError> {
        let QueueSql { table, first, group, .. } = queue.sql();
        let sql = format!(
            "select cast({first} as bigint) as earliest, min(slot) as first, max(slot) from {table}
             where sdk_app_id = $1 and room_id = $2 group by {group} order by first, earliest limit $3"
        );
        let rows: Vec<(i64, i64, i64)> =
            self.0.rows(&sql, &room.and([i64::from(limit).into()])).await?;
        let queued = |(day, slot_first, slot_last)| Queued {
            room: room.clone(),
            day,
            slot_first,
            slot_last,
        };
        Ok(rows.into_iter().map(queued).collect())
    }

    /// Number of queued rooms and days, and the oldest slot written by an event; both of a part of each queue where it
    /// is long.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn queue_figures(&mut self) -> Result<(i64, Option<i64>), StoreError> {
        let groups = [RoomQueue::Kit, RoomQueue::Rtc].map(|queue| {
            let QueueSql { table, group, .. } = queue.sql();
            format!(
                "select min(case when slot > 0 then slot end) as first
                 from (select * from {table} limit {QUEUE_COUNTED_MAX}) as part group by {group}"
            )
        });
        let sql =
            format!("select count(*), min(first) from ({}) as rooms", groups.join(" union all "));
        let found: Option<(i64, Option<i64>)> = self.0.row(&sql, &[]).await?;
        Ok(found.unwrap_or_default())
    }

    /// Closes the connection, so that another server can take over at once.
    pub async fn close(self) {
        self.0.close().await;
    }
}
