use std::fmt::Write;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::args::app_id;
use crate::cli::output::{self, cell, say, time_or_dash};
use crate::cli::read::lists::{self, OpenStore, Source, timeline};
use crate::cli::read::rtc::rooms::length;
use crate::clock::Clock;
use crate::store::{
    Details, EventFilter, EventPage, Order, RtcPublishInterval, RtcRoomFilter, RtcRoomSession,
    RtcSessionKey, RtcStay, RtcSubjects, Store, StoreError, ended_by_meaning, flag_meaning,
    rtc_subjects,
};
use protocol::UnixMillis;

/// How many sessions of one room id are looked at.
const SESSIONS_MAX: u32 = 500;

/// Show one room of the RTC Engine: who stayed in it and what they published.
///
/// Room IDs are reused; without `--session` the latest session is shown. Each account has its stays by time, and below each
/// what it published; robots come last. Events are listed in the order they happened; ARRIVED is their order of arrival.
#[derive(Debug, Args)]
pub(crate) struct OneRtcRoom {
    /// ID of the room
    id: String,
    /// Whether a number or a text names the room, if both kinds have this ID
    #[arg(long, value_enum)]
    kind: Option<RoomKind>,
    /// Which session, as `rtc-rooms --json` has it in `session`; the latest without it
    #[arg(long, value_name = "SESSION")]
    session: Option<i64>,
    /// SDKAppID, if several apps have a room with this ID
    #[arg(long, value_name = "ID", visible_alias = "sdk-app-id")]
    app: Option<String>,
    /// Maximum number of events
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Print one JSON object: the session, its stays, what was published, the calls and rooms in it, and events
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoomKind {
    Numeric,
    String,
}

impl RoomKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::String => "string",
        }
    }
}

/// What is shown of a session.
struct RtcRoomDetails {
    stays: Details<RtcStay>,
    published: Details<RtcPublishInterval>,
    ran: RtcSubjects,
    events: EventPage,
}

impl OneRtcRoom {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let opened = self.source.open().await?;
        let (session, others) = self.find(&opened).await?;
        let key = session.key().context("the room's app is not a valid SDKAppID")?;
        let details = opened.read(self.read(&*opened.store, &session, &key)).await?;
        if details.events.next.is_some() {
            let shown = details.events.events.len();
            say(&format!(
                "only the first {shown} events are shown; `export events --room` has all"
            ));
        }
        let cut = [
            ("stays", details.stays.is_cut),
            ("times of publishing", details.published.is_cut),
            ("calls", details.ran.calls.is_cut),
            ("room sessions", details.ran.rooms.is_cut),
        ];
        for what in lists::cut(&cut) {
            say(&format!("there are more {what} than are shown; the API has all of them"));
        }
        if self.json {
            let all = json!({
                "session": session, "stays": details.stays.rows,
                "publish_intervals": details.published.rows, "calls": details.ran.calls.rows,
                "room_sessions": details.ran.rooms.rows, "events": details.events.events,
            });
            return output::print_json(&format!("{all}\n"));
        }
        let now = clock.now();
        let mut text = head(&session, others, now);
        write_subjects(&details.ran, &mut text);
        write_lanes(&details.stays.rows, &details.published.rows, now, &mut text);
        let _ = write!(text, "\n{}", timeline(details.events.events));
        output::print(&text)
    }

    /// The session that is meant, and how many others the room had.
    async fn find(&self, opened: &OpenStore) -> Result<(RtcRoomSession, usize)> {
        let filter = RtcRoomFilter {
            app: app_id(self.app.as_deref())?,
            room_id: Some(self.id.clone()),
            room_id_kind: self.kind.map(|kind| kind.as_str().to_owned()),
            limit: SESSIONS_MAX,
            ..RtcRoomFilter::default()
        };
        let found = opened.read(opened.store.rtc_room_sessions(&filter)).await?;
        let values = |of: fn(&RtcRoomSession) -> String| {
            let mut values: Vec<_> = found.iter().map(of).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        let (apps, kinds) = (
            values(|session| session.sdk_app_id.to_string()),
            values(|session| session.room_id_kind.clone()),
        );
        if apps.len() > 1 {
            let apps = apps.join(", ");
            return Err(anyhow!(
                "several apps have a room `{}`\nhint: choose one with `--app`: {apps}",
                self.id
            ));
        }
        if kinds.len() > 1 {
            let kinds = kinds.join(", ");
            return Err(anyhow!(
                "a number and a text name a room `{}`\nhint: choose one with `--kind`: {kinds}",
                self.id
            ));
        }
        let others = found.len().saturating_sub(1);
        let sessions: Vec<_> = found.iter().map(|session| session.session.to_string()).collect();
        let meant =
            |one: &RtcRoomSession| self.session.is_none_or(|session| one.session == session);
        match found.into_iter().find(meant) {
            Some(session) => Ok((session, others)),
            None if sessions.is_empty() => Err(anyhow!(
                "there is no room `{}` of the RTC Engine in {}\nhint: `trtc-callbacks rtc-rooms` lists the stored rooms",
                self.id,
                opened.url
            )),
            None => {
                let hint = format!("it has {}", sessions.join(", "));
                Err(anyhow!("the room `{}` has no such session\nhint: {hint}", self.id))
            }
        }
    }

    async fn read(
        &self,
        store: &dyn Store,
        session: &RtcRoomSession,
        key: &RtcSessionKey,
    ) -> Result<RtcRoomDetails, StoreError> {
        let stays = store.rtc_stays_of(std::slice::from_ref(key)).await?;
        let mut accounts: Vec<_> = stays.rows.iter().map(|stay| stay.account.clone()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let published = store.rtc_published_by(key, &accounts).await?;
        let ran = rtc_subjects(store, session).await?;
        let filter = EventFilter {
            app: Some(key.app),
            room_id: Some(key.room_id.clone()),
            since: Some(session.started_at),
            until: session.ended_at.map(|_| UnixMillis(session.last_at.0.saturating_add(1))),
            order: Order::Oldest { after: None },
            limit: self.limit,
            ..EventFilter::default()
        };
        let events = store.event_page(&filter).await?;
        Ok(RtcRoomDetails { stays, published, ran, events })
    }
}

fn head(session: &RtcRoomSession, others: usize, now: UnixMillis) -> String {
    let mut text = format!("room      {}\n", cell(Some(&session.room_id)));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("app", session.sdk_app_id.to_string());
    line("kind", session.room_id_kind.clone());
    line("session", format!("{} ({others} others of this id)", session.session));
    line("comm id", cell(session.comm_id.as_deref()));
    let inferred = if session.end_inferred { " (inferred: no dismissal came)" } else { "" };
    line("state", format!("{}{inferred}", session.state));
    let first =
        if session.start_estimated { " (its first event: no create event came)" } else { "" };
    line("started", format!("{}{first}", session.started_at));
    line("ended", time_or_dash(session.ended_at));
    line("creator", cell(session.creator.as_deref()));
    line("life", length(session.started_at, session.ended_at, now));
    let occupied = session.occupied_from.map(|from| length(from, session.occupied_until, now));
    line("occupied", occupied.unwrap_or_else(|| "-".to_owned()));
    let (people, inside, robots) = (session.people, session.people_inside, session.robots);
    line("people", format!("{people}, inside {inside}, robots {robots}"));
    let remarks = [
        (session.room_kind_guessed, "its dismissal named a room of the other kind of id"),
        (session.is_repaired, "its create or dismissal is known from the vendor's REST API"),
        (session.is_cut, "too many events: the latest ones are left out"),
    ];
    for (_, remark) in remarks.iter().filter(|(is_so, _)| *is_so) {
        line("remark", (*remark).to_owned());
    }
    text
}

fn write_subjects(ran: &RtcSubjects, text: &mut String) {
    for call in &ran.calls.rows {
        let _ = writeln!(text, "call      {} ({})", cell(Some(&call.call_id)), call.state);
    }
    for room in &ran.rooms.rows {
        let (family, session) = (&room.family, room.session);
        let _ = writeln!(text, "{family:<9} {} session {session}", cell(Some(&room.room_id)));
    }
}

/// Each account with its stays, and what it published in them.
fn write_lanes(
    stays: &[RtcStay],
    published: &[RtcPublishInterval],
    now: UnixMillis,
    text: &mut String,
) {
    let mut accounts: Vec<&str> = Vec::new();
    for stay in stays {
        if !accounts.contains(&stay.account.as_str()) {
            accounts.push(&stay.account);
        }
    }
    for account in accounts {
        let own: Vec<_> = stays.iter().filter(|stay| stay.account == account).collect();
        let robot = if own.iter().any(|stay| stay.is_robot) { " (robot)" } else { "" };
        let _ = writeln!(text, "\n{}{robot}", cell(Some(account)));
        for stay in own {
            write_stay(stay, now, text);
            for interval in published.iter().filter(|one| one.stay_id == stay.stay_id) {
                write_interval(interval, now, text);
            }
        }
    }
}

fn write_stay(stay: &RtcStay, now: UnixMillis, text: &mut String) {
    let until = stay.ended_at.map_or_else(|| "now".to_owned(), |at| at.to_string());
    let lasted = length(stay.started_at, stay.ended_at, now);
    let mut words = Vec::new();
    let mut add = |what: &str, word: Option<&String>| {
        words.extend(word.map(|word| format!("{what}{}", word.replace('_', " "))));
    };
    add("entered: ", stay.enter_reason_word.as_ref());
    add("exit: ", stay.exit_reason_word.as_ref());
    add("", stay.terminal_type_word.as_ref());
    add("", stay.user_type_word.as_ref());
    let words = words.join(", ");
    let _ = writeln!(text, "  {} to {until}, {lasted}; {words}", stay.started_at);
    if let Some(lost) = stay.presumed_end_at {
        let _ = writeln!(text, "    probably lost at {lost}; the media server waits about 90 s");
    }
    for flag in stay.flag_words() {
        let _ = writeln!(text, "    {}: {}", flag.replace('_', " "), flag_meaning(&flag));
    }
}

fn write_interval(interval: &RtcPublishInterval, now: UnixMillis, text: &mut String) {
    let until = interval.ended_at.map_or_else(|| "now".to_owned(), |at| at.to_string());
    let lasted = length(interval.started_at, interval.ended_at, now);
    let ended = interval.ended_by.as_deref().map_or("", ended_by_meaning);
    let behind = if ended.is_empty() { String::new() } else { format!("; {ended}") };
    let start = if interval.start_unknown { " (no start event came)" } else { "" };
    let (track, from) = (&interval.track, interval.started_at);
    let _ = writeln!(text, "    {track:<6} {from}{start} to {until}, {lasted}{behind}");
}
