//! The RTC Engine's event types: one row each, named by the vendor's constant, misspellings included.

use crate::body::decoded::Body;
use crate::body::rtc::event::RtcBody;
use crate::command::description::{Command, Decode, Family, Kind};
use crate::command::reading::read;

/// Where the room stands; `roomID` in group 6.
const ROOM: &[&str] = &["EventInfo.RoomId", "EventInfo.roomID"];
/// Where the user stands who acted, or the robot that does a task: `userID` in group 6 and in old copies of groups 1 and 2, `RobotId` in
/// group 14.
const USER: &[&str] = &["EventInfo.UserId", "EventInfo.userID", "EventInfo.RobotId"];
/// Where an AI event names who spoke.
const SPEAKER: &[&str] =
    &["EventInfo.Payload.SpeakerUserId", "EventInfo.Payload.UserId", "EventInfo.RobotId"];
/// Where the time stands, the more exact first.
const TIME: &[&str] =
    &["EventInfo.EventMsTs", "EventInfo.EventTsMs", "EventInfo.timestamp", "EventInfo.EventTs"];

impl Command {
    /// The row of an `EventType` of the RTC Engine.
    #[must_use]
    pub fn of_event_type(number: i64) -> Option<&'static Self> {
        let number = u16::try_from(number).ok()?;
        let place = EVENT_TYPES.binary_search_by_key(&Some(number), |row| row.event_type);
        place.ok().map(|place| &EVENT_TYPES[place])
    }

    /// How an event of the RTC Engine is read whose type no row names: by its group.
    #[must_use]
    pub(crate) const fn of_family(family: Family) -> Self {
        Self {
            room_id: ROOM,
            call_id: &[],
            operator: match family {
                Family::RtcAi | Family::RtcTranscription | Family::RtcAiConversation => SPEAKER,
                _ => USER,
            },
            time: TIME,
            decode: decode(family),
            ..Self::untyped("", family, Kind::After)
        }
    }
}

/// Reads a body of one group; `None` for those that have no type here.
const fn decode(family: Family) -> Option<Decode> {
    macro_rules! read_as {
        ($variant:ident) => {
            |json| read(json, |body| Body::Rtc(Box::new(RtcBody::$variant(body))))
        };
    }
    Some(match family {
        Family::RtcRoom => read_as!(Room),
        Family::RtcMedia => read_as!(Media),
        Family::RtcRecording => read_as!(Recording),
        Family::RtcRelay => read_as!(Relay),
        Family::RtcScreenshot => read_as!(Screenshot),
        Family::RtcIngest => read_as!(Ingest),
        Family::RtcWebRecording => read_as!(WebRecording),
        Family::RtcAi => read_as!(Ai),
        Family::RtcSlicing => read_as!(Slicing),
        Family::RtcModeration => read_as!(Moderation),
        Family::RtcTranscription => read_as!(Transcription),
        Family::RtcAiConversation => read_as!(AiConversation),
        _ => return None,
    })
}

macro_rules! event_types {
    ($($family:ident $page:literal { $($number:literal $name:literal $(| $alias:literal)? $sample:literal,)* })*) => {
        /// Every known type, in the order of its numbers.
        pub(crate) static EVENT_TYPES: &[Command] = &[$($(
            Command {
                name: $name,
                aliases: &[$($alias)?],
                page: $page,
                event_type: Some($number),
                sample: Some(include_str!(concat!("../../fixtures/rtc/", $sample, ".json"))),
                ..Command::of_family(Family::$family)
            },
        )*)*];
    };
}

event_types! {
    RtcRoom "39558" {
        101 "EVENT_TYPE_CREATE_ROOM" "101",
        102 "EVENT_TYPE_DISMISS_ROOM" "102",
        103 "EVENT_TYPE_ENTER_ROOM" "103",
        104 "EVENT_TYPE_EXIT_ROOM" "104",
        105 "EVENT_TYPE_CHANGE_ROLE" "105",
    }
    RtcMedia "39558" {
        201 "EVENT_TYPE_START_VIDEO" "201",
        202 "EVENT_TYPE_STOP_VIDEO" "202",
        203 "EVENT_TYPE_START_AUDIO" "203",
        204 "EVENT_TYPE_STOP_AUDIO" "204",
        205 "EVENT_TYPE_START_ASSIT" "205",
        206 "EVENT_TYPE_STOP_ASSIT" "206",
    }
    RtcRecording "54914" {
        301 "EVENT_TYPE_CLOUD_RECORDING_RECORDER_START" "301",
        302 "EVENT_TYPE_CLOUD_RECORDING_RECORDER_STOP" "302",
        303 "EVENT_TYPE_CLOUD_RECORDING_UPLOAD_START" "303",
        304 "EVENT_TYPE_CLOUD_RECORDING_FILE_INFO" "304",
        305 "EVENT_TYPE_CLOUD_RECORDING_UPLOAD_STOP" "305_status",
        306 "EVENT_TYPE_CLOUD_RECORDING_FAILOVER" "306",
        307 "EVENT_TYPE_CLOUD_RECORDING_FILE_SLICE" "307_str",
    }
    RtcRecording "45169" {
        308 "EVENT_TYPE_CLOUD_RECORDING_UPLOAD_ERROR" "308",
    }
    RtcRecording "54914" {
        309 "EVENT_TYPE_CLOUD_RECORDING_DOWNLOAD_IMAGE_ERROR" "309",
        310 "EVENT_TYPE_CLOUD_RECORDING_MP4_STOP" "310",
        311 "EVENT_TYPE_CLOUD_RECORDING_VOD_COMMIT" "311_ok",
        312 "EVENT_TYPE_CLOUD_RECORDING_VOD_STOP" "312",
    }
    RtcRelay "54913" {
        401 "EVENT_TYPE_CLOUD_PUBLISH_CDN_STATUS" "401",
    }
    RtcScreenshot "64802" {
        601 "EVENT_TYPE_VIDEO_SCREENSHOT" "601",
    }
    RtcIngest "62717" {
        701 "EVENT_TYPE_STREAM_INGEST_START" "701",
        702 "EVENT_TYPE_STREAM_INGEST_STOP" "702",
    }
    RtcWebRecording "54914" {
        801 "EVENT_TYPE_WEB_RECORDER_START" "801",
        802 "EVENT_TYPE_WEB_RECORDER_STOP" "802",
        803 "EVENT_TYPE_WEB_RECORDER_STATUS_UPDATE" "803",
        804 "EVENT_TYPE_WEB_RECORDER_RESOURCE_LIMIT" "804",
    }
    RtcAi "68331" {
        901 "EVENT_TYPE_AI_SERVICE_START" "901",
        902 "EVENT_TYPE_AI_SERVICE_STOP" "902",
        903 "EVENT_TYPE_AI_SERVICE_MSG" "903",
        904 "EVENT_TYPE_AI_START_OF_SPEECH" "904",
        905 "EVENT_TYPE_AI_SPEAKING_FINISHED" "905",
        906 "EVENT_TYPE_AI_METRIC_MESSAGE" "906",
        908 "EVENT_TYPE_AI_ERROR_METRIC_CALLBACK" "908",
        909 "EVENT_TYPE_AI_SESSION_STATUS_CALLBACK" "909",
    }
    RtcSlicing "73393" {
        1001 "EVENT_TYPE_CLOUD_SLICE_START" "1001",
        1002 "EVENT_TYPE_CLOUD_SLICE_STOP" "1002",
        1003 "EVENT_TYPE_CLOUD_SLICE_UPLOAD_START" "1003",
        1004 "EVENT_TYPE_CLOUD_SLICE_FILE_INFO" "1004_outer",
        1005 "EVENT_TYPE_CLOUD_SLICE_UPLOAD_STOP" "1005",
        1006 "EVENT_TYPE_CLOUD_SLICE_UPLOAD_ERROR" "1006",
    }
    RtcModeration "73394" {
        1101 "EVENT_TYPE_CLOUD_Moderation_START" "1101",
        1102 "EVENT_TYPE_CLOUD_Moderation_STOP" "1102",
        1103 "EVENT_TYPE_CLOUD_Moderation_SEND_START" "1103",
        1104 "EVENT_TYPE_CLOUD_Moderation_TASK_INFO" | "EVENT_TYPE_CLOUD_Moderation_FILE_INFO" "1104_audio",
        1105 "EVENT_TYPE_CLOUD_Moderation_SEND_STOP" "1105",
        1106 "EVENT_TYPE_CLOUD_Moderation_UPLOAD_ERROR" | "EVENT_TYPE_CLOUD_Moderation_SEND_ERROR" "1106",
    }
    RtcTranscription "80094" {
        1401 "EVENT_TYPE_CLOUD_TRANSCRIPTION_START" "1401",
        1402 "EVENT_TYPE_CLOUD_TRANSCRIPTION_STOP" "1402_guess",
        1403 "EVENT_TYPE_CLOUD_TRANSCRIPTION_ASR_MSG" "1403_guess",
        1404 "EVENT_TYPE_CLOUD_TRANSCRIPTION_TRANSLATE_MSG" "1404_guess",
    }
    RtcAiConversation "647/139212" {
        1501 "EVENT_TYPE_1501" "1501",
    }
}

#[cfg(test)]
mod tests {
    use crate::command::rtc::*;

    #[test]
    fn event_types_rise_and_are_of_their_group() {
        let numbers: Vec<u16> = EVENT_TYPES.iter().map(|row| row.event_type.unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        for row in EVENT_TYPES {
            let number = i64::from(row.event_type.unwrap());
            assert_eq!(Family::of_group(number / 100), row.family, "{}", row.name);
            assert_eq!(Command::of_event_type(number).unwrap().name, row.name);
        }
        for unknown in [0, -1, 100, 907, 1502, 65_637, i64::MAX] {
            assert!(Command::of_event_type(unknown).is_none(), "{unknown}");
        }
    }
}
