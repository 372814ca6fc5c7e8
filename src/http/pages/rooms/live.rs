//! Live rooms: a list with viewers, gifts and battles.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};

use crate::http::ops::state::Ops;
use crate::http::pages::rooms::list::{RoomRow, row};
use crate::http::ui::filters::Form;
use crate::http::ui::html::{number, number_or};
use crate::http::ui::page::{Listed, Paged, answered, listed};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{Live, LiveRoom, LiveSessions};

#[derive(Template)]
#[template(path = "live_sessions.html")]
struct List {
    shell: Shell,
    form: Form,
    rows: Vec<(RoomRow, Figures)>,
    older: Option<String>,
    is_later: bool,
}

/// What was counted of one live.
struct Figures {
    viewers: String,
    gifts: String,
    coins: String,
    battles: String,
}

/// `GET /live-sessions`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let Listed { filter: sessions, form, rows, older, is_later, now } =
        listed::<LiveSessions>(&ops, "/live-sessions", query.as_deref()).await?;
    let rows = rows.iter().map(|LiveRoom { room, live }| {
        let live = live.as_ref();
        let figure =
            |of: fn(&Live) -> i64| live.map_or_else(|| "–".to_owned(), |live| number(of(live)));
        let figures = Figures {
            viewers: number_or(live.and_then(|live| live.total_viewers)),
            gifts: figure(|live| live.gifts),
            coins: figure(|live| live.gift_coins),
            battles: figure(|live| live.battles),
        };
        (row(room, now), figures)
    });
    let shell =
        Shell::new("Live sessions", Section::LiveSessions, now).within(&ops, sessions.0.app);
    answered(form.is_good(), &List { shell, form, rows: rows.collect(), older, is_later })
}
