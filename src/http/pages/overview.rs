//! The first page: is all well, and what goes on just now?

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};

use crate::http::ops::state::Ops;
use crate::http::pages::anomalies::{AnomalyRow, row as anomaly_row};
use crate::http::query::Query;
use crate::http::ui::charts::{CountPoint, Stacked};
use crate::http::ui::error::PageError;
use crate::http::ui::filters::{Form, FormBuilder};
use crate::http::ui::html::{
    Html, account_or, age, badge, call_href, link, moment_value, nothing, number, room_href, span,
};
use crate::http::ui::page::{Paged, Reading, answered};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::ingest::Health;
use crate::store::{
    AnomalyFilter, Call, CallFilter, ConditionKind, Count, CountBy, CountFilter, DestinationRow,
    EventFilter, OPEN_COUNTED_MAX, Room, RoomFilter, Step, filter,
};
use crate::telemetry::{Figures, outcome_labels};
use protocol::AppId;
use protocol::UnixMillis;

/// How long it waits for the store. Less than other pages: it has more to say.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// How many of the latest things of a kind are shown.
const LATEST: u32 = 8;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    /// Asks for the app, where there are several.
    form: Form,
    is_day: bool,
    /// `None` where the store was not read; `trouble` says why.
    stored: Option<Stored>,
    trouble: Option<ReadFailure>,
    server: Server,
    /// Nothing has ever come.
    is_new: bool,
}

/// Why the store was not read.
#[derive(Clone, Copy)]
enum ReadFailure {
    /// It takes no events either.
    Away,
    /// It refused, or was not reached.
    Unread,
    /// Too many read, or it took too long.
    Busy,
    /// This server is a receiver of scale-out mode.
    NoStore,
}

/// What the store says.
struct Stored {
    chart: Stacked,
    lag_mean: String,
    lag_max: String,
    last: Option<Last>,
    today: Vec<(&'static str, String, String)>,
    calls: Vec<(Html, Html, Html, Html)>,
    rooms: Vec<(Html, String, Html, String, Html)>,
    anomalies: Vec<AnomalyRow>,
    /// How many of them there are.
    anomalies_count: String,
    /// Whether all destinations of forwarding run, and how many do; none where there is no destination.
    forwarding: Option<(Html, String)>,
}

/// The latest event.
struct Last {
    event: Html,
    quiet: String,
}

/// What the server itself says.
struct Server {
    requests: String,
    outcomes: Vec<Outcome>,
    /// Where events go: the store, or the stream of scale-out mode.
    target: &'static str,
    store: (&'static str, Html),
    spool: (String, Html),
    queue: String,
    connections: String,
    lost: i64,
}

struct Outcome {
    name: String,
    count: String,
    /// Of all requests, in percent.
    share: String,
    meaning: &'static str,
}

filter! {
    /// How much time the chart spans.
    #[derive(Default)]
    struct SpanQuery {
        /// An hour or a day
        "span" "Span" ConditionKind::OneOf(&["hour", "day"]) => span: Option<String>,
    }
}

/// `GET /`
pub(crate) async fn page(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let query = Query::read(query.as_deref());
    let now = ops.clock.now();
    let SpanQuery { span } = query.filter(SpanQuery::default(), &["app"], now)?;
    let is_day = span.as_deref() == Some("day");
    let mut asked = FormBuilder::new("/", &query, now);
    let app = asked.app(&ops.apps);
    let form = asked.done(&["span"]);
    let store_handle = ops.store_handle.get().ok_or(PageError::Starting)?;
    let health = store_handle.ingest.health();
    let server = server(&Figures::read(ops.metrics.render()), &health);
    // Where the store is away or slow, what the server itself knows is worth the more.
    let read = async { stored(&Reading::of(&ops).await?, is_day, app).await };
    let (stored, trouble) = match tokio::time::timeout(STORE_TIMEOUT, read).await {
        Ok(Ok(stored)) => (Some(stored), None),
        Ok(Err(PageError::Store(error))) => {
            tracing::warn!(%error, "the dashboard could not read the store");
            (None, Some(ReadFailure::Unread))
        }
        Ok(Err(PageError::NoStore)) => (None, Some(ReadFailure::NoStore)),
        Ok(Err(_)) | Err(_) => (None, Some(ReadFailure::Busy)),
    };
    let is_away = health.store_away && health.target == "store";
    let trouble = trouble.map(|trouble| if is_away { ReadFailure::Away } else { trouble });
    let is_new = app.is_none() && stored.as_ref().is_some_and(|stored| stored.last.is_none());
    let shell = Shell::new("Overview", Section::Overview, now).within(&ops, app);
    answered(form.is_good(), &Overview { shell, form, is_day, stored, trouble, server, is_new })
}

async fn stored(
    reading: &Reading<'_>,
    is_day: bool,
    app: Option<AppId>,
) -> Result<Stored, PageError> {
    let (store, now) = (reading.store, reading.now);
    // Minutes are kept for two days; a bar of the day is ten of them.
    let (step_ms, spans) = if is_day { (10 * MINUTE, 144) } else { (MINUTE, 60) };
    let until = UnixMillis((now.0.div_euclid(step_ms) + 1) * step_ms);
    let since = UnixMillis(until.0 - step_ms * i64::try_from(spans).unwrap_or(0));
    let midnight = UnixMillis(now.0.div_euclid(DAY) * DAY);
    let by = |since, step, by| CountFilter { app, since, until, step, by };
    let minutes = by(since, Step::Minute, CountBy::Family);
    let results = by(midnight, Step::Hour, CountBy::Result);
    let latest = EventFilter { app, limit: 1, ..EventFilter::default() };
    let calls = |state: &str| CallFilter {
        app,
        state: Some(state.to_owned()),
        since: Some(UnixMillis(now.0 - DAY)),
        limit: LATEST,
        ..CallFilter::default()
    };
    let (ringing, active) = (calls("ringing"), calls("active"));
    let rooms =
        RoomFilter { app, state: Some("open".to_owned()), limit: LATEST, ..RoomFilter::default() };
    let open =
        AnomalyFilter { app, resolved: Some(false), limit: LATEST, ..AnomalyFilter::default() };
    let counts = store.counts(&minutes).await?;
    let results = store.counts(&results).await?;
    // Of one app it looks through so many events and no more.
    let latest = store.event_page(&latest).await?.events;
    let ringing = store.calls(&ringing).await?;
    let active = store.calls(&active).await?;
    let rooms = store.rooms(&rooms).await?;
    let anomalies = store.anomalies(&open).await?;
    let anomalies_count = store.open_anomalies(app).await?;
    let destinations = store.destinations().await?;
    let counted: Vec<CountPoint<'_>> =
        counts.iter().map(|count| (count.at, count.group_name.as_str(), count.events)).collect();
    let events: i64 = counts.iter().map(|count| count.events).sum();
    let lag: i64 = counts.iter().map(|count| count.lag_ms).sum();
    let lag_max = counts.iter().map(|count| count.lag_ms_max).max();
    let known = |lag: Option<i64>| lag.map_or_else(|| "–".to_owned(), span);
    Ok(Stored {
        chart: Stacked::new(since, step_ms, spans, &counted),
        lag_mean: known(lag.checked_div(events)),
        lag_max: known(lag_max),
        last: latest.first().map(|event| Last {
            event: link(&crate::http::ui::html::event_href(event.id), &event.command),
            quiet: span(now.since(event.received_at).as_millis().try_into().unwrap_or(i64::MAX)),
        }),
        today: today(&results, midnight, app),
        calls: ringing.iter().chain(&active).map(|call| open_call(call, now)).collect(),
        rooms: rooms.iter().map(|room| open_room(room, now)).collect(),
        anomalies: anomalies.iter().map(|anomaly| anomaly_row(anomaly, now)).collect(),
        forwarding: forwarding(&destinations),
        anomalies_count: match anomalies_count {
            0 => "none".to_owned(),
            OPEN_COUNTED_MAX.. => format!("{} or more", number(OPEN_COUNTED_MAX)),
            count => number(count),
        },
    })
}

/// The state of all destinations: that of the first one that does not run.
fn forwarding(destinations: &[DestinationRow]) -> Option<(Html, String)> {
    let all = destinations.len();
    let mut others = destinations.iter().filter(|row| row.state.state != "running");
    let (state, more) = (others.next().map(|row| row.state.state.as_str()), others.count());
    let runs = all - more - usize::from(state.is_some());
    (all > 0).then(|| (badge(state.unwrap_or("running")), format!("{runs} of {all} run")))
}

/// How the calls of today ended.
fn today(
    results: &[Count],
    midnight: UnixMillis,
    app: Option<AppId>,
) -> Vec<(&'static str, String, String)> {
    let sum = |words: &[&str]| {
        let of = results.iter().filter(|count| words.contains(&count.group_name.as_str()));
        of.map(|count| count.events).sum::<i64>()
    };
    let known =
        ["normal_end", "not_answer", "reject", "cancel", "call_busy", "interrupt", "offline"];
    let all: i64 = results.iter().map(|count| count.events).sum();
    let mut rows = vec![
        ("answered", sum(&["normal_end"]), "/calls?result=normal_end"),
        ("missed", sum(&["not_answer"]), "/calls?result=not_answer"),
        ("rejected", sum(&["reject"]), "/calls?result=reject"),
        ("cancelled", sum(&["cancel"]), "/calls?result=cancel"),
        ("busy", sum(&["call_busy"]), "/calls?result=call_busy"),
        ("interrupted", sum(&["interrupt"]), "/calls?result=interrupt"),
        ("offline", sum(&["offline"]), "/calls?result=offline"),
    ];
    if all > sum(&known) {
        rows.push(("other", all - sum(&known), "/calls?state=ended"));
    }
    let since = moment_value(midnight);
    let app = app.map_or_else(String::new, |app| format!("&app={}", app.as_i64()));
    rows.into_iter()
        .map(|(word, count, href)| (word, number(count), format!("{href}&since={since}{app}")))
        .collect()
}

fn open_call(call: &Call, now: UnixMillis) -> (Html, Html, Html, Html) {
    (
        link(&call_href(call.sdk_app_id, &call.call_id), &call.call_id),
        badge(&call.state),
        account_or(call.sdk_app_id, call.caller.as_deref()),
        age(call.first_at, now),
    )
}

fn open_room(room: &Room, now: UnixMillis) -> (Html, String, Html, String, Html) {
    (
        link(&room_href(room.sdk_app_id, &room.room_id, room.session), &room.room_id),
        room.name.clone().unwrap_or_default(),
        badge(&room.family),
        number(room.members),
        age(room.started_at, now),
    )
}

fn server(figures: &Figures, health: &Health) -> Server {
    #[expect(clippy::cast_possible_truncation, reason = "what is counted is a whole number")]
    let whole = |value: f64| value as i64;
    let value = |name| number(figures.value(name).map_or(0, whole));
    let requests = figures.value("trtc_requests_total").map_or(0, whole);
    let mut outcomes: Vec<(&str, i64)> = figures
        .by_label("trtc_request_outcomes_total", "outcome")
        .into_iter()
        .map(|(name, count)| (name, whole(count)))
        .collect();
    // The text has them in another order each time.
    let order: Vec<String> = outcome_labels().collect();
    outcomes.sort_by_key(|(name, _)| order.iter().position(|known| known == name));
    let lost = outcomes.iter().filter(|(name, _)| ["not_stored", "shed"].contains(name));
    let lost = lost.map(|(_, count)| count).sum();
    let shown = outcomes.iter().filter(|(name, count)| *count > 0 || *name == "stored");
    let outcome = |(name, count): &(&str, i64)| Outcome {
        name: name.replace('_', " "),
        count: number(*count),
        share: percent(*count, requests),
        meaning: meaning(name),
    };
    let (store, store_badge) = if health.store_away {
        ("does not take events; they go to the spool", badge("away"))
    } else {
        ("takes events", badge("ok"))
    };
    Server {
        requests: number(requests),
        outcomes: shown.map(outcome).collect(),
        target: if health.target == "stream" { "Stream" } else { "Store" },
        store: (store, store_badge),
        spool: spool(health),
        queue: value("trtc_queue_events"),
        connections: value("trtc_connections"),
        lost,
    }
}

fn spool(health: &Health) -> (String, Html) {
    let (text, state) = match (&health.spool, &health.spool_trouble) {
        (None, _) => ("none is configured".to_owned(), nothing()),
        (Some(_), Some(trouble)) => {
            (format!("did not take the last event: {trouble}"), badge("trouble"))
        }
        (Some(size), None) if size.events == 1 => {
            ("1 event waits for the store".to_owned(), badge("waiting"))
        }
        (Some(size), None) if size.events > 1 => (
            format!(
                "{} events wait for the store",
                number(i64::try_from(size.events).unwrap_or(i64::MAX))
            ),
            badge("waiting"),
        ),
        (Some(_), None) => ("empty".to_owned(), badge("ok")),
    };
    let quarantined = if health.quarantined_spool.is_some() {
        "; a damaged file was quarantined, see the log"
    } else {
        ""
    };
    (format!("{text}{quarantined}"), state)
}

fn percent(part: i64, all: i64) -> String {
    let tenths = part.saturating_mul(1000).checked_div(all).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// What an outcome means for the one who looks.
fn meaning(outcome: &str) -> &'static str {
    match outcome {
        "stored" => "a new event in the store",
        "duplicate" => "sent again; it was stored already",
        "parked" => "the store refused the row; kept apart in dead_letter_events",
        "spooled" => "kept in the spool until the store takes it",
        "not_stored" => {
            "neither store nor spool took it; it is in the error log, `replay` reads it from there"
        }
        "shed" => "no room for its body; the event is lost",
        "rejected_app_missing" => "no SdkAppid in the query",
        "rejected_app_malformed" => "SdkAppid is no number",
        "rejected_app_foreign" => "of an app that is not configured here",
        "rejected_sign_missing" => "not signed, although a token is configured",
        "rejected_sign_wrong" => "signed with another token",
        "rejected_request_time_stale" => "signed too long ago, or the clock is wrong",
        "rejected_address_foreign" => "from an address that is not allowed",
        "rejected_app_conflicting" => "header, path and query name different apps",
        "rejected_rtc_sign_missing" => {
            "an RTC Engine event without a signature, although a key is configured"
        }
        "rejected_rtc_sign_wrong" => "an RTC Engine event signed with another key",
        "not_found" => "to a path that takes no callbacks",
        "method_not_allowed" => "no POST",
        "head_too_slow" | "body_too_slow" => "did not come in time",
        "head_too_large" | "body_too_large" => "over the limit",
        "head_broken" | "body_broken" => "broke off, or is no HTTP",
        "abandoned" => "its sender closed before the answer; what came was kept",
        _ => "",
    }
}
