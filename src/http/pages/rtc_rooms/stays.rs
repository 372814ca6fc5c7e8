//! Stays in rooms of the RTC Engine, as rows of tables, with what their numbers and flags mean in words.

use serde::Deserialize;

use crate::http::ui::html::{
    Html, account, event_href, inferred, link, moment, moment_behind, nothing, remark, remarks,
    rtc_room_href, stayed, time_of_day_or, words,
};
use crate::store::{RtcStay, flag_meaning};
use protocol::UnixMillis;

/// A stay, as a row of a table.
pub(crate) struct StayRow {
    pub(crate) account: Html,
    /// The session it is of.
    pub(crate) room: Html,
    pub(crate) is_robot: bool,
    pub(crate) entered: Html,
    pub(crate) left: Html,
    pub(crate) inferred: Html,
    /// When the user was probably lost.
    pub(crate) lost: Option<Html>,
    pub(crate) lasted: String,
    pub(crate) why_entered: String,
    pub(crate) why_left: String,
    pub(crate) device: String,
    pub(crate) roles: String,
    pub(crate) remarks: Html,
    pub(crate) event: Html,
}

pub(crate) fn row(stay: &RtcStay, now: UnixMillis) -> StayRow {
    let (app, room_id, kind) = (stay.sdk_app_id, &stay.room_id, &stay.room_id_kind);
    let flags = stay.flag_words();
    StayRow {
        account: account(app, &stay.account),
        room: link(&rtc_room_href(app, room_id, kind, stay.session), room_id),
        is_robot: stay.is_robot,
        entered: moment(stay.started_at),
        left: stay.ended_at.map_or_else(nothing, |at| moment_behind(at, Some(stay.started_at))),
        inferred: inferred(flags.iter().any(|flag| flag == "end_inferred")),
        lost: stay.presumed_end_at.map(|at| time_of_day_or(Some(at))),
        lasted: stayed(stay.started_at, stay.ended_at, now),
        why_entered: spaced(stay.enter_reason_word.as_deref()),
        why_left: why_left(stay),
        device: device(stay),
        roles: roles(&stay.roles),
        remarks: remarks(flags.iter().map(|flag| flag_remark(flag))),
        event: words(&event_href(stay.stay_id), "event"),
    }
}

fn flag_remark(flag: &str) -> Html {
    remark(flag, &spaced(Some(flag)), flag_meaning(flag))
}

/// Why it ended, in words; empty while it lasts.
pub(crate) fn why_left(stay: &RtcStay) -> String {
    match (&stay.exit_reason_word, stay.ended_at) {
        (Some(word), _) => spaced(Some(word)),
        (None, Some(_)) if stay.flag_words().iter().any(|flag| flag == "replaced") => {
            "replaced by another device".to_owned()
        }
        (None, Some(_)) => "no exit event".to_owned(),
        (None, None) => String::new(),
    }
}

/// A word of the tables, as people write it.
pub(crate) fn spaced(word: Option<&str>) -> String {
    word.unwrap_or("").replace('_', " ")
}

fn device(stay: &RtcStay) -> String {
    let words = [&stay.terminal_type_word, &stay.user_type_word];
    let words: Vec<String> = words.into_iter().flatten().map(|word| spaced(Some(word))).collect();
    words.join(", ")
}

/// As the read model writes it.
#[derive(Deserialize)]
struct Role {
    role: i64,
}

/// The roles in order of time.
fn roles(json: &str) -> String {
    let roles: Vec<Role> = serde_json::from_str(json).unwrap_or_default();
    let words = roles.iter().map(|role| match role.role {
        20 => "anchor".to_owned(),
        21 => "audience".to_owned(),
        other => format!("role {other}"),
    });
    words.collect::<Vec<_>>().join(", then ")
}

/// The flags of these stays, each once, and what they mean.
pub(crate) fn meanings<'a>(
    stays: impl Iterator<Item = &'a RtcStay>,
) -> Vec<(String, &'static str)> {
    let mut flags: Vec<String> = stays.flat_map(RtcStay::flag_words).collect();
    flags.sort_unstable();
    flags.dedup();
    flags.into_iter().map(|flag| (spaced(Some(&flag)), flag_meaning(&flag))).collect()
}
