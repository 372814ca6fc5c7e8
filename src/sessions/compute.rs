//! One session of a room: what is known of it, summed up.

use std::time::Duration;

use crate::projections::change::RoomFamily;
use crate::projections::session::boundaries::SessionBounds;
use crate::projections::session::presence::PresenceFigures;
use crate::projections::session::statistics::RoomSum;
use crate::store::{
    Attendance, Finding, Live, LiveFacts, Room, RoomId, SettlerConnection, Span, StoreError,
};
use protocol::UnixMillis;

/// What settling a room depends on beside its facts.
pub(crate) struct Round {
    /// The present.
    pub(crate) now: UnixMillis,
    /// How long nothing may be heard of an open room; `None` for ever.
    pub(crate) idle_max: Option<Duration>,
    /// The last slot of the queue of which everything can be seen.
    pub(crate) slot_old: i64,
    /// Whether a room that is open stays so however long nothing is heard of it.
    pub(crate) keeps_open: bool,
    /// Whether rooms of which there is much are settled too, one row after the other; else they are left for that.
    pub(crate) deep: bool,
    /// How many creates and destroys count of each day of a room.
    pub(crate) boundaries_per_day_max: u32,
    /// The most that the metadata of one session takes. In bytes.
    pub(crate) session_bytes_max: usize,
}

/// A session that facts may have changed.
pub(crate) struct SessionInput<'a> {
    /// The place of its room among those that are queued.
    pub(crate) place: usize,
    pub(crate) room: &'a RoomId,
    pub(crate) session: SessionBounds,
    /// Whether it is there, and open.
    pub(crate) was_open: bool,
    /// Whether creates or destroys behind its beginning were left out.
    pub(crate) has_left_out: bool,
}

/// The rows of one session.
pub(crate) struct SessionRows {
    pub(crate) row: Room,
    pub(crate) live: Option<Live>,
}

/// The outcome of computing a session.
pub(crate) enum Outcome {
    /// Its facts have all gone meanwhile.
    Gone,
    /// There is much of it, and only what takes little was asked for.
    TooMuch,
    /// It is this.
    Done(Box<SessionRows>),
}

/// Sums up some sessions.
pub(crate) async fn compute(
    store: &mut SettlerConnection,
    touched: &[SessionInput<'_>],
    round: &Round,
) -> Result<Vec<Outcome>, StoreError> {
    let spans: Vec<Span<'_>> = touched.iter().map(|it| Span::of(it.room, &it.session)).collect();
    let times = store.times(&spans).await?;
    let destroyed_at: Vec<_> = touched.iter().map(|it| it.session.destroyed_at).collect();
    let changes = store.changes(&spans, &destroyed_at, round.deep).await?;
    let attendances = store.attendances(&spans).await?;
    let mut sums = Vec::with_capacity(touched.len());
    for (((touched, span), times), (changes, mut attendance)) in
        touched.iter().zip(&spans).zip(times).zip(changes.into_iter().zip(attendances))
    {
        let Some(times) = times else {
            sums.push(Err(Outcome::Gone));
            continue;
        };
        if round.deep {
            // One after the other, and each summed up at once: who is inside of a hot room takes memory.
            store.attend_all(*span, &mut attendance).await?;
        }
        sums.push(match changes {
            Some(changes) if attendance.is_whole() => {
                Ok(Sum::of(touched, times, round, changes, attendance))
            }
            _ => Err(Outcome::TooMuch),
        });
    }
    let may_be_live = |sum: &Result<Sum, Outcome>| sum.as_ref().is_ok_and(Sum::may_be_live);
    let live = spans.iter().zip(&sums).filter(|(_, sum)| may_be_live(sum));
    let live: Vec<Span<'_>> = live.map(|(span, _)| *span).collect();
    let mut facts =
        store.live_sessions(&live, round.session_bytes_max, round.deep).await?.into_iter();
    let computed = touched.iter().zip(sums).map(|(touched, sum)| {
        let facts = if may_be_live(&sum) { facts.next() } else { Some(None) };
        match (sum, facts) {
            (Ok(sum), Some(Some(facts))) => Outcome::Done(Box::new(sum.with(Some(facts), touched))),
            (Ok(sum), Some(None)) if !sum.may_be_live() => {
                Outcome::Done(Box::new(sum.with(None, touched)))
            }
            (Ok(_), _) => Outcome::TooMuch,
            (Err(outcome), _) => outcome,
        }
    });
    Ok(computed.collect())
}

/// A session, summed up but for what only live rooms have.
struct Sum {
    session: SessionBounds,
    first_at: UnixMillis,
    last_at: UnixMillis,
    state: &'static str,
    ended_at: Option<UnixMillis>,
    changes: RoomSum,
    family: Option<String>,
    figures: PresenceFigures,
}

impl Sum {
    fn of(
        touched: &SessionInput<'_>,
        (first_at, last_at): (UnixMillis, UnixMillis),
        round: &Round,
        changes: RoomSum,
        attendance: Attendance,
    ) -> Self {
        let session = touched.session;
        let stays = round.keeps_open && touched.was_open;
        let idle = !stays && round.idle_max.is_some_and(|max| last_at.plus(max) < round.now);
        let state = match session.is_open() {
            true if idle => "overdue",
            true => "open",
            false => "ended",
        };
        // One that was not destroyed ended between the last that is known of it and the next that begins.
        let ended_at = session.destroyed_at.or_else(|| (state != "open").then_some(last_at));
        let presence = attendance.presence;
        let family = changes.family.clone().or_else(|| presence.family.clone());
        let figures = presence.figures(ended_at);
        Self { session, first_at, last_at, state, ended_at, changes, family, figures }
    }

    fn may_be_live(&self) -> bool {
        self.family.as_deref() != Some("room")
    }

    fn with(self, facts: Option<LiveFacts>, touched: &SessionInput<'_>) -> SessionRows {
        let room = touched.room;
        let Self { session, ended_at, changes, figures, .. } = self;
        let facts = facts.filter(|facts| self.family.is_some() || !facts.is_empty());
        let family = if facts.is_some() { RoomFamily::Live } else { RoomFamily::Room };
        let live = facts.map(|facts| live_row(room, &session, &changes, facts));
        let properties = changes.properties();
        let cut = cut(&[
            ("properties", changes.has_cut_properties()),
            ("visitors", figures.is_cut),
            ("sessions", touched.has_left_out),
        ]);
        let row = Room {
            sdk_app_id: room.app,
            room_id: room.room_id.clone(),
            session: session.session,
            family: self.family.unwrap_or_else(|| family.as_str().to_owned()),
            name: changes.name,
            owner: changes.owner,
            room_type: changes.room_type,
            state: self.state.to_owned(),
            started_at: session.created_at.unwrap_or(self.first_at),
            created_at: session.created_at,
            created_by: changes.created_by,
            destroyed_at: session.destroyed_at,
            destroyed_by: changes.destroyed_by,
            destroy_cause: changes.destroy_cause,
            ended_at,
            from_at: session.from_at,
            until_at: session.until_at,
            last_at: self.last_at,
            inferred: ended_at.is_some() && session.destroyed_at.is_none(),
            members: figures.members,
            members_peak: figures.members_peak,
            visitors: figures.visitors,
            entries: figures.entries,
            leaves_missing: figures.leaves_missing,
            enters_missing: figures.enters_missing,
            max_members: changes.max_members,
            max_seats: changes.max_seats,
            properties,
            occupancy: figures.occupancy,
            cut,
        };
        SessionRows { row, live }
    }
}

fn live_row(room: &RoomId, session: &SessionBounds, sum: &RoomSum, facts: LiveFacts) -> Live {
    let gifts = facts.gifts;
    Live {
        sdk_app_id: room.app,
        room_id: room.room_id.clone(),
        session: session.session,
        total_viewers: sum.total("total_viewers"),
        total_gifts_sent: sum.total("total_gifts_sent"),
        total_gift_coins: sum.total("total_gift_coins"),
        total_gift_senders: sum.total("total_unique_gift_senders"),
        total_likes: sum.total("total_likes_received"),
        gifts: gifts.gifts,
        gift_coins: gifts.gift_coins,
        // It is not stored.
        gift_coins_difference: None,
        gift_senders: gifts.gift_senders,
        top_senders: gifts.top_senders,
        top_receivers: gifts.top_receivers,
        battles: facts.battles,
        admins: sum.admins().iter().map(String::as_str).collect::<serde_json::Value>().to_string(),
        cut: cut(&[
            ("metadata", facts.metadata.is_cut()),
            ("admins", sum.admins().is_cut()),
            ("gift_senders", gifts.is_cut),
        ]),
        metadata: facts.metadata.object(),
    }
}

/// The names of what is cut, as a list; `None` where nothing is.
fn cut(of: &[(&str, bool)]) -> Option<String> {
    let names: Vec<&str> = of.iter().filter(|(_, is_cut)| *is_cut).map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| serde_json::json!(names).to_string())
}

/// What is missing in a session.
pub(crate) fn findings(row: &Room) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |kind, happened_at, detail| {
        let (app, subject, session) = (row.sdk_app_id, row.room_id.clone(), row.session);
        found.push(Finding { app, kind, subject, session, happened_at, detail });
    };
    if row.created_at.is_none() {
        let detail = "no create event came; it began with the first event there is".to_owned();
        add("room_without_create", row.started_at, detail);
    }
    if row.enters_missing > 0 {
        let detail =
            format!("leave events without an enter event before them: {}", row.enters_missing);
        add("enters_missing", row.started_at, detail);
    }
    let Some(ended_at) = row.ended_at else { return found };
    if row.destroyed_at.is_none() {
        let why = if row.until_at.is_some() {
            "the room id was used again"
        } else {
            "nothing was heard of it for long"
        };
        let detail = format!(
            "no destroy event came, and {why}; it is said to have ended with its last event"
        );
        add("room_without_destroy", ended_at, detail);
    }
    // A live room's viewers are not told of any more once it is destroyed. Source: 647/64424.
    let expected = row.family == RoomFamily::Live.as_str() && row.destroyed_at.is_some();
    if row.leaves_missing > 0 && !expected {
        let detail = format!(
            "{} of {} accounts were inside when it ended",
            row.leaves_missing, row.visitors
        );
        add("leaves_missing", ended_at, detail);
    }
    found
}
