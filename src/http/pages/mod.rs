//! The pages of the dashboard, one file each, and their routes.

mod anomalies;
mod calls;
mod events;
mod forward;
mod overview;
pub(crate) mod rooms;
pub(crate) mod rtc_rooms;
mod search;
mod settings;
pub(crate) mod sign_in;
mod tail;
mod tasks;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;

use crate::http::ops::state::Ops;
use crate::http::ui::page::in_time;
use crate::http::ui::section::Section;

/// All pages, but those to sign in. They read only.
pub(crate) fn routes() -> Router<Arc<Ops>> {
    let sections = Section::ALL.into_iter().fold(Router::new(), |router, section| {
        let handler = match section {
            Section::Overview => get(overview::page),
            Section::Tail => get(tail::page),
            Section::Calls => get(calls::list),
            Section::Rooms => get(rooms::list::list),
            Section::LiveSessions => get(rooms::live::list),
            Section::RtcRooms => get(rtc_rooms::list::list),
            Section::Recordings => get(tasks::recordings::list),
            Section::RtcTasks => get(tasks::rtc::list),
            Section::Events => get(events::list),
            Section::Forwarding => get(forward::list),
            Section::Anomalies => get(anomalies::list),
            Section::Settings => get(settings::page),
        };
        router.route(section.path(), handler)
    });
    sections
        .route("/calls/{app}/{call_id}", get(calls::page))
        .route("/room-sessions/{app}/{room_id}", get(rooms::list::latest))
        .route("/room-sessions/{app}/{room_id}/{session}", get(rooms::one::page))
        .route("/rtc-room-sessions/{app}/{room_id}", get(rtc_rooms::list::latest))
        .route("/rtc-room-sessions/{app}/{room_id}/{kind}/{session}", get(rtc_rooms::one::page))
        .route("/recordings/{app}/{task_id}", get(tasks::recordings::page))
        .route("/rtc-tasks/{app}/{task_id}", get(tasks::rtc::page))
        .route("/events/{id}", get(events::page))
        .route("/forward/{name}", get(forward::page))
        .route("/search", get(search::search))
        .route("/users/{app}/{account}", get(search::user))
        .layer(from_fn(in_time))
}
