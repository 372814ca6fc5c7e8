//! One session of a room of the RTC Engine: who was inside and when, what they published, and what ran in it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};

use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::pages::anomalies::{self, AnomalyRow};
use crate::http::pages::calls::{CallRow, row as call_row};
use crate::http::pages::rooms::list::{RoomRow, row as room_row};
use crate::http::pages::rtc_rooms::lanes::{LANES_MAX, Lane, accounts, lanes};
use crate::http::pages::rtc_rooms::list::{RtcRoomRow, row};
use crate::http::pages::rtc_rooms::stays::{self, StayRow, meanings};
use crate::http::query::Query;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::{Form, FormBuilder};
use crate::http::ui::html::{
    Html, account_or, badge, copyable, id, moment_value, nothing, number, rtc_room_href, time,
    time_or, visible,
};
use crate::http::ui::page::{ListPage, Paged, Reading, app, done, shown};
use crate::http::ui::recordings::{RecordingRow, recording};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{
    AnomalyFilter, Call, DetailFilter, Recording, RtcRoomFilter, RtcRoomSession, RtcSessionKey,
    RtcStays, RtcStaysOf, RtcSubjects, RtcTask, RtcTaskFilter, Store, StoreError, Subject,
    rtc_subjects,
};
use protocol::AppId;
use protocol::UnixMillis;

/// How many tasks are shown.
const TASKS_MAX: u32 = 20;
/// Of how many calls and sessions the recordings are shown.
const RECORDED_MAX: usize = 5;
/// How long a task may begin before its room, or tell of its end behind it, in ms.
const TASKS_APART_MS: i64 = 10 * 60_000;

#[derive(Template)]
#[template(path = "rtc_room.html")]
struct One {
    shell: Shell,
    id: Html,
    row: RtcRoomRow,
    figures: Vec<(&'static str, String)>,
    notes: Vec<&'static str>,
    drawing: Drawing,
    facts: Vec<(&'static str, Html)>,
    calls: Vec<CallRow>,
    rooms: Vec<RoomRow>,
    stays: StaysPart,
    tasks: Vec<TaskRow>,
    recordings: Vec<RecordingRow>,
    anomalies: Vec<AnomalyRow>,
    others: Vec<RtcRoomRow>,
    events_href: String,
}

/// The lanes, and what they lack.
struct Drawing {
    ticks: Vec<String>,
    lanes: Vec<Lane>,
    /// How many accounts have no lane; empty where all have one.
    left_out: String,
    /// Whether the lanes lack stays, or times of publishing.
    is_cut: bool,
}

/// A page of the stays.
struct StaysPart {
    rows: Vec<StayRow>,
    meanings: Vec<(String, &'static str)>,
    form: Form,
    older: Option<String>,
    is_later: bool,
}

/// A task of the cloud, as a row of a table.
struct TaskRow {
    task: Html,
    kind: Html,
    state: Html,
    started: Html,
    ended: Html,
    why: String,
    robot: Html,
}

/// `GET /rtc-room-sessions/{app}/{room_id}/{kind}/{session}`
pub(crate) async fn page(
    State(ops): State<Arc<Ops>>,
    Path((app_id, room_id, kind, session)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    let reading = Reading::of(&ops).await?;
    let (store, now) = (reading.store, reading.now);
    let room_id = path_segment::id(&room_id);
    let missing = || {
        PageError::NotFound(format!(
            "No event names such a session of a room “{room_id}” of the RTC Engine of app {app_id}."
        ))
    };
    let app = app(&app_id)?;
    let key = RtcSessionKey {
        app,
        room_id: room_id.clone(),
        room_id_kind: kind,
        session: session.parse().map_err(|_| missing())?,
    };
    let session = store.rtc_room_session(&key).await?.ok_or_else(missing)?;
    let query = Query::read(query.as_deref());
    query.only(&["user", "after", "app"])?;
    let drawing = Drawing::read(store, &session, &key, now).await?;
    let ran = rtc_subjects(store, &session).await?;
    let recordings = recordings(store, &ran).await?;
    let tasks = tasks(store, &session, &key).await?;
    let stays = StaysPart::read(store, &session, &key, &query, now).await?;
    let others = others(store, &session, &key).await?;
    let anomalies = anomalies(store, &session, &key, now).await?;
    done(&One {
        shell: Shell::new(format!("RTC room {room_id}"), Section::RtcRooms, now)
            .within(&ops, Some(app)),
        id: copyable(&room_id),
        row: row(&session, now),
        figures: figures(&session),
        notes: notes(&session),
        drawing,
        facts: facts(&session, now),
        calls: ran.calls.rows.iter().map(|call| call_row(call, now)).collect(),
        rooms: ran.rooms.rows.iter().map(|room| room_row(room, now)).collect(),
        stays,
        tasks: tasks.iter().map(|task| task_row(task, now)).collect(),
        recordings: recordings.iter().map(|task| recording(task, now)).collect(),
        anomalies,
        others: others.iter().map(|other| row(other, now)).collect(),
        events_href: events_href(&session),
    })
}

impl Drawing {
    async fn read(
        store: &dyn Store,
        session: &RtcRoomSession,
        key: &RtcSessionKey,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let stays = store.rtc_stays_of(std::slice::from_ref(key)).await?;
        let mut drawn = accounts(&stays.rows);
        drawn.truncate(LANES_MAX);
        let published = store.rtc_published_by(key, &drawn).await?;
        let (lanes, span) = lanes(session, &drawn, &stays.rows, &published.rows, now);
        let there = session.people.saturating_add(session.robots);
        let left_out = there.saturating_sub(i64::try_from(lanes.len()).unwrap_or(i64::MAX));
        Ok(Self {
            ticks: span.ticks(),
            lanes,
            left_out: if left_out > 0 { number(left_out) } else { String::new() },
            is_cut: stays.is_cut || published.is_cut,
        })
    }
}

impl StaysPart {
    async fn read(
        store: &dyn Store,
        session: &RtcRoomSession,
        key: &RtcSessionKey,
        query: &Query,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let mut asked = FormBuilder::new(href(session), query, now);
        let DetailFilter { account } = asked.filter(DetailFilter::default(), &[], &[]);
        let form = asked.done(&["after"]);
        let list = RtcStays::new(RtcStaysOf::Session(key.clone(), account));
        let ListPage { rows, older, is_later } =
            shown(store, &list, (&form, query, "after")).await?;
        let meanings = meanings(rows.iter());
        let rows = rows.iter().map(|stay| stays::row(stay, now)).collect();
        Ok(Self { rows, meanings, form, older, is_later })
    }
}

fn href(session: &RtcRoomSession) -> String {
    let (room_id, kind) = (&session.room_id, &session.room_id_kind);
    rtc_room_href(session.sdk_app_id, room_id, kind, session.session)
}

fn events_href(session: &RtcRoomSession) -> String {
    let room_id = path_segment::encoded(&session.room_id);
    let until = session.ended_at.map_or(String::new(), |_| {
        format!("&until={}", moment_value(UnixMillis(session.last_at.0.saturating_add(1))))
    });
    let since = moment_value(session.started_at);
    format!("/events?app={}&room={room_id}&since={since}{until}", session.sdk_app_id)
}

fn figures(session: &RtcRoomSession) -> Vec<(&'static str, String)> {
    vec![
        ("people", number(session.people)),
        ("inside now", number(session.people_inside)),
        ("robots", number(session.robots)),
    ]
}

/// What one should know of it, in sentences.
fn notes(session: &RtcRoomSession) -> Vec<&'static str> {
    let notes = [
        (
            session.start_estimated,
            "No create event came: it began with its first event at the latest.",
        ),
        (session.end_inferred, "No dismissal came: its end is its last event."),
        (
            session.room_kind_guessed,
            "Its dismissal named a room of the other kind of id, and no other room fits.",
        ),
        (
            session.is_repaired,
            "Its create or dismissal is known from the vendor's REST API, not from an event.",
        ),
        (session.is_cut, "The room has too many events: its latest ones are left out here."),
    ];
    notes.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note).collect()
}

fn facts(session: &RtcRoomSession, now: UnixMillis) -> Vec<(&'static str, Html)> {
    let app = session.sdk_app_id;
    vec![
        ("CommId", session.comm_id.as_deref().map_or_else(nothing, copyable)),
        ("Kind of id", badge(&session.room_id_kind)),
        ("Created", time_or(session.created_at, now)),
        ("Created by", account_or(app, session.creator.as_deref())),
        ("First person entered", time_or(session.occupied_from, now)),
        ("Last person left", time_or(session.occupied_until, now)),
        ("Dismissed", time_or(session.dismissed_at, now)),
        ("Latest event", time(session.last_at, now)),
        ("App", id(&app.to_string())),
    ]
}

/// The tasks that began in the room about that time. Their events name the room, not its session.
async fn tasks(
    store: &dyn Store,
    session: &RtcRoomSession,
    key: &RtcSessionKey,
) -> Result<Vec<RtcTask>, StoreError> {
    let apart = |at: UnixMillis, ms: i64| UnixMillis(at.0.saturating_add(ms));
    let filter = RtcTaskFilter {
        app: Some(key.app),
        room_id: Some(key.room_id.clone()),
        since: Some(apart(session.started_at, -TASKS_APART_MS)),
        until: session.ended_at.map(|at| apart(at, TASKS_APART_MS)),
        limit: TASKS_MAX,
        ..RtcTaskFilter::default()
    };
    Ok(store.rtc_tasks(&filter).await?.tasks)
}

/// The recordings of what ran in the room, each once.
async fn recordings(store: &dyn Store, ran: &RtcSubjects) -> Result<Vec<Recording>, StoreError> {
    let call = |call: &Call| {
        Some(Subject::Call(AppId::parse(&call.sdk_app_id.to_string())?, call.call_id.clone()))
    };
    let calls = ran.calls.rows.iter().filter_map(call);
    let rooms = ran.rooms.rows.iter().map(|room| Subject::Room(Box::new(room.clone())));
    let mut found: Vec<Recording> = Vec::new();
    for subject in calls.chain(rooms).take(RECORDED_MAX) {
        for task in store.recordings(&subject).await?.rows {
            if !found.iter().any(|known| known.task_id == task.task_id) {
                found.push(task);
            }
        }
    }
    Ok(found)
}

fn task_row(task: &RtcTask, now: UnixMillis) -> TaskRow {
    let why = task.error_message.as_deref().or(task.end_reason.as_deref()).unwrap_or("");
    TaskRow {
        task: id(&task.task_id),
        kind: badge(&task.kind),
        state: badge(&task.state),
        started: time(task.started_at.unwrap_or(task.first_at), now),
        ended: time_or(task.ended_at, now),
        why: visible(&why.replace('_', " ")).into_owned(),
        robot: account_or(task.sdk_app_id, task.robot.as_deref()),
    }
}

async fn others(
    store: &dyn Store,
    session: &RtcRoomSession,
    key: &RtcSessionKey,
) -> Result<Vec<RtcRoomSession>, StoreError> {
    let filter = RtcRoomFilter {
        app: Some(key.app),
        room_id: Some(key.room_id.clone()),
        limit: 20,
        ..RtcRoomFilter::default()
    };
    let mut others = store.rtc_room_sessions(&filter).await?;
    others.retain(|other| other.place() != session.place());
    Ok(others)
}

async fn anomalies(
    store: &dyn Store,
    session: &RtcRoomSession,
    key: &RtcSessionKey,
    now: UnixMillis,
) -> Result<Vec<AnomalyRow>, StoreError> {
    let about = AnomalyFilter {
        app: Some(key.app),
        subject: Some(key.room_id.clone()),
        limit: 50,
        ..AnomalyFilter::default()
    };
    let mut found = store.anomalies(&about).await?;
    found.retain(|one| one.session == session.session && one.kind.starts_with("rtc_"));
    Ok(found.iter().map(|one| anomalies::row(one, now)).collect())
}
