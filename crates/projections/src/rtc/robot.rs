//! Which users are robots of the cloud: recorders, slicers, moderators, transcribers, AI agents (M42).

use crate::value::text;
use protocol::body::decoded::Body;
use protocol::body::rtc::event::{RtcBody, RtcEvent};
use protocol::body::rtc::info::{RoomEventInfo, TaskInfo};
use protocol::json::scalar::AccountId;
use protocol::{AppId, Event, UnixMillis};

/// A robot of the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcRobot {
    /// The app.
    pub app: AppId,
    /// Its account.
    pub account: String,
    /// The latest event that shows it to be one.
    pub last_at: UnixMillis,
}

/// The account that an event shows to be a robot. Sources: trtc.io/document/54914, 54913, 73393, 73394, 80094, 68331.
///
/// In groups 3, 4, 10 and 11 the event's user is the robot that does the task, group 14 names it `RobotId`, and 905 is
/// what an AI's robot has spoken. Groups 1 and 2 show one only by the name of a recorder ([`is_recorder`]).
#[must_use]
pub fn robot(event: &Event) -> Option<RtcRobot> {
    let Body::Rtc(body) = &event.body else { return None };
    let account = match &**body {
        RtcBody::Room(body) | RtcBody::Media(body) => recorder(event.app, body),
        RtcBody::Recording(body) => worker(body),
        RtcBody::Relay(body) => worker(body),
        RtcBody::Slicing(body) => worker(body),
        RtcBody::Moderation(body) => worker(body),
        RtcBody::Transcription(body) => body.event_info.as_ref()?.robot_id.as_ref(),
        RtcBody::Ai(body) if body.event_type.is_some_and(|number| number.0 == 905) => {
            body.event_info.as_ref()?.payload.as_ref()?.user_id.as_ref()
        }
        _ => None,
    };
    let (app, last_at) = (event.app, event.event_time);
    Some(RtcRobot { app, account: text(account?.as_str())?, last_at })
}

/// The user of a task's event.
fn worker<P: Default>(event: &RtcEvent<TaskInfo<P>>) -> Option<&AccountId> {
    event.event_info.as_ref()?.user_id.as_ref()
}

fn recorder(app: AppId, event: &RtcEvent<RoomEventInfo>) -> Option<&AccountId> {
    let info = event.event_info.as_ref()?;
    let room = info.room_id.as_ref()?;
    info.user_id.as_ref().filter(|user| is_recorder(app, &room.id, user.as_str()))
}

/// Whether an account is the recorder of a call's room: `callkit_<app>_record_<room>`.
#[must_use]
pub fn is_recorder(app: AppId, room_id: &str, account: &str) -> bool {
    let rest = account.strip_prefix("callkit_").and_then(|rest| rest.split_once("_record_"));
    rest.is_some_and(|(of, room)| room == room_id && of.parse() == Ok(app.as_i64()))
}

#[cfg(test)]
mod tests {
    use protocol::{Command, Delivery};
    use serde_json::json;

    use crate::rtc::robot::*;
    use crate::rtc::tests::samples::{NOW, app, event};

    #[test]
    fn m42_robots_are_known_by_the_events_of_their_tasks() {
        let mut found = Vec::new();
        for command in Command::all().filter(|command| command.event_type.is_some()) {
            let event = Delivery::sample(command, app()).event(NOW).unwrap();
            if let Some(RtcRobot { app: of, account, last_at }) = robot(&event) {
                assert_eq!((of, last_at), (app(), event.event_time));
                found.push((command.event_type.unwrap(), account));
            }
        }
        let named = |number| found.iter().find(|of| of.0 == number).map(|of| of.1.as_str());
        assert_eq!(named(401), Some("xx"));
        assert_eq!(named(1001), Some("slice_robot"));
        assert_eq!(named(1104), Some("TRTCModerationCase2-user0"));
        assert_eq!(named(1401), Some("trtc_partner_test_1"));
        assert_eq!(named(905), Some("UserId"));
        let groups: std::collections::BTreeSet<u16> = found.iter().map(|of| of.0 / 100).collect();
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), [3, 4, 9, 10, 11, 14]);
        // The speaker of 903 and 904 may be a person.
        assert_eq!((named(903), named(904)), (None, None));
    }

    #[test]
    fn m42_a_recorder_of_a_call_is_known_by_its_name() {
        let of = |user: &str| {
            let info = json!({"RoomId": 77, "EventMsTs": 1_687_770_731_831_i64, "UserId": user});
            robot(&event(&json!({"EventGroupId": 1, "EventType": 103, "EventInfo": info})))
                .map(|robot| (robot.app, robot.account))
        };
        let name = format!("callkit_{}_record_77", app());
        assert_eq!(of(&name), Some((app(), name.clone())));
        for other in ["callkit_1_record_77", &format!("callkit_{}_record_78", app()), "a"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
