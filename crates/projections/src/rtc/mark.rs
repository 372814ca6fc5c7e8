//! What one event of groups 1 and 2 says about a room. Source: trtc.io/document/39558.

use uuid::Uuid;

use crate::value::{amount, text};
use protocol::body::decoded::Body;
use protocol::body::rtc::event::{RtcBody, RtcEvent};
use protocol::body::rtc::info::RoomEventInfo;
use protocol::json::room_id::RoomIdKind;
use protocol::json::scalar::Count;
use protocol::{AppId, Event, UnixMillis};

/// A room of an app. The number 123 and the text "123" are two rooms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RtcRoomKey {
    /// The app.
    pub app: AppId,
    /// The id; digits where it is a number.
    pub id: String,
    /// The JSON type of the id.
    pub kind: RoomIdKind,
}

/// What a user publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    /// The camera: 201 and 202.
    Camera,
    /// The microphone: 203 and 204.
    Audio,
    /// The sub-stream, as a rule a shared screen: 205 and 206.
    Screen,
}

impl Track {
    /// Every track, in the order of its index.
    pub const ALL: [Self; 3] = [Self::Camera, Self::Audio, Self::Screen];

    /// Its place in a list of one entry for each track.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Camera => 0,
            Self::Audio => 1,
            Self::Screen => 2,
        }
    }

    /// `camera`, `audio` or `screen`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Audio => "audio",
            Self::Screen => "screen",
        }
    }
}

/// What happened. The order of the values is that of marks of one moment: M16 has an enter before an exit, and M20 a
/// stop before the change of role that would end publishing by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// 101: the room was created.
    Create,
    /// 103: a user entered.
    Enter,
    /// 201, 203, 205: a user began to publish.
    Start(Track),
    /// 202, 204, 206: a user ceased to publish.
    Stop(Track),
    /// 105: a user has another role from now on.
    Role,
    /// 104: a user left, or was found to be gone.
    Exit,
    /// 102: the room was dismissed.
    Dismiss,
}

impl What {
    /// The word of the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Enter => "enter",
            Self::Start(_) => "start",
            Self::Stop(_) => "stop",
            Self::Role => "role",
            Self::Exit => "exit",
            Self::Dismiss => "dismiss",
        }
    }

    /// That of the words of the tables.
    #[must_use]
    pub fn of_words(kind: &str, track: Option<&str>) -> Option<Self> {
        let track = || Track::ALL.into_iter().find(|of| Some(of.as_str()) == track);
        Some(match kind {
            "create" => Self::Create,
            "enter" => Self::Enter,
            "start" => Self::Start(track()?),
            "stop" => Self::Stop(track()?),
            "role" => Self::Role,
            "exit" => Self::Exit,
            "dismiss" => Self::Dismiss,
            _ => return None,
        })
    }

    /// That of an `EventType`.
    #[must_use]
    pub fn of_event_type(number: i64) -> Option<Self> {
        Some(match number {
            101 => Self::Create,
            102 => Self::Dismiss,
            103 => Self::Enter,
            104 => Self::Exit,
            105 => Self::Role,
            201 => Self::Start(Track::Camera),
            202 => Self::Stop(Track::Camera),
            203 => Self::Start(Track::Audio),
            204 => Self::Stop(Track::Audio),
            205 => Self::Start(Track::Screen),
            206 => Self::Stop(Track::Screen),
            _ => return None,
        })
    }
}

/// How exact the time of a mark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// `EventMsTs`.
    Millis,
    /// `EventTs`: the event happened within the second that begins at that time.
    Seconds,
    /// The event has no time of its own: this is when it was sent or received.
    Sent,
}

impl Precision {
    /// The word of the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Millis => "millis",
            Self::Seconds => "seconds",
            Self::Sent => "sent",
        }
    }

    /// That of a word of the tables.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Millis, Self::Seconds, Self::Sent].into_iter().find(|of| of.as_str() == word)
    }
}

/// Why a user entered. The same numbers mean other things of an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnterReason {
    /// 1: the user's own decision.
    Voluntary,
    /// 2: the SDK entered again after its network changed.
    NetworkChange,
    /// 3: the SDK entered again after a timeout.
    Retry,
    /// 4: a cross-room link; the user's own room is another.
    CrossRoom,
    /// A number that no page explains.
    Other(i64),
}

impl EnterReason {
    /// That of a 103's `Reason`.
    #[must_use]
    pub fn of_number(number: i64) -> Self {
        match number {
            1 => Self::Voluntary,
            2 => Self::NetworkChange,
            3 => Self::Retry,
            4 => Self::CrossRoom,
            other => Self::Other(other),
        }
    }

    /// The vendor's number.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Voluntary => 1,
            Self::NetworkChange => 2,
            Self::Retry => 3,
            Self::CrossRoom => 4,
            Self::Other(number) => number,
        }
    }

    /// Whether the SDK entered again by itself.
    #[must_use]
    pub fn is_reconnect(self) -> bool {
        matches!(self, Self::NetworkChange | Self::Retry)
    }
}

/// Why a stay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitReason {
    /// 1: the user left.
    Left,
    /// 2: nothing was heard of the user for about 90 s.
    TimedOut,
    /// 3: the user was removed.
    Removed,
    /// 4: the cross-room link was cancelled.
    CrossRoomCancelled,
    /// 5: the process was killed.
    Killed,
    /// A number that no page explains.
    Other(i64),
}

impl ExitReason {
    /// That of a 104's `Reason`.
    #[must_use]
    pub fn of_number(number: i64) -> Self {
        match number {
            1 => Self::Left,
            2 => Self::TimedOut,
            3 => Self::Removed,
            4 => Self::CrossRoomCancelled,
            5 => Self::Killed,
            other => Self::Other(other),
        }
    }

    /// The vendor's number.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Left => 1,
            Self::TimedOut => 2,
            Self::Removed => 3,
            Self::CrossRoomCancelled => 4,
            Self::Killed => 5,
            Self::Other(number) => number,
        }
    }
}

/// What one event says. Marks are ordered by time, then by [`What`], then by the event's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RtcMark {
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub what: What,
    /// The event.
    pub event_id: Uuid,
    /// The room, with the kind of id as sent.
    pub room: RtcRoomKey,
    /// How exact `at` is.
    pub precision: Precision,
    /// Who acted; of a create the creator; absent in a dismissal.
    pub user: Option<String>,
    /// `Reason`, which means different things of an enter and of an exit.
    pub reason: Option<i64>,
    /// 20 anchor, 21 audience.
    pub role: Option<i64>,
    /// 1 Windows, 2 Android, 3 iOS, 4 Linux, 100 another.
    pub terminal_type: Option<i64>,
    /// 1 WebRTC, 2 mini program, 3 native SDK.
    pub user_type: Option<i64>,
    /// Tells one entry or exit from another, of old apps only.
    pub unique_id: Option<i64>,
    /// Known from the vendor's REST API, not from an event, which was lost.
    pub is_repaired: bool,
}

impl RtcMark {
    /// Why the user entered, where it is an enter that says so.
    #[must_use]
    pub fn enter_reason(&self) -> Option<EnterReason> {
        self.reason.filter(|_| self.what == What::Enter).map(EnterReason::of_number)
    }

    /// Why the user left, where it is an exit that says so.
    #[must_use]
    pub fn exit_reason(&self) -> Option<ExitReason> {
        self.reason.filter(|_| self.what == What::Exit).map(ExitReason::of_number)
    }
}

/// What an event says about a room; `None` for all but the known types of groups 1 and 2 that name a room.
#[must_use]
pub fn mark(event: &Event) -> Option<RtcMark> {
    let Body::Rtc(body) = &event.body else { return None };
    let (RtcBody::Room(body) | RtcBody::Media(body)) = &**body else { return None };
    let RtcEvent { event_type, event_info: Some(info), .. } = body else { return None };
    let room = info.room_id.as_ref()?;
    let number = |count: Option<Count>| count.map(|count| amount(count.0));
    Some(RtcMark {
        at: event.event_time,
        what: What::of_event_type((*event_type)?.0)?,
        event_id: event.id,
        room: RtcRoomKey { app: event.app, id: text(&room.id)?, kind: room.sent },
        precision: precision(event, info),
        user: info.user_id.as_ref().and_then(|user| text(user.as_str())),
        reason: number(info.reason),
        role: number(info.role),
        terminal_type: number(info.terminal_type),
        user_type: number(info.user_type),
        unique_id: number(info.unique_id).filter(|id| *id > 0),
        is_repaired: false,
    })
}

fn precision(event: &Event, info: &RoomEventInfo) -> Precision {
    match info.event_ms_ts {
        _ if !event.timed => Precision::Sent,
        Some(millis) if millis.0 == event.event_time.0 => Precision::Millis,
        _ => Precision::Seconds,
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Command, Delivery};
    use serde_json::{Value, json};

    use crate::rtc::mark::*;
    use crate::rtc::tests::samples::{NOW, app, event};

    fn of(event_type: i64, info: &Value) -> Option<RtcMark> {
        let group = event_type / 100;
        mark(&event(
            &json!({"EventGroupId": group, "EventType": event_type, "CallbackTs": 1_687_770_731_932_i64, "EventInfo": info}),
        ))
    }

    #[test]
    fn every_type_of_groups_1_and_2_is_a_mark() {
        let mut found = Vec::new();
        for command in Command::all() {
            let Some(event) = Delivery::sample(command, app()).event(NOW) else { continue };
            if let Some(mark) = mark(&event) {
                assert_eq!((mark.at, mark.event_id), (event.event_time, event.id));
                assert_eq!((mark.room.id.as_str(), mark.precision), ("12345", Precision::Millis));
                assert_eq!(mark.user.is_none(), mark.what == What::Dismiss);
                found.push((command.event_type.unwrap(), mark.what));
            }
        }
        let numbers: Vec<u16> = found.iter().map(|of| of.0).collect();
        assert_eq!(numbers, [101, 102, 103, 104, 105, 201, 202, 203, 204, 205, 206]);
        assert!(
            found.iter().all(|(number, what)| What::of_event_type((*number).into()) == Some(*what))
        );
    }

    #[test]
    fn a_mark_has_what_the_event_says() {
        let info = json!({"RoomId": 12345, "EventTs": 1_687_770_731, "EventMsTs": 1_687_770_731_831_i64, "UserId": "test",
            "Role": 21, "TerminalType": 2, "UserType": 3, "Reason": 1, "UniqueId": "1687770731830"});
        let found = of(103, &info).unwrap();
        assert_eq!(found.at, UnixMillis(1_687_770_731_831));
        assert_eq!(found.what, What::Enter);
        assert_eq!(found.room.kind, RoomIdKind::Numeric);
        assert_eq!(found.user.as_deref(), Some("test"));
        assert_eq!((found.role, found.reason), (Some(21), Some(1)));
        assert_eq!((found.terminal_type, found.user_type), (Some(2), Some(3)));
        assert_eq!(found.unique_id, Some(1_687_770_731_830));
        assert_eq!(found.enter_reason(), Some(EnterReason::Voluntary));
        assert_eq!(found.exit_reason(), None);
    }

    #[test]
    fn the_room_has_the_kind_in_which_it_was_sent() {
        let of = |id| of(102, &json!({"RoomId": id, "EventTs": 1_687_770_731})).unwrap().room;
        assert_eq!(of(json!(12345)).kind, RoomIdKind::Numeric);
        assert_eq!(of(json!("12345")).kind, RoomIdKind::String);
        assert_eq!(of(json!(12345)).id, of(json!("12345")).id);
    }

    #[test]
    fn a_time_is_exact_to_the_ms_to_the_second_or_that_of_the_try() {
        let of = |times: Value| {
            let mut info = json!({"RoomId": 1, "UserId": "a"});
            info.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
            let found = of(103, &info).unwrap();
            (found.at.0, found.precision)
        };
        let both = json!({"EventTs": 1_687_770_731, "EventMsTs": 1_687_770_731_831_i64});
        assert_eq!(of(both), (1_687_770_731_831, Precision::Millis));
        let coarse = json!({"EventTs": 1_687_770_731});
        assert_eq!(of(coarse), (1_687_770_731_000, Precision::Seconds));
        let misnamed = json!({"EventMsTs": 1_687_770_731});
        assert_eq!(of(misnamed), (1_687_770_731_000, Precision::Seconds));
        assert_eq!(of(json!({})), (1_687_770_731_932, Precision::Sent));
    }

    #[test]
    fn an_event_without_type_or_room_is_no_mark() {
        let info = json!({"RoomId": 1, "EventTs": 1_687_770_731, "UserId": "a"});
        assert!(of(203, &info).is_some());
        assert!(of(106, &info).is_none());
        assert!(of(301, &info).is_none());
        assert!(of(103, &json!({"EventTs": 1_687_770_731, "UserId": "a"})).is_none());
        assert!(of(103, &json!({"RoomId": "", "EventTs": 1_687_770_731})).is_none());
        assert!(mark(&event(&json!({"EventGroupId": 1, "EventInfo": info}))).is_none());
    }
}
