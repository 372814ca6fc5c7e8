//! Cloud tasks of the RTC Engine in a room: the relay of a show to a CDN, its moderation, and the transcription of a conference.

use std::time::Duration;

use serde_json::{Value, json};

use crate::simulate::rtc::event::EngineEvent;
use crate::simulate::script::Script;
use crate::time::UnixMillis;

const SECOND: Duration = Duration::from_secs(1);
/// What somebody says, for the transcription.
const SENTENCES: [&str; 5] = [
    "Shall we begin?",
    "The figures are better than last month.",
    "Who takes the next step?",
    "I will send it around.",
    "Thank you all.",
];

/// A task that runs in a room, which a text names.
pub(crate) struct CloudTask {
    id: String,
    room: String,
    began: UnixMillis,
    kind: Kind,
}

/// What it does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Relay,
    Moderation,
    Transcription,
}

impl CloudTask {
    /// Those of a show: some are relayed, some are checked.
    pub(crate) fn of_show(script: &mut Script<'_>, room: &str) -> Vec<Self> {
        let kinds = [(Kind::Relay, 0.6), (Kind::Moderation, 0.4)];
        let kinds = kinds.into_iter().filter(|(_, chance)| script.tasks().chance(*chance));
        let kinds: Vec<Kind> = kinds.map(|(kind, _)| kind).collect();
        kinds.into_iter().map(|kind| Self::start(script, room, kind)).collect()
    }

    /// Those of a conference: some are written down.
    pub(crate) fn of_conference(script: &mut Script<'_>, room: &str) -> Vec<Self> {
        let is_written = script.tasks().chance(0.4);
        is_written.then(|| Self::start(script, room, Kind::Transcription)).into_iter().collect()
    }

    fn start(script: &mut Script<'_>, room: &str, kind: Kind) -> Self {
        let id = format!("-m{}.", script.tasks().uuid());
        let pause = script.tasks().millis(200, 900);
        let began = script.later(script.now(), pause);
        let task = Self { id, room: room.to_owned(), began, kind };
        match kind {
            Kind::Relay => {
                task.push(script, began, 1, json!({}));
                task.push(script, began.plus(script.compressed(SECOND)), 2, json!({}));
            }
            Kind::Moderation => task.tell(script, began, 1101, json!({ "Status": 0 })),
            Kind::Transcription => task.tell(script, began, 1401, json!({ "Status": 0 })),
        }
        task
    }

    /// It ends with what it works on; what happened meanwhile is told, too. `speakers` are those who said something.
    pub(crate) fn stop(self, script: &mut Script<'_>, speakers: &[&str]) {
        let pause = script.tasks().millis(20, 120);
        let end = script.later(script.now(), pause).max(script.later(self.began, 2 * SECOND));
        match self.kind {
            Kind::Relay => {
                if script.tasks().chance(0.3) {
                    let lost = self.within(end, 1, 2);
                    let error = json!({ "ErrorCode": -1, "ErrorMsg": "connection lost" });
                    self.push(script, lost, 3, error);
                    self.push(script, self.within(end, 2, 3), 2, json!({}));
                }
                self.push(script, end, 5, json!({}));
                self.push(script, UnixMillis(end.0 + 1), 0, json!({}));
            }
            Kind::Moderation => {
                for check in 1..=4 {
                    let at = self.within(end, check, 5);
                    let suggest = script.tasks().number(0, 9) / 8;
                    let label = if suggest == 0 { "Normal" } else { "Ad" };
                    let data = script.tasks().number(1_000_000_000, 9_999_999_999).to_string();
                    let payload = json!({
                        "DataId": data, "MediaType": 2, "Suggest": suggest, "Label": label,
                        "Rate": 90, "CheckDetail": [],
                    });
                    self.tell(script, at, 1104, payload);
                }
                self.tell(script, end, 1102, json!({ "LeaveCode": 99 }));
            }
            Kind::Transcription => {
                for (number, speaker) in (1..).zip(speakers.iter().cycle().take(4)) {
                    let at = self.within(end, number, 5);
                    let text = script.tasks().word(&SENTENCES);
                    let round = number.to_string();
                    let payload = json!({ "UserId": speaker, "Text": text, "RoundId": round });
                    self.tell(script, at, 1403, payload);
                }
                self.tell(script, end, 1402, json!({ "LeaveCode": 99 }));
            }
        }
    }

    /// A moment between its begin and `end`.
    fn within(&self, end: UnixMillis, part: i64, of: i64) -> UnixMillis {
        UnixMillis(self.began.0 + (end.0 - self.began.0) * part / of)
    }

    /// A state of the relay.
    fn push(&self, script: &mut Script<'_>, at: UnixMillis, status: u8, error: Value) {
        let mut payload = json!({
            "Url": format!("rtmp://push.example.com/live/{}", self.room),
            "Status": status,
        });
        if let (Value::Object(payload), Value::Object(error)) = (&mut payload, error) {
            payload.extend(error);
        }
        self.tell(script, at, 401, payload);
    }

    fn tell(&self, script: &mut Script<'_>, at: UnixMillis, number: u16, payload: Value) {
        let robot = match self.kind {
            Kind::Relay => json!({ "RoomType": 1, "UserId": "relay-agent" }),
            Kind::Moderation => json!({ "UserId": "inspector" }),
            Kind::Transcription => json!({ "RoomIdType": 1, "RobotId": "scribe" }),
        };
        let mut info = robot;
        info["TaskId"] = self.id.as_str().into();
        info["Payload"] = payload;
        script.tell(EngineEvent::new(at, number, self.room.as_str().into(), info));
    }
}
