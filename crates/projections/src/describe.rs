//! Short English sentences that describe an event, for the pages of one call or one room.

use protocol::Event;
use protocol::body::call::{ActionType, CallBody, EndCall, MemberChanged, StartCall};
use protocol::body::decoded::Body;
use protocol::body::live::LiveBody;
use protocol::json::scalar::{AccountId, Known};

use crate::change::{Change, RoomChangeKind, RtcTaskMark};
use crate::rtc::mark::{ExitReason, RtcMark, What};
use crate::{changes, word};

/// Accounts beyond this number are counted instead of named.
const NAMED_MAX: usize = 5;

/// Describes `event`, one short sentence for each fact. Empty where its body was not decoded or concerns no call or
/// room. Ids are unescaped: escape them for display.
#[must_use]
pub fn tell(event: &Event) -> Vec<String> {
    match &event.body {
        Body::Call(CallBody::StartCall(body)) => start_call(body),
        Body::Call(CallBody::MemberChanged(body)) => member_changed(body),
        Body::Call(CallBody::EndCall(body)) => end_call(body),
        Body::Live(LiveBody::CreateRoomReachingThreshold(_)) => {
            vec!["the app's quota of rooms is nearly used up".into()]
        }
        _ => from_changes(event),
    }
}

fn start_call(body: &StartCall) -> Vec<String> {
    let medium = body.call_info.as_ref().and_then(|info| word(info.medium()));
    let call = medium.map_or_else(|| "a call".to_owned(), |medium| format!("a call ({medium})"));
    let caller = body.caller();
    let users = body.user_list.iter().flatten().filter_map(|user| user.user_account.as_ref());
    let rung = names(users.filter(|account| Some(*account) != caller).map(AccountId::as_str));
    match (caller, rung) {
        (Some(caller), Some(rung)) => vec![format!("{caller} starts {call}, ringing {rung}")],
        (Some(caller), None) => vec![format!("{caller} starts {call}")],
        (None, Some(rung)) => vec![format!("{call} is started, ringing {rung}")],
        (None, None) => vec![format!("{call} is started")],
    }
}

fn member_changed(body: &MemberChanged) -> Vec<String> {
    let mut said = Vec::new();
    for user in body.changed_user_list.iter().flatten() {
        let Some(account) = &user.user_account else { continue };
        let action = user.action_type.as_ref();
        said.push(match action.and_then(Known::value) {
            Some(ActionType::Accept) => format!("{account} answers"),
            Some(ActionType::Reject) => format!("{account} declines"),
            Some(ActionType::NotAnswer) => format!("{account} does not answer"),
            Some(ActionType::HangUp) => format!("{account} hangs up"),
            Some(ActionType::Join) => format!("{account} joins"),
            Some(ActionType::Offline) => format!("{account} loses the connection"),
            Some(ActionType::Invite) => format!("{account} is invited"),
            Some(ActionType::CancelInvite) => format!("{account} is no longer invited"),
            None => format!("{account}: {}", action.map_or("changed", Known::as_str)),
        });
    }
    said
}

fn end_call(body: &EndCall) -> Vec<String> {
    let Some(record) = &body.call_record else { return vec!["the call ends".into()] };
    let result = word(record.call_result.as_ref()).unwrap_or_else(|| "result not said".into());
    let talked = match (record.accept_time, record.end_time) {
        (Some(accepted), Some(ended)) if accepted.0 > 0 && ended.0 >= accepted.0 => {
            format!(" after {} s of talk", ended.0 - accepted.0)
        }
        _ => String::new(),
    };
    vec![format!("the call ends{talked}: {result}")]
}

/// Sentences derived from the projected changes, for all commands without a text of their own.
fn from_changes(event: &Event) -> Vec<String> {
    let mut said = Vec::new();
    let (mut came, mut left) = (Vec::new(), Vec::new());
    for change in changes(event) {
        match change {
            Change::Presence(mark) if mark.enters => came.push(mark.account),
            Change::Presence(mark) => left.push((mark.account, mark.cause)),
            Change::Room(change) => said.push(match change.kind {
                RoomChangeKind::Create => by("the room is created", change.by_account.as_deref()),
                RoomChangeKind::Destroy => {
                    by("the room is destroyed", change.by_account.as_deref())
                }
                RoomChangeKind::Update => by("the room is changed", change.by_account.as_deref()),
                RoomChangeKind::Owner => {
                    format!("{} owns the room now", change.owner.as_deref().unwrap_or("nobody"))
                }
                RoomChangeKind::AdminAdd | RoomChangeKind::AdminDelete => {
                    let is =
                        if change.kind == RoomChangeKind::AdminAdd { "is" } else { "is no longer" };
                    format!("{} {is} administrator", change.account.as_deref().unwrap_or("nobody"))
                }
            }),
            Change::Seat(mark) => said.push(match &mark.account {
                Some(account) => format!("seat {}: {account}", mark.seat),
                None if mark.is_locked == Some(true) => format!("seat {}: locked", mark.seat),
                None => format!("seat {}: empty", mark.seat),
            }),
            Change::Gift(gift) => {
                let what = gift.gift_id.as_deref().unwrap_or("a gift");
                let sender = gift.sender.as_deref().unwrap_or("somebody");
                let (count, coins) = (gift.count.unwrap_or(1), gift.coins.unwrap_or(0));
                said.push(format!("{sender} gives {count} x {what}, {coins} coins"));
            }
            Change::Battle(mark) => {
                let score =
                    mark.score.map_or_else(String::new, |score| format!(", {score} points"));
                said.push(format!("battle {}: room {}{score}", mark.stage, mark.room_id));
            }
            Change::Metadata(mark) => said.push(match mark.value {
                Some(_) => format!("metadata {} is set", mark.key),
                None => format!("metadata {} is deleted", mark.key),
            }),
            Change::Recording(mark) => {
                let state = mark.state.map_or_else(
                    || format!("step {}", mark.event_type.unwrap_or_default()),
                    str::to_owned,
                );
                said.push(format!("recording {}: {state}", mark.task_id));
            }
            Change::RtcTask(mark) => said.extend(task(&mark)),
            Change::RtcRoom(mark) => said.push(room_step(&mark)),
            Change::RtcRobot(_) | Change::Call(_) | Change::Member(_) | Change::Count(_) => {}
        }
    }
    said.extend(names(came.iter().map(String::as_str)).map(|names| format!("{names} came in")));
    let cause = left.iter().find_map(|(_, cause)| cause.clone()).filter(|cause| cause != "leave");
    let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
    let names = names(left.iter().map(|(account, _)| account.as_str()));
    said.extend(names.map(|names| format!("{names} left{cause}")));
    said
}

/// What an event says of a room of the RTC Engine.
fn room_step(mark: &RtcMark) -> String {
    let user = mark.user.as_deref().unwrap_or("somebody");
    let exit = match mark.exit_reason() {
        Some(ExitReason::TimedOut) => " (timed out)",
        Some(ExitReason::Removed) => " (removed)",
        Some(ExitReason::CrossRoomCancelled) => " (cross-room link cancelled)",
        Some(ExitReason::Killed) => " (process killed)",
        Some(ExitReason::Left | ExitReason::Other(_)) | None => "",
    };
    match (mark.what, mark.role) {
        (What::Create, _) => by("the RTC room is created", mark.user.as_deref()),
        (What::Dismiss, _) => "the RTC room is dismissed".to_owned(),
        (What::Enter, _) => format!("{user} enters the RTC room"),
        (What::Exit, _) => format!("{user} leaves the RTC room{exit}"),
        (What::Role, Some(20)) => format!("{user} is anchor now"),
        (What::Role, Some(21)) => format!("{user} is audience now"),
        (What::Role, _) => format!("{user} has another role now"),
        (What::Start(track), _) => format!("{user} publishes {}", track.as_str()),
        (What::Stop(track), _) => format!("{user} no longer publishes {}", track.as_str()),
    }
}

/// What an event says of a cloud task, where it says more than that it goes on.
fn task(mark: &RtcTaskMark) -> Option<String> {
    let task = format!("{} {}", mark.kind.replace('_', " "), mark.task_id);
    let error = mark.error_message.as_ref().or(mark.error_code.as_ref());
    match (mark.state, mark.counted, error) {
        (Some(state), ..) => {
            let reason = mark.end_reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            Some(format!("{task}: {}{reason}", state.as_str()))
        }
        (None, Some(counted), _) => Some(format!("{task}: {counted}")),
        (None, None, Some(error)) => Some(format!("{task}: error {error}")),
        (None, None, None) => None,
    }
}

fn by(what: &str, who: Option<&str>) -> String {
    who.map_or_else(|| what.to_owned(), |who| format!("{what} by {who}"))
}

/// The first few names and the number of the others; `None` for an empty list.
fn names<'a>(accounts: impl Iterator<Item = &'a str>) -> Option<String> {
    let accounts: Vec<_> = accounts.collect();
    let named = accounts.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = accounts.len().saturating_sub(NAMED_MAX);
    match (accounts.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(named),
        (false, more) => Some(format!("{named} and {more} more")),
    }
}
