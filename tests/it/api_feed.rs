//! Events in the order of storing, over `/api/v1/events?order=stored`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{DESTROY_ROOM, NOW, Server, destroy_room, on_both_stores};

async fn ask(server: &Server, query: &str) -> (u16, Value) {
    let (status, text) = server.get_ops(&format!("/api/v1/events?order=stored{query}")).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{query}: {text}")))
}

async fn page(server: &Server, query: &str) -> (Vec<String>, String) {
    let (status, page) = ask(server, query).await;
    assert_eq!(status, 200, "{query}: {page}");
    let room = |item: &Value| item["room_id"].as_str().unwrap().to_owned();
    let items = page["items"].as_array().unwrap();
    let positions: Vec<i64> = items.iter().map(|item| item["position"].as_i64().unwrap()).collect();
    assert!(positions.is_sorted(), "{positions:?}");
    (items.iter().map(room).collect(), page["next"].as_str().unwrap().to_owned())
}

async fn post(server: &Server, numbers: std::ops::Range<usize>) -> Vec<String> {
    for number in numbers.clone() {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    numbers.map(|number| format!("room-{number}")).collect()
}

on_both_stores! {
    async fn a_client_that_polls_misses_no_event(database: Database) {
        let server = Server::start(&database).await;
        let (_, mut after) = page(&server, "&after=now").await;
        let begin = after.clone();
        let posted = async {
            let writers = (0..4).map(|writer| post(&server, writer * 100..writer * 100 + 60));
            futures_util::future::join_all(writers).await.concat()
        };
        let polled = async {
            let mut seen = Vec::new();
            while seen.len() < 240 {
                let (rooms, next) = page(&server, &format!("&limit=7&wait=5&after={after}")).await;
                assert!(!rooms.is_empty(), "{} of 240 came", seen.len());
                seen.extend(rooms);
                after = next;
            }
            seen
        };
        let (posted, seen) = tokio::join!(posted, polled);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>(), posted.iter().collect());
        assert_eq!(seen.len(), posted.len());
        // Once more, by `cursor`, from where it began; and to the end at once.
        let (mut again, mut cursor) = (Vec::new(), begin.clone());
        while again.len() < 240 {
            let (rooms, next) = page(&server, &format!("&limit=100&cursor={cursor}")).await;
            again.extend(rooms);
            cursor = next;
        }
        assert_eq!(again, seen);
        let (_, text) = server.get_ops(&format!("/api/v1/events?order=stored&format=ndjson&after={begin}")).await;
        let rooms = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(rooms.map(|event| event["room_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), seen);
        server.stop().await;
    }

    async fn events_are_listed_by_their_arrival(database: Database) {
        let server = Server::start(&database).await;
        let ask = async |query: &str| {
            let (status, text) = server.get_ops(&format!("/api/v1/events?order=arrived{query}")).await;
            assert_eq!(status, 200, "{query}: {text}");
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let room = |item: &Value| item["room_id"].as_str().unwrap().to_owned();
        for number in 0..5 {
            // The later they arrive, the longer ago they happened.
            post(&server, number..number + 1).await;
            server.clock.set(NOW.plus(Duration::from_secs(number as u64 + 1)));
        }
        let (mut rooms, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ask(&format!("&limit=2&payload=true{cursor}")).await;
            rooms.extend(page["items"].as_array().unwrap().iter().map(room));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(rooms, ["room-0", "room-1", "room-2", "room-3", "room-4"]);
        let late = ask(&format!("&received_since={}", NOW.plus(Duration::from_secs(3)))).await;
        assert_eq!(late["items"].as_array().unwrap().iter().map(room).collect::<Vec<_>>(), ["room-3", "room-4"]);
        for wrong in ["order=arrived&after=now", "order=stored&received_since=1h", "received_since=1h"] {
            let (status, text) = server.get_ops(&format!("/api/v1/events?{wrong}")).await;
            assert!(status == 400 && text.contains("or omit it"), "{wrong}: {text}");
        }
        server.stop().await;
    }

    async fn filters_do_not_hide_where_to_go_on(database: Database) {
        let server = Server::start(&database).await;
        post(&server, 0..20).await;
        database.numbered().await;
        assert_eq!(page(&server, "&room=room-7&user=u7&text=room").await.0, ["room-7"]);
        let (none, next) = page(&server, "&room=nowhere").await;
        assert_eq!((none.len(), page(&server, &format!("&after={next}")).await.0.len()), (0, 0));
        // Fewer than there are: the next page begins after the last one given.
        let (first, next) = page(&server, "&family=room&limit=2").await;
        let (second, _) = page(&server, &format!("&family=room&limit=18&after={next}")).await;
        let all: BTreeSet<String> = first.into_iter().chain(second).collect();
        assert_eq!(all.len(), 20);
        server.stop().await;
    }

    async fn a_wait_ends_with_an_event_or_in_time(database: Database) {
        let server = Server::start(&database).await;
        post(&server, 0..1).await;
        database.numbered().await;
        let (_, after) = page(&server, "&after=now").await;
        let begun = Instant::now();
        assert_eq!(page(&server, &format!("&wait=1&after={after}")).await, (Vec::new(), after.clone()));
        assert!(begun.elapsed() >= Duration::from_secs(1));
        let query = format!("&room=room-2&wait=30&after={after}");
        let ((rooms, _), _) = tokio::join!(page(&server, &query), post(&server, 1..4));
        assert_eq!(rooms, ["room-2"]);
        server.stop().await;
    }

    async fn a_trimmed_position_is_answered_with_the_oldest(database: Database) {
        let server = Server::start(&database).await;
        for number in 0..3 {
            post(&server, number..number + 1).await;
            database.numbered().await;
        }
        let (_, begin) = page(&server, "&limit=1").await;
        database.execute("delete from feed where position < (select max(position) from feed)").await;
        for query in [format!("&after={begin}"), "&after=0".into(), "&after=999999999".into(), "&after=0&format=csv".into()] {
            let (status, problem) = ask(&server, &query).await;
            assert_eq!(status, 410, "{query}: {problem}");
            let oldest = problem["position"].as_i64().unwrap();
            assert_eq!(page(&server, &format!("&after={oldest}")).await.0, ["room-2"]);
        }
        assert_eq!(page(&server, "").await.0, ["room-2"], "without a position it begins with the oldest");
        server.stop().await;
    }
}
