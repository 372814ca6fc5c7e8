//! Events: the explorer, and one event with its body and where everything in it comes from.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use uuid::Uuid;

use crate::http::destinations::way::ways;
use crate::http::ops::state::Ops;
use crate::http::query::Query;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::Form;
use crate::http::ui::html::{
    Html, account_or, badge, call_href, calls_in_href, copyable, destination_href, event_href, id,
    link, moment, nothing, number, remark, remarks, room_at_href, rtc_room_at_href, search_href,
    span, time, visible, words,
};
use crate::http::ui::page::{Listed, Paged, Reading, answered, done, listed};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{EventFilter, StoredEvent, arrivals};
use protocol::UnixMillis;
use protocol::event::Payload;
use protocol::explain::{self, Field};
use protocol::{Command, Dialect};

/// An event that took longer than this to arrive is marked as late.
const LATE: i64 = 5_000;
/// How much of a body is shown, in bytes.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// How many of its values are listed.
const FIELDS_MAX: usize = 400;

#[derive(Template)]
#[template(path = "events.html")]
struct List {
    shell: Shell,
    form: Form,
    rows: Vec<EventRow>,
    older: Option<String>,
    is_later: bool,
}

/// An event, as a row of a table.
pub(crate) struct EventRow {
    pub(crate) id: Uuid,
    pub(crate) at: Html,
    pub(crate) command: Html,
    pub(crate) family: Html,
    pub(crate) about: Html,
    pub(crate) operator: Html,
    pub(crate) lag: String,
    pub(crate) remarks: Html,
}

pub(crate) fn row(event: &StoredEvent, now: UnixMillis) -> EventRow {
    let lag = event.received_at.0.saturating_sub(event.event_time.0);
    EventRow {
        id: event.id,
        at: time(event.event_time, now),
        command: link(&event_href(event.id), &event.command),
        family: badge(&event.family),
        about: about(event),
        operator: account_or(event.app.as_i64(), event.operator.as_deref()),
        lag: span(lag),
        remarks: remarks([late(lag), undecoded(event)].into_iter().flatten()),
    }
}

fn late(lag: i64) -> Option<Html> {
    (lag >= LATE).then(|| remark("late", "late", "it took 5 s or more to arrive"))
}

fn undecoded(event: &StoredEvent) -> Option<Html> {
    let meaning = "something in its body did not fit its type; it is kept as it came";
    event.decode_error.as_ref().map(|_| remark("trouble", "undecoded", meaning))
}

/// The call or the room it is about.
fn about(event: &StoredEvent) -> Html {
    match (&event.call_id, &event.room_id) {
        (Some(call), _) => call_link(event, call),
        (None, Some(room)) => room_link(event, room),
        (None, None) => nothing(),
    }
}

fn call_link(event: &StoredEvent, call: &str) -> Html {
    match event.family.as_str() {
        "call" => link(&call_href(event.app.as_i64(), call), call),
        _ => link(&search_href(call), call),
    }
}

/// The RTC room of a call is no room of its own, and what others call a room may be one.
fn room_link(event: &StoredEvent, room: &str) -> Html {
    let app = event.app.as_i64();
    match event.family.as_str() {
        "room" | "live" | "mic" => link(&room_at_href(app, room, event.event_time), room),
        "call" => link(&calls_in_href(app, room), room),
        family if family.starts_with("rtc_") => {
            link(&rtc_room_at_href(app, room, event.event_time), room)
        }
        _ => link(&search_href(room), room),
    }
}

/// `GET /events`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let Listed { filter, form, rows, older, is_later, now } =
        listed::<EventFilter>(&ops, "/events", query.as_deref()).await?;
    let rows = rows.iter().map(|event| row(event, now)).collect();
    let shell = Shell::new("Events", Section::Events, now).within(&ops, filter.app);
    answered(form.is_good(), &List { shell, form, rows, older, is_later })
}

#[derive(Template)]
#[template(path = "event.html")]
struct One {
    shell: Shell,
    id: Html,
    command: String,
    family: Html,
    columns: Vec<Column>,
    decode_error: Option<String>,
    body: String,
    body_words: String,
    fields: Vec<Field>,
    is_typed: bool,
    fields_cut: bool,
    raw_id: Uuid,
    /// Whether the API wants a token.
    asks_token: bool,
    page: &'static str,
    ways: Vec<(Html, Html, String)>,
}

/// A column of the event, and where its value comes from.
struct Column {
    name: &'static str,
    value: Html,
    path: String,
    sent: String,
}

/// `GET /events/{id}`
pub(crate) async fn page(
    State(ops): State<Arc<Ops>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Paged {
    Query::read(query.as_deref()).only(&["app"])?;
    let reading = Reading::of(&ops).await?;
    let missing = || PageError::NotFound(format!("No stored event has the id “{id}”."));
    let id: Uuid = id.parse().map_err(|_| missing())?;
    let found = reading.store.event(id).await?.ok_or_else(missing)?;
    let deliveries = reading.store.event_deliveries(&found).await?;
    let ways = ways(deliveries, &found, &ops.setup).into_iter().map(|way| {
        let name = link(&destination_href(&way.name), &way.name);
        (name, badge(way.state), visible(&way.text).into_owned())
    });
    let (json, is_json) = match &found.payload {
        Payload::Json(json) => (json.as_str(), true),
        Payload::Raw(_) => ("", false),
    };
    let (body, is_cut) = match &found.payload {
        Payload::Json(json) => explain::indented(json, BODY_BYTES_MAX),
        Payload::Raw(bytes) => {
            let shown = &bytes[..bytes.len().min(BODY_BYTES_MAX)];
            (String::from_utf8_lossy(shown).into_owned(), bytes.len() > shown.len())
        }
    };
    let bytes = number(i64::try_from(found.payload.as_bytes().len()).unwrap_or(i64::MAX));
    let form = if is_json {
        "laid out for reading; every value is as it was sent"
    } else {
        "no JSON: shown as text"
    };
    let body_words =
        format!("{bytes} bytes, {form}{}", if is_cut { "; the rest is left out" } else { "" });
    let fields: Vec<Field> =
        explain::fields(&found.command, json, FIELDS_MAX).into_iter().map(readable).collect();
    done(&One {
        shell: Shell::new(found.command.clone(), Section::Events, reading.now)
            .within(&ops, Some(found.app)),
        id: copyable(&id.to_string()),
        command: visible(&found.command).into_owned(),
        family: badge(&found.family),
        columns: columns(&found, json, reading.now),
        decode_error: found.decode_error.as_deref().map(|error| visible(error).into_owned()),
        body: in_lines(&body),
        body_words,
        is_typed: fields.iter().any(|field| field.typed.is_some()),
        fields_cut: fields.len() >= FIELDS_MAX,
        fields,
        ways: ways.collect(),
        raw_id: id,
        asks_token: ops.asks_token(),
        page: Command::find(&found.command).map_or("", |command| command.page),
    })
}

fn readable(field: Field) -> Field {
    let shown = |text: String| visible(&text).into_owned();
    Field { path: shown(field.path), sent: field.sent.map(shown), typed: field.typed.map(shown) }
}

/// What nobody would see, spelled out in each line.
fn in_lines(body: &str) -> String {
    let lines: Vec<_> = body.split('\n').map(visible).collect();
    lines.join("\n")
}

fn columns(event: &StoredEvent, json: &str, now: UnixMillis) -> Vec<Column> {
    let app = event.app.as_i64();
    let origins = explain::origins(&event.command, json, event.event_time);
    let column = |name, value, from: &str| {
        let origin = origins.iter().find(|origin| origin.column == name);
        Column {
            name,
            value,
            path: origin.map_or_else(|| from.to_owned(), |origin| origin.path.to_owned()),
            sent: origin.map_or_else(String::new, |origin| visible(&origin.sent).into_owned()),
        }
    };
    let text = |text: &Option<String>| text.as_deref().map_or_else(nothing, id);
    let call = event.call_id.as_deref();
    let room = event.room_id.as_deref();
    let timed = if origins.iter().any(|origin| origin.column == "event_time") {
        ""
    } else {
        "no usable time in the body: when it arrived"
    };
    // Where the vendor says whose event it is, and what.
    let (app_at, family_at, command_at) = match event.dialect() {
        Dialect::Im => ("query: SdkAppid", "the command, before its dot", "query: CallbackCommand"),
        Dialect::RtcEngine => ("header: SdkAppId", "EventGroupId", "EventType"),
    };
    vec![
        column("id", id(&event.id.to_string()), made_of(event)),
        column("sdk_app_id", id(&app.to_string()), app_at),
        column("family", id(&event.family), family_at),
        column("command", id(&event.command), command_at),
        column("command_sent", text(&event.command_sent), "the name as sent, where it differs"),
        column("event_time", moment(event.event_time), timed),
        column("received_at", time(event.received_at, now), "our clock, when its head had arrived"),
        column("call_id", call.map_or_else(nothing, |call| call_link(event, call)), ""),
        column("room_id", room.map_or_else(nothing, |room| room_link(event, room)), ""),
        column("operator", account_or(app, event.operator.as_deref()), ""),
        column("client_ip", text(&event.client_ip), "query: ClientIP"),
        column("platform", text(&event.platform), "query: OptPlatform"),
        column("request_id", text(&event.request_id), "query: RequestId, for the vendor's support"),
        column(
            "query",
            text(&event.query),
            "the query as it came, where its columns do not say it",
        ),
        column(
            "signature",
            text(&event.signature),
            "unchecked: taken without a signature, as its app has no key for the RTC Engine",
        ),
    ]
}

fn made_of(event: &StoredEvent) -> &'static str {
    if event.dialect() == Dialect::RtcEngine {
        "its time, then a hash of what it is about: sent again with another CallbackTs it is the same event"
    } else if event.id.get_version_num() == 8 {
        "its time, then a hash of app, command and body: sent again it is the same event"
    } else {
        "its time, then random: two equal requests are two events"
    }
}

/// The events of one subject, in the order of their times, with how they arrived.
pub(crate) struct Arrivals {
    pub(crate) rows: Vec<Arrived>,
    pub(crate) count: String,
    /// The list that has all, where these are only the first.
    pub(crate) all: Option<String>,
}

/// One of them.
pub(crate) struct Arrived {
    pub(crate) id: Uuid,
    pub(crate) at: Html,
    pub(crate) received: Html,
    pub(crate) lag: String,
    /// Its place in the order of arrival, from 1.
    pub(crate) place: usize,
    pub(crate) remarks: Html,
    pub(crate) command: Html,
    pub(crate) operator: Html,
}

impl Arrivals {
    /// Give them by event time, and where the others are.
    pub(crate) fn of(events: &[StoredEvent], all: Option<String>) -> Self {
        let places = arrivals(events);
        let mut bodies = std::collections::HashSet::new();
        let mut rows = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            let lag = event.received_at.0.saturating_sub(event.event_time.0);
            // Of those that happened later, the first to arrive.
            let overtaken = events[index + 1..].iter().any(|later| {
                later.event_time > event.event_time && later.received_at < event.received_at
            });
            let overtaken = overtaken.then(|| {
                remark(
                    "overtaken",
                    "out of order",
                    "an event that happened later arrived before it",
                )
            });
            let is_repeat = !bodies.insert(event.payload.as_bytes());
            let repeat = is_repeat.then(|| {
                remark(
                    "repeat",
                    "same body",
                    "an earlier event has the same body; they are kept apart",
                )
            });
            rows.push(Arrived {
                id: event.id,
                at: moment(event.event_time),
                received: moment(event.received_at),
                lag: span(lag),
                place: places[index],
                remarks: remarks(
                    [late(lag), overtaken, repeat, undecoded(event)].into_iter().flatten(),
                ),
                command: words(&event_href(event.id), &event.command),
                operator: account_or(event.app.as_i64(), event.operator.as_deref()),
            });
        }
        let count = number(i64::try_from(rows.len()).unwrap_or(i64::MAX));
        Self { rows, count, all }
    }
}
