//! The connection of the settler, and its queue: the rooms with new facts.

use crate::store::error::StoreError;
use crate::store::options::StoreOptions;
use crate::store::sql::connection::{Arg, DbConnection};
use crate::store::url::StoreUrl;

/// The key of the advisory lock that the settler holds: the letters `trts`.
const SETTLER_LOCK: i64 = 0x7472_7473;
/// Behind every time: the last moment of the year 9999.
pub(crate) const END: i64 = 253_402_300_799_999;
/// How many rows of the queue are read at once.
const QUEUE_ROWS: i64 = 10_000;
/// How many are counted at most.
pub const QUEUE_COUNTED_MAX: u32 = 100_000;

/// The connection of the settler, which computes rooms from their facts. It is not used again after an error.
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
    /// It and more, as the parameters of a statement.
    pub(crate) fn and<const N: usize>(&self, more: [Arg; N]) -> Vec<Arg> {
        let mut args = vec![self.app.into(), self.room_id.as_str().into()];
        args.extend(more);
        args
    }
}

/// A room with new facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Which one.
    pub room: RoomId,
    /// The day of the facts, since 1970 by UTC.
    pub day: i64,
    /// When the first of them was written that is not settled, in units of [`SLOT_MS`].
    pub slot_first: i64,
    /// When the last was.
    pub slot_last: i64,
}

/// How long a slot of the queue is, in ms.
pub const SLOT_MS: i64 = 2000;

impl SettlerConnection {
    /// Opens the store that the URL names, over a connection of its own.
    ///
    /// # Errors
    /// When it is not there, or cannot be opened.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let connection = match StoreUrl::parse(&options.url)? {
            StoreUrl::Postgres(address) => {
                // A plan outlives the moment when a table was small. What is looked up has an index.
                let settings = [
                    ("enable_seqscan", "off"),
                    ("jit", "off"),
                    // What it computes it would compute again. So it holds rows that writers wait for no longer than it
                    // works on them, while a disk stalls, and adds no sync.
                    ("synchronous_commit", "off"),
                ];
                DbConnection::postgres(address, "settler", &settings).await?
            }
            StoreUrl::Sqlite(address) => DbConnection::sqlite(address, options.timeout).await?,
        };
        Ok(Self(connection))
    }

    /// Becomes the one who settles; `false` where another server is. It stays so while the connection lasts.
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

    /// The database's clock in ms.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn clock_ms(&mut self) -> Result<i64, StoreError> {
        let clock: Option<(i64,)> = self.0.row("select @clock", &[]).await?;
        Ok(clock.map_or(0, |clock| clock.0))
    }

    /// Days of the rooms behind `after` with new facts, in the order of app and room, of a part of the queue; and behind
    /// which room to go on, `None` at its end. Of a room with very many days only the first are given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn queued(
        &mut self,
        after: Option<&RoomId>,
    ) -> Result<(Vec<Queued>, Option<RoomId>), StoreError> {
        let sql = format!(
            "select sdk_app_id, room_id, cast(day as bigint), min(slot), max(slot), count(*) from (
                 select sdk_app_id, room_id, day, slot from settle_queue
                 where (sdk_app_id, room_id) > ($1, $2)
                 order by settle_queue.sdk_app_id, settle_queue.room_id, settle_queue.day, settle_queue.slot
                 limit {QUEUE_ROWS}) as part
             group by sdk_app_id, room_id, day order by sdk_app_id, room_id, day"
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

    /// Days of one room with new facts, at most `limit`, the longest-waiting first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn queued_of(
        &mut self,
        room: &RoomId,
        limit: u32,
    ) -> Result<Vec<Queued>, StoreError> {
        let sql = "select cast(day as bigint), min(slot) as first, max(slot) from settle_queue
             where sdk_app_id = $1 and room_id = $2 group by day order by first, day limit $3";
        let rows: Vec<(i64, i64, i64)> =
            self.0.rows(sql, &room.and([i64::from(limit).into()])).await?;
        let queued = |(day, slot_first, slot_last)| Queued {
            room: room.clone(),
            day,
            slot_first,
            slot_last,
        };
        Ok(rows.into_iter().map(queued).collect())
    }

    /// How many rooms and days the queue has, and the oldest slot of those that an event wrote; both of a part of it where it is long.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn queue_figures(&mut self) -> Result<(i64, Option<i64>), StoreError> {
        let sql = format!(
            "select count(*), min(first) from (
                 select min(case when slot > 0 then slot end) as first
                 from (select * from settle_queue limit {QUEUE_COUNTED_MAX}) as part
                 group by sdk_app_id, room_id, day) as days"
        );
        let found: Option<(i64, Option<i64>)> = self.0.row(&sql, &[]).await?;
        Ok(found.unwrap_or_default())
    }

    /// Closes the connection, so that another may take over at once.
    pub async fn close(self) {
        self.0.close().await;
    }
}
