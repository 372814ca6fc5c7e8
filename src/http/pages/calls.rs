//! Calls: a list, and one call as a timeline with every event beside it.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect};

use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::pages::events::Arrivals;
use crate::http::pages::rtc_rooms::call_part::RtcPart;
use crate::http::query::Query;
use crate::http::ui::charts::{Bar, Span, time_of_day};
use crate::http::ui::error::PageError;
use crate::http::ui::filters::Form;
use crate::http::ui::html::{
    Html, account, account_or, badge, call_href, calls_in_href, copyable, inferred, link,
    list as list_of, moment_behind, nothing, span, text, time, time_of_day_or, time_or, visible,
};
use crate::http::ui::page::{Listed, Paged, Reading, answered, app, done, listed};
use crate::http::ui::recordings::{RecordingRow, recording};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{
    AnomalyFilter, Call, CallFilter, CallStep, DETAILS_MAX, EventFilter, EventPage, Member,
    StoredEvent, Subject, call_summary, steps,
};
use protocol::UnixMillis;
use protocol::event::Payload;
use protocol::explain::changed_accounts;

/// How many of those who were called a list names.
const CALLEES_SHOWN: usize = 3;
/// What a lane says that has nothing drawn on it.
const UNTIMED: &str = "no event says from when to when";

#[derive(Template)]
#[template(path = "calls.html")]
struct List {
    shell: Shell,
    form: Form,
    rows: Vec<CallRow>,
    older: Option<String>,
    is_later: bool,
}

/// A call, as a row of a table.
pub(crate) struct CallRow {
    pub(crate) call: Html,
    pub(crate) first: Html,
    pub(crate) state: Html,
    pub(crate) result: Html,
    pub(crate) media: String,
    pub(crate) caller: Html,
    /// The first who were called, and how many more there are.
    pub(crate) callees: Html,
    pub(crate) rang: String,
    pub(crate) talk: String,
    pub(crate) inferred: Html,
}

pub(crate) fn row(call: &Call, now: UnixMillis) -> CallRow {
    let app = call.sdk_app_id;
    let named = call.callees.iter().take(CALLEES_SHOWN).map(|name| account(app, name));
    let shown = i64::try_from(named.len()).unwrap_or_default();
    let others = call.participants - i64::from(call.caller.is_some()) - shown;
    let others = (shown > 0 && others > 0).then(|| text(&format!("{others} more")));
    CallRow {
        call: link(&call_href(app, &call.call_id), &call.call_id),
        first: time(call.first_at, now),
        state: badge(&call.state),
        result: call.result.as_deref().map_or_else(nothing, badge),
        media: call.media.clone().unwrap_or_default(),
        caller: account_or(app, call.caller.as_deref()),
        callees: list_of(named.chain(others)),
        rang: length(call.ring_seconds),
        talk: length(call.talk_seconds),
        inferred: inferred(call.inferred),
    }
}

fn length(seconds: Option<i64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(0) => "0 s".to_owned(),
        Some(seconds) => span(seconds.saturating_mul(1000)),
    }
}

/// `GET /calls`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let Listed { filter, form, rows, older, is_later, now } =
        listed::<CallFilter>(&ops, "/calls", query.as_deref()).await?;
    let rows = rows.iter().map(|call| row(call, now)).collect();
    let shell = Shell::new("Calls", Section::Calls, now).within(&ops, filter.app);
    answered(form.is_good(), &List { shell, form, rows, older, is_later })
}

#[derive(Template)]
#[template(path = "call.html")]
struct One {
    shell: Shell,
    id: Html,
    state: Html,
    result: Html,
    inferred: Html,
    facts: Vec<(&'static str, Html)>,
    summary: String,
    talk: String,
    ticks: Vec<String>,
    steps: Vec<Step>,
    lanes: Vec<Lane>,
    rtc: RtcPart,
    cut: bool,
    recordings_cut: bool,
    recordings: Vec<RecordingRow>,
    events: Arrivals,
    anomalies: Vec<crate::http::pages::anomalies::AnomalyRow>,
}

/// When, what, who, how, whether by rule.
type Step = (Html, &'static str, Html, Html, Html);

/// A member of a call, drawn over the time of the call.
struct Lane {
    account: Html,
    is_caller: bool,
    bars: Vec<Bar>,
    marks: Vec<Bar>,
    words: String,
    invited: Html,
    joined: Html,
    left: Html,
    ending: Html,
    inferred: Html,
}

/// `GET /calls/{app}/{call_id}`
pub(crate) async fn page(
    State(ops): State<Arc<Ops>>,
    Path((app_id, call_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    Query::read(query.as_deref()).only(&["app"])?;
    let reading = Reading::of(&ops).await?;
    let (store, now) = (reading.store, reading.now);
    let (app, call_id) = (app(&app_id)?, path_segment::id(&call_id));
    let about = AnomalyFilter {
        subject: Some(call_id.clone()),
        app: Some(app),
        limit: 20,
        ..AnomalyFilter::default()
    };
    let subject = Subject::Call(app, call_id.clone());
    let call = store.call(app, &call_id).await?;
    let members = store.call_members(app, &call_id).await?;
    let recordings = store.recordings(&subject).await?;
    let (members_cut, mut members) = (members.is_cut, members.rows);
    let by_call = call.as_ref().map_or_else(
        || EventFilter::of_call_id(app, &call_id, DETAILS_MAX),
        |call| EventFilter::of_call(call, DETAILS_MAX),
    );
    let EventPage { events, next } = store.event_page(&by_call).await?;
    let anomalies = store.anomalies(&about).await?;
    let all_events = format!("/events?app={app_id}&call={}", path_segment::encoded(&call_id));
    let Some(call) = call else {
        if events.is_empty() {
            return Err(PageError::NotFound(format!(
                "No event names a call “{call_id}” of app {app_id}."
            )));
        }
        // Events that did not fit their types, of which no call was made.
        return Ok(Redirect::to(&all_events).into_response());
    };
    // Who called comes first.
    members.sort_by_key(|member| !member.is_caller);
    let rtc = RtcPart::read(store, &call, &members, now).await?;
    let span = whole(&call, &members, &events, (rtc.times(), now));
    let about = by_account(&events);
    let mut stays = rtc.drawn(span, now.max(call.last_at));
    let lane = |member: &Member| {
        let mut lane = lane(&call, member, &about, span, now);
        lane.add_stays(stays.remove(member.account.as_str()).unwrap_or_default());
        lane
    };
    let lanes = members.iter().map(lane).collect();
    let anomalies = anomalies.iter().filter(|anomaly| anomaly.kind.starts_with("call_"));
    done(&One {
        shell: Shell::new(format!("Call {call_id}"), Section::Calls, now).within(&ops, Some(app)),
        id: copyable(&call_id),
        state: badge(&call.state),
        result: call.result.as_deref().map_or_else(Html::default, badge),
        inferred: inferred(call.inferred),
        summary: visible(&call_summary(&call)).into_owned(),
        talk: length(call.talk_seconds),
        facts: facts(&call, now),
        ticks: span.ticks(),
        steps: told(call.sdk_app_id, &steps(&call, &members)),
        cut: members_cut,
        recordings_cut: recordings.is_cut,
        lanes,
        rtc,
        recordings: recordings.rows.iter().map(|task| recording(task, now)).collect(),
        events: Arrivals::of(&events, next.map(|_| all_events)),
        anomalies: anomalies
            .map(|anomaly| crate::http::pages::anomalies::row(anomaly, reading.now))
            .collect(),
    })
}

fn told(app: i64, steps: &[CallStep]) -> Vec<Step> {
    let mut before = None;
    let told = steps.iter().map(|step| {
        (
            moment_behind(step.at, before.replace(step.at)),
            step.kind,
            step.account.as_deref().map_or_else(Html::default, |text| account(app, text)),
            step.detail.as_deref().map_or_else(Html::default, badge),
            inferred(step.inferred),
        )
    });
    told.collect()
}

fn facts(call: &Call, now: UnixMillis) -> Vec<(&'static str, Html)> {
    let app = call.sdk_app_id;
    let word =
        |word: &Option<String>| word.as_deref().map_or_else(nothing, crate::http::ui::html::id);
    let room = call.room_id.as_deref();
    vec![
        ("Caller", account_or(app, call.caller.as_deref())),
        ("Media", word(&call.media)),
        ("Type", word(&call.call_type)),
        ("Started", time_or(call.started_at, now)),
        ("Accepted", time_or(call.accepted_at, now)),
        ("Ended", time_or(call.ended_at, now)),
        ("Rang for", text(&length(call.ring_seconds))),
        ("Hung up first", account_or(app, call.hung_up_by.as_deref())),
        ("RTC room", room.map_or_else(nothing, |room| link(&calls_in_href(app, room), room))),
        ("Chat group", word(&call.chat_group_id)),
        ("App", crate::http::ui::html::id(&app.to_string())),
    ]
}

/// The time that is drawn: all that is known of the call, to now while it goes on.
fn whole(
    call: &Call,
    members: &[Member],
    events: &[StoredEvent],
    (stays, now): (impl Iterator<Item = UnixMillis> + Clone, UnixMillis),
) -> Span {
    let members = members.iter().flat_map(|member| [Some(member.first_at), member.left_at]);
    let events = events.iter().map(|event| Some(event.event_time));
    let open =
        ["ringing", "active"].contains(&call.state.as_str()).then_some(now.max(call.last_at));
    let own = [Some(call.first_at), call.ended_at, open];
    Span::around(members.chain(events).chain(own).flatten().chain(stays))
}

impl Lane {
    /// Adds what the media server says.
    fn add_stays(&mut self, stays: Vec<(Bar, String)>) {
        for (bar, words) in stays {
            self.bars.push(bar);
            if !self.words.ends_with(&words) {
                self.words = format!("{}; {words}", self.words);
            }
        }
    }
}

/// The events that tell of each account.
fn by_account(events: &[StoredEvent]) -> HashMap<String, Vec<&StoredEvent>> {
    let mut about: HashMap<String, Vec<&StoredEvent>> = HashMap::new();
    for event in events {
        let changed = match &event.payload {
            Payload::Json(json) => changed_accounts(json),
            Payload::Raw(_) => Vec::new(),
        };
        for account in changed.into_iter().chain(event.operator.clone()) {
            about.entry(account).or_default().push(event);
        }
    }
    about
}

fn lane(
    call: &Call,
    member: &Member,
    about: &HashMap<String, Vec<&StoredEvent>>,
    span: Span,
    now: UnixMillis,
) -> Lane {
    // While it goes on, and in a call whose end is not known, to where the drawing ends.
    let end = member.left_at.or(call.ended_at).unwrap_or(now.max(call.last_at));
    let mut bars = Vec::new();
    let mut words = Vec::new();
    let rang_from = if member.is_caller { call.started_at } else { member.invited_at }
        .unwrap_or(member.first_at);
    let connected = member
        .joined_at
        .filter(|_| !member.is_caller)
        .or(call.accepted_at.filter(|_| member.is_caller));
    let rang_until = connected.unwrap_or(end).max(rang_from);
    if rang_from < rang_until {
        let what = if member.is_caller { "waited" } else { "rang" };
        let text = format!("{what} {} to {}", time_of_day(rang_from), time_of_day(rang_until));
        bars.push(span.bar(rang_from, rang_until, "ring", text.clone()));
        words.push(text);
    }
    if let Some(joined) = connected {
        let text =
            format!("in the call {} to {}", time_of_day(joined), time_of_day(end.max(joined)));
        bars.push(span.bar(
            joined,
            end.max(joined),
            if member.inferred { "talk guess" } else { "talk" },
            text.clone(),
        ));
        words.push(text);
    }
    if let Some(ending) = &member.ending {
        words.push(format!("{} at {}", ending.replace('_', " "), time_of_day(end)));
    }
    let own = about.get(member.account.as_str()).into_iter().flatten();
    let mark = |event: &&StoredEvent| {
        span.mark(
            event.event_time,
            "mark",
            format!("{} {}", time_of_day(event.event_time), event.command),
        )
    };
    let app = call.sdk_app_id;
    Lane {
        account: account(app, &member.account),
        is_caller: member.is_caller,
        bars,
        marks: own.map(mark).collect(),
        words: if words.is_empty() { UNTIMED.to_owned() } else { words.join("; ") },
        invited: time_of_day_or(member.invited_at),
        joined: time_of_day_or(member.joined_at),
        left: time_of_day_or(member.left_at),
        ending: badge(member.ending.as_deref().unwrap_or(&member.state)),
        inferred: inferred(member.inferred),
    }
}
