//! Cloud recordings of calls and of live rooms. The kit tells of a task, and the RTC Engine does of the same.

use std::time::Duration;

use serde_json::{Value, json};

use crate::simulate::people::Person;
use crate::simulate::rtc::event::EngineEvent;
use crate::simulate::rtc::stay::Exit;
use crate::simulate::scenarios::calls::Call;
use crate::simulate::scenarios::stage::Stage;
use crate::simulate::script::Script;
use crate::time::UnixMillis;

/// Where the files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    /// Object storage: HLS while it is recorded, MP4 at the end.
    Cos,
    Vod,
}

/// A recording task.
#[derive(Debug)]
struct Task {
    id: String,
    room: String,
    /// The recorder in the room.
    recorder: Person,
    storage: Storage,
    begun: UnixMillis,
}

impl Task {
    fn new(script: &mut Script<'_>, kit: &str, room: &str) -> Self {
        let app = script.world.app;
        let id = format!("-{}", script.world.names.uuid().replace('-', ""));
        let recorder = Person::robot(format!("{kit}_{app}_record_{room}"));
        let storage = if script.media().chance(0.4) { Storage::Cos } else { Storage::Vod };
        Self { id, room: room.to_owned(), recorder, storage, begun: script.now() }
    }

    /// One event of the recorder, as the RTC Engine has it.
    fn engine_event(&self, at: UnixMillis, code: u16, payload: &Value) -> EngineEvent {
        // A text whatever the room has, in all samples.
        let room = self.room.as_str().into();
        let more =
            json!({ "UserId": self.recorder.account, "TaskId": self.id, "Payload": payload });
        EngineEvent::new(at, code, room, more)
    }

    /// The RTC Engine tells one event that the kit does not.
    fn tell(&self, script: &mut Script<'_>, code: u16, payload: &Value) {
        let event = self.engine_event(script.now(), code, payload);
        script.tell(event);
    }

    /// The RTC Engine tells one event; and what the kit tells of it, without what stands around it there.
    fn event(&self, script: &mut Script<'_>, code: u16, payload: &Value) -> Value {
        let now = script.now();
        let event = self.engine_event(now, code, payload);
        script.tell(event.clone());
        json!({
            "EventGroupId": 3,
            "EventType": code,
            "CallbackTs": now.0,
            "EventInfo": event.info(),
        })
    }

    /// What object storage gets while it is recorded, of which no kit tells.
    fn upload(&self, script: &mut Script<'_>) {
        if self.storage == Storage::Cos {
            self.tell(script, 303, &json!({ "Status": 0 }));
        }
    }

    /// What has been told of the files in object storage when the recorder stopped.
    fn uploaded(&self, script: &mut Script<'_>) {
        if self.storage != Storage::Cos {
            return;
        }
        let name = format!("{}_{}", script.world.app, self.room);
        let sliced = script.later(self.begun, Duration::from_secs(6));
        let listed = script.later(sliced, Duration::from_secs(1));
        if listed < script.now() {
            let payload = json!({
                "FileName": format!("{name}_0.ts"),
                "UserId": "",
                "TrackType": "audio_video",
                "BeginTimeStamp": self.begun.0.to_string(),
            });
            script.tell(self.engine_event(sliced, 307, &payload));
            let payload = json!({ "FileList": format!("{name}.m3u8") });
            script.tell(self.engine_event(listed, 304, &payload));
        }
        pause(script);
        self.tell(script, 305, &json!({ "Status": 0 }));
    }

    /// The events that tell of the files, and that all is over.
    fn files(&self, script: &mut Script<'_>, until: UnixMillis) -> Vec<(u16, Value)> {
        match self.storage {
            Storage::Cos => vec![(310, self.mp4(script, until))],
            Storage::Vod => {
                vec![(311, self.video(script, until)), (312, json!({ "Status": 0 }))]
            }
        }
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
    pub(crate) fn start(script: &mut Script<'_>, call: &mut Call) -> Self {
        let pause = script.dice().millis(500, 1500);
        script.wait(pause);
        let task = Task::new(script, "callkit", &call.room);
        call.engine.enter_robot(script, &task.recorder);
        let recording = Self { task, call_id: call.id.clone() };
        recording.send(script, 301, &json!({ "Status": 0 }));
        recording.task.upload(script);
        recording
    }

    /// What the recorder tells once the call is over.
    pub(crate) fn stop(&self, script: &mut Script<'_>, call: &mut Call) {
        let until = script.now();
        pause(script);
        // It was told to stop. The kit does not tell of that.
        self.task.tell(script, 302, &json!({ "LeaveCode": 0 }));
        call.engine.leave(script, &self.task.recorder.account, Exit::Left);
        self.task.uploaded(script);
        for (code, payload) in self.task.files(script, until) {
            pause(script);
            self.send(script, code, &payload);
        }
    }

    fn send(&self, script: &mut Script<'_>, code: u16, payload: &Value) {
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
    pub(crate) fn start(script: &mut Script<'_>, stage: &mut Stage) -> Self {
        // Once the host is in.
        let pause = script.media().millis(1200, 2000);
        script.wait(pause);
        let recording = Self(Task::new(script, "livekit", &stage.room.id));
        stage.engine.enter_robot(script, &recording.0.recorder);
        recording.send(script, 301, &json!({ "Status": 0 }));
        recording.0.upload(script);
        recording
    }

    /// What the recorder tells once the room is dissolved.
    pub(crate) fn stop(&self, script: &mut Script<'_>) {
        let until = script.now();
        pause(script);
        // The room was dissolved.
        self.send(script, 302, &json!({ "LeaveCode": 2 }));
        self.0.uploaded(script);
        for (code, payload) in self.0.files(script, until) {
            pause(script);
            self.send(script, code, &payload);
        }
    }

    /// Without an `EventTime` of its own; under the English page's name now and then.
    fn send(&self, script: &mut Script<'_>, code: u16, payload: &Value) {
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
