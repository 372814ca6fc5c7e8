//! Who was in a room of the RTC Engine over time, and what they published: a lane for each account.

use std::collections::HashMap;

use crate::http::pages::rtc_rooms::stays::why_left;
use crate::http::ui::charts::{Bar, Span, time_of_day};
use crate::http::ui::html::{Html, account, span};
use crate::store::{RtcPublishInterval, RtcRoomSession, RtcStay, ended_by_meaning};
use protocol::UnixMillis;

/// How many lanes are drawn.
pub(crate) const LANES_MAX: usize = 50;
/// How many stays of an account are told in words beside its lane.
const TOLD_MAX: usize = 5;

/// Where a stay is drawn in a lane of its own: from the top, and how high.
const STAY: (u32, u32) = (2, 12);
/// Where the tracks are drawn below it.
const TRACKS: [(&str, (u32, u32)); 3] =
    [("camera", (18, 6)), ("audio", (26, 6)), ("screen", (34, 6))];

/// An account, drawn over the time of the session.
pub(crate) struct Lane {
    pub(crate) account: Html,
    pub(crate) is_robot: bool,
    pub(crate) is_creator: bool,
    pub(crate) bars: Vec<Bar>,
    /// How high the drawing is.
    pub(crate) height: u32,
    /// All that is drawn, in words.
    pub(crate) words: String,
    /// The stays, in words.
    pub(crate) stays: Vec<String>,
    /// How many more stays there are.
    pub(crate) more: usize,
    /// How long each track was published.
    pub(crate) published: Vec<String>,
}

/// The accounts of these stays, in their order: people first.
pub(crate) fn accounts(stays: &[RtcStay]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let accounts = stays.iter().filter(|stay| seen.insert(stay.account.as_str()));
    accounts.map(|stay| stay.account.clone()).collect()
}

/// A lane for each of these accounts.
pub(crate) fn lanes(
    session: &RtcRoomSession,
    accounts: &[String],
    stays: &[RtcStay],
    published: &[RtcPublishInterval],
    now: UnixMillis,
) -> (Vec<Lane>, Span) {
    let end = session.ended_at.unwrap_or_else(|| now.max(session.last_at));
    let ends = stays.iter().filter_map(|stay| stay.ended_at);
    let span = Span::around([session.started_at, end].into_iter().chain(ends));
    let mut by_account: HashMap<&str, (Vec<&RtcStay>, Vec<&RtcPublishInterval>)> = HashMap::new();
    for stay in stays {
        by_account.entry(&stay.account).or_default().0.push(stay);
    }
    for interval in published {
        by_account.entry(&interval.account).or_default().1.push(interval);
    }
    let lane = |account: &String| {
        let (stays, published) = by_account.remove(account.as_str()).unwrap_or_default();
        lane(session, account, &stays, &published, (span, end))
    };
    (accounts.iter().map(lane).collect(), span)
}

fn lane(
    session: &RtcRoomSession,
    name: &str,
    stays: &[&RtcStay],
    published: &[&RtcPublishInterval],
    (span, end): (Span, UnixMillis),
) -> Lane {
    let mut bars: Vec<Bar> = Vec::new();
    let mut words = Vec::new();
    for stay in stays {
        words.push(format!("in the room {}", told(stay)));
        bars.extend(stay_bars(stay, STAY, (span, end)));
    }
    for interval in published {
        let place = TRACKS.iter().find(|(track, _)| *track == interval.track);
        let place = place.map_or(STAY, |(_, place)| *place);
        let text = published_words(interval);
        let until = interval.ended_at.unwrap_or(end);
        let guess = if interval.start_unknown { " guess" } else { "" };
        let name = format!("t-{}{guess}", interval.track);
        bars.push(span.bar_in(place, (interval.started_at, until), &name, text.clone()));
        words.push(text);
    }
    let told: Vec<String> = stays.iter().take(TOLD_MAX).map(|stay| told(stay)).collect();
    Lane {
        account: account(session.sdk_app_id, name),
        is_robot: stays.iter().any(|stay| stay.is_robot),
        is_creator: session.creator.as_deref() == Some(name),
        bars,
        height: if published.is_empty() { 16 } else { 42 },
        words: words.join("; "),
        more: stays.len() - told.len(),
        stays: told,
        published: sums(published, end),
    }
}

/// A stay as bars: of one that ended by a timeout the part behind its presumed end is another.
pub(crate) fn stay_bars(
    stay: &RtcStay,
    place: (u32, u32),
    (span, end): (Span, UnixMillis),
) -> Vec<Bar> {
    let until = stay.ended_at.unwrap_or(end).max(stay.started_at);
    let is_guess = stay.flag_words().iter().any(|flag| flag == "end_inferred");
    let name = if is_guess { "stay guess" } else { "stay" };
    let text = told(stay);
    let Some(lost) = stay.presumed_end_at.filter(|lost| *lost < until) else {
        return vec![span.bar_in(place, (stay.started_at, until), name, text)];
    };
    let lost = lost.max(stay.started_at);
    let waited = format!(
        "probably lost at {}; the media server noticed at {}",
        time_of_day(lost),
        time_of_day(until)
    );
    vec![
        span.bar_in(place, (stay.started_at, lost), name, text),
        span.bar_in(place, (lost, until), "stay lost", waited),
    ]
}

/// A stay in words.
pub(crate) fn told(stay: &RtcStay) -> String {
    let from = time_of_day(stay.started_at);
    let Some(until) = stay.ended_at else {
        return format!("since {from}");
    };
    let lasted = span(until.0.saturating_sub(stay.started_at.0));
    let lost = stay
        .presumed_end_at
        .map_or_else(String::new, |at| format!(", probably lost at {}", time_of_day(at)));
    let why = why_left(stay);
    format!("{from} to {} ({lasted}), {why}{lost}", time_of_day(until))
}

/// A track, as people call it.
fn track_label(track: &str) -> &str {
    if track == "audio" { "microphone" } else { track }
}

fn published_words(interval: &RtcPublishInterval) -> String {
    let (track, from) = (track_label(&interval.track), time_of_day(interval.started_at));
    let Some(until) = interval.ended_at else { return format!("{track} since {from}") };
    let unknown = if interval.start_unknown { " (no start event came)" } else { "" };
    let ended = interval.ended_by.as_deref().map_or("", ended_by_meaning);
    let ended = if ended.is_empty() { String::new() } else { format!(", {ended}") };
    format!("{track} {from} to {}{unknown}{ended}", time_of_day(until))
}

/// How long each track was published in all.
fn sums(published: &[&RtcPublishInterval], end: UnixMillis) -> Vec<String> {
    let sum = |track: &str| {
        let of_track = published.iter().filter(|one| one.track == track);
        let lengths = of_track
            .map(|one| one.ended_at.unwrap_or(end).0.saturating_sub(one.started_at.0).max(0));
        lengths.fold(None, |sum: Option<i64>, length| Some(sum.unwrap_or(0).saturating_add(length)))
    };
    let told = TRACKS
        .iter()
        .filter_map(|(track, _)| Some(format!("{} {}", track_label(track), span(sum(track)?))));
    told.collect()
}
