//! Settles one room: its lives around the day of which new facts are known.

use std::time::Duration;

use crate::clock::UnixMillis;
use crate::handlers::change::RoomFamily;
use crate::handlers::lives::{self, EARLY_MS, Life};
use crate::handlers::sums::RoomSum;
use crate::store::{
    Finding, Known, Live, LiveFacts, Queued, Room, RoomId, Settlement, Settling, StoreError, Window,
};

/// What settling a room depends on beside its facts.
pub(super) struct Round {
    /// The present.
    pub(super) now: UnixMillis,
    /// How long nothing may be heard of an open room; `None` for ever.
    pub(super) idle_max: Option<Duration>,
    /// The last slot of the queue of which everything can be seen.
    pub(super) slot_old: i64,
}

/// What may be missing in a life.
const KINDS: [&str; 4] =
    ["room_without_create", "room_without_destroy", "leaves_missing", "enters_missing"];

/// Settles the lives of a room that facts of a day may have changed. Returns the kinds of the gaps that are new.
pub(super) async fn settle(
    store: &mut Settling,
    queued: &Queued,
    round: &Round,
) -> Result<Vec<&'static str>, StoreError> {
    let room = &queued.room;
    let window = store.window(room, queued.day).await?;
    let lives = lives_of(store, room, &window).await?;
    let (rooms, lives_known) = store.settled(room, &window).await?;
    let known = store.known(room, &KINDS, (window.life_first, window.life_last)).await?;
    let mut settlement = Settlement {
        done: (queued.slot_first <= round.slot_old).then_some(round.slot_old),
        ..Settlement::default()
    };
    // What is out of order mostly comes within seconds, so what is missing is listed when it was quiet for a while.
    let quiet = queued.slot_last <= round.slot_old;
    let (day_begin, day_end) = Window::day(queued.day);
    for life in &lives {
        let before = rooms.iter().find(|row| row.life == life.life);
        let touched = life.from_at < day_end && life.until_at.is_none_or(|until| until > day_begin);
        if !touched && before.is_some_and(|row| is_cut_so(row, life)) {
            continue;
        }
        let Some((row, live)) = compute(store, room, life, round).await? else { continue };
        let live_before = lives_known.iter().find(|row| row.life == life.life);
        match live {
            Some(live) if live_before != Some(&live) => settlement.lives.push(live),
            None if live_before.is_some() => settlement.lives_gone.push(life.life),
            _ => {}
        }
        compare(&findings(&row), &known, life.life, quiet, &mut settlement);
        if before != Some(&row) {
            settlement.rooms.push(row);
        }
    }
    let is_gone = |life: i64| !lives.iter().any(|is| is.life == life);
    settlement.rooms_gone =
        rooms.iter().map(|row| row.life).filter(|life| is_gone(*life)).collect();
    settlement
        .lives_gone
        .extend(lives_known.iter().map(|row| row.life).filter(|life| is_gone(*life)));
    let resolved = known.iter().filter(|known| is_gone(known.life));
    settlement.resolved.extend(resolved.map(|known| (known.kind.clone(), known.life)));
    store.write(queued, &settlement, round.now).await?;
    let is_new = |found: &&Finding| {
        !known.iter().any(|known| known.kind == found.kind && known.life == found.life)
    };
    Ok(settlement.found.iter().filter(is_new).map(|found| found.kind).collect())
}

/// The lives of a room that are told for certain.
async fn lives_of(
    store: &mut Settling,
    room: &RoomId,
    window: &Window,
) -> Result<Vec<Life>, StoreError> {
    let mut answers = Vec::new();
    for (from, until) in lives::gaps(&window.boundaries) {
        let matters = until.is_none_or(|until| until.0 + EARLY_MS >= window.life_first)
            && from.0 <= window.life_last;
        answers.push(matters && store.has_fact(room, from, until).await?);
    }
    let mut answers = answers.into_iter();
    let mut all = lives::cut(&window.boundaries, |_, _| answers.next().unwrap_or(false));
    all.retain(|life| (window.life_first..=window.life_last).contains(&life.life));
    Ok(all)
}

fn is_cut_so(row: &Room, life: &Life) -> bool {
    row.from_at == life.from_at
        && row.until_at == life.until_at
        && row.created_at == life.created_at
        && row.destroyed_at == life.destroyed_at
}

/// Sums up one life; `None` where all its facts have gone meanwhile.
async fn compute(
    store: &mut Settling,
    room: &RoomId,
    life: &Life,
    round: &Round,
) -> Result<Option<(Room, Option<Live>)>, StoreError> {
    let Some((first_at, last_at)) = store.times(room, life).await? else { return Ok(None) };
    let sum = store.changes(room, life).await?;
    let presence = store.presence(room, life).await?;
    let idle = round.idle_max.is_some_and(|max| last_at.plus(max) < round.now);
    let state = match life.is_open() {
        true if idle => "overdue",
        true => "open",
        false => "ended",
    };
    // One that was not destroyed ended between the last that is known of it and the next that begins.
    let ended_at = life.destroyed_at.or_else(|| (state != "open").then_some(last_at));
    let seen = sum.family.clone().or_else(|| presence.family.clone());
    let facts =
        if seen.as_deref() == Some("room") { None } else { Some(store.live(room, life).await?) };
    let facts = facts.filter(|facts| seen.is_some() || !facts.is_empty());
    let family = seen.unwrap_or_else(|| if facts.is_some() { "live" } else { "room" }.to_owned());
    let figures = presence.figures(ended_at);
    let only_live = facts.map(|facts| live_row(room, life, &sum, facts));
    let properties = sum.properties();
    let row = Room {
        sdk_app_id: room.app,
        room_id: room.room_id.clone(),
        life: life.life,
        family,
        name: sum.name,
        owner: sum.owner,
        room_type: sum.room_type,
        state: state.to_owned(),
        started_at: life.created_at.unwrap_or(first_at),
        created_at: life.created_at,
        created_by: sum.created_by,
        destroyed_at: life.destroyed_at,
        destroyed_by: sum.destroyed_by,
        destroy_cause: sum.destroy_cause,
        ended_at,
        from_at: life.from_at,
        until_at: life.until_at,
        last_at,
        inferred: ended_at.is_some() && life.destroyed_at.is_none(),
        members: figures.members,
        members_peak: figures.members_peak,
        visitors: figures.visitors,
        entries: figures.entries,
        leaves_missing: figures.leaves_missing,
        enters_missing: figures.enters_missing,
        max_members: sum.max_members,
        max_seats: sum.max_seats,
        properties,
        occupancy: figures.occupancy,
    };
    Ok(Some((row, only_live)))
}

fn live_row(room: &RoomId, life: &Life, sum: &RoomSum, facts: LiveFacts) -> Live {
    let gifts = facts.gifts.figures();
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
        admins: serde_json::json!(sum.admins).to_string(),
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
