//! What the settler reads: which rooms have new facts, and what tells their lives. All of it is read of several rooms at once.

use super::session::{Arg, Session};
use super::{Place, StoreError, StoreOptions};
use crate::clock::UnixMillis;
use crate::handlers::lives::Boundary;

/// The key of the advisory lock that the one who settles holds: the letters `trts`.
const SETTLER_LOCK: i64 = 0x7472_7473;
/// Behind every time: the last moment of the year 9999.
pub(super) const END: i64 = 253_402_300_799_999;
/// How long a day is, in ms.
const DAY_MS: i64 = 86_400_000;
/// How far apart two boundaries of one kind are of which the later one surely ends or begins a life, in ms.
const APART_MS: i64 = 60_000;

/// Computes what is settled from the facts, over a connection of its own. After an error it is not to be used again.
#[derive(Debug)]
pub struct Settling(pub(super) Session);

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
    pub(super) fn and<const N: usize>(&self, more: [Arg; N]) -> Vec<Arg> {
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

/// Creates and destroys of a room around a day, and which lives they tell for certain.
#[derive(Debug)]
pub struct Window {
    /// All that may matter.
    pub boundaries: Vec<Boundary>,
    /// Lives with a key from here on are told for certain.
    pub life_first: i64,
    /// Lives with a key up to here are.
    pub life_last: i64,
}

impl Window {
    /// The first moment of a day and the one behind it.
    #[must_use]
    pub fn day(day: i64) -> (UnixMillis, UnixMillis) {
        (UnixMillis(day * DAY_MS), UnixMillis((day + 1) * DAY_MS))
    }
}

impl Settling {
    /// Opens the store that the URL names, over a connection of its own.
    ///
    /// # Errors
    /// When it is not there, or cannot be opened.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let session = match Place::parse(&options.url)? {
            Place::Postgres(address) => {
                // A plan outlives the moment when a table was small. What is looked up has an index.
                let settings = [("enable_seqscan", "off"), ("jit", "off")];
                Session::postgres(address, "settler", &settings).await?
            }
            Place::Sqlite(address) => Session::sqlite(address, options.timeout).await?,
        };
        Ok(Self(session))
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

    /// At most `limit` days of rooms with new facts, the longest-waiting first, and the database's clock in ms.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn queued(&mut self, limit: u32) -> Result<(i64, Vec<Queued>), StoreError> {
        let clock: Option<(i64,)> = self.0.row("select @clock", &[]).await?;
        let rows: Vec<(i64, String, i64, i64, i64)> = self
            .0
            .rows(
                "select sdk_app_id, room_id, cast(day as bigint), min(slot) as first, max(slot)
                 from settle_queue group by sdk_app_id, room_id, day order by first limit $1",
                &[i64::from(limit).into()],
            )
            .await?;
        let queued = |(app, room_id, day, slot_first, slot_last)| Queued {
            room: RoomId { app, room_id },
            day,
            slot_first,
            slot_last,
        };
        Ok((clock.map_or(0, |clock| clock.0), rows.into_iter().map(queued).collect()))
    }

    /// What tells the lives of each room that facts of its day may change.
    ///
    /// It begins with a create or destroy so far from those before that nothing earlier matters, and another before that
    /// which tells where the life around it began. It ends with the second create behind the day.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn windows(&mut self, queued: &[Queued]) -> Result<Vec<Window>, StoreError> {
        let rooms = || queued.iter().map(|queued| (&queued.room, Window::day(queued.day)));
        let firsts = rooms().map(|(room, (from, _))| Some((room, (from.0 - APART_MS).max(0))));
        let firsts = self.moments(APART_BEFORE, firsts).await?;
        let contexts = rooms().zip(&firsts);
        let contexts =
            contexts.map(|((room, _), first)| first.map(|first| (room, (first - APART_MS).max(0))));
        let contexts = self.moments(APART_BEFORE, contexts).await?;
        let lasts = rooms().map(|(room, (_, until))| Some((room, until.0 + APART_MS)));
        let lasts = self.moments(CREATE_FROM, lasts).await?;
        let ends = rooms().zip(&lasts);
        let ends = ends.map(|((room, _), last)| last.map(|last| (room, last + APART_MS + 1)));
        let ends = self.moments(CREATE_FROM, ends).await?;

        let spans = queued.iter().zip(contexts.iter().zip(&ends)).map(|(queued, (from, until))| {
            queued.room.and([from.unwrap_or(0).into(), until.unwrap_or(END).into()])
        });
        let boundaries: Vec<Vec<(i64, String, Option<i64>)>> = self
            .0
            .each(
                "select @ms(at), kind, @ms(created_at) from room_changes
                 where sdk_app_id = $1 and room_id = $2 and at >= @at(3) and at <= @at(4)
                     and kind in ('create', 'destroy')
                 order by at",
                &spans.collect::<Vec<_>>(),
            )
            .await?;
        let boundary = |(at, kind, created_at): (i64, String, Option<i64>)| Boundary {
            at: UnixMillis(at),
            creates: kind == "create",
            created_at: created_at.map(UnixMillis),
        };
        let windows = boundaries.into_iter().zip(firsts.iter().zip(&lasts));
        let windows = windows.map(|(boundaries, (first, last))| Window {
            boundaries: boundaries.into_iter().map(boundary).collect(),
            life_first: first.unwrap_or(0),
            life_last: last.unwrap_or(END),
        });
        Ok(windows.collect())
    }

    /// Finds a moment of each room, from another on, where there is one to begin with.
    async fn moments<'a>(
        &mut self,
        sql: &str,
        from: impl Iterator<Item = Option<(&'a RoomId, i64)>>,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let lists: Vec<Option<Vec<Arg>>> =
            from.map(|from| from.map(|(room, at)| room.and([at.into()]))).collect();
        let asked: Vec<Vec<Arg>> = lists.iter().flatten().cloned().collect();
        let mut found = self.0.each::<(i64,)>(sql, &asked).await?.into_iter();
        let mut moment = |list: &Option<Vec<Arg>>| {
            list.as_ref().and_then(|_| found.next()).and_then(|rows| rows.first().map(|row| row.0))
        };
        Ok(lists.iter().map(&mut moment).collect())
    }

    /// Closes the connection, so that another may take over at once.
    pub async fn close(self) {
        self.0.close().await;
    }
}

/// The last create or destroy of a room before a time that has none of its kind in the minute before it, and none of the
/// other at its own time: whether that one begins or ends a life depends on what came earlier.
const APART_BEFORE: &str = "
    select @ms(b.at) from room_changes b
    where b.sdk_app_id = $1 and b.room_id = $2 and b.at < @at(3) and b.kind in ('create', 'destroy')
        and not exists (
            select 1 from room_changes p
            where p.sdk_app_id = $1 and p.room_id = $2 and p.at <= b.at and p.at >= b.at - @minute
                and (p.kind = b.kind and p.at < b.at
                     or p.kind <> b.kind and p.at = b.at and p.kind in ('create', 'destroy')))
    order by b.at desc limit 1";

/// The first create of a room from a time on that has none in the minute before it.
const CREATE_FROM: &str = "
    select @ms(b.at) from room_changes b
    where b.sdk_app_id = $1 and b.room_id = $2 and b.at >= @at(3) and b.kind = 'create'
        and not exists (
            select 1 from room_changes p
            where p.sdk_app_id = $1 and p.room_id = $2 and p.kind = 'create'
                and p.at < b.at and p.at >= b.at - @minute)
    order by b.at limit 1";
