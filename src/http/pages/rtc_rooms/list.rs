//! Rooms of the RTC Engine: a list of their sessions.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};

use crate::http::ops::state::Ops;
use crate::http::ui::filters::Form;
use crate::http::ui::html::{
    Html, account_or, badge, inferred, link, number, rtc_room_href, stayed, time,
};
use crate::http::ui::page::{Listed, Paged, answered, listed};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{RtcRoomFilter, RtcRoomSession};
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
