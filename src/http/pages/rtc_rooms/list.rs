//! Rooms of the RTC Engine: a list of their sessions.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect};

use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::query::Query;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::Form;
use crate::http::ui::html::{
    Html, account_or, badge, inferred, link, moment_value, number, rtc_room_href, stayed, time,
};
use crate::http::ui::page::{Listed, Paged, Reading, answered, app, listed};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{ConditionKind, RtcRoomFilter, RtcRoomSession, filter};
use protocol::UnixMillis;

#[derive(Template)]
#[template(path = "rtc_rooms.html")]
struct List {
    shell: Shell,
    form: Form,
    rows: Vec<RtcRoomRow>,
    older: Option<String>,
    is_later: bool,
}

/// One session of a room of the RTC Engine, as a row of a table.
pub(crate) struct RtcRoomRow {
    pub(crate) room: Html,
    pub(crate) kind: Html,
    pub(crate) state: Html,
    pub(crate) inferred: Html,
    pub(crate) started: Html,
    pub(crate) life: String,
    pub(crate) occupied: String,
    pub(crate) people: String,
    pub(crate) inside: String,
    pub(crate) robots: String,
    pub(crate) creator: Html,
}

pub(crate) fn row(session: &RtcRoomSession, now: UnixMillis) -> RtcRoomRow {
    let (app, room_id, kind) = (session.sdk_app_id, &session.room_id, &session.room_id_kind);
    let occupied = session.occupied_from.map(|from| stayed(from, session.occupied_until, now));
    RtcRoomRow {
        room: link(&rtc_room_href(app, room_id, kind, session.session), room_id),
        kind: badge(kind),
        state: badge(&session.state),
        inferred: inferred(session.end_inferred),
        started: time(session.started_at, now),
        life: stayed(session.started_at, session.ended_at, now),
        occupied: occupied.unwrap_or_else(|| "–".to_owned()),
        people: number(session.people),
        inside: number(session.people_inside),
        robots: number(session.robots),
        creator: account_or(app, session.creator.as_deref()),
    }
}

/// `GET /rtc-room-sessions`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let Listed { filter, form, rows, older, is_later, now } =
        listed::<RtcRoomFilter>(&ops, "/rtc-room-sessions", query.as_deref()).await?;
    let rows = rows.iter().map(|session| row(session, now)).collect();
    let shell = Shell::new("RTC rooms", Section::RtcRooms, now).within(&ops, filter.app);
    answered(form.is_good(), &List { shell, form, rows, older, is_later })
}

/// How long behind its end a session may still be told of, in ms.
const LATE_MS: i64 = 60_000;

filter! {
    /// Which session, of a room whose kind of id is not known.
    #[derive(Default)]
    struct SessionQuery {
        /// The moment
        "at" "At" ConditionKind::Time => at: Option<UnixMillis>,
        /// The session
        "session" "Session" ConditionKind::Text => session: Option<String>,
    }
}

impl SessionQuery {
    fn holds(&self, session: &RtcRoomSession) -> bool {
        let until = session.ended_at.map(|end| end.max(session.last_at).0.saturating_add(LATE_MS));
        self.at.is_none_or(|at| session.started_at <= at && until.is_none_or(|until| at.0 <= until))
            && self.session.as_ref().is_none_or(|number| session.session.to_string() == *number)
    }
}

/// `GET /rtc-room-sessions/{app}/{room_id}`: leads to the latest session, to the one that the moment `at` falls in, or to the one
/// of this number.
pub(crate) async fn latest(
    State(ops): State<Arc<Ops>>,
    Path((app_id, room_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    let reading = Reading::of(&ops).await?;
    let query = Query::read(query.as_deref());
    let asked = query.filter(SessionQuery::default(), &["app"], reading.now)?;
    let room_id = path_segment::id(&room_id);
    let filter = RtcRoomFilter {
        app: Some(app(&app_id)?),
        room_id: Some(room_id.clone()),
        until: asked.at.map(|at| UnixMillis(at.0.saturating_add(1))),
        limit: 200,
        ..RtcRoomFilter::default()
    };
    let sessions = reading.store.rtc_room_sessions(&filter).await?;
    if let Some(session) = sessions.iter().find(|session| asked.holds(session)) {
        let (room_id, kind) = (&session.room_id, &session.room_id_kind);
        let href = rtc_room_href(session.sdk_app_id, room_id, kind, session.session);
        return Ok(Redirect::to(&href).into_response());
    }
    // An event names it, and no session has been made of that: it is so new, or of a task of the cloud alone.
    let missing = || {
        PageError::NotFound(format!(
            "No event names such a room “{room_id}” of the RTC Engine of app {app_id}."
        ))
    };
    let at = asked.at.ok_or_else(missing)?;
    let until = moment_value(at.plus(std::time::Duration::from_millis(1)));
    let id = path_segment::encoded(&room_id);
    Ok(Redirect::to(&format!("/events?app={app_id}&room={id}&until={until}")).into_response())
}
