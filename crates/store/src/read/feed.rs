//! Reads stored events by their positions, in the order of storing.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::derived;
use crate::derived::model::DerivedEvent;
use crate::error::StoreError;
use crate::model::event::Row;
use crate::model::event::StoredEvent;
use crate::model::position::{Position, ROW_EVENTS_MAX};
use crate::query::page::{FeedLimit, FeedPage, FeedRead, FeedSpan};
use crate::sql::builder::Reader;
use crate::sql::from_row::{from_row, part_if_readable};
use protocol::event_id;

/// A row of the feed.
pub(crate) struct FeedRow {
    pub(crate) position: i64,
    ids: String,
}

/// An event, and which of the wanted ones it is.
struct Wanted {
    place: i64,
    event: Result<Row, sqlx::Error>,
}

from_row! {
    FeedRow: position, ids;
    Wanted: place, event = part_if_readable;
}

impl FeedRow {
    /// The position of the event at this place.
    pub(crate) fn at(&self, place: usize) -> Position {
        Position::of(self.position, place)
    }

    /// How many events it has.
    fn events(&self) -> usize {
        self.ids.bytes().filter(u8::is_ascii_hexdigit).count() / 32
    }

    /// Ids as PostgreSQL writes an array or SQLite a blob: their digits count.
    pub(crate) fn ids(&self) -> Result<Vec<Uuid>, StoreError> {
        let digits: String = self.ids.chars().filter(char::is_ascii_hexdigit).collect();
        let ids = hex::decode(digits).ok().filter(|bytes| bytes.len() % 16 == 0);
        let ids = ids.ok_or_else(|| {
            let text = format!("row {} of the feed has no list of ids", self.position);
            StoreError::Refused(sqlx::Error::Decode(text.into()))
        })?;
        Ok(ids.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).collect())
    }
}

/// Which positions there are.
pub(crate) async fn span<R: Reader>(reader: &R) -> Result<FeedSpan, StoreError> {
    let sql = reader.statement("select min(position), max(position) from feed");
    let rows: Option<(Option<i64>, Option<i64>)> = reader.fetch_one(sql).await?;
    let (first, last) = rows.unwrap_or_default();
    let (first, last) = (first.unwrap_or(1), last.unwrap_or(0));
    Ok(FeedSpan { start: Position::behind(first - 1), end: Position::behind(last) })
}

/// The events after a position.
pub(crate) async fn after<R: Reader>(
    reader: &R,
    after: Position,
    limit: FeedLimit,
) -> Result<FeedRead, StoreError> {
    let events_max = usize::try_from(limit.events.max(1)).unwrap_or(usize::MAX);
    let (rows, is_all) = rows(reader, after, events_max).await?;
    let begins_there = match rows.first().map(|row| row.position - after.row()) {
        Some(0) => true,
        // Without the row of the position nobody knows whether it had more, unless it is said to be read to its end.
        Some(1) => after.is_behind_row() || after.row() == 0,
        Some(_) => false,
        None => after.row() == 0,
    };
    let window = if begins_there { Window::of(&rows, after, events_max, is_all)? } else { None };
    let Some(Window { ids, next, is_end }) = window else {
        return Ok(FeedRead::Outside(span(reader).await?));
    };
    let Found { events, mut unreadable, last } = read(reader, &ids, limit.bytes).await?;
    let (next, is_end) = last.map_or((next, is_end), |last| (last, false));
    let found = events.iter().map(|(position, _)| *position);
    let found: HashSet<Position> = found.chain(unreadable.iter().map(|one| one.0)).collect();
    let is_gone = |(position, _): &(Position, Uuid)| *position <= next && !found.contains(position);
    let missing: Vec<(Position, Uuid)> = ids.into_iter().filter(is_gone).collect();
    // Most pages have none, and ask nothing.
    let known = derived::read::of_ids(reader, missing.iter().map(|(_, id)| *id)).await?;
    let mut known: HashMap<Uuid, Result<DerivedEvent, StoreError>> = known.into_iter().collect();
    let (mut derived, mut gone) = (Vec::new(), Vec::new());
    for (position, id) in missing {
        match known.remove(&id) {
            Some(Ok(event)) => derived.push((position, event)),
            Some(Err(_)) => unreadable.push((position, id)),
            None => gone.push((position, id)),
        }
    }
    unreadable.sort_unstable_by_key(|(position, _)| *position);
    Ok(FeedRead::Page(FeedPage { events, derived, gone, unreadable, next, is_end }))
}

/// Rows of the feed from that of a position on, enough for so many events behind it, and whether there are no more.
///
/// A row may have one event or hundreds. To ask for as many rows as there could be, and to stop reading, does not do: PostgreSQL
/// sends what was asked for, which is hundreds of times a page where a backlog is long.
async fn rows<R: Reader>(
    reader: &R,
    after: Position,
    events_max: usize,
) -> Result<(Vec<FeedRow>, bool), StoreError> {
    let (mut rows, mut found, mut first): (Vec<FeedRow>, _, _) = (Vec::new(), 0, after.row());
    // All of the first row may be passed, and one more shows that there are more.
    let mut rows_max = events_max.div_ceil(ROW_EVENTS_MAX).saturating_add(2);
    loop {
        let sql = "select position, @feed_ids(ids) as ids from feed where position >= ";
        let mut sql = reader.statement(sql);
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        sql.number(first).push(" order by position limit ").number(limit);
        let more: Vec<FeedRow> = reader.fetch(sql).await?;
        let is_all = more.len() < rows_max;
        let behind = more.iter().filter(|row| row.position > after.row());
        found += behind.map(FeedRow::events).sum::<usize>();
        first = more.last().map_or(first, |row| row.position + 1);
        rows.extend(more);
        if is_all || found > events_max || rows.len() > events_max {
            return Ok((rows, is_all));
        }
        // Each look reads so many times what is there already, so that a page of rows with one event takes few of them.
        rows_max = rows.len().saturating_mul(4).min(events_max.saturating_add(1));
    }
}

/// The ids of a page.
struct Window {
    ids: Vec<(Position, Uuid)>,
    /// After all of them.
    next: Position,
    /// Whether there are no more.
    is_end: bool,
}

impl Window {
    /// `is_all`: no row follows. `None` where the row that follows is missing.
    fn of(
        rows: &[FeedRow],
        after: Position,
        events_max: usize,
        is_all: bool,
    ) -> Result<Option<Self>, StoreError> {
        let (mut ids, mut next) = (Vec::new(), after);
        let first = rows.first().map_or(0, |row| row.position);
        for (expected, row) in (first..).zip(rows) {
            // Rows have no gap. Where one is missing all the same, the page ends before it, and the next one says so.
            if row.position != expected {
                let before = Self { ids, next, is_end: false };
                return Ok(Some(before).filter(|before| !before.ids.is_empty()));
            }
            for (place, id) in row.ids()?.into_iter().enumerate() {
                let position = Position::of(row.position, place);
                if position <= after {
                    continue;
                }
                if ids.len() >= events_max {
                    return Ok(Some(Self { ids, next, is_end: false }));
                }
                ids.push((position, id));
                next = position;
            }
            next = next.max(Position::behind(row.position));
        }
        Ok(Some(Self { ids, next, is_end: is_all }))
    }
}

/// What was read of some events.
#[derive(Default)]
struct Found {
    events: Vec<(Position, StoredEvent)>,
    /// Those whose rows cannot be read.
    unreadable: Vec<(Position, Uuid)>,
    /// The position of the last one, where the page ends there, as the bodies come to `bytes_max`.
    last: Option<Position>,
}

/// The events with these ids that are still stored, until their bodies come to `bytes_max`.
async fn read<R: Reader>(
    reader: &R,
    ids: &[(Position, Uuid)],
    bytes_max: usize,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    if ids.is_empty() {
        return Ok(found);
    }
    // The time is in the id; it names the partition.
    let times = || ids.iter().map(|(_, id)| event_id::time_of(*id));
    let (first, last) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
    let wanted = ids.iter().map(|(_, id)| format!("[{},\"{id}\"]", event_id::time_of(*id).0));
    let wanted = format!("[{}]", wanted.collect::<Vec<_>>().join(","));
    let [before, bounded, behind] = R::DIALECT.select_wanted;
    let mut sql = reader.statement(before);
    sql.text(&wanted).push(bounded).time(first).push(" and event_time <= ").time(last).push(behind);
    // Both databases give them in the order wanted; if one did not, all would be read.
    let (mut bytes, mut last, mut in_order) = (0, -1, true);
    let mut is_full = false;
    let is_enough = |row: &Wanted| {
        in_order &= row.place > last;
        last = row.place;
        bytes += row.event.as_ref().map_or(0, Row::body_bytes);
        is_full = in_order && bytes >= bytes_max;
        is_full
    };
    let mut rows: Vec<Wanted> = reader.fetch_until(sql, is_enough).await?;
    rows.sort_by_key(|row| row.place);
    for Wanted { place, event } in rows {
        let place = usize::try_from(place).ok().and_then(|place| ids.get(place));
        let Some((position, id)) = place.copied() else { continue };
        found.last = Some(position).filter(|_| is_full);
        // One damaged row must not keep readers from all others. Who wants it reads it alone, and learns why it cannot be read.
        match event.map_err(StoreError::Unavailable).and_then(StoredEvent::try_from) {
            Ok(event) => found.events.push((position, event)),
            Err(_) => found.unreadable.push((position, id)),
        }
    }
    Ok(found)
}
