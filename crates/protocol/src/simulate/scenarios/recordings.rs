//! Cloud recordings of calls and of live rooms.

use std::time::Duration;

use serde_json::{Value, json};

use crate::simulate::people::Person;
use crate::simulate::scenarios::calls::Call;
use crate::simulate::script::Script;
use crate::time::UnixMillis;

/// A recording task.
#[derive(Debug)]
struct Task {
    id: String,
    room: String,
    /// The recorder's account in the room.
    recorder: String,
    begun: UnixMillis,
}

impl Task {
    fn new(script: &mut Script<'_>, kit: &str, room: &str) -> Self {
        let app = script.world.app;
        let id = format!("-{}", script.world.names.uuid().replace('-', ""));
        let recorder = format!("{kit}_{app}_record_{room}");
        Self { id, room: room.to_owned(), recorder, begun: script.now() }
    }

    /// One event of the recorder, without what stands around it.
    fn event(&self, script: &Script<'_>, code: u32, payload: &Value) -> Value {
        let now = script.now();
        // The samples of these two have a text here.
        let seconds: Value = match code {
            301 | 302 => now.as_secs().to_string().into(),
            _ => now.as_secs().into(),
        };
        json!({
            "EventGroupId": 3,
            "EventType": code,
            "CallbackTs": now.0,
            "EventInfo": {
                "RoomId": self.room,
                "EventTs": seconds,
                "EventMsTs": now.0,
                "UserId": self.recorder,
                "TaskId": self.id,
                "Payload": payload,
            },
        })
    }

    fn file(&self, script: &Script<'_>) -> String {
        format!("{}_{}_mix.mp4", script.world.app, self.room)
    }

    fn mp4(&self, script: &Script<'_>, until: UnixMillis) -> Value {
        let file = self.file(script);
        json!({ "Status": 0, "FileList": [file], "FileMessage": [{
            "FileName": file,
            "UserId": "",
            "TrackType": "audio_video",
            "MediaId": "mix",
            "StartTimeStamp": self.begun.0,
            "EndTimeStamp": until.0,
        }]})
    }

    fn video(&self, script: &mut Script<'_>, until: UnixMillis) -> Value {
        let file = self.file(script);
        let id = script.world.names.number(387_702_300_000_000_000, 387_702_399_999_999_999);
        let app = script.world.app;
        json!({ "Status": 0, "TencentVod": {
            "UserId": "",
            "TrackType": "audio_video",
            "MediaId": "mix",
            "FileId": id.to_string(),
            "VideoUrl": format!("https://vod.example.com/{app}/{id}/f0.mp4"),
            "CacheFile": file,
            "StartTimeStamp": self.begun.0,
            "EndTimeStamp": until.0,
        }})
    }
}

/// The recording of a call.
#[derive(Debug)]
pub(crate) struct CallRecording {
    task: Task,
    call_id: String,
}

impl CallRecording {
    pub(crate) fn start(script: &mut Script<'_>, call: &Call) -> Self {
        let pause = script.dice().millis(500, 1500);
        script.wait(pause);
        let task = Task::new(script, "callkit", &call.room);
        let recording = Self { task, call_id: call.id.clone() };
        recording.send(script, 301, &json!({ "Status": 0 }));
        recording
    }

    /// What the recorder tells once the call is over.
    pub(crate) fn stop(&self, script: &mut Script<'_>) {
        let until = script.now();
        pause(script);
        let payload = self.task.mp4(script, until);
        self.send(script, 310, &payload);
        pause(script);
        let payload = self.task.video(script, until);
        self.send(script, 311, &payload);
        pause(script);
        self.send(script, 312, &json!({ "Status": 0 }));
    }

    fn send(&self, script: &mut Script<'_>, code: u32, payload: &Value) {
        let mut event = self.task.event(script, code, payload);
        event["KitType"] = 2.into();
        let body = json!({ "CallId": self.call_id, "Callback": event });
        script.send("Call.CallbackAfterRecordChanged", &Person::server(), body);
    }
}

/// The recording of a live room.
#[derive(Debug)]
pub(crate) struct ShowRecording(Task);

impl ShowRecording {
    pub(crate) fn start(script: &mut Script<'_>, room: &str) -> Self {
        let recording = Self(Task::new(script, "livekit", room));
        recording.send(script, 301, &json!({ "Status": 0 }));
        recording
    }

    /// What the recorder tells once the room is dissolved.
    pub(crate) fn stop(&self, script: &mut Script<'_>) {
        let until = script.now();
        pause(script);
        // The room was dissolved.
        self.send(script, 302, &json!({ "LeaveCode": 2 }));
        pause(script);
        let payload = self.0.mp4(script, until);
        self.send(script, 310, &payload);
        pause(script);
        let payload = self.0.video(script, until);
        self.send(script, 311, &payload);
        pause(script);
        self.send(script, 312, &json!({ "Status": 0 }));
    }

    /// Without an `EventTime` of its own; under the English page's name now and then.
    fn send(&self, script: &mut Script<'_>, code: u32, payload: &Value) {
        let command = if script.dice().chance(0.1) {
            "Follow.CallbackAfterCloudRecordingChanged"
        } else {
            "Live.CallbackAfterCloudRecordingChanged"
        };
        let body = self.0.event(script, code, payload);
        script.send_untimed(command, &Person::server(), body);
    }
}

fn pause(script: &mut Script<'_>) {
    let pause = script.dice().between(Duration::from_secs(1), Duration::from_secs(8));
    script.wait(pause);
}
