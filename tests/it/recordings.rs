//! Recordings and cloud tasks: what the API and the pages show of them, and those whose end or files did not come.

use protocol::{Delivery, Dialect, UnixMillis};
use serde_json::{Value, json};
use trtc_callbacks::store::{List, RecordingFilter};

use crate::process::done;
use crate::settle::comes;
use crate::support::{APP, NOW, Server, on_both_stores};

const HOUR_MS: i64 = 3_600_000;
/// An hour before the servers' present.
const T: i64 = NOW.0 - HOUR_MS;
/// A task id as the vendor makes them, percent-encoded in a path.
const TASK: &str = "-m9+b/c*K.x";
const TASK_IN_PATH: &str = "-m9%2Bb%2Fc%2AK.x";
const FOUND: &str =
    "select kind || ' ' || subject || case when resolved_at is null then '' else ' resolved' end
     from anomalies order by kind, subject";

/// An event of a task in the room `r`, so many ms after [`T`].
fn event(number: i64, task: &str, at: i64, payload: &Value) -> Delivery {
    let info = json!({ "RoomId": "r", "RoomType": 1, "RoomIdType": 1, "UserId": "robot", "TaskId": task,
        "EventMsTs": T + at, "Payload": payload });
    told(number, at, &info)
}

/// An event of an ingest.
fn ingest(number: i64, task: &str, at: i64, status: i64) -> Delivery {
    told(number, at, &json!({ "TaskId": task, "EventMsTs": T + at, "Status": status }))
}

fn told(number: i64, at: i64, info: &Value) -> Delivery {
    let body = json!({ "EventGroupId": number / 100, "EventType": number, "CallbackTs": T + at, "EventInfo": info });
    Delivery {
        dialect: Dialect::RtcEngine,
        headers: [("sdkappid".to_owned(), APP.to_owned())].into(),
        body_text: Some(body.to_string()),
        ..Delivery::default()
    }
}

async fn post(server: &Server, events: &[Delivery]) {
    for event in events {
        server.post(event).await;
    }
}

async fn ask(server: &Server, path: &str) -> Value {
    let (status, text) = server.get_ops(&format!("/api/v1{path}")).await;
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn page(server: &Server, path: &str) -> String {
    let (status, html) = server.get_ops(path).await;
    assert_eq!(status, 200, "{path}: {html}");
    html
}

/// A video file that was uploaded or not.
fn file(name: &str, url: &str, status: i64) -> Value {
    json!({ "Status": status, "TencentVod": { "UserId": "ann", "TrackType": "audio_video", "MediaId": "main",
        "FileId": format!("id-{name}"), "VideoUrl": url, "CacheFile": name,
        "StartTimeStamp": T, "EndTimeStamp": T + 60_000 } })
}

on_both_stores! {
    async fn a_recording_has_its_end_files_and_steps(database: Database) {
        let server = Server::start(&database).await;
        let started = r#"{"CallbackCommand":"Call.CallbackAfterRecordChanged","CallId":"c","EventTime":1793534300100,"Callback":{"EventGroupId":3,"EventType":301,"EventInfo":{"RoomId":"r","UserId":"robot","TaskId":"-m9+b/c*K.x","EventMsTs":1793534300050,"Payload":{"Status":0}}}}"#;
        server.post_body("Call.CallbackAfterRecordChanged", started).await;
        let begun = 1_793_534_300_050 - T;
        post(&server, &[
            event(302, TASK, begun + 70_000, &json!({ "LeaveCode": 99 })),
            event(311, TASK, begun + 80_000, &json!({ "Status": 1, "Errmsg": "slow", "TencentVod": { "CacheFile": "b.mp4" } })),
            event(311, TASK, begun + 81_000, &file("a.mp4", "https://vod.test/a.mp4?x=1&y", 0)),
            event(311, TASK, begun + 82_000, &file("evil.mp4", "javascript:alert(1)", 0)),
        ]).await;
        let path = format!("/recordings/{APP}/{TASK_IN_PATH}");
        let one = ask(&server, &path).await;
        let seen = ["task_id", "call_id", "room_id", "state", "end_reason", "leave_code", "recorder", "reporters", "message", "files_left"];
        let seen: Vec<&Value> = seen.iter().map(|name| &one[*name]).collect();
        let expected = json!([TASK, "c", "r", "stopped", "room_empty", 99, "robot", ["call", "rtc"], "slow", true]);
        assert_eq!(json!(seen), expected);
        assert_eq!(one["ended_at"], "2026-11-01T11:59:30.050Z");
        assert_eq!(one["files"][0], json!({ "name": "b.mp4", "state": "left_on_recorder" }));
        assert_eq!(one["files"][1], json!({
            "name": "a.mp4", "url": "https://vod.test/a.mp4?x=1&y", "file_id": "id-a.mp4", "user": "ann",
            "track": "audio_video", "media": "main", "from": "2026-11-01T11:00:00.000Z", "to": "2026-11-01T11:01:00.000Z",
            "state": "uploaded",
        }));
        let steps: Vec<_> = one["steps"].as_array().unwrap().iter().map(|step| (&step["event_type"], &step["reporter"], &step["event_name"])).collect();
        assert_eq!(steps.len(), 5);
        assert_eq!(steps[1], (&json!(302), &json!("rtc"), &json!("EVENT_TYPE_CLOUD_RECORDING_RECORDER_STOP")));
        // The list, the call and the room of a session have the same row.
        let list = ask(&server, "/recordings").await;
        let of_call = ask(&server, "/recordings?call=c&user=ann&room=r&state=stopped").await;
        assert_eq!(list["items"], of_call["items"]);
        assert_eq!(list["items"][0]["files"], one["files"]);

        let html = page(&server, &path).await;
        for text in [
            r#"<a href="https://vod.test/a.mp4?x=1&#38;y" rel="noreferrer noopener">"#, "evil.mp4 · javascript:alert(1)",
            "recorder stopped", "room empty · LeaveCode 99", "a file was left on the recorder", "left on recorder",
        ] {
            assert!(html.contains(text), "no `{text}` in {html}");
        }
        assert!(!html.contains("href=\"javascript"), "{html}");
        for path in ["/recordings", &format!("/calls/{APP}/c")] {
            let html = page(&server, path).await;
            assert!(html.contains(&format!("href=\"/recordings/{APP}/{TASK_IN_PATH}\"")) || path.starts_with("/calls"), "{html}");
            if path == "/recordings" {
                assert!(html.contains("https://vod.test/a.mp4") && html.contains("file left"), "{html}");
            }
        }
        let (status, _) = server.get_ops(&format!("/api/v1/recordings/{APP}/none")).await;
        assert_eq!(status, 404);
        let (status, _) = server.get_ops(&format!("/recordings/{APP}/none")).await;
        assert_eq!(status, 404);
        server.stop().await;
        let folder = tempfile::tempdir().unwrap();
        let listed = done(folder.path(), &["recordings", "--user", "ann", "--store", &database.url]);
        assert!(listed.contains("room_empty") && listed.contains("3, some left") && listed.contains(TASK), "{listed}");
        let rows = done(folder.path(), &["export", "recordings", "--store", &database.url]);
        assert!(rows.lines().count() == 2 && rows.contains("left_on_recorder"), "{rows}");
    }

    async fn a_task_has_its_steps_and_what_was_said(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &[
            event(901, "talk", 0, &json!({ "Status": 0 })),
            event(903, "talk", 1000, &json!({ "UserId": "ann", "Text": "What's <b>up</b>?", "RoundId": "1" })),
            event(905, "talk", 2000, &json!({ "UserId": "ai", "Text": "All is", "RoundId": "1" })),
            event(908, "talk", 3000, &json!({ "Metric": "llm_error", "Tag": { "Code": 30200, "Message": "timeout" } })),
            event(902, "talk", 4000, &json!({ "LeaveCode": 98 })),
        ]).await;
        let task = ask(&server, &format!("/rtc-tasks/{APP}/talk")).await;
        assert_eq!((&task["kind"], &task["end_reason"], &task["messages"]), (&json!("ai"), &json!("internal_error"), &json!(1)));
        let steps: Vec<_> = task["steps"].as_array().unwrap().iter().map(|step| (&step["event_type"], &step["error_code"])).collect();
        let null = Value::Null;
        assert_eq!(steps, [(&json!(901), &null), (&json!(908), &json!("30200")), (&json!(902), &null)]);
        let html = page(&server, &format!("/rtc-tasks/{APP}/talk")).await;
        for text in ["What&#39;s &#60;b&#62;up&#60;/b&#62;?", "All is", "spoken", "internal error · LeaveCode 98", "30200 · timeout"] {
            assert!(html.contains(text), "no `{text}` in {html}");
        }
        let html = page(&server, "/rtc-tasks?kind=ai&state=failed").await;
        assert!(html.contains(&format!("href=\"/rtc-tasks/{APP}/talk\"")) && html.contains("1 message<"), "{html}");
        for path in [format!("/api/v1/rtc-tasks/{APP}/none"), format!("/rtc-tasks/{APP}/none")] {
            assert_eq!(server.get_ops(&path).await.0, 404, "{path}");
        }
        server.stop().await;
    }

    async fn a_recording_without_end_is_listed_until_it_ends(database: Database) {
        let server = Server::start(&database).await;
        let start = |task: &str| event(301, task, 0, &json!({ "Status": 0 }));
        let stop = |task: &str, at: i64| event(302, task, at, &json!({ "LeaveCode": 0 }));
        post(&server, &[
            start("goes on"), start("unfinished"), stop("unfinished", 1000), event(303, "unfinished", 2000, &json!({ "Status": 0 })),
            start("vod"), stop("vod", 1000), event(312, "vod", 2000, &json!({ "Status": 0 })),
            start("hls"), stop("hls", 1000), event(305, "hls", 2000, &json!({ "LeaveCode": 0 })),
            start("mp4"), stop("mp4", 1000), event(310, "mp4", 2000, &json!({ "Status": 0, "FileList": ["a.mp4"] })),
            event(301, "refused", 0, &json!({ "Status": 1 })),
            event(801, "web", 0, &json!({ "Status": 1 })), event(804, "web", 1000, &json!({ "Status": 1 })),
            event(310, "web_StartTimeMs_1793534300000", 2000, &json!({ "Status": 0, "FileList": ["w.mp4"] })),
        ]).await;
        server.clock.set(UnixMillis(T + 27 * HOUR_MS));
        comes(&database, FOUND, &["recording_without_end goes on", "recording_without_end unfinished"]).await;
        let open = ask(&server, "/anomalies?kind=recording_without_end&resolved=false").await;
        let details: Vec<_> = open["items"].as_array().unwrap().iter().map(|item| item["detail"].as_str().unwrap()).collect();
        assert!(details.iter().any(|detail| detail.starts_with("it was stopped, and no event came for ")), "{details:?}");
        assert!(details.iter().any(|detail| detail.ends_with("; no stop event came")), "{details:?}");
        let html = page(&server, "/anomalies").await;
        assert!(html.contains(&format!("href=\"/recordings/{APP}/goes%20on\"")), "{html}");
        let html = page(&server, &format!("/recordings/{APP}/goes%20on")).await;
        assert!(html.contains("recording without end"), "{html}");
        // One has another event, the other an end.
        post(&server, &[event(306, "goes on", 26 * HOUR_MS, &json!({ "Status": 0 })), event(305, "unfinished", 3000, &json!({ "Status": 0 }))]).await;
        comes(&database, FOUND, &["recording_without_end goes on resolved", "recording_without_end unfinished resolved"]).await;
        server.clock.set(UnixMillis(T + 53 * HOUR_MS));
        comes(&database, FOUND, &["recording_without_end goes on", "recording_without_end unfinished resolved"]).await;
        server.stop().await;
    }

    async fn a_file_left_is_listed_until_it_is_uploaded(database: Database) {
        let server = Server::start(&database).await;
        let ended = |task: &str| event(312, task, 9000, &json!({ "Status": 0 }));
        let mp4 = |task: &str, at: i64, status: i64, names: &[&str]| event(310, task, at, &json!({ "Status": status, "FileList": names }));
        post(&server, &[
            event(305, "hls", 1000, &json!({ "LeaveCode": 1 })), ended("hls"),
            mp4("mp4", 1000, 0, &["a.mp4"]), mp4("mp4", 1001, 1, &["a.mp4", "b.mp4"]), ended("mp4"),
            event(311, "vod", 1000, &json!({ "Status": 1, "TencentVod": { "CacheFile": "v.mp4" } })), ended("vod"),
            event(311, "recovered", 2000, &file("v.mp4", "https://vod.test/v.mp4", 0)), ended("recovered"),
            event(311, "recovered", 1000, &json!({ "Status": 1, "TencentVod": { "CacheFile": "v.mp4" } })),
        ]).await;
        comes(&database, FOUND, &["recording_file_left hls", "recording_file_left mp4", "recording_file_left vod"]).await;
        post(&server, &[
            event(305, "hls", 20_000, &json!({ "Status": 2 })),
            mp4("mp4", 20_000, 0, &["a.mp4"]),
            event(311, "vod", 20_000, &file("v.mp4", "https://vod.test/v.mp4", 0)),
        ]).await;
        comes(&database, FOUND, &["recording_file_left hls resolved", "recording_file_left mp4", "recording_file_left vod resolved"]).await;
        post(&server, &[mp4("mp4", 30_000, 0, &["b.mp4"])]).await;
        comes(&database, FOUND, &["recording_file_left hls resolved", "recording_file_left mp4 resolved", "recording_file_left vod resolved"]).await;
        server.shows("trtc_anomalies_found_total{kind=\"recording_file_left\"}", 3).await;
        server.stop().await;
    }

    async fn a_cloud_task_without_end_is_listed_until_it_ends(database: Database) {
        let server = Server::start(&database).await;
        let push = |task: &str, at: i64, url: &str, status: i64| event(401, task, at, &json!({ "Url": url, "Status": status }));
        post(&server, &[
            push("lost", 0, "rtmp://a", 2), push("lost", 1000, "rtmp://a", 3), push("lost", 61_000, "rtmp://a", 4),
            // Of two addresses one has no connection, whatever the other tells.
            push("half", 0, "rtmp://a", 1), push("half", 5000, "rtmp://b", 2),
            push("runs", 0, "rtmp://a", 1), push("runs", 1000, "rtmp://a", 2),
            push("over", 1, "rtmp://a", 0), push("over", 0, "rtmp://a", 4),
            ingest(701, "dead", 0, 1), ingest(701, "dead", 1, 2), ingest(701, "dead", 2, 1), ingest(701, "dead", 3, 1),
            ingest(701, "tried", 0, 1), ingest(701, "tried", 1, 1),
            ingest(701, "pulled", 0, 1), ingest(701, "pulled", 1, 1), ingest(701, "pulled", 2, 0), ingest(701, "pulled", 9, 1),
            event(901, "talk", 0, &json!({ "Status": 0 })), event(903, "talk", HOUR_MS, &json!({ "UserId": "a", "Text": "b" })),
            event(1401, "written", 0, &json!({ "Status": 0 })), event(1402, "written", 1, &json!({ "LeaveCode": 0 })),
        ]).await;
        let [dead, half, lost] = ["rtc_task_without_end dead", "rtc_task_without_end half", "rtc_task_without_end lost"];
        comes(&database, FOUND, &[dead, half, lost]).await;
        server.clock.set(UnixMillis(T + 27 * HOUR_MS + 1));
        comes(&database, FOUND, &[dead, half, lost, "rtc_task_without_end talk"]).await;
        let open = ask(&server, "/anomalies?kind=rtc_task_without_end&subject=talk").await;
        let detail = open["items"][0]["detail"].as_str().unwrap();
        assert!(detail.starts_with("AI was started, and no event came for ") && open["items"][0]["happened_at"] == "2026-11-01T12:00:00.000Z", "{open}");
        let html = page(&server, "/anomalies?kind=rtc_task_without_end").await;
        assert!(html.contains(&format!("href=\"/rtc-tasks/{APP}/half\"")), "{html}");
        let late = 27 * HOUR_MS;
        post(&server, &[
            push("lost", late, "rtmp://a", 0), push("half", late, "rtmp://a", 2), ingest(701, "dead", late, 0),
            event(902, "talk", late, &json!({ "LeaveCode": 0 })),
        ]).await;
        let resolved = [dead, half, lost, "rtc_task_without_end talk"].map(|found| format!("{found} resolved"));
        comes(&database, FOUND, &resolved.each_ref().map(String::as_str)).await;
        server.stop().await;
    }

    async fn a_list_of_recordings_with_many_events_goes_on(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        let rows = |task: &str, count: i64, first: i64, mark: &str| {
            let (at, id) = if database.is_postgres() {
                ("timestamptz 'epoch' + (@0 + n) * interval '1 millisecond'", "md5('@1' || n)::uuid")
            } else {
                ("@0 + n", "printf('%08x-0000-0000-0000-00000000000@1', n)")
            };
            format!(
                "insert into recording_marks (sdk_app_id, task_id, at, event_id, room_id, event_type, files)
                 with recursive numbers (n) as (select 0 union all select n + 1 from numbers where n < {count} - 1)
                 select {APP}, '{task}', {}, {}, 'r', 307, '[{{\"name\":\"a\"}}]' from numbers",
                at.replace("@0", &(T + first).to_string()), id.replace("@1", mark)
            )
        };
        database.execute(&rows("long", 25_000, 1000, "a")).await;
        database.execute(&rows("short", 1, 0, "b")).await;
        for filter in [RecordingFilter::default(), RecordingFilter { room_id: Some("r".into()), ..RecordingFilter::default() }] {
            let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
            loop {
                let (rows, end) = filter.part(&*store, (after, 5)).await.unwrap();
                found.extend(rows.into_iter().map(|row| (row.task_id, row.files.len())));
                pages += 1;
                after = end;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, [("long".to_owned(), 1), ("short".to_owned(), 1)]);
            assert!(pages > 2, "{pages}");
        }
        store.close().await;
    }
}
