//! Amounts: what gifts are worth, numbers as large as they can be, and names that somebody makes up.

use protocol::{Delivery, Event};
use serde_json::{Value, json};
use trtc_callbacks::projections::{AMOUNT_MAX, changes};
use trtc_callbacks::store::EventInsert;

use crate::process::done;
use crate::support::{APP, Database, NOW, Server, eventually, fixtures, on_both_stores};

/// An hour before the servers' present.
const T: i64 = NOW.0 - 3_600_000;

async fn settled(database: &Database) {
    let is_empty = || async { database.count("select count(*) from settle_queue").await == 0 };
    eventually("every room is settled", is_empty).await;
}

async fn ask(server: &Server, path: &str) -> Value {
    let (status, text) = server.get_ops(&format!("/api/v1{path}")).await;
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// How many numbers a value holds.
fn numbers(value: &Value) -> usize {
    match value {
        Value::Number(_) => 1,
        Value::Array(items) => items.iter().map(numbers).sum(),
        Value::Object(fields) => fields.values().map(numbers).sum(),
        _ => 0,
    }
}

/// Puts the greatest number in the place of one of them, or of all.
fn enlarge(value: &mut Value, which: Option<usize>, seen: &mut usize) {
    match value {
        Value::Number(_) => {
            if which.is_none_or(|which| which == *seen) {
                *value = json!(i64::MAX);
            }
            *seen += 1;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| enlarge(item, which, seen)),
        Value::Object(fields) => fields.values_mut().for_each(|item| enlarge(item, which, seen)),
        _ => {}
    }
}

/// Every fixture with each of its numbers as large as it can be, and with all of them.
fn enlarged() -> Vec<Event> {
    let mut events = Vec::new();
    for fixture in fixtures() {
        let Ok(body) = serde_json::from_slice::<Value>(&fixture.delivery.bytes().unwrap()) else {
            continue;
        };
        for which in (0..numbers(&body)).map(Some).chain([None]) {
            let mut body = body.clone();
            enlarge(&mut body, which, &mut 0);
            // Of its own time, so that sessions of its room that end do not hide it.
            if body.get("EventTime").is_some() && which.is_some() {
                let later = i64::try_from(events.len()).unwrap() * 10;
                body["EventTime"] = json!(T + later);
            }
            let (body_text, delivery) = (Some(body.to_string()), fixture.delivery.clone());
            let delivery = Delivery { body: None, body_text, ..delivery };
            events.push(delivery.event(NOW).unwrap());
        }
    }
    events
}

on_both_stores! {
    async fn a_gift_is_worth_its_count_times_the_value_of_one(database: Database) {
        let server = Server::start(&database).await;
        let gift = |id: &str, rest: &str| format!(
            r#"{{"CallbackCommand":"Live.CallbackBeforeSendGift","RoomId":"show","GiftWater":{{"From_Account":"bob","To_Account":["ann"],"Time":{},"GiftId":"{id}"{rest}}}}}"#,
            T / 1000 + 10
        );
        let create = format!(
            r#"{{"CallbackCommand":"Live.CallbackAfterCreateRoom","Operator_Account":"ann","RoomInfo":{{"RoomId":"show","RoomType":"Live"}},"EventTime":{T}}}"#
        );
        server.post_body("Live.CallbackAfterCreateRoom", create).await;
        for rest in [r#","Count":10,"Coins":5"#, r#","Count":10,"Coins":5"#, r#","Coins":7"#, r#","Count":3"#, r#","Count":-3,"Coins":5"#] {
            server.post_body("Live.CallbackBeforeSendGift", gift("rose", rest)).await;
        }
        settled(&database).await;
        let path = format!("/live-sessions/{APP}/show/latest");
        let live = ask(&server, &path).await["live"].take();
        assert_eq!((&live["gifts"], &live["gift_coins"]), (&json!(24), &json!(107)));
        assert_eq!(live["gift_coins_difference"], Value::Null);
        assert_eq!(live["top_senders"], json!([{"account": "bob", "gifts": 24, "coins": 107}]));
        let destroy = format!(
            r#"{{"CallbackCommand":"Live.CallbackAfterDestroyRoom","RoomId":"show","Statistic":{{"TotalGiftsSent":24,"TotalGiftCoins":100}},"EventTime":{}}}"#,
            T + 60_000
        );
        server.post_body("Live.CallbackAfterDestroyRoom", destroy).await;
        settled(&database).await;
        let live = ask(&server, &path).await["live"].take();
        assert_eq!((&live["total_gift_coins"], &live["gift_coins"]), (&json!(100), &json!(107)));
        assert_eq!(live["gift_coins_difference"], json!(-7));
        let listed = ask(&server, "/live-sessions").await;
        assert_eq!(listed["items"][0]["live"]["gift_coins_difference"], json!(-7), "{listed}");
        let (_, page) = server.get_ops(&format!("/room-sessions/{APP}/show/{T}")).await;
        for row in [
            r#"<th scope="row">Coins</th><td class="num">100</td><td class="num">107</td><td class="num">−7</td>"#,
            r#"<th scope="row">Gifts</th><td class="num">24</td><td class="num">24</td><td class="num">none</td>"#,
            // Count, each, in all.
            r#"<td class="num">10</td><td class="num">5</td><td class="num">50</td>"#,
        ] {
            assert!(page.contains(row), "{row} is not in\n{page}");
        }
        server.stop().await;
        let url = database.url.clone();
        let told = tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().unwrap();
            done(folder.path(), &["room", "show", "--store", &url])
        });
        let told = told.await.unwrap();
        assert!(told.contains("differs   -7 coins by the vendor's statistic"), "{told}");
    }

    async fn amounts_as_large_as_they_can_be_stop_nobody(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.upkeep(NOW).await.unwrap();
        let events = enlarged();
        assert!(events.len() > 500, "{}", events.len());
        for part in events.chunks(100) {
            let changes: Vec<_> = part.iter().map(changes).collect();
            let mut entries: Vec<EventInsert> =
                part.iter().zip(&changes).map(|(event, changes)| EventInsert::copied(event, changes)).collect();
            entries.sort_by_key(|entry| entry.event.id);
            store.insert(&entries).await.unwrap();
        }
        // What so many events would be summed up to.
        let at = if database.is_postgres() { format!("timestamptz 'epoch' + {T} * interval '1 millisecond'") } else { T.to_string() };
        let most = i64::MAX;
        let count = format!(
            "insert into new_event_counts (sdk_app_id, at, command, result, family, events, lag_ms, lag_ms_max)
             values ({APP}, {at}, 'Call.X', '', 'call', {most}, {most}, {most});"
        );
        database.execute(&count.repeat(3)).await;
        store.close().await;
        let server = Server::start(&database).await;
        settled(&database).await;
        let added = || async { database.count("select count(*) from new_event_counts").await == 0 };
        eventually("counts are added up", added).await;
        database.execute(&count).await;
        eventually("counts are added up once more", added).await;
        let summed = format!("select count(*) from summed_event_counts where events = {most} and lag_ms = {most}");
        assert_eq!(database.count(&summed).await, 2);
        // Another room is settled as ever.
        let room = format!(
            r#"{{"CallbackCommand":"Room.CallbackAfterCreateRoom","RoomInfo":{{"RoomId":"another"}},"EventTime":{T}}}"#
        );
        server.post_body("Room.CallbackAfterCreateRoom", room).await;
        settled(&database).await;
        assert_eq!(database.count("select count(*) from room_sessions where room_id = 'another'").await, 1);
        assert_eq!(database.count("select count(*) from dead_letter_events").await, 0);
        for path in ["/statistics", "/statistics?by=command&step=day", "/room-sessions", "/live-sessions", "/calls"] {
            ask(&server, path).await;
        }
        for column in ["max_members", "max_seats"] {
            let bounded = format!("select count(*) from room_changes where {column} > {AMOUNT_MAX}");
            assert_eq!(database.count(&bounded).await, 0);
        }
        assert!(database.count("select count(*) from gifts where coins = 9007199254740991").await > 0);
        // All of one gift's coins, so often as its count says, are as many as there can be.
        assert!(database.count(&format!("select count(*) from live_sessions where gift_coins = {most}")).await > 0);
        server.stop().await;
    }

    async fn made_up_commands_and_results_are_counted_together(database: Database) {
        let server = Server::start(&database).await;
        for number in 0..40 {
            for family in ["Group", "Live", "Nobody"] {
                let command = format!("{family}.MadeUp{number}");
                let body = format!(r#"{{"CallbackCommand":"{command}","EventTime":{T}}}"#);
                server.post_body(&command, body).await;
            }
            let end = format!(
                r#"{{"CallbackCommand":"Call.CallbackAfterEndCall","EventTime":{T},"CallRecord":{{"CallId":"c{number}","CallResult":"MadeUp{number}"}}}}"#
            );
            server.post_body("Call.CallbackAfterEndCall", end).await;
        }
        let counted = "select command || ' ' || result || ' ' || family || ' ' || cast(sum(events) as text) from event_counts
                       where width_s = 60 group by command, result, family order by command";
        let mut found = database.texts(counted).await;
        found.sort();
        assert_eq!(found, [
            "Call.CallbackAfterEndCall other call 40", "group.*  group 40", "live.*  live 40", "unknown  unknown 40",
        ]);
        // The events themselves have every name.
        assert_eq!(database.count("select count(distinct command) from events").await, 121);
        let listed = ask(&server, "/events?command=Group.MadeUp7").await;
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        let by_command = ask(&server, "/statistics?by=command&step=day").await;
        assert_eq!(by_command["items"].as_array().unwrap().len(), 4, "{by_command}");
        server.stop().await;
    }
}
