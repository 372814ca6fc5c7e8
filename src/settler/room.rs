//! Settles rooms, some at once: their lives around the day of which new facts are known.

use std::time::Duration;

use crate::clock::UnixMillis;
use crate::handlers::change::RoomFamily;
use crate::handlers::lives::{self, EARLY_MS, Life};
use crate::handlers::presence::PresenceFigures;
use crate::handlers::sums::RoomSum;
use crate::store::{
    Attendance, Finding, Known, Live, LiveFacts, Queued, Room, RoomId, Settlement, Settling, Span,
    StoreError, Window,
};

/// How many rooms, or lives of them, are read at once.
pub(super) const AT_ONCE: usize = 32;

/// What settling a room depends on beside its facts.
pub(super) struct Round {
    /// The present.
    pub(super) now: UnixMillis,
    /// How long nothing may be heard of an open room; `None` for ever.
    pub(super) idle_max: Option<Duration>,
    /// The last slot of the queue of which everything can be seen.
    pub(super) slot_old: i64,
    /// Whether a room that is open stays so however long nothing is heard of it.
    pub(super) keeps_open: bool,
}

/// What settling a room comes to.
pub(super) struct Plan {
    /// What is to be written.
    pub(super) settlement: Settlement,
    /// Lives that were looked at.
    pub(super) looked_at: Vec<i64>,
    /// Lives that are there.
    pub(super) rooms_before: Vec<i64>,
    /// Those that are there as lives of a live room.
    pub(super) lives_before: Vec<i64>,
    known: Vec<Known>,
}

impl Plan {
    /// Whether such a gap of a life is listed already.
    pub(super) fn knows(&self, kind: &str, life: i64) -> bool {
        self.known.iter().any(|known| known.kind == kind && known.life == life)
    }
}

/// What may be missing in a life.
const KINDS: [&str; 4] =
    ["room_without_create", "room_without_destroy", "leaves_missing", "enters_missing"];

/// Settles the lives of rooms that facts of a day may have changed: of each room one day, and of all of them or none. Returns
/// the kinds of the gaps that are new.
pub(super) async fn settle(
    store: &mut Settling,
    queued: &[Queued],
    round: &Round,
) -> Result<Vec<&'static str>, StoreError> {
    let plans = plan(store, queued, round).await?;
    let settlements = queued.iter().zip(plans.iter().map(|plan| &plan.settlement));
    store.write(settlements, round.now).await?;
    let found = plans.iter().flat_map(|plan| {
        let is_new = |found: &&Finding| !plan.knows(found.kind, found.life);
        plan.settlement.found.iter().filter(is_new).map(|found| found.kind)
    });
    Ok(found.collect())
}

/// A life that facts may have changed, and what is settled of it.
struct Touched<'a> {
    /// The place of its room among those that are queued.
    place: usize,
    room: &'a RoomId,
    life: Life,
    before: Option<&'a Room>,
}

/// Computes the lives of rooms that facts of a day may have changed, and compares them with those that are there.
pub(super) async fn plan(
    store: &mut Settling,
    queued: &[Queued],
    round: &Round,
) -> Result<Vec<Plan>, StoreError> {
    let windows = store.windows(queued).await?;
    let lives = lives_of(store, queued, &windows).await?;
    let rooms = || queued.iter().map(|queued| &queued.room).zip(&windows);
    let settled = store.settled(rooms()).await?;
    let known = store.known(&KINDS, rooms()).await?;
    let mut touched = Vec::new();
    for (place, (queued, (lives, settled))) in
        queued.iter().zip(lives.iter().zip(&settled)).enumerate()
    {
        let (day_begin, day_end) = Window::day(queued.day);
        for life in lives {
            let before = settled.0.iter().find(|row| row.life == life.life);
            let is_touched =
                life.from_at < day_end && life.until_at.is_none_or(|until| until > day_begin);
            if is_touched || before.is_none_or(|row| !is_cut_so(row, life)) {
                touched.push(Touched { place, room: &queued.room, life: *life, before });
            }
        }
    }
    let mut computed = Vec::with_capacity(touched.len());
    for touched in touched.chunks(AT_ONCE) {
        computed.extend(compute(store, touched, round).await?);
    }
    let mut computed = touched.iter().zip(computed).peekable();
    let rooms = queued.iter().zip(&lives).zip(settled.iter().zip(known)).enumerate();
    let plans = rooms.map(|(place, ((queued, lives), (settled, known)))| {
        let mut draft = Draft::new(queued, round, &settled.1, known);
        while let Some((touched, computed)) =
            computed.next_if(|(touched, _)| touched.place == place)
        {
            draft.take(touched, computed);
        }
        draft.finish(lives, settled)
    });
    Ok(plans.collect())
}

/// A plan that is being made.
struct Draft<'a> {
    settlement: Settlement,
    looked_at: Vec<i64>,
    lives_known: &'a [Live],
    known: Vec<Known>,
    /// What is out of order mostly comes within seconds, so what is missing is listed when it was quiet for a while.
    quiet: bool,
}

impl<'a> Draft<'a> {
    fn new(queued: &Queued, round: &Round, lives_known: &'a [Live], known: Vec<Known>) -> Self {
        let settlement = Settlement {
            done: (queued.slot_first <= round.slot_old).then_some(round.slot_old),
            ..Settlement::default()
        };
        let quiet = queued.slot_last <= round.slot_old;
        Self { settlement, looked_at: Vec::new(), lives_known, known, quiet }
    }

    fn take(&mut self, touched: &Touched<'_>, computed: Option<Computed>) {
        let life = touched.life.life;
        self.looked_at.push(life);
        let Some(Computed { row, live }) = computed else { return };
        let live_before = self.lives_known.iter().find(|row| row.life == life);
        match live {
            Some(row) if live_before != Some(&row) => self.settlement.lives.push(row),
            None if live_before.is_some() => self.settlement.lives_gone.push(life),
            _ => {}
        }
        compare(&findings(&row), &self.known, life, self.quiet, &mut self.settlement);
        if touched.before != Some(&row) {
            self.settlement.rooms.push(row);
        }
    }

    /// With what is there and no longer should be.
    fn finish(self, lives: &[Life], (rooms, lives_known): &(Vec<Room>, Vec<Live>)) -> Plan {
        let Self { mut settlement, looked_at, known, .. } = self;
        let is_gone = |life: i64| !lives.iter().any(|is| is.life == life);
        let rooms_before: Vec<i64> = rooms.iter().map(|row| row.life).collect();
        let lives_before: Vec<i64> = lives_known.iter().map(|row| row.life).collect();
        let gone = |before: &[i64]| -> Vec<i64> {
            before.iter().copied().filter(|life| is_gone(*life)).collect()
        };
        settlement.rooms_gone = gone(&rooms_before);
        settlement.lives_gone.extend(gone(&lives_before));
        let resolved = known.iter().filter(|known| is_gone(known.life));
        settlement.resolved.extend(resolved.map(|known| (known.kind.clone(), known.life)));
        Plan { settlement, looked_at, rooms_before, lives_before, known }
    }
}

/// The lives of each room that are told for certain.
async fn lives_of(
    store: &mut Settling,
    queued: &[Queued],
    windows: &[Window],
) -> Result<Vec<Vec<Life>>, StoreError> {
    let matters = |window: &Window, (from, until): (UnixMillis, Option<UnixMillis>)| {
        until.is_none_or(|until| until.0 + EARLY_MS >= window.life_first)
            && from.0 <= window.life_last
    };
    let mut asked = Vec::new();
    for (queued, window) in queued.iter().zip(windows) {
        let gaps = lives::gaps(&window.boundaries).into_iter();
        let gaps = gaps.filter(|gap| matters(window, *gap));
        asked.extend(gaps.map(|(from, until)| Span { room: &queued.room, from, until }));
    }
    let mut answers = Vec::with_capacity(asked.len());
    for asked in asked.chunks(AT_ONCE) {
        answers.extend(store.have_facts(asked).await?);
    }
    let mut answers = answers.into_iter();
    let lives = windows.iter().map(|window| {
        let has_fact = |from, until| matters(window, (from, until)) && answers.next() == Some(true);
        let mut all = lives::cut(&window.boundaries, has_fact);
        all.retain(|life| (window.life_first..=window.life_last).contains(&life.life));
        all
    });
    Ok(lives.collect())
}

fn is_cut_so(row: &Room, life: &Life) -> bool {
    row.from_at == life.from_at
        && row.until_at == life.until_at
        && row.created_at == life.created_at
        && row.destroyed_at == life.destroyed_at
}

/// What a life comes to.
struct Computed {
    row: Room,
    live: Option<Live>,
}

/// Sums up some lives; `None` for those whose facts have all gone meanwhile.
async fn compute(
    store: &mut Settling,
    touched: &[Touched<'_>],
    round: &Round,
) -> Result<Vec<Option<Computed>>, StoreError> {
    let spans: Vec<Span<'_>> = touched.iter().map(|it| Span::of(it.room, &it.life)).collect();
    let times = store.times(&spans).await?;
    let destroyed_at: Vec<_> = touched.iter().map(|it| it.life.destroyed_at).collect();
    let changes = store.changes(&spans, &destroyed_at).await?;
    let attendances = store.attendances(&spans).await?;
    let mut sums = Vec::with_capacity(touched.len());
    for (((touched, span), times), (changes, mut attendance)) in
        touched.iter().zip(&spans).zip(times).zip(changes.into_iter().zip(attendances))
    {
        let Some(times) = times else {
            sums.push(None);
            continue;
        };
        // One after the other, and each summed up at once: who is inside of a hot room takes memory.
        store.attend_all(*span, &mut attendance).await?;
        sums.push(Some(Sum::of(touched, times, round, changes, attendance)));
    }
    let may_be_live = |sum: &Option<Sum>| sum.as_ref().is_some_and(Sum::may_be_live);
    let live = spans.iter().zip(&sums).filter(|(_, sum)| may_be_live(sum));
    let live: Vec<Span<'_>> = live.map(|(span, _)| *span).collect();
    let mut facts = store.lives(&live).await?.into_iter();
    let computed = touched.iter().zip(sums).map(|(touched, sum)| {
        let facts = if may_be_live(&sum) { facts.next() } else { None };
        sum.map(|sum| sum.with(facts, touched.room))
    });
    Ok(computed.collect())
}

/// A life, summed up but for what only live rooms have.
struct Sum {
    life: Life,
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
        touched: &Touched<'_>,
        (first_at, last_at): (UnixMillis, UnixMillis),
        round: &Round,
        changes: RoomSum,
        attendance: Attendance,
    ) -> Self {
        let life = touched.life;
        let stays = round.keeps_open && touched.before.is_some_and(|row| row.state == "open");
        let idle = !stays && round.idle_max.is_some_and(|max| last_at.plus(max) < round.now);
        let state = match life.is_open() {
            true if idle => "overdue",
            true => "open",
            false => "ended",
        };
        // One that was not destroyed ended between the last that is known of it and the next that begins.
        let ended_at = life.destroyed_at.or_else(|| (state != "open").then_some(last_at));
        let presence = attendance.presence;
        let family = changes.family.clone().or_else(|| presence.family.clone());
        let figures = presence.figures(ended_at);
        Self { life, first_at, last_at, state, ended_at, changes, family, figures }
    }

    fn may_be_live(&self) -> bool {
        self.family.as_deref() != Some("room")
    }

    fn with(self, facts: Option<LiveFacts>, room: &RoomId) -> Computed {
        let Self { life, ended_at, changes, figures, .. } = self;
        let facts = facts.filter(|facts| self.family.is_some() || !facts.is_empty());
        let family = if facts.is_some() { RoomFamily::Live } else { RoomFamily::Room };
        let live = facts.map(|facts| live_row(room, &life, &changes, facts));
        let properties = changes.properties();
        let row = Room {
            sdk_app_id: room.app,
            room_id: room.room_id.clone(),
            life: life.life,
            family: self.family.unwrap_or_else(|| family.as_str().to_owned()),
            name: changes.name,
            owner: changes.owner,
            room_type: changes.room_type,
            state: self.state.to_owned(),
            started_at: life.created_at.unwrap_or(self.first_at),
            created_at: life.created_at,
            created_by: changes.created_by,
            destroyed_at: life.destroyed_at,
            destroyed_by: changes.destroyed_by,
            destroy_cause: changes.destroy_cause,
            ended_at,
            from_at: life.from_at,
            until_at: life.until_at,
            last_at: self.last_at,
            inferred: ended_at.is_some() && life.destroyed_at.is_none(),
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
        };
        Computed { row, live }
    }
}

fn live_row(room: &RoomId, life: &Life, sum: &RoomSum, facts: LiveFacts) -> Live {
    let gifts = facts.gifts;
    Live {
        sdk_app_id: room.app,
        room_id: room.room_id.clone(),
        life: life.life,
        total_viewers: sum.total("total_viewers"),
        total_gifts_sent: sum.total("total_gifts_sent"),
        total_gift_coins: sum.total("total_gift_coins"),
        total_gift_senders: sum.total("total_unique_gift_senders"),
        total_likes: sum.total("total_likes_received"),
        gifts: gifts.gifts,
        gift_coins: gifts.gift_coins,
        gift_senders: gifts.gift_senders,
        top_senders: gifts.top_senders,
        top_receivers: gifts.top_receivers,
        battles: facts.battles,
        admins: serde_json::json!(sum.admins()).to_string(),
        metadata: object(facts.metadata),
    }
}

fn object(pairs: Vec<(String, String)>) -> String {
    let pairs = pairs.into_iter().map(|(key, value)| (key, serde_json::Value::from(value)));
    serde_json::Value::Object(pairs.collect()).to_string()
}

/// What is missing in a life.
fn findings(row: &Room) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |kind, happened_at, detail| {
        let (app, subject, life) = (row.sdk_app_id, row.room_id.clone(), row.life);
        found.push(Finding { app, kind, subject, life, happened_at, detail });
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

/// Adds to a settlement what of a life's findings is new, changed, or no longer so.
fn compare(
    found: &[Finding],
    known: &[Known],
    life: i64,
    quiet: bool,
    settlement: &mut Settlement,
) {
    for known in known.iter().filter(|known| known.life == life) {
        if !found.iter().any(|found| found.kind == known.kind) {
            settlement.resolved.push((known.kind.clone(), life));
        }
    }
    let is_known = |found: &Finding| {
        known.iter().any(|known| {
            known.life == life
                && known.kind == found.kind
                && known.happened_at == found.happened_at
                && known.detail == found.detail
        })
    };
    settlement.found.extend(found.iter().filter(|found| quiet && !is_known(found)).cloned());
}
