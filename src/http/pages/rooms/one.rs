//! One session of a room: who was inside and when, and what was done to it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};

use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::pages::anomalies::{AnomalyRow, row as anomaly_row};
use crate::http::pages::rooms::list::{RoomRow, row};
use crate::http::pages::rtc_rooms::list::{RtcRoomRow, row as rtc_row};
use crate::http::query::Query;
use crate::http::ui::charts::Steps;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::{Form, FormBuilder};
use crate::http::ui::html::{
    Html, account, account_or, badge, copyable, id, inferred, moment, moment_or, moment_value,
    nothing, number, number_or, room_href, stayed, time, time_or, visible, words,
};
use crate::http::ui::live_part::{LivePart, PARAMETERS, cut_names};
use crate::http::ui::page::{ListPage, Paged, Reading, app, done, shown};
use crate::http::ui::recordings::{RecordingRow, recording};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{
    self, Anomaly, AnomalyFilter, DetailFilter, Room, RoomChangeRow, RoomFilter, RoomKey, Stay,
    Store, StoreError, Subject, Visit, rtc_sessions_of_room,
};
use protocol::UnixMillis;

/// How much of a room's other properties is shown, in bytes.
const PROPERTIES_BYTES_MAX: usize = 20_000;

#[derive(Template)]
#[template(path = "room.html")]
struct One {
    shell: Shell,
    id: Html,
    row: RoomRow,
    facts: Vec<(&'static str, Html)>,
    figures: Vec<(&'static str, String)>,
    steps: Option<Steps>,
    live: Option<LivePart>,
    visits: Visits,
    /// What is not whole, since it is much, in words; empty where all is.
    cut: String,
    seats: Vec<(i64, Html, Html, Html)>,
    changes: Vec<ChangeRow>,
    properties: Option<String>,
    recordings: Vec<RecordingRow>,
    anomalies: Vec<AnomalyRow>,
    others: Vec<RoomRow>,
    rtc_sessions: Vec<RtcRoomRow>,
    events_href: String,
}

/// A page of the visits.
struct Visits {
    rows: Vec<VisitRow>,
    form: Form,
    older: Option<String>,
    is_later: bool,
}

struct VisitRow {
    account: Html,
    entered: Html,
    left: Html,
    lasted: String,
    why: String,
    by: Html,
    inferred: Html,
    event: Html,
}

struct ChangeRow {
    at: Html,
    kind: Html,
    by: Html,
    what: String,
    account: Html,
    event: Html,
}

/// `GET /room-sessions/{app}/{room_id}/{session}`
pub(crate) async fn page(
    State(ops): State<Arc<Ops>>,
    Path((app_id, room_id, session)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    let reading = Reading::of(&ops).await?;
    let (store, now) = (reading.store, reading.now);
    let room_id = path_segment::id(&room_id);
    let missing = || {
        PageError::NotFound(format!(
            "No event names such a session of a room “{room_id}” of app {app_id}."
        ))
    };
    let app = app(&app_id)?;
    let key =
        RoomKey { app, room_id: room_id.clone(), session: session.parse().map_err(|_| missing())? };
    let room = store.room(&key).await?.ok_or_else(missing)?;
    let query = Query::read(query.as_deref());
    query.only(&PARAMETERS)?;
    let subject = Subject::Room(Box::new(room.clone()));
    let visits = Visits::read(store, &room, &query, now).await?;
    let live_part = LivePart::read(store, &room, &key, &query, now).await?;
    let seats = store.seats(&room).await?;
    let changes = store.room_changes(&room).await?;
    let recordings = store.recordings(&subject).await?;
    let recordings_cut = recordings.is_cut || recordings.rows.iter().any(|task| task.files_cut);
    let rtc_sessions = rtc_sessions_of_room(store, &room).await?;
    let lists =
        [("seats", seats.is_cut), ("changes", changes.is_cut), ("recordings", recordings_cut)];
    let cut = cut_words(&room, live_part.as_ref(), &lists);
    let others = others(store, &room, &key).await?;
    let anomalies = anomalies(store, &key).await?;
    let here = if room.family == "live" { Section::LiveSessions } else { Section::Rooms };
    let laid_out = |json: &str| protocol::explain::indented(json, PROPERTIES_BYTES_MAX).0;
    done(&One {
        shell: Shell::new(format!("Room {room_id}"), here, now).within(&ops, Some(app)),
        id: copyable(&room_id),
        row: row(&room, now),
        facts: facts(&room, now),
        figures: figures(&room),
        steps: steps(&room, now),
        cut,
        live: live_part,
        visits,
        seats: seats.rows.iter().map(|stay| seat_row(room.sdk_app_id, stay)).collect(),
        changes: changes.rows.iter().map(|change| change_row(room.sdk_app_id, change)).collect(),
        properties: room.properties.as_deref().map(laid_out),
        recordings: recordings.rows.iter().map(|task| recording(task, now)).collect(),
        anomalies: anomalies.iter().map(|anomaly| anomaly_row(anomaly, now)).collect(),
        others: others.iter().map(|other| row(other, now)).collect(),
        rtc_sessions: rtc_sessions.rows.iter().map(|session| rtc_row(session, now)).collect(),
        events_href: events_href(&room),
    })
}

/// The other sessions of the room id, the latest first.
async fn others(store: &dyn Store, room: &Room, key: &RoomKey) -> Result<Vec<Room>, StoreError> {
    let filter = RoomFilter {
        app: Some(key.app),
        room_id: Some(key.room_id.clone()),
        limit: 20,
        ..RoomFilter::default()
    };
    let mut others = store.rooms(&filter).await?;
    others.retain(|other| other.session != room.session);
    Ok(others)
}

/// The anomalies of the session. A call, or a room of the RTC Engine, may have the same id.
async fn anomalies(store: &dyn Store, key: &RoomKey) -> Result<Vec<Anomaly>, StoreError> {
    let about = AnomalyFilter {
        app: Some(key.app),
        subject: Some(key.room_id.clone()),
        limit: 50,
        ..AnomalyFilter::default()
    };
    let mut found = store.anomalies(&about).await?;
    let is_of_other = |kind: &str| kind.starts_with("call_") || kind.starts_with("rtc_");
    found.retain(|one| one.session == key.session && !is_of_other(&one.kind));
    Ok(found)
}

/// What is not whole, in words.
fn cut_words(room: &Room, live: Option<&LivePart>, lists: &[(&str, bool)]) -> String {
    let mut names = cut_names(room.cut.as_deref(), lists);
    names.extend(live.into_iter().flat_map(|live| live.cut.clone()));
    names.join(", ")
}

impl Visits {
    async fn read(
        store: &dyn Store,
        room: &Room,
        query: &Query,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let href = room_href(room.sdk_app_id, &room.room_id, room.session);
        let mut asked = FormBuilder::new(href, query, now);
        let DetailFilter { account } = asked.filter(DetailFilter::default(), &[], &[]);
        let form = asked.done(&PARAMETERS);
        let visits = store::Visits { room: room.clone(), account };
        let ListPage { rows, older, is_later } =
            shown(store, &visits, (&form, query, "after")).await?;
        let rows = rows.iter().map(|visit| visit_row(room.sdk_app_id, visit, now)).collect();
        Ok(Self { rows, form, older, is_later })
    }
}

fn events_href(room: &Room) -> String {
    let room_id = path_segment::encoded(&room.room_id);
    let until = room.until_at.map_or(String::new(), |at| format!("&until={}", moment_value(at)));
    let since = moment_value(room.from_at);
    format!("/events?app={}&room={room_id}&since={since}{until}", room.sdk_app_id)
}

fn facts(room: &Room, now: UnixMillis) -> Vec<(&'static str, Html)> {
    let app = room.sdk_app_id;
    let text = |text: &Option<String>| text.as_deref().map_or_else(nothing, id);
    vec![
        ("Name", text(&room.name)),
        ("Owner", account_or(app, room.owner.as_deref())),
        ("Type", text(&room.room_type)),
        ("Created", time_or(room.created_at, now)),
        ("Created by", account_or(app, room.created_by.as_deref())),
        ("Destroyed", time_or(room.destroyed_at, now)),
        ("Destroyed by", account_or(app, room.destroyed_by.as_deref())),
        ("Cause", text(&room.destroy_cause)),
        ("Latest event", time(room.last_at, now)),
        ("App", id(&app.to_string())),
    ]
}

fn figures(room: &Room) -> Vec<(&'static str, String)> {
    let mut figures = vec![
        ("inside now", number(room.members)),
        ("peak", number(room.members_peak)),
        ("visitors", number(room.visitors)),
        ("entries", number(room.entries)),
    ];
    if room.max_members.is_some() {
        figures.push(("allowed", number_or(room.max_members)));
    }
    if room.max_seats.is_some() {
        figures.push(("seats", number_or(room.max_seats)));
    }
    if room.leaves_missing > 0 {
        let word = if room.is_left_by_its_end() { "inside at end" } else { "leaves missing" };
        figures.push((word, number(room.leaves_missing)));
    }
    if room.enters_missing > 0 {
        figures.push(("enters missing", number(room.enters_missing)));
    }
    figures
}

fn steps(room: &Room, now: UnixMillis) -> Option<Steps> {
    // What the settler wrote, which is at most 240 points.
    let points: Vec<(i64, i64)> = serde_json::from_str(&room.occupancy).unwrap_or_default();
    let until = room.ended_at.unwrap_or_else(|| now.max(room.last_at));
    Steps::new(&points, until)
}

fn visit_row(app: i64, visit: &Visit, now: UnixMillis) -> VisitRow {
    let lasted = visit.entered_at.map(|from| stayed(from, visit.left_at, now));
    let cause = |cause: &Option<String>| cause.as_deref().unwrap_or("").replace('_', " ");
    let why = match (cause(&visit.entered_cause), cause(&visit.left_cause)) {
        (entered, left) if entered.is_empty() || entered == "enter" => left,
        (entered, left) if left.is_empty() => entered,
        (entered, left) => format!("{entered}, {left}"),
    };
    VisitRow {
        account: account(app, &visit.account),
        entered: moment_or(visit.entered_at),
        left: moment_or(visit.left_at),
        lasted: lasted.unwrap_or_else(|| "–".to_owned()),
        why,
        by: account_or(app, visit.left_by.as_deref()),
        inferred: inferred(visit.inferred),
        event: words(&format!("/events/{}", visit.event_id), "event"),
    }
}

fn seat_row(app: i64, stay: &Stay) -> (i64, Html, Html, Html) {
    (stay.seat, account(app, &stay.account), moment(stay.taken_at), moment_or(stay.left_at))
}

fn change_row(app: i64, change: &RoomChangeRow) -> ChangeRow {
    let named = change.name.as_ref().map(|name| format!("named “{name}”"));
    let owned = change.owner.as_ref().map(|owner| format!("owner {owner}"));
    let caused = change.cause.as_ref().map(|cause| format!("cause {cause}"));
    let what: Vec<String> = [named, owned, caused].into_iter().flatten().collect();
    let what = what.join(", ");
    ChangeRow {
        at: moment(change.at),
        kind: badge(&change.kind),
        by: account_or(app, change.by_account.as_deref()),
        what: visible(&what).into_owned(),
        account: change.account.as_deref().map_or_else(Html::default, |text| account(app, text)),
        event: words(&format!("/events/{}", change.event_id), "event"),
    }
}
