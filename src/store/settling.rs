//! What the settler reads: which rooms have new facts, and the facts of one life of a room.

use super::models::{Live, Room};
use super::session::{Arg, Session};
use super::{Place, StoreError, StoreOptions};
use crate::clock::UnixMillis;
use crate::handlers::lives::{Boundary, Life};
use crate::handlers::sums::{GiftFact, GiftSum, Presence, RoomFact, RoomSum};

/// The key of the advisory lock that the one who settles holds: the letters `trts`.
const SETTLER_LOCK: i64 = 0x7472_7473;
/// How many rows are read at once.
const PAGE_ROWS: usize = 20_000;
/// As many changes of a room: each may hold all its properties.
const CHANGES_ROWS: usize = 500;
/// Behind every time: the last moment of the year 9999.
pub(super) const END: i64 = 253_402_300_799_999;
/// How long a day is, in ms.
const DAY_MS: i64 = 86_400_000;
/// How far apart two boundaries of one kind are of which the later one surely ends or begins a life, in ms.
const APART_MS: i64 = 60_000;
/// Before every id of an event.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

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

/// What only the facts of a live room say of one life.
#[derive(Debug)]
pub struct LiveFacts {
    /// Its gifts.
    pub gifts: GiftSum,
    /// How many battles there were.
    pub battles: i64,
    /// Keys and values of its metadata at its end, by key.
    pub metadata: Vec<(String, String)>,
}

impl LiveFacts {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gifts.is_empty() && self.battles == 0 && self.metadata.is_empty()
    }
}

/// How many keys of metadata are kept of a life.
const METADATA_MAX: i64 = 1000;

/// Where one life is looked for.
struct Span {
    args: Vec<Arg>,
}

impl Span {
    fn new(room: &RoomId, from: UnixMillis, until: Option<UnixMillis>) -> Self {
        let until = until.map_or(END, |until| until.0);
        Self {
            args: vec![room.app.into(), room.room_id.as_str().into(), from.0.into(), until.into()],
        }
    }

    /// The rest of it from a time on, and further parameters.
    fn from<const N: usize>(&self, at: i64, more: [Arg; N]) -> Vec<Arg> {
        let mut args = self.args.clone();
        args[2] = at.into();
        args.extend(more);
        args
    }
}

const IN_SPAN: &str = "sdk_app_id = $1 and room_id = $2 and at >= @at(3) and at < @at(4)";
/// Tables whose rows are facts of a room.
/// A battle goes on without a room that was destroyed, so what is said of it does not prove that the room is there.
const FACTS: [&str; 5] = ["room_changes", "room_marks", "seat_marks", "gifts", "metadata_marks"];

/// Time, event, account, whether it came in, how many were counted, family.
type MarkRow = (i64, String, String, bool, Option<i64>, String);

/// Time, event, sender, receivers, count, coins.
type GiftRow = (i64, String, Option<String>, Option<String>, Option<i64>, Option<i64>);

#[derive(sqlx::FromRow)]
struct ChangeRow {
    at: i64,
    event_id: String,
    ordinal: i64,
    family: String,
    kind: String,
    by_account: Option<String>,
    account: Option<String>,
    name: Option<String>,
    owner: Option<String>,
    room_type: Option<String>,
    max_members: Option<i64>,
    max_seats: Option<i64>,
    cause: Option<String>,
    properties: Option<String>,
    statistic: Option<String>,
}

impl Settling {
    /// Opens the store that the URL names, over a connection of its own.
    ///
    /// # Errors
    /// When it is not there, or cannot be opened.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let session = match Place::parse(&options.url)? {
            Place::Postgres(address) => {
                Session::postgres(address, "trtc-callbacks settler").await?
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

    /// What tells the lives of a room that facts of this day may change.
    ///
    /// It begins with a create or destroy so far from those before that nothing earlier matters, and another before that
    /// which tells where the life around it began. It ends with the second create behind the day.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn window(&mut self, room: &RoomId, day: i64) -> Result<Window, StoreError> {
        let (from, until) = Window::day(day);
        let first = self.apart_before(room, from.0 - APART_MS).await?;
        let context = match first {
            Some(first) => self.apart_before(room, first - APART_MS).await?,
            None => None,
        };
        let last = self.create_from(room, until.0 + APART_MS).await?;
        let end = match last {
            Some(last) => self.create_from(room, last + APART_MS + 1).await?,
            None => None,
        };
        let rows: Vec<(i64, String, Option<i64>)> = self
            .0
            .rows(
                "select @ms(at), kind, @ms(created_at) from room_changes
                 where sdk_app_id = $1 and room_id = $2 and at >= @at(3) and at <= @at(4)
                     and kind in ('create', 'destroy')
                 order by at",
                &[
                    room.app.into(),
                    room.room_id.as_str().into(),
                    context.unwrap_or(0).into(),
                    end.unwrap_or(END).into(),
                ],
            )
            .await?;
        let boundary = |(at, kind, created_at): (i64, String, Option<i64>)| Boundary {
            at: UnixMillis(at),
            creates: kind == "create",
            created_at: created_at.map(UnixMillis),
        };
        Ok(Window {
            boundaries: rows.into_iter().map(boundary).collect(),
            life_first: first.unwrap_or(0),
            life_last: last.unwrap_or(END),
        })
    }

    async fn apart_before(
        &mut self,
        room: &RoomId,
        before: i64,
    ) -> Result<Option<i64>, StoreError> {
        let found: Option<(i64,)> = self
            .0
            .row(
                "select @ms(b.at) from room_changes b
                 where b.sdk_app_id = $1 and b.room_id = $2 and b.at < @at(3) and b.kind in ('create', 'destroy')
                     and not exists (
                         select 1 from room_changes p
                         where p.sdk_app_id = $1 and p.room_id = $2 and p.kind = b.kind
                             and p.at < b.at and p.at >= b.at - @minute)
                 order by b.at desc limit 1",
                &[room.app.into(), room.room_id.as_str().into(), before.max(0).into()],
            )
            .await?;
        Ok(found.map(|found| found.0))
    }

    async fn create_from(&mut self, room: &RoomId, from: i64) -> Result<Option<i64>, StoreError> {
        let found: Option<(i64,)> = self
            .0
            .row(
                "select @ms(b.at) from room_changes b
                 where b.sdk_app_id = $1 and b.room_id = $2 and b.at >= @at(3) and b.kind = 'create'
                     and not exists (
                         select 1 from room_changes p
                         where p.sdk_app_id = $1 and p.room_id = $2 and p.kind = 'create'
                             and p.at < b.at and p.at >= b.at - @minute)
                 order by b.at limit 1",
                &[room.app.into(), room.room_id.as_str().into(), from.into()],
            )
            .await?;
        Ok(found.map(|found| found.0))
    }

    /// Whether anything but creates and destroys is known of a room from the one time on and before the other.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn has_fact(
        &mut self,
        room: &RoomId,
        from: UnixMillis,
        until: Option<UnixMillis>,
    ) -> Result<bool, StoreError> {
        let exists = FACTS.map(|table| {
            let kinds =
                if table == "room_changes" { " and kind not in ('create', 'destroy')" } else { "" };
            format!("exists (select 1 from {table} where {IN_SPAN}{kinds})")
        });
        let sql =
            format!("select cast(case when {} then 1 else 0 end as bigint)", exists.join(" or "));
        let found: Option<(i64,)> = self.0.row(&sql, &Span::new(room, from, until).args).await?;
        Ok(found.is_some_and(|found| found.0 == 1))
    }

    /// The times of the first and the last fact of a life; `None` where there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn times(
        &mut self,
        room: &RoomId,
        life: &Life,
    ) -> Result<Option<(UnixMillis, UnixMillis)>, StoreError> {
        let each = FACTS.map(|table| {
            format!(
                "select @ms(min(at)) as first, @ms(max(at)) as last from {table} where {IN_SPAN}"
            )
        });
        let sql =
            format!("select min(first), max(last) from ({}) as facts", each.join(" union all "));
        let span = Span::new(room, life.from_at, life.until_at);
        let found: Option<(Option<i64>, Option<i64>)> = self.0.row(&sql, &span.args).await?;
        let (first, last) = found.unwrap_or_default();
        Ok(first.zip(last).map(|(first, last)| (UnixMillis(first), UnixMillis(last))))
    }

    /// Who came and left within a life.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn presence(&mut self, room: &RoomId, life: &Life) -> Result<Presence, StoreError> {
        // By time alone, as the index has it: to sort a hot room anew for each page would take longer than to read it.
        let sql = format!(
            "select @ms(at), @text(event_id), account, enters, member_count, family from room_marks
             where {IN_SPAN} order by room_marks.at limit $5"
        );
        let span = Span::new(room, life.from_at, life.until_at);
        let (mut presence, mut from, mut limit) = (Presence::default(), life.from_at.0, PAGE_ROWS);
        loop {
            let args = span.from(from, [i64::try_from(limit).unwrap_or(i64::MAX).into()]);
            let mut rows: Vec<MarkRow> = self.0.rows(&sql, &args).await?;
            let is_last = rows.len() < limit;
            if let Some((last_at, ..)) = rows.last().filter(|_| !is_last) {
                // There may be more of the last moment: it is read with the next page.
                from = *last_at;
                rows.retain(|row| row.0 < from);
                limit = if rows.is_empty() { limit * 2 } else { PAGE_ROWS };
            }
            rows.sort_unstable_by(|a, b| (a.0, &a.1, &a.2).cmp(&(b.0, &b.1, &b.2)));
            for (at, _, account, enters, counted, family) in rows {
                presence.add(&account, UnixMillis(at), enters, counted);
                presence.family.get_or_insert(family);
            }
            if is_last {
                return Ok(presence);
            }
        }
    }

    /// What was done to the room itself within a life.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn changes(&mut self, room: &RoomId, life: &Life) -> Result<RoomSum, StoreError> {
        let sql = format!(
            "select @ms(at) as at, @text(event_id) as event_id, cast(ordinal as bigint) as ordinal, family, kind,
                 by_account, account, name, owner, room_type, max_members, max_seats, cause,
                 @text(properties) as properties, @text(statistic) as statistic
             from room_changes
             where {IN_SPAN} and (at, event_id, ordinal) > (@at(3), @id(5), $6)
             order by room_changes.at, room_changes.event_id, room_changes.ordinal limit {CHANGES_ROWS}"
        );
        let span = Span::new(room, life.from_at, life.until_at);
        let mut sum = RoomSum::default();
        let mut after = (life.from_at.0, NIL.to_owned(), -1);
        loop {
            let args = span.from(after.0, [after.1.as_str().into(), after.2.into()]);
            let rows: Vec<ChangeRow> = self.0.rows(&sql, &args).await?;
            let Some(last) = rows.last() else { return Ok(sum) };
            after = (last.at, last.event_id.clone(), last.ordinal);
            let is_last = rows.len() < CHANGES_ROWS;
            for row in rows {
                if row.kind == "destroy" && life.destroyed_at == Some(UnixMillis(row.at)) {
                    sum.destroyed(row.by_account.as_deref(), row.cause.as_deref());
                }
                sum.add(row.into());
            }
            if is_last {
                return Ok(sum);
            }
        }
    }

    /// What only live rooms have.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn live(&mut self, room: &RoomId, life: &Life) -> Result<LiveFacts, StoreError> {
        let span = Span::new(room, life.from_at, life.until_at);
        let gifts = self.gifts(&span, life.from_at).await?;
        let sql = format!("select count(distinct battle_id) from battle_marks where {IN_SPAN}");
        let battles: Option<(i64,)> = self.0.row(&sql, &span.args).await?;
        let sql = format!(
            "select key, value from (
                 select key, value, row_number() over (partition by key order by at desc, event_id desc) as place
                 from metadata_marks where {IN_SPAN}) as marks
             where place = 1 and value is not null order by key @bytewise limit {METADATA_MAX}"
        );
        let metadata = self.0.rows(&sql, &span.args).await?;
        Ok(LiveFacts { gifts, battles: battles.map_or(0, |battles| battles.0), metadata })
    }

    async fn gifts(&mut self, span: &Span, from: UnixMillis) -> Result<GiftSum, StoreError> {
        let sql = format!(
            "select @ms(at), @text(event_id), sender, @text(receivers), count, coins from gifts
             where {IN_SPAN} and (at, event_id) > (@at(3), @id(5))
             order by gifts.at, gifts.event_id limit {PAGE_ROWS}"
        );
        let mut sum = GiftSum::default();
        let mut after = (from.0, NIL.to_owned());
        loop {
            let args = span.from(after.0, [after.1.as_str().into()]);
            let rows: Vec<GiftRow> = self.0.rows(&sql, &args).await?;
            let Some(last) = rows.last() else { return Ok(sum) };
            after = (last.0, last.1.clone());
            let is_last = rows.len() < PAGE_ROWS;
            for (_, _, sender, receivers, count, coins) in rows {
                let (gifts, coins) = (count.unwrap_or(1).max(0), coins.unwrap_or(0).max(0));
                sum.add(GiftFact { sender, receivers, gifts, coins });
            }
            if is_last {
                return Ok(sum);
            }
        }
    }

    /// The lives of a room that are settled, by their key.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn settled(
        &mut self,
        room: &RoomId,
        window: &Window,
    ) -> Result<(Vec<Room>, Vec<Live>), StoreError> {
        let args = [
            room.app.into(),
            room.room_id.as_str().into(),
            window.life_first.into(),
            window.life_last.into(),
        ];
        let of =
            "where sdk_app_id = $1 and room_id = $2 and life >= $3 and life <= $4 order by life";
        let rooms = format!("{} {of}", super::settling_write::select_rooms());
        let lives = format!("{} {of}", super::settling_write::select_lives());
        Ok((self.0.rows(&rooms, &args).await?, self.0.rows(&lives, &args).await?))
    }

    /// Closes the connection, so that another may take over at once.
    pub async fn close(self) {
        self.0.close().await;
    }
}

impl From<ChangeRow> for RoomFact {
    fn from(row: ChangeRow) -> Self {
        Self {
            family: row.family,
            kind: row.kind,
            by_account: row.by_account,
            account: row.account,
            name: row.name,
            owner: row.owner,
            room_type: row.room_type,
            max_members: row.max_members,
            max_seats: row.max_seats,
            cause: row.cause,
            properties: row.properties,
            statistic: row.statistic,
        }
    }
}
