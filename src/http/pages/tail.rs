//! The live tail: the latest events, and with the script every new one as it comes.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};

use crate::http::ops::state::Ops;
use crate::http::pages::events::{EventRow, row};
use crate::http::query::Query;
use crate::http::ui::filters::{Form, FormBuilder};
use crate::http::ui::page::{PAGE_ROWS, Paged, Reading, answered};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{EventFilter, Position};

#[derive(Template)]
#[template(path = "tail.html")]
struct Tail {
    shell: Shell,
    form: Form,
    rows: Vec<EventRow>,
    /// Where the script listens.
    stream: String,
    /// After which position.
    after: Position,
}

/// `GET /tail`
pub(crate) async fn page(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let reading = Reading::of(&ops).await?;
    let query = Query::read(query.as_deref());
    let mut asked = FormBuilder::new("/tail", &query, reading.now);
    let latest = EventFilter { limit: PAGE_ROWS, ..EventFilter::default() };
    let filter = asked.filter(latest, &ops.apps, &["since", "until"]);
    let form = asked.done(&[]);
    let mut events = Vec::new();
    // Before the list is read: what is stored meanwhile is in both, and shown once.
    let after = reading.store.feed_span().await?.end;
    if form.is_good() {
        // It looks through so many events and no more, however rare what fits is.
        events = reading.store.event_page(&filter).await?.events;
    }
    let rows = events.iter().map(|event| row(event, reading.now)).collect();
    let stream = form.href().replacen("/tail", "/api/v1/events/stream", 1);
    answered(
        form.is_good(),
        &Tail {
            shell: Shell::new("Tail", Section::Tail, reading.now).within(&ops, filter.app),
            form,
            rows,
            stream,
            after,
        },
    )
}
