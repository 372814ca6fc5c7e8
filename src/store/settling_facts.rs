//! The facts of rooms' lives, as the settler reads them: of several lives at once.

use super::StoreError;
use super::models::{Live, Room};
use super::session::Arg;
use super::settling::{END, RoomId, Settling, Window};
use crate::clock::UnixMillis;
use crate::handlers::lives::Life;
use crate::handlers::presence::{Presence, PresenceFact};
use crate::handlers::sums::{GiftFact, GiftFigures, GiftSum, RoomFact, RoomSum};

/// How many rows are read at once.
const PAGE_ROWS: usize = 20_000;
/// As many changes of rooms: each may hold all properties of its room.
const CHANGES_ROWS: usize = 500;
/// Before every id of an event.
const NIL: &str = "00000000-0000-0000-0000-000000000000";
/// How many keys of metadata are kept of a life.
const METADATA_MAX: i64 = 1000;

/// What only the facts of a live room say of one life.
#[derive(Debug)]
pub struct LiveFacts {
    /// Its gifts.
    pub gifts: GiftFigures,
    has_gifts: bool,
    /// How many battles there were.
    pub battles: i64,
    /// Keys and values of its metadata at its end, by key.
    pub metadata: Vec<(String, String)>,
}

impl LiveFacts {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_gifts && self.battles == 0 && self.metadata.is_empty()
    }
}

/// Where facts of a room are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// The first moment.
    pub from: UnixMillis,
    /// The first moment behind it; `None` where it does not end.
    pub until: Option<UnixMillis>,
}

impl<'a> Span<'a> {
    /// That of a life.
    #[must_use]
    pub fn of(room: &'a RoomId, life: &Life) -> Self {
        Self { room, from: life.from_at, until: life.until_at }
    }

    fn args<const N: usize>(&self, more: [Arg; N]) -> Vec<Arg> {
        self.from(self.from.0, more)
    }

    /// The rest of it from a time on.
    fn from<const N: usize>(&self, at: i64, more: [Arg; N]) -> Vec<Arg> {
        let until = self.until.map_or(END, |until| until.0);
        let mut args = self.room.and([at.into(), until.into()]);
        args.extend(more);
        args
    }
}

fn all(spans: &[Span<'_>]) -> Vec<Vec<Arg>> {
    spans.iter().map(|span| span.args([])).collect()
}

/// How many rows of each of so many spans make a page.
fn share(page_rows: usize, spans: usize) -> i64 {
    i64::try_from((page_rows / spans.max(1)).max(2)).unwrap_or(i64::MAX)
}

fn is_full<T>(rows: &[T], limit: i64) -> bool {
    i64::try_from(rows.len()).is_ok_and(|rows| rows >= limit)
}

const IN_SPAN: &str = "sdk_app_id = $1 and room_id = $2 and at >= @at(3) and at < @at(4)";
/// Tables whose rows are facts of a room.
/// A battle goes on without a room that was destroyed, so what is said of it does not prove that the room is there.
const FACTS: [&str; 5] = ["room_changes", "room_marks", "seat_marks", "gifts", "metadata_marks"];

/// Time, account, whether it came in, how many were counted, family.
type MarkRow = (i64, String, bool, Option<i64>, String);

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

/// Who came and left within a life, summed up as far as it was read.
#[derive(Debug)]
pub struct Attendance {
    /// The sum.
    pub presence: Presence,
    /// From when on the rest is to be read; `None` where that was all.
    rest: Option<i64>,
}

impl Settling {
    /// Whether anything but creates and destroys is known within each span.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn have_facts(&mut self, spans: &[Span<'_>]) -> Result<Vec<bool>, StoreError> {
        let exists = FACTS.map(|table| {
            let kinds =
                if table == "room_changes" { " and kind not in ('create', 'destroy')" } else { "" };
            format!("exists (select 1 from {table} where {IN_SPAN}{kinds})")
        });
        let sql =
            format!("select cast(case when {} then 1 else 0 end as bigint)", exists.join(" or "));
        let found: Vec<Vec<(i64,)>> = self.0.each(&sql, &all(spans)).await?;
        Ok(found.iter().map(|found| found.first().is_some_and(|found| found.0 == 1)).collect())
    }

    /// The times of the first and the last fact within each span; `None` where there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn times(
        &mut self,
        spans: &[Span<'_>],
    ) -> Result<Vec<Option<(UnixMillis, UnixMillis)>>, StoreError> {
        let each = FACTS.map(|table| {
            format!(
                "select @ms(min(at)) as first, @ms(max(at)) as last from {table} where {IN_SPAN}"
            )
        });
        let sql =
            format!("select min(first), max(last) from ({}) as facts", each.join(" union all "));
        let found: Vec<Vec<(Option<i64>, Option<i64>)>> = self.0.each(&sql, &all(spans)).await?;
        let times = |found: &Vec<(Option<i64>, Option<i64>)>| {
            let (first, last) = found.first().copied().unwrap_or_default();
            first.zip(last).map(|(first, last)| (UnixMillis(first), UnixMillis(last)))
        };
        Ok(found.iter().map(times).collect())
    }

    /// The beginning of who came and left within each span: what makes a page in all.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn attendances(&mut self, spans: &[Span<'_>]) -> Result<Vec<Attendance>, StoreError> {
        let limit = share(PAGE_ROWS, spans.len());
        let lists: Vec<Vec<Arg>> = spans.iter().map(|span| span.args([limit.into()])).collect();
        let pages: Vec<Vec<MarkRow>> = self.0.each(&marks(), &lists).await?;
        let begun = spans.iter().zip(pages).map(|(span, page)| {
            let mut attendance =
                Attendance { presence: Presence::default(), rest: Some(span.from.0) };
            attendance.take(page, limit);
            attendance
        });
        Ok(begun.collect())
    }

    /// Reads the rest of it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn attend_all(
        &mut self,
        span: Span<'_>,
        attendance: &mut Attendance,
    ) -> Result<(), StoreError> {
        let page = share(PAGE_ROWS, 1);
        let mut limit = page;
        while let Some(from) = attendance.rest {
            let rows = self.0.rows(&marks(), &span.from(from, [limit.into()])).await?;
            attendance.take(rows, limit);
            // Where a page has only one moment, and perhaps not all of it.
            limit = if attendance.rest == Some(from) { limit * 2 } else { page };
        }
        Ok(())
    }

    /// What was done to the room itself within each span.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn changes(
        &mut self,
        spans: &[Span<'_>],
        destroyed_at: &[Option<UnixMillis>],
    ) -> Result<Vec<RoomSum>, StoreError> {
        let sql = format!(
            "select @ms(at) as at, @text(event_id) as event_id, cast(ordinal as bigint) as ordinal, family, kind,
                 by_account, account, name, owner, room_type, max_members, max_seats, cause,
                 @text(properties) as properties, @text(statistic) as statistic
             from room_changes
             where {IN_SPAN} and (at, event_id, ordinal) > (@at(3), @id(5), $6)
             order by room_changes.at, room_changes.event_id, room_changes.ordinal limit $7"
        );
        let first_limit = share(CHANGES_ROWS, spans.len());
        let first = |span: &Span<'_>| span.args([NIL.into(), (-1).into(), first_limit.into()]);
        let pages: Vec<Vec<ChangeRow>> =
            self.0.each(&sql, &spans.iter().map(first).collect::<Vec<_>>()).await?;
        let mut sums = Vec::with_capacity(spans.len());
        for ((span, destroyed_at), mut page) in spans.iter().zip(destroyed_at).zip(pages) {
            let (mut sum, mut limit) = (RoomSum::default(), first_limit);
            loop {
                let is_last = !is_full(&page, limit);
                let after = page.last().map(|row| (row.at, row.event_id.clone(), row.ordinal));
                for row in page {
                    if row.kind == "destroy" && *destroyed_at == Some(UnixMillis(row.at)) {
                        sum.destroyed(row.by_account.as_deref(), row.cause.as_deref());
                    }
                    sum.add(row.into());
                }
                let Some((at, event_id, ordinal)) = after.filter(|_| !is_last) else { break };
                limit = share(CHANGES_ROWS, 1);
                let args = span.from(at, [event_id.as_str().into(), ordinal.into(), limit.into()]);
                page = self.0.rows(&sql, &args).await?;
            }
            sums.push(sum);
        }
        Ok(sums)
    }

    /// What only live rooms have, within each span.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lives(&mut self, spans: &[Span<'_>]) -> Result<Vec<LiveFacts>, StoreError> {
        let gifts = self.gifts(spans).await?;
        let sql = format!("select count(distinct battle_id) from battle_marks where {IN_SPAN}");
        let battles: Vec<Vec<(i64,)>> = self.0.each(&sql, &all(spans)).await?;
        // An entry is there if the last moment that does not leave it as it was sets it; see `handlers::moment`.
        let sql = format!(
            "select key, value from (
                 select key, value, max(case when balance > 0 then at end) over entry as set_at,
                     max(case when balance < 0 then at end) over entry as deleted_at,
                     row_number() over (partition by key order by at desc,
                         case when value is null then 1 else 0 end, event_id desc) as place
                 from (
                     select key, value, at, event_id,
                         sum(case when value is null then -1 else 1 end) over (partition by key, at) as balance
                     from metadata_marks where {IN_SPAN}) as marks
                 window entry as (partition by key)) as entries
             where place = 1 and value is not null and set_at is not null
                 and (deleted_at is null or deleted_at < set_at)
             order by key @bytewise limit {METADATA_MAX}"
        );
        let metadata = self.0.each(&sql, &all(spans)).await?;
        let facts = gifts.into_iter().zip(battles).zip(metadata);
        let facts = facts.map(|(((gifts, has_gifts), battles), metadata)| LiveFacts {
            gifts,
            has_gifts,
            battles: battles.first().map_or(0, |battles| battles.0),
            metadata,
        });
        Ok(facts.collect())
    }

    /// The gifts within each span, and whether there are any.
    async fn gifts(&mut self, spans: &[Span<'_>]) -> Result<Vec<(GiftFigures, bool)>, StoreError> {
        let sql = format!(
            "select @ms(at), @text(event_id), sender, @text(receivers), count, coins from gifts
             where {IN_SPAN} and (at, event_id) > (@at(3), @id(5))
             order by gifts.at, gifts.event_id limit $6"
        );
        let first_limit = share(PAGE_ROWS, spans.len());
        let first = |span: &Span<'_>| span.args([NIL.into(), first_limit.into()]);
        let pages: Vec<Vec<GiftRow>> =
            self.0.each(&sql, &spans.iter().map(first).collect::<Vec<_>>()).await?;
        let mut sums = Vec::with_capacity(spans.len());
        for (span, mut page) in spans.iter().zip(pages) {
            let (mut sum, mut limit) = (GiftSum::default(), first_limit);
            loop {
                let is_last = !is_full(&page, limit);
                let after = page.last().map(|row| (row.0, row.1.clone()));
                for (_, _, sender, receivers, count, coins) in page {
                    let (gifts, coins) = (count.unwrap_or(1).max(0), coins.unwrap_or(0).max(0));
                    sum.add(GiftFact { sender, receivers, gifts, coins });
                }
                let Some((at, event_id)) = after.filter(|_| !is_last) else { break };
                limit = share(PAGE_ROWS, 1);
                page = self
                    .0
                    .rows(&sql, &span.from(at, [event_id.as_str().into(), limit.into()]))
                    .await?;
            }
            // At once: who gave and got in a hot room takes memory.
            let has_gifts = !sum.is_empty();
            sums.push((sum.figures(), has_gifts));
        }
        Ok(sums)
    }

    /// The lives of each room that are settled, by their key, of those that its window tells for certain.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn settled<'a>(
        &mut self,
        windows: impl Iterator<Item = (&'a RoomId, &'a Window)>,
    ) -> Result<Vec<(Vec<Room>, Vec<Live>)>, StoreError> {
        let lists: Vec<Vec<Arg>> = windows
            .map(|(room, window)| room.and([window.life_first.into(), window.life_last.into()]))
            .collect();
        let of =
            "where sdk_app_id = $1 and room_id = $2 and life >= $3 and life <= $4 order by life";
        let rooms = format!("{} {of}", super::settling_write::select_rooms());
        let lives = format!("{} {of}", super::settling_write::select_lives());
        let rooms = self.0.each(&rooms, &lists).await?;
        let lives: Vec<Vec<Live>> = self.0.each(&lives, &lists).await?;
        Ok(rooms.into_iter().zip(lives).collect())
    }
}

/// Selects marks of a span, at most as many as the fifth parameter says.
///
/// By time alone, as the index has it: to sort a hot room anew for each page would take longer than to read it.
fn marks() -> String {
    format!(
        "select @ms(at), account, enters, member_count, family from room_marks
         where {IN_SPAN} order by room_marks.at limit $5"
    )
}

impl Attendance {
    /// Takes a page, of at most `limit` rows, from where it came to.
    fn take(&mut self, mut page: Vec<MarkRow>, limit: i64) {
        self.rest = None;
        if is_full(&page, limit)
            && let Some((last_at, ..)) = page.last()
        {
            // There may be more of the last moment: it is read with the next page.
            let last_at = *last_at;
            self.rest = Some(last_at);
            page.retain(|row| row.0 < last_at);
        }
        // The page is in the order of time.
        for moment in page.chunk_by(|one, other| one.0 == other.0) {
            let mut facts: Vec<_> = moment
                .iter()
                .map(|(_, account, enters, counted, _)| PresenceFact {
                    account,
                    enters: *enters,
                    counted: *counted,
                })
                .collect();
            self.presence.add(UnixMillis(moment[0].0), &mut facts);
        }
    }
}

impl From<ChangeRow> for RoomFact {
    fn from(row: ChangeRow) -> Self {
        Self {
            at: UnixMillis(row.at),
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
