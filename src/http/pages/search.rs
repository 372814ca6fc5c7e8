//! The search box, and the calls, room visits and stays in RTC rooms of an account.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect};

use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::pages::calls::{CallRow, row};
use crate::http::pages::rtc_rooms::stays::{StayRow, row as stay_row};
use crate::http::query::Query;
use crate::http::ui::filters::{Form, FormBuilder};
use crate::http::ui::html::{
    Html, account, badge, call_href, copyable, event_href, id, inferred, link, list, nothing,
    room_at_href, room_href, rtc_room_href, stayed, time, time_or, user_href, visible, words,
};
use crate::http::ui::page::{ListPage, Paged, Reading, answered, app, done, shown};
use crate::http::ui::shell::Shell;
use crate::store::{RtcStays, RtcStaysOf, SearchHit, UserCallFilter, UserVisit, UserVisitFilter};
use protocol::AppId;
use protocol::UnixMillis;

#[derive(Template)]
#[template(path = "search.html")]
struct Search {
    shell: Shell,
    text: String,
    rows: Vec<(&'static str, Html, Html)>,
}

/// `GET /search?id=`: the one thing that has this id, or a list of those that have.
pub(crate) async fn search(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let reading = Reading::of(&ops).await?;
    let query = Query::read(query.as_deref());
    query.only(&["id", "app"])?;
    let text = query.text("id").unwrap_or_default();
    let mut found = Vec::new();
    // An id may have blanks around it; more often they were copied with it.
    let sent = query.exact("id").filter(|sent| *sent != text);
    for text in sent.iter().chain([&text]).filter(|text| !text.is_empty()) {
        if found.is_empty() {
            found = reading.store.find(text).await?;
        }
    }
    if let [one] = found.as_slice() {
        return Ok(Redirect::to(&href(one)).into_response());
    }
    let rows = found.iter().map(|found| {
        let (kind, shown, app) = match found {
            SearchHit::Call { sdk_app_id, call_id } => ("call", call_id.clone(), Some(*sdk_app_id)),
            SearchHit::Room { sdk_app_id, room_id, .. } => {
                ("room", room_id.clone(), Some(*sdk_app_id))
            }
            SearchHit::RtcRoom { sdk_app_id, room_id, .. } => {
                ("RTC room", room_id.clone(), Some(*sdk_app_id))
            }
            SearchHit::Account { sdk_app_id, account } => {
                ("account", account.clone(), Some(*sdk_app_id))
            }
            SearchHit::Event { id } => ("event", id.to_string(), None),
        };
        let detail = match found {
            SearchHit::Room { session, .. } | SearchHit::RtcRoom { session, .. }
                if *session > 0 =>
            {
                time(UnixMillis(*session), reading.now)
            }
            _ => app.map_or_else(nothing, |app| id(&app.to_string())),
        };
        (kind, link(&href(found), &shown), detail)
    });
    let rows = rows.collect();
    let app = query.text("app").as_deref().and_then(AppId::parse);
    let shell = Shell::new("Search", None, reading.now).within(&ops, app);
    let shell = Shell { query: text.clone(), ..shell };
    let text = visible(&text).into_owned();
    done(&Search { shell, text, rows })
}

fn href(found: &SearchHit) -> String {
    match found {
        SearchHit::Call { sdk_app_id, call_id } => call_href(*sdk_app_id, call_id),
        SearchHit::Room { sdk_app_id, room_id, session } => {
            room_href(*sdk_app_id, room_id, *session)
        }
        SearchHit::RtcRoom { sdk_app_id, room_id, room_id_kind, session } => {
            rtc_room_href(*sdk_app_id, room_id, room_id_kind, *session)
        }
        SearchHit::Account { sdk_app_id, account } => user_href(*sdk_app_id, account),
        SearchHit::Event { id } => event_href(*id),
    }
}

#[derive(Template)]
#[template(path = "user.html")]
struct User {
    shell: Shell,
    id: Html,
    app: String,
    form: Form,
    rows: Vec<UserRow>,
    older: Option<String>,
    is_later: bool,
    visits: Vec<VisitRow>,
    visits_older: Option<String>,
    visits_are_later: bool,
    stays: Vec<StayRow>,
    stays_older: Option<String>,
    stays_are_later: bool,
    events_href: String,
    owned_href: String,
}

struct VisitRow {
    entered: Html,
    room: Html,
    name: String,
    family: Html,
    left: Html,
    inferred: Html,
    lasted: String,
    why: String,
    event: Html,
}

struct UserRow {
    call: CallRow,
    direction: String,
    outcome: Html,
    peers: Html,
    at: Html,
}

/// `GET /users/{app}/{account}`
pub(crate) async fn user(
    State(ops): State<Arc<Ops>>,
    Path((app_id, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    let reading = Reading::of(&ops).await?;
    let (app_id, name) = (app(&app_id)?, path_segment::id(&name));
    let query = Query::read(query.as_deref());
    let app = app_id.as_i64();
    let mut asked = FormBuilder::new(user_href(app, &name), &query, reading.now);
    let filter = UserCallFilter {
        app: app_id,
        account: name.clone(),
        direction: None,
        outcome: None,
        after: None,
        limit: 0,
    };
    let filter = asked.filter(filter, &ops.apps, &[]);
    let form = asked.done(&["after", "visits_after", "stays_after"]);
    let ListPage { rows: calls, older, is_later } =
        shown(reading.store, &filter, (&form, &query, "after")).await?;
    let visits = UserVisitFilter { app: app_id, account: name.clone(), after: None, limit: 0 };
    let place = (&form, &query, "visits_after");
    let visits = shown(reading.store, &visits, place).await?;
    let stays = RtcStays::new(RtcStaysOf::Account(app_id, name.clone()));
    let stays = shown(reading.store, &stays, (&form, &query, "stays_after")).await?;
    let rows = calls.iter().map(|call| UserRow {
        direction: call.direction.clone(),
        outcome: call.outcome.as_deref().map_or_else(nothing, badge),
        peers: list(call.peers.iter().map(|peer| account(app, peer))),
        at: time(call.at, reading.now),
        call: row(&call.call, reading.now),
    });
    answered(
        form.is_good(),
        &User {
            shell: Shell::new(format!("Account {name}"), None, reading.now)
                .within(&ops, Some(app_id)),
            id: copyable(&name),
            app: app.to_string(),
            rows: rows.collect(),
            form,
            older,
            is_later,
            visits: visits.rows.iter().map(|visit| visit_row(visit, reading.now)).collect(),
            visits_older: visits.older,
            visits_are_later: visits.is_later,
            stays: stays.rows.iter().map(|stay| stay_row(stay, reading.now)).collect(),
            stays_older: stays.older,
            stays_are_later: stays.is_later,
            events_href: format!("/events?app={app}&user={}", path_segment::encoded(&name)),
            owned_href: format!("/room-sessions?app={app}&owner={}", path_segment::encoded(&name)),
        },
    )
}

fn visit_row(visit: &UserVisit, now: UnixMillis) -> VisitRow {
    let (app, room, at) = (visit.sdk_app_id, &visit.room_id, visit.entered_at);
    let href = match visit.session {
        Some(session) => room_href(app, room, session),
        None => room_at_href(app, room, at),
    };
    VisitRow {
        entered: time(at, now),
        room: link(&href, room),
        name: visible(visit.name.as_deref().unwrap_or("")).into_owned(),
        family: badge(&visit.family),
        left: time_or(visit.left_at, now),
        inferred: inferred(visit.inferred),
        lasted: stayed(at, visit.left_at, now),
        why: visible(&visit.left_cause.as_deref().unwrap_or("").replace('_', " ")).into_owned(),
        event: words(&event_href(visit.event_id), "event"),
    }
}
