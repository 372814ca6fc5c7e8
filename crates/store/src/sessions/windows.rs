//! The creates and destroys around a day that determine a room's sessions, as few as suffice.
//!
//! Of each day of a room only the first boundaries up to a maximum count, by time, event and ordinal; the others
//! begin and end no session. This bounds the sessions of a day. While fewer boundaries count than a day has minutes,
//! two days contain a gap of a minute between those of one kind, after which nothing depends on what was before.

use crate::error::StoreError;
use crate::sessions::queue::{END, Queued, RoomId, SettlerConnection};
use crate::sql::connection::Arg;
use projections::session::boundaries::{Boundary, EARLY_MS, GRACE_MS};
use protocol::UnixMillis;

/// The length of a day, in ms.
const DAY_MS: i64 = 86_400_000;
/// Two boundaries of one kind further apart than this are certain to belong to different sessions, in ms.
const APART_MS: i64 = 60_000;
/// Maximum number of boundaries read for one day of a room. No real room has so many that leave its state open: if
/// one does, the first boundary found is taken as the beginning of a session.
const SEARCH_MAX: usize = 10_000;
/// Maximum number of boundaries in a day of a room that is settled in a batch.
const QUICK_MAX: usize = 64;

/// The boundaries of a room around a day, and the range of sessions that they determine for certain.
#[derive(Debug)]
pub struct Window {
    /// All relevant boundaries.
    pub boundaries: Vec<Boundary>,
    /// Sessions with a key from here on are certain.
    pub session_first: i64,
    /// Sessions with a key up to here are certain.
    pub session_last: i64,
    /// For each day over the maximum, the first boundary that does not count.
    pub left_out: Vec<UnixMillis>,
}

impl Window {
    /// Inclusive start and exclusive end of a day.
    #[must_use]
    pub fn day(day: i64) -> (UnixMillis, UnixMillis) {
        (UnixMillis(day * DAY_MS), UnixMillis((day + 1) * DAY_MS))
    }
}

/// The search for the boundaries that determine the sessions of one room around a day.
struct Search<'a> {
    room: &'a RoomId,
    /// The range of the day, in ms.
    day: (i64, i64),
    /// The boundaries in `from..until`, by time.
    known: Vec<Boundary>,
    from: i64,
    until: i64,
    left_out: Vec<UnixMillis>,
    is_too_much: bool,
}

type Row = (i64, String, Option<i64>);

impl<'a> Search<'a> {
    fn new(queued: &'a Queued) -> Self {
        let (from, until) = Window::day(queued.day);
        Self {
            room: &queued.room,
            day: (from.0, until.0),
            known: Vec::new(),
            from: from.0,
            until: until.0,
            left_out: Vec::new(),
            is_too_much: false,
        }
    }

    /// Adds the boundaries of a day, of which the first `max` count.
    fn take(&mut self, rows: Vec<Row>, max: usize) {
        let boundary = |(at, kind, created_at): Row| Boundary {
            at: UnixMillis(at),
            creates: kind == "create",
            created_at: created_at.map(UnixMillis),
        };
        let mut day: Vec<Boundary> = rows.into_iter().map(boundary).collect();
        if let Some(first) = day.get(max) {
            self.left_out.push(first.at);
            day.truncate(max);
        }
        let place =
            self.known.partition_point(|known| day.first().is_none_or(|new| known.at < new.at));
        self.known.splice(place..place, day);
    }

    /// Whether no boundary of its kind is within the minute before; `None` where that is not known yet.
    fn is_apart(&self, place: usize) -> Option<bool> {
        let of = self.known.get(place)?;
        let before = self.known[..place].iter().rev();
        let near = before.take_while(|other| other.at.0 >= of.at.0 - APART_MS);
        let is_near = near.into_iter().any(|other| other.creates == of.creates && other.at < of.at);
        if is_near { Some(false) } else { (of.at.0 - APART_MS >= self.from).then_some(true) }
    }

    /// Whether its moment has boundaries of both kinds: then the state after it depends on the state before.
    fn is_paired(&self, place: usize) -> bool {
        let of = &self.known[place];
        let begin = self.known.partition_point(|known| known.at < of.at);
        let moment = self.known[begin..].iter().take_while(|other| other.at == of.at);
        moment.into_iter().any(|other| other.creates != of.creates)
    }

    /// The last moment before `at` after which nothing depends on earlier boundaries.
    fn apart_before(&self, at: i64) -> Option<i64> {
        let end = self.known.partition_point(|known| known.at.0 < at);
        let decides =
            |place: &usize| self.is_apart(*place) == Some(true) && !self.is_paired(*place);
        (0..end).rev().find(decides).map(|place| self.known[place].at.0)
    }

    /// The first boundary from `at` on that is apart from others of its kind.
    fn apart_from(&self, at: i64) -> Option<i64> {
        let begin = self.known.partition_point(|known| known.at.0 < at);
        let mut places = begin..self.known.len();
        places.find(|place| self.is_apart(*place) == Some(true)).map(|place| self.known[place].at.0)
    }

    /// The first certain session, and the boundary that determines its start.
    fn beginning(&self) -> (Option<i64>, Option<i64>) {
        let first = self.apart_before((self.day.0 - APART_MS).max(0));
        (first, first.and_then(|first| self.apart_before((first - APART_MS).max(0))))
    }

    /// The last certain session, and the latest time that may influence its end.
    fn end(&self) -> (Option<i64>, Option<i64>) {
        let last = self.apart_from(self.day.1 + APART_MS);
        let end = last.and_then(|last| self.apart_from(last + APART_MS + 1));
        (last, end.map(|end| end + GRACE_MS + EARLY_MS))
    }

    fn wants_earlier(&self) -> bool {
        !self.is_too_much
            && self.from > 0
            && self.known.len() < SEARCH_MAX
            && self.beginning().1.is_none()
    }

    fn wants_later(&self) -> bool {
        !self.is_too_much && self.until < END && self.end().1.is_none_or(|end| end >= self.until)
    }

    fn finish(self) -> Option<Window> {
        if self.is_too_much {
            return None;
        }
        let ((first, context), (last, end)) = (self.beginning(), self.end());
        // Before `from` nothing was read: it is 0, or the search was given up.
        let (from, until) = (context.unwrap_or(self.from), end.unwrap_or(END));
        let mut boundaries = self.known;
        boundaries.retain(|known| (from..=until).contains(&known.at.0));
        Some(Window {
            boundaries,
            session_first: first.unwrap_or(from),
            session_last: last.unwrap_or(END),
            left_out: self.left_out,
        })
    }
}

impl SettlerConnection {
    /// The window of each queued room around its day, where at most `per_day_max` boundaries of a day count; `None`
    /// where there are more than `QUICK_MAX` and `deep` is not set.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn windows(
        &mut self,
        queued: &[Queued],
        per_day_max: u32,
        deep: bool,
    ) -> Result<Vec<Option<Window>>, StoreError> {
        let max = usize::try_from(per_day_max).unwrap_or(usize::MAX);
        let quick_max = if deep { usize::MAX } else { QUICK_MAX };
        let mut all: Vec<Search<'_>> = queued.iter().map(Search::new).collect();
        let days = all.iter().map(|of| of.day).collect();
        self.read_days(all.iter_mut().collect(), days, (max, quick_max)).await?;
        loop {
            let wanting: Vec<_> = all.iter_mut().filter(|of| of.wants_earlier()).collect();
            if wanting.is_empty() {
                break;
            }
            let (wanting, days) = self.earlier(wanting).await?;
            self.read_days(wanting, days, (max, quick_max)).await?;
        }
        loop {
            let wanting: Vec<_> = all.iter_mut().filter(|of| of.wants_later()).collect();
            if wanting.is_empty() {
                break;
            }
            let (wanting, days) = self.later(wanting).await?;
            self.read_days(wanting, days, (max, quick_max)).await?;
        }
        Ok(all.into_iter().map(Search::finish).collect())
    }

    /// Finds the previous day with boundaries for each room that needs it.
    async fn earlier<'s, 'a>(
        &mut self,
        wanting: Vec<&'s mut Search<'a>>,
    ) -> Result<(Vec<&'s mut Search<'a>>, Vec<(i64, i64)>), StoreError> {
        let lists: Vec<Vec<Arg>> = wanting.iter().map(|of| of.room.and([of.from.into()])).collect();
        let found: Vec<Vec<(i64,)>> = self.0.each(LAST_BEFORE, &lists).await?;
        let (mut rest, mut days) = (Vec::new(), Vec::new());
        for (of, found) in wanting.into_iter().zip(found) {
            of.from = found.first().map_or(0, |found| found.0 + 1);
            if of.wants_earlier() {
                let day = (of.from - 1).div_euclid(DAY_MS) * DAY_MS;
                days.push((day, of.from));
                of.from = day;
                rest.push(of);
            }
        }
        Ok((rest, days))
    }

    /// Finds the next day with boundaries for each room that needs it.
    async fn later<'s, 'a>(
        &mut self,
        wanting: Vec<&'s mut Search<'a>>,
    ) -> Result<(Vec<&'s mut Search<'a>>, Vec<(i64, i64)>), StoreError> {
        let lists: Vec<Vec<Arg>> =
            wanting.iter().map(|of| of.room.and([of.until.into()])).collect();
        let found: Vec<Vec<(i64,)>> = self.0.each(FIRST_FROM, &lists).await?;
        let (mut rest, mut days) = (Vec::new(), Vec::new());
        for (of, found) in wanting.into_iter().zip(found) {
            of.until = found.first().map_or(END, |found| found.0);
            if of.wants_later() {
                let day_end = (of.until.div_euclid(DAY_MS) + 1) * DAY_MS;
                days.push((of.until, day_end));
                of.until = day_end;
                rest.push(of);
            }
        }
        Ok((rest, days))
    }

    /// Reads the boundaries of a day for each room.
    async fn read_days(
        &mut self,
        all: Vec<&mut Search<'_>>,
        days: Vec<(i64, i64)>,
        (max, quick_max): (usize, usize),
    ) -> Result<(), StoreError> {
        let limit = i64::try_from(max.min(quick_max)).unwrap_or(i64::MAX).saturating_add(1);
        let lists: Vec<Vec<Arg>> = all
            .iter()
            .zip(days)
            .map(|(of, (from, until))| of.room.and([from.into(), until.into(), limit.into()]))
            .collect();
        let found: Vec<Vec<Row>> = self.0.each(OF_DAY, &lists).await?;
        for (of, rows) in all.into_iter().zip(found) {
            of.is_too_much |= rows.len() > quick_max && max > quick_max;
            of.take(rows, max);
        }
        Ok(())
    }
}

/// The boundaries of a room within a range of time.
const OF_DAY: &str = "
    select @ms(at), kind, @ms(created_at) from room_changes
    where sdk_app_id = $1 and room_id = $2 and at >= @at(3) and at < @at(4) and kind in ('create', 'destroy')
    order by room_changes.at, room_changes.event_id, room_changes.ordinal limit $5";

/// The last boundary of a room before a time.
const LAST_BEFORE: &str = "
    select @ms(at) from room_changes
    where sdk_app_id = $1 and room_id = $2 and at < @at(3) and kind in ('create', 'destroy')
    order by room_changes.at desc limit 1";

/// The first boundary of a room from a time on.
const FIRST_FROM: &str = "
    select @ms(at) from room_changes
    where sdk_app_id = $1 and room_id = $2 and at >= @at(3) and kind in ('create', 'destroy')
    order by room_changes.at limit 1";

#[cfg(test)]
mod tests {
    use crate::sessions::windows::*;

    #[test]
    fn the_search_before_a_create_is_bounded() {
        let room = RoomId { app: 1, room_id: "r".to_owned() };
        let queued = Queued { room, day: 20_000, slot_first: 0, slot_last: 0 };
        let mut search = Search::new(&queued);
        // Both in one ms, more than a minute apart, on every day: the state never becomes certain.
        let of_day = |day: i64| -> Vec<Row> {
            let moments = (day * DAY_MS..(day + 1) * DAY_MS).step_by(70_000);
            moments
                .flat_map(|at| ["create", "destroy"].map(|kind| (at, kind.to_owned(), None)))
                .collect()
        };
        let mut day = queued.day;
        search.take(of_day(day), usize::MAX);
        while search.wants_earlier() {
            day -= 1;
            search.from = day * DAY_MS;
            search.take(of_day(day), usize::MAX);
            assert!(day > queued.day - 10, "it goes on for ever");
        }
        search.until = END;
        let window = search.finish().expect("it is not too much");
        assert_eq!(window.session_first, day * DAY_MS);
        assert!(window.boundaries.iter().all(|of| of.at.0 >= window.session_first));
    }
}
