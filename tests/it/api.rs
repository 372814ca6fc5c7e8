//! The API under `/api/v1`: what it gives is what it says that it gives, on both stores.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::api_schema::Description;
use crate::reading::Rows;
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, on_both_stores, settings,
};

/// What `GET` gives: status, content type and body.
async fn get(server: &Server, path: &str) -> (u16, String, String) {
    let answer = server.client.get(format!("{}{path}", server.ops_url)).send().await.unwrap();
    let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap());
    let (status, kind) = (answer.status().as_u16(), kind.to_owned());
    (status, kind, answer.text().await.unwrap())
}

/// JSON under `/api/v1`.
pub(crate) async fn ask(server: &Server, path: &str) -> Value {
    let (status, kind, text) = get(server, &format!("/api/v1{path}")).await;
    assert_eq!((status, kind.as_str()), (200, "application/json"), "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// The problem under `/api/v1`, which has this status.
async fn problem(server: &Server, path: &str, status: u16) -> Value {
    let (got, kind, text) = get(server, &format!("/api/v1{path}")).await;
    assert_eq!((got, kind.as_str()), (status, "application/problem+json"), "{path}: {text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status);
    problem
}

fn texts(list: &Value, name: &str) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item[name].as_str().unwrap_or("null").to_owned()).collect()
}

/// A server whose read models hold a little of everything, and stay as they are whatever is posted.
async fn server(database: &Database) -> Server {
    let unchanged =
        [("TRTC_INGEST__READ_MODELS", "false"), ("TRTC_GAPS__FORWARDING_FAILING_AFTER_S", "0")];
    let server = Server::start_with(settings(database, &unchanged)).await;
    let mut rows = Rows::new(database);
    let ended = ", media, room_id, caller, result, start_event_at, accept_event_at, end_event_at";
    rows.call("talked", 1, ended, ", 'audio', 'r', 'ann', 'normal_end', @1, @2000, @7500");
    rows.call("missed", 2, ended, ", 'video', 'r', 'bob', 'not_answer', @2, null, @9000");
    rows.call("=ringing", 3, "", "");
    let over = ", invited_at, joined_at, last_joined_at, call_ended_at, call_result";
    rows.member("talked", "ann", 1, over, "true, null, @1, @1, @7500, 'normal_end'");
    rows.member("talked", "bob", 2, over, "false, @1000, @2000, @2000, @7500, 'normal_end'");
    rows.member("missed", "ann", 2, over, "false, @3, null, null, @9000, 'not_answer'");
    rows.room("studio", 10, ", enters_missing", ", 0");
    rows.add(
        "room_sessions",
        "sdk_app_id, room_id, session, family, owner, name, started_at, from_at, last_at, state, inferred, members, \
         members_peak, visitors, entries, leaves_missing, enters_missing, properties, occupancy",
        &format!(
            "{APP}, 'show/1', 20, 'live', 'ann', 'Late show', @20, @20, @99, 'open', false, 1, 1, 1, 1, 0, 0, \
             '{{\"a\":[1]}}', '[[1793534400020,1]]'"
        ),
    );
    rows.add(
        "live_sessions",
        "sdk_app_id, room_id, session, total_viewers, gifts, gift_coins, gift_senders, top_senders, top_receivers, battles, \
         admins, metadata",
        &format!(
            "{APP}, 'show/1', 20, 5, 2, 7, 1, '[{{\"account\":\"bob\",\"gifts\":2,\"coins\":7}}]', '[]', 1, '[\"eve\"]', \
             '{{\"k\":\"v\"}}'"
        ),
    );
    show_details(&mut rows);
    show_tasks(&mut rows);
    show_destination(&mut rows);
    let columns = "sdk_app_id, kind, subject, session, happened_at, found_at, resolved_at, detail";
    rows.add(
        "anomalies",
        columns,
        &format!("{APP}, 'call_without_end', 'talked', 0, @1, @2, @3, 'it has one now'"),
    );
    rows.add(
        "anomalies",
        columns,
        &format!("{APP}, 'silence', 'call', 0, @4, @5, null, 'nothing came'"),
    );
    let columns = "sdk_app_id, at, command, result, family, events, lag_ms, lag_ms_max";
    for _ in 0..2 {
        let values = format!("{APP}, @0, 'Call.X', '', 'call', 3, 30, 20");
        rows.add("new_event_counts", columns, &values);
    }
    rows.write().await;
    server
}

/// A destination of forwarding, and an event that it has not got.
fn show_destination(rows: &mut Rows<'_>) {
    rows.add(
        "destinations",
        "name, position, epoch, definition_hash, created_at, state, reason, failing_since, last_error, paused, \
         resume_requests, exceptions_version, skipped, skipped_from, skipped_until",
        "'billing', 511, 1, 'x', @0, 'failing', 'failing', @5, 'answered 500', false, 0, 0, 7, @1, @2",
    );
    let event = crate::reading::id(7);
    rows.add(
        "delivery_exceptions",
        "destination, event_id, position, attempts, next_at, state, last_status, last_error, first_failed_at, changed_at",
        &format!("'billing', '{event}', 5, 3, @9, 'waiting', 400, 'answered 400: no', @3, @4"),
    );
}

/// Recordings, and other tasks of the cloud.
fn show_tasks(rows: &mut Rows<'_>) {
    let columns = "sdk_app_id, task_id, at, event_id, call_id, room_id, state, files";
    let id = crate::reading::id(7);
    let files = r#"'[{"name":"x.mp4"}]'"#;
    rows.add(
        "recording_marks",
        columns,
        &format!("{APP}, 't/+.*-', @60, '{id}', 'talked', 'show/1', 'finished', {files}"),
    );
    rows.add(
        "recording_marks",
        "sdk_app_id, task_id, at, event_id, event_type, status, files, reporter, end_reason, leave_code",
        &format!(
            "{APP}, 'u', @50, '{}', 311, 0, '{}', 'rtc', 'room_empty', 99",
            crate::reading::id(6),
            r#"[{"file_id":"7","url":"https://vod.test/7.mp4","user":"a\"b","media":"mix","from":1793534400000,"to":1793534460000}]"#
        ),
    );
    let columns = "sdk_app_id, task_id, at, event_id, kind, room_id, room_id_kind, robot, url, state, state_rank";
    for (number, values) in [
        (
            8,
            "'relay/1', @61, '#', 'relay', 'show/1', 'string', 'agent', 'rtmp://a.test/x', 'running', 3",
        ),
        (9, "'scribe', @70, '#', 'transcription', '7', 'numeric', 'scribe', null, 'started', 1"),
    ] {
        let id = crate::reading::id(number);
        rows.add("rtc_task_marks", columns, &format!("{APP}, {}", values.replace('#', &id)));
    }
}

/// The rooms of the calls and of the live room at the media server.
fn show_rtc_rooms(rows: &mut Rows<'_>) {
    rows.rtc_session(("r", "string"), 0, Some(99_000), [2, 1]);
    let of = ("r", "string", 0);
    rows.rtc_stay(of, (20, "ann"), (100, Some((7400, 1))));
    rows.rtc_stay(of, (21, "bob"), (2100, Some((99_000, 2))));
    rows.rtc_stay(of, (22, "robot"), (2200, Some((8000, 1))));
    rows.rtc_published(of, (23, 20, "ann"), "audio", (200, 7000));
    rows.rtc_published(of, (24, 20, "ann"), "camera", (300, 6000));
    rows.rtc_session(("show/1", "string"), 10, None, [1, 0]);
    rows.rtc_stay(("show/1", "string", 10), (25, "ann"), (30, None));
}

/// What happened in the live room.
fn show_details(rows: &mut Rows<'_>) {
    show_rtc_rooms(rows);
    rows.mark("show/1", "bob", 30, 1, true, "enter");
    for (number, coins) in [(2, 3), (3, 4)] {
        let id = crate::reading::id(number);
        let values =
            format!("{APP}, 'show/1', @{number}0, '{id}', 'bob', '[\"ann\"]', 'rose', 1, {coins}");
        let columns = "sdk_app_id, room_id, at, event_id, sender, receivers, gift_id, count, coins";
        rows.add("gifts", columns, &values);
    }
    let columns = "sdk_app_id, room_id, seat, at, event_id, account";
    rows.add(
        "seat_marks",
        columns,
        &format!("{APP}, 'show/1', 1, @40, '{}', 'ann'", crate::reading::id(4)),
    );
    let columns = "sdk_app_id, room_id, at, event_id, ordinal, family, kind, name";
    let id = crate::reading::id(5);
    rows.add(
        "room_changes",
        columns,
        &format!("{APP}, 'show/1', @20, '{id}', 0, 'live', 'create', 'Late show'"),
    );
    let columns = "sdk_app_id, battle_id, at, event_id, room_id, stage, is_proposer, score, started_at, ended_at";
    let id = crate::reading::id(6);
    rows.add(
        "battle_marks",
        columns,
        &format!("{APP}, 'b', @50, '{id}', 'show/1', 'end', true, 9, @45, @50"),
    );
}

/// An event of a call that no other number gives.
fn end_call(number: u32, call: &str) -> String {
    let time = NOW.0 - 1000 * i64::from(number);
    format!(
        r#"{{"CallbackCommand":"Call.CallbackAfterEndCall","CallId":"{call}","EventTime":{time},"Operator_Account":"u{number}"}}"#
    )
}

async fn post_some(server: &Server) {
    for number in 0..7 {
        server.post_body("Call.CallbackAfterEndCall", end_call(number, "talked")).await;
    }
    server.post_body(DESTROY_ROOM, destroy_room(0)).await;
    server.post_body(DESTROY_ROOM, "no JSON").await;
}

/// Each path of the document but two, and a request that it answers.
fn examples(event: &str) -> Vec<(&'static str, String)> {
    vec![
        ("/events", "/events?payload=true".to_owned()),
        ("/events/{id}", format!("/events/{event}")),
        ("/calls", "/calls".to_owned()),
        ("/calls/{app}/{call_id}", format!("/calls/{APP}/talked")),
        ("/users/{app}/{account}/calls", format!("/users/{APP}/ann/calls")),
        ("/users/{app}/{account}/visits", format!("/users/{APP}/bob/visits")),
        ("/room-sessions", "/room-sessions".to_owned()),
        ("/room-sessions/{app}/{room_id}/{session}", format!("/room-sessions/{APP}/studio/10")),
        (
            "/room-sessions/{app}/{room_id}/{session}/visits",
            format!("/room-sessions/{APP}/show%2F1/latest/visits"),
        ),
        ("/live-sessions", "/live-sessions".to_owned()),
        (
            "/live-sessions/{app}/{room_id}/{session}",
            format!("/live-sessions/{APP}/show%2F1/latest"),
        ),
        (
            "/live-sessions/{app}/{room_id}/{session}/visits",
            format!("/live-sessions/{APP}/show%2F1/latest/visits"),
        ),
        (
            "/live-sessions/{app}/{room_id}/{session}/gifts",
            format!("/live-sessions/{APP}/show%2F1/20/gifts"),
        ),
        ("/rtc-room-sessions", "/rtc-room-sessions".to_owned()),
        (
            "/rtc-room-sessions/{app}/{room_id}/{kind}/{session}",
            format!("/rtc-room-sessions/{APP}/show%2F1/string/latest"),
        ),
        (
            "/rtc-room-sessions/{app}/{room_id}/{kind}/{session}/stays",
            format!("/rtc-room-sessions/{APP}/r/string/{}/stays", NOW.0),
        ),
        (
            "/rtc-room-sessions/{app}/{room_id}/{kind}/{session}/publish-intervals",
            format!("/rtc-room-sessions/{APP}/r/string/latest/publish-intervals"),
        ),
        ("/users/{app}/{account}/rtc-stays", format!("/users/{APP}/ann/rtc-stays")),
        ("/recordings", "/recordings".to_owned()),
        ("/recordings/{app}/{task_id}", format!("/recordings/{APP}/t%2F+.%2A-")),
        ("/rtc-tasks", "/rtc-tasks".to_owned()),
        ("/rtc-tasks/{app}/{task_id}", format!("/rtc-tasks/{APP}/relay%2F1")),
        ("/destinations", "/destinations".to_owned()),
        ("/destinations/{name}/exceptions", "/destinations/billing/exceptions".to_owned()),
        ("/anomalies", "/anomalies".to_owned()),
        ("/statistics", "/statistics".to_owned()),
        ("/search", "/search?id=talked".to_owned()),
    ]
}

on_both_stores! {
    async fn every_response_matches_the_served_openapi_document(database: Database) {
        let server = server(&database).await;
        post_some(&server).await;
        let description = Description::of(&server).await;
        let events = ask(&server, "/events?payload=true").await;
        let id = events["items"][0]["id"].as_str().unwrap().to_owned();
        let mut paths = description.paths();
        for (path, asked) in examples(&id) {
            let answer = ask(&server, &asked).await;
            let path = format!("/api/v1{path}");
            description.check(&path, &answer);
            // Empty lists would pass whatever is said of their rows.
            let items = answer.get("items").and_then(Value::as_array);
            assert!(items.is_none_or(|items| !items.is_empty()), "{asked} is empty");
            paths.retain(|known| *known != path);
        }
        assert_eq!(paths, ["/api/v1/openapi.json", "/api/v1/events/stream"], "these are not held");
        server.stop().await;
    }

    async fn a_call_has_its_members_recordings_and_every_event(database: Database) {
        let server = server(&database).await;
        // The later one arrives first.
        server.post_body("Call.CallbackAfterEndCall", end_call(1, "talked")).await;
        server.clock.set(protocol::UnixMillis(NOW.0 + 5));
        server.post_body("Call.CallbackAfterEndCall", end_call(2, "talked")).await;
        let call = ask(&server, &format!("/calls/{APP}/talked")).await;
        assert_eq!((&call["state"], &call["talk_seconds"]), (&json!("ended"), &json!(5)));
        assert_eq!(call["started_at"], "2026-11-01T12:00:00.001Z");
        let accounts: Vec<_> = call["members"].as_array().unwrap().iter().map(|m| &m["account"]).collect();
        assert_eq!(accounts, ["ann", "bob"]);
        assert_eq!(call["recordings"][0]["files"], json!([{"name": "x.mp4"}]));
        let steps: Vec<_> = call["steps"].as_array().unwrap().iter().map(|step| {
            format!("{} {}", step["kind"].as_str().unwrap(), step["account"].as_str().unwrap_or("-"))
        }).collect();
        assert_eq!(
            steps,
            ["called ann", "joined ann", "rang bob", "answered bob", "left ann", "left bob", "ended -"]
        );
        let timeline = call["timeline"].as_array().unwrap();
        let told: Vec<_> = timeline.iter().map(|event| (&event["payload"]["Operator_Account"], &event["arrival"], &event["lag_ms"])).collect();
        assert_eq!(told, [(&json!("u2"), &json!(2), &json!(2005)), (&json!("u1"), &json!(1), &json!(1000))]);
        assert_eq!(timeline[0]["payload"]["CallId"], "talked");
        problem(&server, &format!("/calls/{APP}/none"), 404).await;
        server.stop().await;
    }

    async fn a_call_has_the_media_servers_times_beside_the_kits(database: Database) {
        let server = server(&database).await;
        let call = ask(&server, &format!("/calls/{APP}/talked")).await;
        assert_eq!(call["rtc_sessions"][0]["session"], NOW.0);
        let rows = call["rtc_comparison"].as_array().unwrap().iter();
        let told: Vec<_> = rows.map(|row| json!([row["account"], row["talk_ms"], row["stay_ms"], row["explanation"]])).collect();
        assert_eq!(
            told,
            [
                json!(["ann", 5500, 5400, null]),
                json!(["bob", 5500, 96_900, "connection_lost"]),
                json!(["robot", null, 5800, null]),
            ]
        );
        let of_bob = &call["rtc_comparison"][1]["stays"][0];
        assert_eq!(of_bob["presumed_end_at"], "2026-11-01T12:00:09.000Z");
        assert_eq!((&of_bob["exit_reason"], &of_bob["exit_reason_word"]), (&json!(2), &json!("timed_out")));
        // One that has no room.
        let call = ask(&server, &format!("/calls/{APP}/=ringing")).await;
        assert_eq!((&call["rtc_sessions"], &call["rtc_comparison"]), (&json!([]), &json!([])));
        server.stop().await;
    }

    async fn a_room_of_the_rtc_engine_has_what_ran_in_it(database: Database) {
        let server = server(&database).await;
        let room = ask(&server, &format!("/rtc-room-sessions/{APP}/r/string/{}", NOW.0)).await;
        let calls: Vec<_> = room["calls"].as_array().unwrap().iter().map(|call| &call["call_id"]).collect();
        assert_eq!(calls, ["missed", "talked"]);
        assert_eq!((&room["room_sessions"], &room["life_ms"]), (&json!([]), &json!(99_000)));
        let show = ask(&server, &format!("/rtc-room-sessions/{APP}/show%2F1/string/latest")).await;
        assert_eq!((&show["room_sessions"][0]["session"], &show["life_ms"]), (&json!(20), &json!(null)));
        let back = ask(&server, &format!("/live-sessions/{APP}/show%2F1/latest")).await;
        assert_eq!(back["rtc_sessions"][0]["session"], NOW.0 + 10);
        let found = ask(&server, &format!("/search?id={APP}_r_1793534400")).await;
        let hit = json!({"kind": "rtc_room", "sdk_app_id": 1_400_000_001, "room_id": "r", "room_id_kind": "string", "session": NOW.0});
        assert_eq!(found["items"], json!([hit]));
        for (path, parameter) in [("r/text/latest", "kind"), ("r/string/first", "session")] {
            let said = problem(&server, &format!("/rtc-room-sessions/{APP}/{path}"), 400).await;
            assert_eq!(said["parameter"], parameter);
        }
        problem(&server, &format!("/rtc-room-sessions/{APP}/r/numeric/latest"), 404).await;
        server.stop().await;
    }

    async fn a_room_session_has_its_members_and_events(database: Database) {
        let server = server(&database).await;
        for family in ["room-sessions", "live-sessions"] {
            let room = ask(&server, &format!("/{family}/{APP}/show%2F1/20")).await;
            assert_eq!(room["occupancy"], json!([[1_793_534_400_020_i64, 1]]));
            assert_eq!(room["properties"], json!({"a": [1]}));
            assert_eq!(room["changes"][0]["kind"], "create");
            assert_eq!(room["seats"][0]["account"], "ann");
            assert_eq!(room["recordings"][0]["state"], "finished");
            assert_eq!(room["live"]["top_senders"], json!([{"account": "bob", "gifts": 2, "coins": 7}]));
            assert_eq!(room["live"]["admins"], json!(["eve"]));
            assert_eq!(room["live"]["metadata"], json!({"k": "v"}));
            assert_eq!(room["battles"][0]["rooms"][0]["score"], 9);
            let visits = ask(&server, &format!("/{family}/{APP}/show%2F1/latest/visits")).await;
            assert_eq!(texts(&visits, "account"), ["bob"]);
        }
        let gifts = ask(&server, &format!("/live-sessions/{APP}/show%2F1/latest/gifts?user=ann")).await;
        assert_eq!(gifts["items"][0]["receivers"], json!(["ann"]));
        assert_eq!(gifts["items"][0]["coins"], 4);
        // A conference is no live room.
        problem(&server, &format!("/live-sessions/{APP}/studio/10"), 404).await;
        problem(&server, &format!("/room-sessions/{APP}/studio/11"), 404).await;
        let said = problem(&server, &format!("/room-sessions/{APP}/studio/first"), 400).await;
        assert_eq!(said["parameter"], "session");
        server.stop().await;
    }

    async fn events_are_filtered(database: Database) {
        let server = server(&database).await;
        post_some(&server).await;
        let path = format!("/?SdkAppid={APP}&CallbackCommand=Call.X&OptPlatform=Android");
        server.post_raw(&path, br#"{"CallId":"far","Operator_Account":"zoe"}"#.to_vec()).await;
        for (query, count) in [
            ("", 10),
            ("family=call", 8),
            ("command=Call.CallbackAfterEndCall", 7),
            ("command=Call.X", 1),
            (&format!("app={APP}"), 10),
            ("app=1", 0),
            ("call=talked", 7),
            ("room=room-0", 1),
            ("user=zoe", 1),
            ("platform=Android", 1),
            ("text=%22u5%22", 1),
            ("undecoded=true", 1),
            ("undecoded=", 10),
            ("since=2s&until=2026-11-01T12:00:00Z&call=talked", 2),
        ] {
            let list = ask(&server, &format!("/events?{query}")).await;
            assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}");
        }
        server.stop().await;
    }

    async fn lists_are_filtered(database: Database) {
        let server = server(&database).await;
        post_some(&server).await;
        for (list, name, wanted) in [
            ("/calls", "call_id", &["=ringing", "missed", "talked"][..]),
            ("/calls?state=ended&result=normal_end&media=audio", "call_id", &["talked"]),
            ("/calls?user=bob", "call_id", &["talked"]),
            ("/calls?room=r&until=2026-11-01T12:00:00.002Z", "call_id", &["talked"]),
            (&format!("/users/{APP}/ann/calls"), "call_id", &["missed", "talked"]),
            (&format!("/users/{APP}/ann/calls"), "direction", &["incoming", "outgoing"]),
            (&format!("/users/{APP}/ann/calls?outcome=missed"), "call_id", &["missed"]),
            (&format!("/users/{APP}/ann/calls?direction=outgoing"), "outcome", &["answered"]),
            (&format!("/users/{APP}/bob/visits"), "room_id", &["show/1"]),
            (&format!("/users/{APP}/eve/visits"), "room_id", &[]),
            ("/room-sessions", "room_id", &["show/1", "studio"]),
            ("/room-sessions?family=room", "room_id", &["studio"]),
            ("/room-sessions?owner=ann&state=open", "room_id", &["show/1"]),
            ("/live-sessions", "room_id", &["show/1"]),
            ("/rtc-room-sessions", "room_id", &["show/1", "r"]),
            ("/rtc-room-sessions?user=bob", "room_id", &["r"]),
            (&format!("/rtc-room-sessions?user=ann&app={APP}&since=2026-11-01T12:00:00.005Z"), "room_id", &["show/1"]),
            ("/rtc-room-sessions?room=r&kind=numeric", "room_id", &[]),
            ("/rtc-room-sessions?state=ended&room=r", "comm_id", &[&format!("{APP}_r_1793534400")]),
            (&format!("/users/{APP}/ann/rtc-stays"), "room_id", &["r", "show/1"]),
            (&format!("/rtc-room-sessions/{APP}/r/string/latest/stays"), "account", &["robot", "bob", "ann"]),
            (&format!("/rtc-room-sessions/{APP}/r/string/latest/stays?user=bob"), "exit_reason_word", &["timed_out"]),
            (&format!("/rtc-room-sessions/{APP}/r/string/latest/publish-intervals?track=audio"), "ended_by", &["stop"]),
            ("/recordings?call=talked&state=finished", "task_id", &["t/+.*-"]),
            ("/recordings?room=show/1&state=failed", "task_id", &[]),
            ("/recordings?user=a%22b", "task_id", &["u"]),
            ("/recordings?user=b", "task_id", &[]),
            (&format!("/recordings?app={APP}&since=2026-11-01T12:00:00.055Z"), "task_id", &["t/+.*-"]),
            ("/recordings?user=nobody", "task_id", &[]),
            ("/rtc-tasks", "task_id", &["scribe", "relay/1"]),
            ("/rtc-tasks?kind=relay&state=running&room=show/1", "task_id", &["relay/1"]),
            (&format!("/rtc-tasks?app={APP}&until=2026-11-01T12:00:00.065Z"), "url", &["rtmp://a.test/x"]),
            ("/anomalies", "kind", &["silence", "call_without_end"]),
            ("/anomalies?resolved=false", "kind", &["silence"]),
            ("/anomalies?kind=call_without_end&subject=talked", "detail", &["it has one now"]),
            ("/statistics?by=command", "group_name", &["Call.X"]),
        ] {
            let got = ask(&server, list).await;
            let got = if list.starts_with("/statistics") { json!({"items": [got["items"][0]]}) } else { got };
            assert_eq!(texts(&got, name), wanted, "{list}");
        }
        let counts = ask(&server, "/statistics?since=2026-11-01&until=2026-11-02").await;
        assert_eq!(counts["items"][0]["events"], 6);
        assert_eq!(counts["items"][0]["at"], "2026-11-01T12:00:00.000Z");
        server.stop().await;
    }

    async fn pages_follow_each_other_without_gap_or_repeat(database: Database) {
        let server = server(&database).await;
        post_some(&server).await;
        let gifts = format!("/live-sessions/{APP}/show%2F1/20/gifts");
        let user = format!("/users/{APP}/ann/calls");
        let stays = format!("/rtc-room-sessions/{APP}/r/string/latest/stays");
        let published = format!("/rtc-room-sessions/{APP}/r/string/latest/publish-intervals");
        let lists = ["/events", "/calls", "/room-sessions", "/rtc-room-sessions", "/recordings", "/rtc-tasks", "/anomalies"];
        for list in lists.into_iter().chain([&*gifts, &user, &stays, &published]) {
            let whole = ask(&server, list).await;
            assert_eq!(whole["next"], Value::Null, "{list}");
            let mut pages = Vec::new();
            let mut path = format!("{list}?limit=1");
            loop {
                let page = ask(&server, &path).await;
                pages.extend(page["items"].as_array().unwrap().clone());
                let Some(next) = page["next"].as_str() else { break };
                path = format!("{list}?limit=1&cursor={next}");
            }
            assert_eq!(json!(pages), whole["items"], "{list}");
        }
        server.stop().await;
    }

    async fn a_forged_cursor_is_a_client_error(database: Database) {
        let server = server(&database).await;
        post_some(&server).await;
        let gifts = format!("/live-sessions/{APP}/show%2F1/20/gifts");
        let user = format!("/users/{APP}/ann/calls");
        let mut refused = 0;
        let stays = format!("/rtc-room-sessions/{APP}/r/string/latest/stays");
        let published = format!("/rtc-room-sessions/{APP}/r/string/latest/publish-intervals");
        let lists = ["/events", "/calls", "/room-sessions", "/rtc-room-sessions", "/recordings", "/rtc-tasks", "/anomalies"];
        for list in lists.into_iter().chain([&*gifts, &user, &stays, &published]) {
            let page = ask(&server, &format!("{list}?limit=1")).await;
            for cursor in made_up(page["next"].as_str().unwrap()) {
                let path = format!("/api/v1{list}?limit=1&cursor={cursor}");
                let (status, _, text) = get(&server, &path).await;
                assert!([200, 400].contains(&status), "{path}: {status} {text}");
                refused += u32::from(status == 400);
            }
        }
        assert!(refused > 0);
        // Where a stream goes on is such a place too.
        for position in [i64::MIN, i64::MAX] {
            let url = format!("{}/api/v1/events/stream?last_event_id={position}", server.ops_url);
            let status = server.client.get(url).send().await.unwrap().status().as_u16();
            assert!([200, 400].contains(&status), "{position}: {status}");
        }
        server.stop().await;
    }

    async fn an_export_equals_the_list(database: Database) {
        let server = server(&database).await;
        post_some(&server).await;
        for number in 0..600 {
            // More than a part of an export has.
            server.post_body(DESTROY_ROOM, destroy_room(number + 10)).await;
        }
        for list in ["/events", "/calls", "/room-sessions", "/live-sessions", "/recordings", "/anomalies", "/statistics"] {
            let mut items = Vec::new();
            let mut path = format!("{list}{}", if list == "/statistics" { "" } else { "?limit=500" });
            loop {
                let page = ask(&server, &path).await;
                items.extend(page["items"].as_array().unwrap().clone());
                let Some(next) = page["next"].as_str() else { break };
                path = format!("{list}?limit=500&cursor={next}");
            }
            let (_, kind, text) = get(&server, &format!("/api/v1{list}?format=ndjson")).await;
            assert_eq!(kind, "application/x-ndjson");
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines, items, "{list}");

            let url = format!("{}/api/v1{list}", server.ops_url);
            let answer = server.client.get(url).header("Accept", "text/csv").send().await.unwrap();
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
            let text = answer.text().await.unwrap();
            let mut table = csv::Reader::from_reader(text.as_bytes());
            let head = table.headers().unwrap().clone();
            let rows: Vec<_> = table.records().map(|row| row.unwrap()).collect();
            assert_eq!(rows.len(), items.len(), "{list}");
            for (row, item) in rows.iter().zip(&items) {
                for name in item.as_object().unwrap().keys() {
                    assert!(head.iter().any(|column| column == name), "{list} has no column {name}");
                }
                for (column, cell) in head.iter().zip(row) {
                    let wanted = match &item[column] {
                        Value::Null => String::new(),
                        Value::String(text) if text.starts_with('=') => format!("'{text}"),
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    assert_eq!(cell, wanted, "{list}: {column}");
                }
            }
        }
        let (_, _, text) = get(&server, "/api/v1/events?format=ndjson&limit=550&payload=1").await;
        assert_eq!(text.lines().count(), 550);
        assert!(text.lines().all(|line| line.contains(r#""payload":{"#) || line.contains("no JSON")));
        // No row, and yet a table.
        let (_, _, text) = get(&server, "/api/v1/calls?format=csv&app=7").await;
        assert!(text.starts_with("sdk_app_id,call_id,media,"), "{text}");
        server.stop().await;
    }

    async fn a_page_of_large_bodies_ends_early_and_skips_no_event(database: Database) {
        const EVENTS: usize = 40;
        const MOST: usize = 9 << 20;
        let server = server(&database).await;
        let filling = "x".repeat(250_000);
        for number in 0..EVENTS {
            let body = end_call(u32::try_from(number).unwrap(), "talked");
            server.post_body("Call.CallbackAfterEndCall", body.replacen('{', &format!("{{\"F\":\"{filling}\","), 1)).await;
        }
        let mut found = Vec::new();
        let mut path = "/api/v1/events?call=talked&limit=500&payload=true".to_owned();
        let mut pages = 0;
        loop {
            let (status, _, text) = get(&server, &path).await;
            assert!(status == 200 && text.len() < MOST, "{status}: {} bytes", text.len());
            let page: Value = serde_json::from_str(&text).unwrap();
            found.extend(texts(&page, "id"));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/api/v1/events?call=talked&limit=500&payload=true&cursor={next}");
        }
        let distinct: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), distinct.len(), pages), (EVENTS, EVENTS, 2));
        let (_, _, text) = get(&server, "/api/v1/events?call=talked&format=ndjson&payload=true").await;
        assert_eq!(text.lines().count(), EVENTS);

        let (_, _, text) = get(&server, &format!("/api/v1/calls/{APP}/talked")).await;
        assert!(text.len() < MOST, "{} bytes", text.len());
        let call: Value = serde_json::from_str(&text).unwrap();
        let shown = call["timeline"].as_array().unwrap().len();
        assert!((30..EVENTS).contains(&shown) && call["timeline_cut"] == true, "{shown} events");
        let (_, _, html) = get(&server, &format!("/calls/{APP}/talked")).await;
        assert_eq!(html.matches("data-event=").count(), shown);
        assert!(html.contains(&format!("Only the first {shown} are shown")), "{html}");

        let url = format!("{}/api/v1/events/stream?payload=true&last_event_id=0", server.ops_url);
        let mut stream = server.client.get(url).send().await.unwrap();
        let mut told = String::new();
        while told.matches("\"event_time\":").count() < EVENTS {
            told.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
        }
        assert!(!told.contains("event: lagged"), "some were missed");
        server.stop().await;
    }

    async fn invalid_requests_are_answered_with_problem_details(database: Database) {
        let server = server(&database).await;
        let description = Description::of(&server).await;
        for (path, parameter, words) in [
            ("/events?familly=call", "familly", "did you mean `family`?"),
            ("/events?family=calls", "family", "expected one of call, room"),
            ("/events?app=x", "app", "digits"),
            ("/events?since=yesterday", "since", "2026-01-31"),
            ("/events?undecoded=maybe", "undecoded", "true or false"),
            ("/events?limit=0", "limit", "1 to 500"),
            ("/events?limit=501", "limit", "1 to 500"),
            ("/events?cursor=x", "cursor", "`next`"),
            ("/events?order=oldest", "order", "newest, stored"),
            ("/events?after=512", "after", "order=stored"),
            ("/events?order=newest&wait=3", "wait", "order=stored"),
            ("/events?order=stored&after=x", "after", "`position`"),
            ("/events?order=stored&cursor=now", "cursor", "`position`"),
            ("/events?order=stored&after=1&cursor=1", "after", "one of them"),
            ("/events?order=stored&wait=31", "wait", "0 to 30"),
            ("/calls?cursor=WyJFdmVudCIsW11d", "cursor", "`next`"),
            ("/events?format=xml", "format", "csv"),
            ("/events?call=a&call=b", "call", "once"),
            ("/events/x", "id", "`id` of an event"),
            ("/events/stream?limit=1", "limit", "known parameters: family, command"),
            ("/calls?state=over", "state", "ringing"),
            ("/calls/x/y", "app", "digits"),
            ("/openapi.json?x=1", "x", "takes no parameters"),
            ("/statistics?step=year", "step", "hour"),
            ("/statistics?since=2020-01-01", "since", "`step`"),
            ("/search", "id", "account"),
            (&format!("/events?text={}", "x".repeat(1001)), "text", "1000 characters"),
        ] {
            let said = problem(&server, path, 400).await;
            description.check_problem(&said);
            assert_eq!(said["parameter"], parameter, "{path}");
            assert!(said["hint"].as_str().unwrap().contains(words), "{path}: {said}");
        }
        problem(&server, "/event", 404).await;
        problem(&server, "/events/00000000-0000-8000-8000-000000000000", 404).await;
        let (status, kind, _) = get(&server, "/api/v2").await;
        assert_eq!((status, kind.as_str()), (404, "application/problem+json"));
        let url = format!("{}/api/v1/events", server.ops_url);
        let answer = server.client.post(url).send().await.unwrap();
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["allow"], "GET, HEAD");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        // Every parameter that is described is one that is taken.
        for path in description.paths().iter().filter(|path| !path.contains("stream")) {
            for name in description.parameters(path) {
                let path = path.replace("{app}", APP).replace("{session}", "latest").replace("{call_id}", "talked");
                let path = path.replace("{account}", "ann").replace("{room_id}", "show%2F1").replace("{kind}", "string").replace("{name}", "billing");
                let (status, _, text) = get(&server, &format!("{path}?{name}=")).await;
                assert!(status == 200 || name == "id", "{path} {name}: {text}");
            }
        }
        server.stop().await;
    }

    async fn a_read_past_its_timeout_ends_and_delays_no_event(database: Database) {
        let changes = [("TRTC_STORE__READ_TIMEOUT_MS", "200"), ("TRTC_STORE__READERS_MAX", "2")];
        let server = Server::start_with(settings(&database, &changes)).await;
        // A view in the table's place never comes to an end.
        database.execute(endless(&database)).await;
        let slow = async || get(&server, "/api/v1/anomalies").await;
        let asked = async {
            let (one, two, three) = tokio::join!(slow(), slow(), slow());
            [one, two, three].map(|(status, ..)| status)
        };
        let others = async {
            for number in 0..20 {
                server.post_body(DESTROY_ROOM, destroy_room(number)).await;
                assert_eq!(server.get_ops("/readyz").await, (200, "ok\n".to_owned()));
            }
        };
        let (statuses, ()) = tokio::join!(asked, others);
        assert_eq!(statuses, [504, 504, 504]);
        let said = problem(&server, "/anomalies", 504).await;
        assert!(said["hint"].as_str().unwrap().contains("`since`"), "{said}");
        // The readers are free again.
        assert_eq!(ask(&server, "/events").await["items"].as_array().unwrap().len(), 20);
        server.stop().await;
    }
}

pub(crate) fn endless(database: &Database) -> &'static str {
    if database.is_postgres() {
        "drop table anomalies;
         create view anomalies as
         select 1::bigint as sdk_app_id, 'x'::text as kind, 'x'::text as subject, 0::bigint as session, now() as happened_at,
                now() as found_at, now() as resolved_at, pg_sleep(0.01)::text as detail
         from generate_series(1, 1000000) as n"
    } else {
        "drop table anomalies;
         create view anomalies as
         with recursive n (i) as (select 1 union all select i + 1 from n)
         select 1 as sdk_app_id, 'x' as kind, 'x' as subject, 0 as session, i as happened_at, i as found_at, i as resolved_at,
                'x' as detail from n"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_concurrent_reads_are_answered_with_retry_after() {
    let database = Database::sqlite();
    let changes = [("TRTC_STORE__READ_TIMEOUT_MS", "4000"), ("TRTC_STORE__READERS_MAX", "1")];
    let server = Server::start_with(settings(&database, &changes)).await;
    database.execute(endless(&database)).await;
    let ask = async || {
        let url = format!("{}/api/v1/anomalies", server.ops_url);
        let answer = server.client.get(url).send().await.unwrap();
        let again =
            answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        (answer.status().as_u16(), again)
    };
    let (one, two) = tokio::join!(ask(), ask());
    let mut both = [one, two];
    both.sort();
    assert_eq!(both, [(503, Some("1".to_owned())), (504, None)]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_reports_an_unavailable_store() {
    let database = Database::postgres().await;
    let server = Server::start_with(settings(&database, &[])).await;
    database.vanish().await;
    let said = problem(&server, "/calls", 503).await;
    assert_eq!(said["detail"], "the store is not available");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_or_a_sign_in_opens_the_api_and_nothing_else_does() {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, &[("TRTC_OPS__TOKEN", "s3cret")])).await;
    let url = format!("{}/api/v1/events", server.ops_url);
    let ask = async |header: &str, value: &str| {
        let answer = server.client.get(&url).header(header, value).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().get("www-authenticate").is_some())
    };
    assert_eq!(ask("Authorization", "Bearer s3cret").await, (200, false));
    for (header, value) in [
        ("Authorization", "Bearer s3cre"),
        ("Authorization", "s3cret"),
        ("Cookie", "trtc_session=s3cret"),
        ("Cookie", "trtc_session="),
        ("X-Nothing", "x"),
    ] {
        assert_eq!(ask(header, value).await, (401, true), "{header} {value}");
    }
    for path in ["/api", "/api/v1/openapi.json", "/api/v1/nothing"] {
        assert_eq!(get(&server, path).await.0, 401, "{path}");
    }

    let client = browser();
    let page = client.get(format!("{}/?x=1", server.ops_url)).send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()["location"]),
        (303, &"/sign-in?to=%2F%3Fx%3D1".parse().unwrap())
    );
    let sign_in = async |token: &str, to: &str| sign_in(&client, &server, token, to).await;
    assert_eq!(sign_in("wrong", "/").await.status(), 403);
    let answer = sign_in("s3cret", "%2Fcalls%3Fx%3D1").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/calls?x=1".parse().unwrap())
    );
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("s3cret"));
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(ask("Cookie", cookie).await.0, 200);
    assert_eq!(&sign_in("s3cret", "//evil.example").await.headers()["location"], "/");
    // The figures and what changes something are not for the cookie.
    let metrics = server.client.get(format!("{}/metrics", server.ops_url)).header("Cookie", cookie);
    assert_eq!(metrics.send().await.unwrap().status(), 401);
    let post = server.client.post(&url).header("Cookie", cookie);
    assert_eq!(post.send().await.unwrap().status(), 401);

    let out = client.post(format!("{}/sign-out", server.ops_url)).header("Cookie", cookie);
    assert!(
        out.send().await.unwrap().headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0")
    );
    assert_eq!(ask("Cookie", cookie).await.0, 401);

    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_header_does_not_open_the_api() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    for (host, status) in [("localhost:9090", 200), ("evil.example", 403)] {
        let url = format!("{}/api/v1/events", server.ops_url);
        let answer = server.client.get(url).header("Host", host).send().await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_rate_limited() {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, &[("TRTC_OPS__TOKEN", "s3cret")])).await;
    let client = browser();
    let sign_in = async |token: &str| sign_in(&client, &server, token, "/").await;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(sign_in("wrong").await.status().as_u16());
    }
    assert_eq!(statuses, [vec![403; 10], vec![429]].concat());
    assert_eq!(sign_in("wrong").await.headers()["retry-after"], "60");
    // They do not keep out who has the right one.
    assert_eq!(sign_in("s3cret").await.status(), 303);
    server.clock.set(NOW.plus(Duration::from_mins(1)));
    assert_eq!(sign_in("wrong").await.status(), 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_an_https_proxy_the_cookie_is_secure() {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, &[("TRTC_OPS__TOKEN", "s3cret")])).await;
    let form = browser().post(format!("{}/sign-in", server.ops_url)).body("token=s3cret");
    let answer = form.header("X-Forwarded-Proto", "https").send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; SameSite=Strict; Secure"), "{cookie}");
    server.stop().await;
}

/// A client that is led nowhere.
fn browser() -> reqwest::Client {
    let client =
        trtc_callbacks::tencent_api::http_client().redirect(reqwest::redirect::Policy::none());
    client.timeout(Duration::from_secs(20)).build().unwrap()
}

async fn sign_in(
    client: &reqwest::Client,
    server: &Server,
    token: &str,
    to: &str,
) -> reqwest::Response {
    let form = format!("token={token}&to={to}");
    client.post(format!("{}/sign-in", server.ops_url)).body(form).send().await.unwrap()
}

/// Every value of a cursor, replaced by what a store may not take.
fn made_up(cursor: &str) -> Vec<String> {
    fn replaced(value: &Value) -> Vec<Value> {
        let scalars = [
            json!(i64::MIN),
            json!(i64::MAX),
            json!(-1),
            json!("a\u{0}b"),
            json!("-009999-01-02T01:59:59Z"),
            json!("9999-12-30T22:00:00Z"),
            json!("00000000-0000-8000-8000-000000000000"),
            json!(""),
            json!(null),
            json!([]),
        ];
        let inner: Vec<Value> = match value {
            Value::Array(values) => (0..values.len())
                .flat_map(|place| {
                    replaced(&values[place]).into_iter().map(move |other| {
                        let mut values = values.clone();
                        values[place] = other;
                        Value::Array(values)
                    })
                })
                .collect(),
            Value::Object(fields) => fields
                .iter()
                .flat_map(|(name, field)| {
                    replaced(field).into_iter().map(move |other| {
                        let mut fields = fields.clone();
                        fields[name] = other;
                        Value::Object(fields)
                    })
                })
                .collect(),
            _ => Vec::new(),
        };
        inner.into_iter().chain(scalars).collect()
    }
    let whole: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap();
    replaced(&whole).iter().map(|value| URL_SAFE_NO_PAD.encode(value.to_string())).collect()
}
