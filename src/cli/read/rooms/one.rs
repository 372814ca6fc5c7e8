use std::fmt::Write;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::json;

use crate::cli::args::app_id;
use crate::cli::output::{self, cell, say, time_or_dash};
use crate::cli::read::lists::{self, OpenStore, Source, timeline};
use crate::store::{
    Battle, DetailPage, EventFilter, EventPage, Live, Room, RoomChangeRow, RoomFilter, Stay, Store,
    StoreError, Visit,
};

/// How many sessions of one room id are looked at.
const SESSIONS_MAX: u32 = 500;

/// Show one conference or live room: its visits, seats, gifts, battles and events.
///
/// Room IDs are reused; without `--session` the latest session is shown. Events are listed in the order they happened; ARRIVED is
/// their order of arrival.
#[derive(Debug, Args)]
pub(crate) struct OneRoom {
    /// ID of the room
    id: String,
    /// Which session, as `rooms --json` has it in `session`; the latest without it
    #[arg(long, value_name = "SESSION")]
    session: Option<i64>,
    /// SDKAppID, if several apps have a room with this ID
    #[arg(long, value_name = "ID", visible_alias = "sdk-app-id")]
    app: Option<String>,
    /// Maximum number of visits, and of events
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Print one JSON object: the room, its visits, seats, changes and events, and what only live rooms have
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Show one live room: its gifts, battles, visits, seats and events.
///
/// Room IDs are reused; without `--session` the latest session is shown. Events are listed in the order they happened; ARRIVED is
/// their order of arrival.
#[derive(Debug, Args)]
pub(crate) struct OneLive {
    #[command(flatten)]
    room: OneRoom,
}

impl OneLive {
    pub(crate) async fn run(self) -> Result<()> {
        self.room.show(Some("live")).await
    }
}

impl OneRoom {
    pub(crate) async fn run(self) -> Result<()> {
        self.show(None).await
    }

    async fn show(self, family: Option<&str>) -> Result<()> {
        let opened = self.source.open().await?;
        let (room, others) = self.find(&opened, family).await?;
        let details = opened.read(self.read(&opened.store, &room)).await?;
        if details.events.next.is_some() {
            let shown = details.events.events.len();
            say(&format!(
                "only the first {shown} events are shown; `export events --room` has all"
            ));
        }
        for what in &details.cut {
            say(&format!("there are more {what} than are shown; the events have all of them"));
        }
        if self.json {
            let all = json!({
                "room": room, "live": details.live, "visits": details.visits, "seats": details.seats,
                "changes": details.changes, "battles": details.battles, "events": details.events.events,
            });
            return output::print_json(&format!("{all}\n"));
        }
        let mut text = head(&room, others);
        details.live.iter().for_each(|live| write_live(live, &mut text));
        write_visits(&details.visits, &mut text);
        write_seats(&details.seats, &mut text);
        details.battles.iter().for_each(|battle| write_battle(battle, &mut text));
        let _ = write!(text, "\n{}", timeline(details.events.events));
        output::print(&text)
    }

    /// The session that is meant, and how many others the room id had.
    async fn find(&self, opened: &OpenStore, family: Option<&str>) -> Result<(Room, usize)> {
        let filter = RoomFilter {
            app: app_id(self.app.as_deref())?,
            room_id: Some(self.id.clone()),
            family: family.map(str::to_owned),
            limit: SESSIONS_MAX,
            ..RoomFilter::default()
        };
        let rooms = opened.read(opened.store.rooms(&filter)).await?;
        let mut apps: Vec<_> = rooms.iter().map(|room| room.sdk_app_id.to_string()).collect();
        apps.sort_unstable();
        apps.dedup();
        if apps.len() > 1 {
            let apps = apps.join(", ");
            return Err(anyhow!(
                "several apps have a room `{}`\nhint: choose one with `--app`: {apps}",
                self.id
            ));
        }
        let others = rooms.len().saturating_sub(1);
        let sessions: Vec<_> = rooms.iter().map(|room| room.session.to_string()).collect();
        let meant = |room: &Room| self.session.is_none_or(|session| room.session == session);
        match rooms.into_iter().find(meant) {
            Some(room) => Ok((room, others)),
            None if sessions.is_empty() => {
                let (what, list) = match family {
                    Some(_) => ("live room", "lives"),
                    None => ("room", "rooms"),
                };
                let hint = format!("`trtc-callbacks {list}` lists the stored {what}s");
                Err(anyhow!("there is no {what} `{}` in {}\nhint: {hint}", self.id, opened.url))
            }
            None => {
                let hint = format!("it has {}", sessions.join(", "));
                Err(anyhow!("the room `{}` has no such session\nhint: {hint}", self.id))
            }
        }
    }

    async fn read(&self, store: &Arc<dyn Store>, room: &Room) -> Result<RoomDetails, StoreError> {
        let keys: Vec<_> = room.key().into_iter().collect();
        let page = DetailPage { limit: self.limit, ..DetailPage::default() };
        let filter = EventFilter::of_room(room, self.limit);
        let seats = store.seats(room).await?;
        let changes = store.room_changes(room).await?;
        let battles = store.battles(room).await?;
        let cut =
            [("seats", seats.is_cut), ("changes", changes.is_cut), ("battles", battles.is_cut)];
        Ok(RoomDetails {
            cut: lists::cut(&cut),
            live: store.live_sessions(&keys).await?.pop(),
            visits: store.visits(room, &page).await?.visits,
            seats: seats.rows,
            changes: changes.rows,
            battles: battles.rows,
            events: store.event_page(&filter).await?,
        })
    }
}

/// Everything about a room beside its row.
struct RoomDetails {
    /// The names of the lists that are not whole.
    cut: Vec<&'static str>,
    live: Option<Live>,
    visits: Vec<Visit>,
    seats: Vec<Stay>,
    battles: Vec<Battle>,
    changes: Vec<RoomChangeRow>,
    events: EventPage,
}

fn head(room: &Room, others: usize) -> String {
    let mut text = format!("room      {}\n", cell(Some(&room.room_id)));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("app", room.sdk_app_id.to_string());
    line("family", room.family.clone());
    line("session", format!("{} ({others} others of this id)", room.session));
    line("name", cell(room.name.as_deref()));
    line("owner", cell(room.owner.as_deref()));
    let inferred = if room.inferred { " (inferred: no destroy event came)" } else { "" };
    line("state", format!("{}{inferred}", room.state));
    let first =
        if room.created_at.is_some() { "" } else { " (its first event: no create event came)" };
    line("started", format!("{}{first}", room.started_at));
    line("ended", time_or_dash(room.ended_at));
    let figures = [
        ("inside", room.members),
        ("peak", room.members_peak),
        ("visitors", room.visitors),
        ("entries", room.entries),
        (
            if room.is_left_by_its_end() { "inside at end" } else { "leaves missing" },
            room.leaves_missing,
        ),
        ("enters missing", room.enters_missing),
    ];
    let figures: Vec<_> = figures.iter().map(|(name, count)| format!("{name} {count}")).collect();
    line("members", figures.join(", "));
    text
}

fn write_live(live: &Live, text: &mut String) {
    let (gifts, coins, senders) = (live.gifts, live.gift_coins, live.gift_senders);
    let _ = writeln!(text, "gifts     {gifts}, {coins} coins, from {senders} accounts");
    let total =
        |count: Option<i64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let totals = [
        ("viewers", live.total_viewers),
        ("gifts", live.total_gifts_sent),
        ("coins", live.total_gift_coins),
        ("likes", live.total_likes),
    ];
    let totals: Vec<_> =
        totals.iter().map(|(name, count)| format!("{name} {}", total(*count))).collect();
    let _ = writeln!(text, "vendor    {}", totals.join(", "));
    if let Some(difference) = live.gift_coins_difference.filter(|difference| *difference != 0) {
        let _ = writeln!(text, "differs   {difference:+} coins by the vendor's statistic");
    }
}

fn write_visits(visits: &[Visit], text: &mut String) {
    let mut table = output::table(&["VISITOR", "ENTERED", "LEFT", "WHY"]);
    for visit in visits {
        let left = time_or_dash(visit.left_at);
        table.add_row([
            cell(Some(&visit.account)),
            time_or_dash(visit.entered_at),
            if visit.inferred { format!("{left} (inferred)") } else { left },
            cell(visit.left_cause.as_deref()),
        ]);
    }
    if !visits.is_empty() {
        let _ = writeln!(text, "\n{}", table.trim_fmt());
    }
}

fn write_seats(seats: &[Stay], text: &mut String) {
    let mut table = output::table(&["SEAT", "ACCOUNT", "TAKEN", "LEFT"]);
    for stay in seats {
        table.add_row([
            stay.seat.to_string(),
            cell(Some(&stay.account)),
            stay.taken_at.to_string(),
            time_or_dash(stay.left_at),
        ]);
    }
    if !seats.is_empty() {
        let _ = writeln!(text, "\n{}", table.trim_fmt());
    }
}

fn write_battle(battle: &Battle, text: &mut String) {
    let score =
        |score: Option<i64>| score.map_or_else(|| "-".to_owned(), |score| score.to_string());
    let rooms: Vec<_> = battle
        .rooms
        .iter()
        .map(|room| format!("{} {}", cell(Some(&room.room_id)), score(room.score)))
        .collect();
    let winner = cell(battle.winner.as_deref());
    let began = time_or_dash(battle.started_at);
    let _ = writeln!(text, "\nbattle    {began}: {}; winner {winner}", rooms.join(" : "));
}
