//! The RTC Engine's events over HTTP: whose they are, how they are signed, what they are answered, and that a retry is no event.

use protocol::response::RTC_OK;
use protocol::rtc::sign::sign;
use protocol::{Delivery, Dialect};

use crate::support::{APP, OK, Server, on_both_stores, settings};

const KEY: &str = "AbCdEfGh12345678";
const OTHER_APP: &str = "1400000002";

fn enter(callback_ts: i64) -> String {
    format!(
        r#"{{"EventGroupId":1,"EventType":103,"CallbackTs":{callback_ts},"EventInfo":{{"RoomId":7,"EventTs":1793534300,"EventMsTs":1793534300123,"UserId":"ann","Role":20,"Reason":1}}}}"#
    )
}

fn signed(key: &str, body: &str) -> String {
    sign(&key.into(), body.as_bytes())
}

/// Posts with these headers, and returns the answer's body. It is within the vendor's bound.
async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut request = server.client.post(format!("{}{path}", server.url)).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path} {headers:?}");
    let head: usize =
        answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let text = answer.text().await.unwrap();
    assert!("HTTP/1.1 200 OK\r\n\r\n".len() + head + text.len() <= 2000, "{head}");
    text
}

async fn rejected(server: &Server, reason: &str) -> u64 {
    server.figures().await.outcome(&format!("rejected_{reason}"))
}

on_both_stores! {
    async fn a_signed_rtc_event_is_stored_once(database: Database) {
        let server = Server::start_with(settings(&database, &[("TRTC_RTC_KEY", &format!("old\n{KEY}"))])).await;
        for (try_of, key) in [(0, KEY), (10_000, KEY), (20_000, "old")] {
            let body = enter(1_793_534_300_200 + try_of);
            let sign = signed(key, &body);
            assert_eq!(post(&server, "/", &[("SdkAppId", APP), ("Sign", &sign)], &body).await, RTC_OK);
        }
        let row = "select family || ' ' || command || ' ' || command_sent || ' ' || room_id || ' ' || operator from events";
        assert_eq!(database.texts(row).await, ["rtc_room EVENT_TYPE_ENTER_ROOM 1.103 7 ann"]);
        assert_eq!(database.count("select count(*) from events where signature is null").await, 1);
        let figures = server.figures().await;
        assert_eq!((figures.outcome("stored"), figures.outcome("duplicate")), (1, 2));
    }

    async fn an_unsigned_or_foreign_rtc_event_is_rejected(database: Database) {
        let settings = settings(&database, &[("TRTC_RTC_KEY", KEY), ("TRTC_CALLBACK_TOKEN", "t0ken")]);
        let server = Server::start_with(settings).await;
        let body = enter(1_793_534_300_200);
        let (right, with_token) = (signed(KEY, &body), signed("t0ken", &body));
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[("SdkAppId", APP)], "rtc_sign_missing"),
            (&[("SdkAppId", APP), ("Sign", "")], "rtc_sign_wrong"),
            (&[("SdkAppId", APP), ("Sign", &with_token)], "rtc_sign_wrong"),
            (&[("SdkAppId", OTHER_APP), ("Sign", &right)], "app_foreign"),
            (&[("SdkAppId", APP), ("SdkAppId", OTHER_APP), ("Sign", &right)], "app_conflicting"),
            (&[("Sign", &right)], "app_missing"),
        ];
        for (headers, reason) in cases {
            let before = rejected(&server, reason).await;
            assert_eq!(post(&server, "/", headers, &body).await, RTC_OK, "{reason}");
            assert_eq!(rejected(&server, reason).await, before + 1, "{headers:?}");
        }
        // The key opens the first dialect no more than its token opens this one.
        let query = format!("/?SdkAppid={APP}&CallbackCommand=Call.CallbackAfterEndCall");
        assert_eq!(post(&server, &query, &[("SdkAppId", APP), ("Sign", &right)], &body).await, OK);
        assert_eq!(rejected(&server, "sign_missing").await, 1);
        assert_eq!(database.rows().await, 0);
    }

    async fn the_path_names_the_app_of_an_rtc_event(database: Database) {
        let paths = ("TRTC_SERVER__CALLBACK_PATHS", "/callback,/rtc/{sdk_app_id}");
        let server = Server::start_with(settings(&database, &[("TRTC_RTC_KEY", KEY), paths])).await;
        let body = enter(1_793_534_300_200);
        let sign = signed(KEY, &body);
        for path in [format!("/rtc/{APP}"), format!("//rtc/{APP}/"), format!("/rtc/{APP}?room=1")] {
            assert_eq!(post(&server, &path, &[("sign", &sign)], &body).await, RTC_OK, "{path}");
        }
        assert_eq!(database.rows().await, 1);
        let both = [("SdkAppId", APP), ("Sign", sign.as_str())];
        post(&server, &format!("/rtc/{APP}"), &both, &body).await;
        assert_eq!(server.figures().await.outcome("duplicate"), 3);
        post(&server, &format!("/rtc/{OTHER_APP}"), &both, &body).await;
        assert_eq!(rejected(&server, "app_conflicting").await, 1);
        post(&server, "/rtc/none", &[("Sign", &sign)], &body).await;
        assert_eq!(rejected(&server, "app_malformed").await, 1);
        // The other dialect is taken there as well.
        let query = format!("/rtc/{APP}?SdkAppid={APP}&CallbackCommand=Call.CallbackAfterEndCall");
        assert_eq!(post(&server, &query, &[], "{}").await, OK);
        assert_eq!(database.rows().await, 2);
    }

    async fn bad_rtc_bodies_are_kept_with_their_reason(database: Database) {
        let server = Server::start_with(settings(&database, &[("TRTC_RTC_KEY", KEY)])).await;
        let files: Vec<String> = (0..10_000).map(|number| format!("\"f{number}.mp4\"")).collect();
        let files = files.join(",");
        let cases = [
            ("not json".to_owned(), "rtc_unknown", "not JSON"),
            ("[1]".to_owned(), "rtc_unknown", "expected an object"),
            (r#"{"EventGroupId":"x","EventType":"y","EventInfo":{}}"#.to_owned(), "rtc_unknown", ""),
            (r#"{"EventGroupId":1180591620717411303424,"EventType":1,"EventInfo":{}}"#.to_owned(), "rtc_unknown", ""),
            (r#"{"EventGroupId":1,"EventType":103}"#.to_owned(), "rtc_room", "EventInfo: missing"),
            (r#"{"EventGroupId":1,"EventType":103,"EventInfo":7}"#.to_owned(), "rtc_room", "EventInfo"),
            (r#"{"EventGroupId":1,"EventType":103,"EventInfo":{"EventMsTs":0,"RoomId":{}}}"#.to_owned(), "rtc_room", "RoomId"),
            (r#"{"EventGroupId":1,"EventType":103,"EventInfo":{"EventMsTs":9000000000000000000}}"#.to_owned(), "rtc_room", ""),
            (format!(r#"{{"EventGroupId":3,"EventType":310,"EventInfo":{{"EventMsTs":1793534300123,"Payload":{{"FileList":[{files}]}}}}}}"#), "rtc_recording", ""),
            (r#"{"CallbackCommand":"Call.CallbackAfterEndCall","EventGroupId":3,"EventInfo":{}}"#.to_owned(), "rtc_recording", "CallbackCommand"),
        ];
        for (body, family, reason) in &cases {
            for _ in 0..2 {
                let sign = signed(KEY, body);
                let headers = [("SdkAppId", APP), ("Sign", sign.as_str())];
                assert_eq!(post(&server, "/", &headers, body).await, RTC_OK);
            }
            let newest = "select family || ': ' || coalesce(decode_error, '') from events order by received_at desc, id desc";
            let rows = database.texts(newest).await;
            let is_there = rows.iter().any(|row| row.starts_with(*family) && row.contains(reason));
            assert!(is_there, "{family} {reason}: {rows:?}");
        }
        // A repeat is no second row, also without a time.
        assert_eq!(database.rows().await, i64::try_from(cases.len()).unwrap());
    }

    async fn a_recording_that_both_dialects_report_is_one(database: Database) {
        let server = Server::start(&database).await;
        let rtc = |event_type: i64, at: i64, task: &str, payload: &str| {
            let body = format!(
                r#"{{"EventGroupId":3,"EventType":{event_type},"CallbackTs":{at},"EventInfo":{{"RoomId":"r","EventMsTs":{at},"UserId":"robot","TaskId":"{task}","Payload":{payload}}}}}"#
            );
            Delivery {
                dialect: Dialect::RtcEngine,
                headers: [("sdkappid".to_owned(), APP.to_owned())].into(),
                body_text: Some(body),
                ..Delivery::default()
            }
        };
        let call = r#"{"CallbackCommand":"Call.CallbackAfterRecordChanged","CallId":"c","EventTime":1793534300100,"Callback":{"EventGroupId":3,"EventType":301,"EventInfo":{"RoomId":"r","TaskId":"t","EventMsTs":1793534300050,"Payload":{"Status":0}}}}"#;
        let file = r#"{"Status":0,"TencentVod":{"FileId":"f1","CacheFile":"a.mp4","VideoUrl":"https://vod.example/a.mp4"}}"#;
        server.post(&rtc(301, 1_793_534_300_060, "t", r#"{"Status":0}"#)).await;
        server.post_body("Call.CallbackAfterRecordChanged", call).await;
        server.post(&rtc(311, 1_793_534_360_000, "t", file)).await;
        server.post(&rtc(312, 1_793_534_361_000, "t", r#"{"Status":0}"#)).await;
        // The suffix that 310 of a recorded web page has.
        server.post(&rtc(310, 1_793_534_362_000, "w_StartTimeMs_1793534300000", r#"{"Status":0,"FileList":["b.mp4"]}"#)).await;
        let tasks = "select task_id || ' ' || coalesce(call_id, '-') || ' ' || state from recordings order by task_id";
        assert_eq!(database.texts(tasks).await, ["t c finished", "w - finished"]);
        let (status, page) = server.get_ops("/api/v1/calls/1400000001/c").await;
        assert!(status == 200 && page.contains("https://vod.example/a.mp4"), "{page}");
    }

    async fn without_keys_rtc_events_are_taken_unsigned(database: Database) {
        let server = Server::start(&database).await;
        for sign in ["", "nonsense"] {
            let headers = [("SdkAppId", APP), ("Sign", sign)];
            assert_eq!(post(&server, "/", &headers, &enter(1_793_534_300_200)).await, RTC_OK);
        }
        assert_eq!(database.texts("select signature from events").await, ["unchecked"]);
    }
}
