//! Reads the facts of room sessions, of several sessions by one statement.

use crate::error::StoreError;
use crate::model::read_models::{Live, Room};
use crate::sessions::queue::{END, RoomId, SettlerConnection};
use crate::sessions::windows::Window;
use crate::sql::connection::Arg;
use crate::sql::from_row::from_row;
use projections::session::boundaries::SessionBounds;
use projections::session::metadata::MetadataSum;
use projections::session::presence::Presence;
use projections::session::statistics::{GiftFact, GiftFigures, GiftSum, RoomFact, RoomSum, worth};
use protocol::UnixMillis;

/// Maximum number of rows read at once. The size of a row is bounded by the projections.
const MARKS_ROWS: usize = 8000;
/// The same for changes of rooms: each may hold all properties of its room.
const CHANGES_ROWS: usize = 256;
/// The same for gifts: each may name a hundred accounts.
const GIFTS_ROWS: usize = 1000;
/// The same for metadata entries.
const METADATA_ROWS: usize = 1000;
/// Maximum number of sessions of a room compared at once. No room has more around a day.
const SESSIONS_MAX: i64 = 20_000;
/// Sorts before every event id.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// Figures of one session that only live rooms have.
#[derive(Debug)]
pub struct LiveFacts {
    /// Its gifts.
    pub gifts: GiftFigures,
    has_gifts: bool,
    /// Number of battles.
    pub battles: i64,
    /// Its metadata at its end.
    pub metadata: MetadataSum,
}

impl LiveFacts {
    /// Whether there is no such fact.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_gifts && self.battles == 0 && self.metadata.is_empty()
    }
}

/// A range of time of one room.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// Inclusive start.
    pub from: UnixMillis,
    /// Exclusive end; `None` where it is open.
    pub until: Option<UnixMillis>,
}

impl<'a> Span<'a> {
    /// The span of a session.
    #[must_use]
    pub fn of(room: &'a RoomId, session: &SessionBounds) -> Self {
        Self { room, from: session.from_at, until: session.until_at }
    }

    fn args<const N: usize>(&self, more: [Arg; N]) -> Vec<Arg> {
        self.from(self.from.0, more)
    }

    /// The part of it from a time on.
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

/// The page size for each of several spans.
fn share(page_rows: usize, spans: usize) -> i64 {
    i64::try_from((page_rows / spans.max(1)).max(2)).unwrap_or(i64::MAX)
}

fn is_full<T>(rows: &[T], limit: i64) -> bool {
    i64::try_from(rows.len()).is_ok_and(|rows| rows >= limit)
}

const IN_SPAN: &str = "sdk_app_id = $1 and room_id = $2 and at >= @at(3) and at < @at(4)";
/// Tables of facts of a room. Battles are not among them: a battle goes on after its room was destroyed, so it does
/// not prove that the room exists.
const FACTS: [&str; 5] = ["room_changes", "room_marks", "seat_marks", "gifts", "metadata_marks"];

/// Time, account, enters, the vendor's count, family.
type MarkRow = (i64, String, bool, Option<i64>, String);

/// Time, event, key, value, truncated.
type MetadataRow = (i64, String, String, Option<String>, Option<bool>);

/// Time, event, sender, receivers, count, coins.
type GiftRow = (i64, String, Option<String>, Option<String>, Option<i64>, Option<i64>);

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

from_row! {
    ChangeRow: at, event_id, ordinal, family, kind, by_account, account, name, owner, room_type, max_members, max_seats,
        cause, properties, statistic;
}

/// Enters and leaves of a session, aggregated as far as they were read.
#[derive(Debug)]
pub struct Attendance {
    /// The aggregate.
    pub presence: Presence,
    /// Start of the unread rest; `None` where all was read.
    rest: Option<i64>,
}

impl SettlerConnection {
    /// Whether each span has facts besides creates and destroys.
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

    /// The times of the first and the last fact of each span; `None` where there is none.
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

    /// The first enters and leaves of each span: one page for all of them together.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn attendances(&mut self, spans: &[Span<'_>]) -> Result<Vec<Attendance>, StoreError> {
        let limit = share(MARKS_ROWS, spans.len());
        let lists: Vec<Vec<Arg>> = spans.iter().map(|span| span.args([limit.into()])).collect();
        let pages: Vec<Vec<MarkRow>> = self.0.each(&marks("room_marks.at"), &lists).await?;
        let begun = spans.iter().zip(pages).map(|(span, page)| {
            let mut attendance =
                Attendance { presence: Presence::default(), rest: Some(span.from.0) };
            attendance.take(page, limit);
            attendance
        });
        Ok(begun.collect())
    }

    /// Reads the rest of it row by row, in constant memory.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn attend_all(
        &mut self,
        span: Span<'_>,
        attendance: &mut Attendance,
    ) -> Result<(), StoreError> {
        let Some(from) = attendance.rest.take() else { return Ok(()) };
        let sql = marks("room_marks.at, room_marks.account");
        self.0
            .fold(&sql, &span.from(from, [i64::MAX.into()]), |row: MarkRow| attendance.add(row))
            .await
    }

    /// The changes of the room within each span; `None` where there are more than a page and `deep` is not set.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn changes(
        &mut self,
        spans: &[Span<'_>],
        destroyed_at: &[Option<UnixMillis>],
        deep: bool,
    ) -> Result<Vec<Option<RoomSum>>, StoreError> {
        let sql = format!(
            "select @ms(at) as at, @text(event_id) as event_id, cast(ordinal as bigint) as ordinal, family, kind,
                 by_account, account, name, owner, room_type, max_members, max_seats, cause,
                 @text(properties) as properties, @text(statistic) as statistic
             from room_changes
             where {IN_SPAN} and (at, event_id, ordinal) > (@at(3), @id(5), $6)
             order by room_changes.at, room_changes.event_id, room_changes.ordinal limit $7"
        );
        let limit = share(CHANGES_ROWS, spans.len());
        let first = |span: &Span<'_>| span.args([NIL.into(), (-1).into(), limit.into()]);
        let pages: Vec<Vec<ChangeRow>> =
            self.0.each(&sql, &spans.iter().map(first).collect::<Vec<_>>()).await?;
        let mut sums = Vec::with_capacity(spans.len());
        for ((span, destroyed_at), page) in spans.iter().zip(destroyed_at).zip(pages) {
            let mut sum = RoomSum::default();
            let mut add = |row: ChangeRow| {
                if row.kind == "destroy" && *destroyed_at == Some(UnixMillis(row.at)) {
                    sum.destroyed(row.by_account.as_deref(), row.cause.as_deref());
                }
                sum.add(row.into());
            };
            let last = page.last().filter(|_| is_full(&page, limit));
            let last = last.map(|row| (row.at, row.event_id.clone(), row.ordinal));
            page.into_iter().for_each(&mut add);
            if let Some((at, event_id, ordinal)) = last {
                if !deep {
                    sums.push(None);
                    continue;
                }
                let rest = [event_id.as_str().into(), ordinal.into(), i64::MAX.into()];
                self.0.fold(&sql, &span.from(at, rest), add).await?;
            }
            sums.push(Some(sum));
        }
        Ok(sums)
    }

    /// The live figures of each span, with at most this many bytes of metadata; `None` where there are more than a
    /// page and `deep` is not set.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn live_sessions(
        &mut self,
        spans: &[Span<'_>],
        metadata_bytes_max: usize,
        deep: bool,
    ) -> Result<Vec<Option<LiveFacts>>, StoreError> {
        let gifts = self.gifts(spans, deep).await?;
        let sql = format!("select count(distinct battle_id) from battle_marks where {IN_SPAN}");
        let battles: Vec<Vec<(i64,)>> = self.0.each(&sql, &all(spans)).await?;
        let metadata = self.metadata(spans, metadata_bytes_max, deep).await?;
        let facts = gifts.into_iter().zip(battles).zip(metadata);
        let facts = facts.map(|((gifts, battles), metadata)| {
            let ((gifts, has_gifts), metadata) = gifts.zip(metadata)?;
            let battles = battles.first().map_or(0, |battles| battles.0);
            Some(LiveFacts { gifts, has_gifts, battles, metadata })
        });
        Ok(facts.collect())
    }

    /// The metadata at the end of each span.
    async fn metadata(
        &mut self,
        spans: &[Span<'_>],
        bytes_max: usize,
        deep: bool,
    ) -> Result<Vec<Option<MetadataSum>>, StoreError> {
        let sql = format!(
            "select @ms(at), @text(event_id), key, value, cut from metadata_marks
             where {IN_SPAN} and (at, event_id, key) > (@at(3), @id(5), $6)
             order by metadata_marks.at, metadata_marks.event_id, metadata_marks.key limit $7"
        );
        let limit = share(METADATA_ROWS, spans.len());
        let first = |span: &Span<'_>| span.args([NIL.into(), "".into(), limit.into()]);
        let pages: Vec<Vec<MetadataRow>> =
            self.0.each(&sql, &spans.iter().map(first).collect::<Vec<_>>()).await?;
        let mut sums = Vec::with_capacity(spans.len());
        for (span, page) in spans.iter().zip(pages) {
            let mut sum = MetadataSum::new(bytes_max);
            let mut add = |(at, _, key, value, cut): MetadataRow| {
                sum.add(UnixMillis(at), key, value, cut.unwrap_or(false));
            };
            let last = page.last().filter(|_| is_full(&page, limit));
            let last = last.map(|row| (row.0, row.1.clone(), row.2.clone()));
            page.into_iter().for_each(&mut add);
            if let Some((at, event_id, key)) = last {
                if !deep {
                    sums.push(None);
                    continue;
                }
                let rest = [event_id.as_str().into(), key.as_str().into(), i64::MAX.into()];
                self.0.fold(&sql, &span.from(at, rest), add).await?;
            }
            sum.end_moment();
            sums.push(Some(sum));
        }
        Ok(sums)
    }

    /// The gifts within each span, and whether there are any.
    async fn gifts(
        &mut self,
        spans: &[Span<'_>],
        deep: bool,
    ) -> Result<Vec<Option<(GiftFigures, bool)>>, StoreError> {
        let sql = format!(
            "select @ms(at), @text(event_id), sender, @text(receivers), count, coins from gifts
             where {IN_SPAN} and (at, event_id) > (@at(3), @id(5))
             order by gifts.at, gifts.event_id limit $6"
        );
        let limit = share(GIFTS_ROWS, spans.len());
        let first = |span: &Span<'_>| span.args([NIL.into(), limit.into()]);
        let pages: Vec<Vec<GiftRow>> =
            self.0.each(&sql, &spans.iter().map(first).collect::<Vec<_>>()).await?;
        let mut sums = Vec::with_capacity(spans.len());
        for (span, page) in spans.iter().zip(pages) {
            let mut sum = GiftSum::default();
            let mut add = |(_, _, sender, receivers, count, coins): GiftRow| {
                let (gifts, coins) = worth(count, coins);
                sum.add(GiftFact { sender, receivers, gifts, coins });
            };
            let last = page.last().filter(|_| is_full(&page, limit));
            let last = last.map(|row| (row.0, row.1.clone()));
            page.into_iter().for_each(&mut add);
            if let Some((at, event_id)) = last {
                if !deep {
                    sums.push(None);
                    continue;
                }
                let rest = [event_id.as_str().into(), i64::MAX.into()];
                self.0.fold(&sql, &span.from(at, rest), add).await?;
            }
            // Aggregated at once: senders and receivers of a busy room take memory.
            let has_gifts = !sum.is_empty();
            sums.push(Some((sum.figures(), has_gifts)));
        }
        Ok(sums)
    }

    /// The settled sessions of each room within its window's certain range, by key: their bounds, and the keys of the
    /// live ones.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn settled<'a>(
        &mut self,
        windows: impl Iterator<Item = (&'a RoomId, &'a Window)>,
    ) -> Result<Vec<(Vec<SettledSession>, Vec<i64>)>, StoreError> {
        let of = "where sdk_app_id = $1 and room_id = $2 and session >= $3 and session <= $4
             order by session limit $5";
        let lists: Vec<Vec<Arg>> = windows
            .map(|(room, window)| {
                room.and([
                    window.session_first.into(),
                    window.session_last.into(),
                    SESSIONS_MAX.into(),
                ])
            })
            .collect();
        let rooms = format!(
            "select session, @ms(from_at) as from_at, @ms(until_at) as until_at, @ms(created_at) as created_at,
                 @ms(destroyed_at) as destroyed_at, state from room_sessions {of}"
        );
        let rooms = self.0.each(&rooms, &lists).await?;
        let sessions: Vec<Vec<(i64,)>> =
            self.0.each(&format!("select session from live_sessions {of}"), &lists).await?;
        let sessions = sessions
            .into_iter()
            .map(|sessions| sessions.into_iter().map(|session| session.0).collect());
        Ok(rooms.into_iter().zip(sessions).collect())
    }

    /// All columns of some settled sessions.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rows<'a>(
        &mut self,
        sessions: impl Iterator<Item = (&'a RoomId, i64)>,
    ) -> Result<Vec<(Option<Room>, Option<Live>)>, StoreError> {
        let lists: Vec<Vec<Arg>> =
            sessions.map(|(room, session)| room.and([session.into()])).collect();
        let of = "where sdk_app_id = $1 and room_id = $2 and session = $3";
        let rooms = format!("{} {of}", crate::sessions::write::select_rooms());
        let sessions = format!("{} {of}", crate::sessions::write::select_live_sessions());
        let rooms: Vec<Vec<Room>> = self.0.each(&rooms, &lists).await?;
        let sessions: Vec<Vec<Live>> = self.0.each(&sessions, &lists).await?;
        let rows = rooms.into_iter().zip(sessions);
        Ok(rows.map(|(mut rooms, mut sessions)| (rooms.pop(), sessions.pop())).collect())
    }
}

/// The bounds of a settled session: columns of `room_sessions` of the same names.
#[derive(Debug)]
#[expect(missing_docs, reason = "the table's columns, which its migration explains")]
pub struct SettledSession {
    pub session: i64,
    pub from_at: UnixMillis,
    pub until_at: Option<UnixMillis>,
    pub created_at: Option<UnixMillis>,
    pub destroyed_at: Option<UnixMillis>,
    pub state: String,
}

from_row! { SettledSession: session, from_at, until_at, created_at, destroyed_at, state; }

/// Selects marks of a span, at most as many as the fifth parameter.
///
/// A page is ordered by time alone, which the index provides: sorting a busy moment would take longer than reading
/// it.
fn marks(order: &str) -> String {
    format!(
        "select @ms(at), account, enters, member_count, family from room_marks
         where {IN_SPAN} order by {order} limit $5"
    )
}

impl Attendance {
    /// Whether all of it was read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.rest.is_none()
    }

    /// Adds a page of at most `limit` rows.
    fn take(&mut self, mut page: Vec<MarkRow>, limit: i64) {
        self.rest = None;
        if is_full(&page, limit)
            && let Some((last_at, ..)) = page.last()
        {
            // The last moment may have more rows: all of it is read with the rest.
            let last_at = *last_at;
            self.rest = Some(last_at);
            page.retain(|row| row.0 < last_at);
        }
        // The choice of accounts beyond the bound must not depend on the order of rows.
        page.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for row in page {
            self.add(row);
        }
    }

    fn add(&mut self, (at, account, enters, counted, family): MarkRow) {
        self.presence.add(&account, UnixMillis(at), enters, counted);
        self.presence.family.get_or_insert(family);
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
