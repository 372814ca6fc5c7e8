//! Events as they arrive, over `/api/v1/events/stream`.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use protocol::{AppId, Apps, Event, Query};
use trtc_callbacks::store::Spool;

use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, on_both_stores, settings,
};

/// One who listens.
struct Listener {
    answer: reqwest::Response,
    text: String,
    /// The last `id`.
    id: String,
}

impl Listener {
    /// Returns when it is listened to: what is posted from now on is news.
    async fn open(server: &Server, query: &str, behind: Option<&str>) -> Self {
        let url = format!("{}/api/v1/events/stream{query}", server.ops_url);
        let mut request = server.client.get(url).timeout(Duration::from_mins(5));
        if let Some(behind) = behind {
            request = request.header("Last-Event-ID", behind);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut listener = Self { answer, text: String::new(), id: String::new() };
        assert!(listener.block().await.starts_with("retry: 2000\n"));
        listener
    }

    /// The next block of lines.
    async fn block(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                    id.clone_into(&mut self.id);
                }
                return block;
            }
            let chunk =
                timeout(Duration::from_secs(30), self.answer.chunk()).await.expect("nothing comes");
            let chunk = chunk.unwrap().expect("the stream ended");
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The room of the next event.
    async fn room(&mut self) -> String {
        loop {
            let block = self.block().await;
            if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) {
                let event: Value = serde_json::from_str(data).unwrap();
                return event["room_id"].as_str().map_or_else(|| block.clone(), str::to_owned);
            }
        }
    }

    async fn rooms(&mut self, count: usize) -> Vec<String> {
        let mut rooms = Vec::new();
        for _ in 0..count {
            rooms.push(self.room().await);
        }
        rooms
    }
}

async fn post(server: &Server, numbers: std::ops::Range<usize>) -> Vec<String> {
    for number in numbers.clone() {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    numbers.map(|number| format!("room-{number}")).collect()
}

/// Stores some events, the last of which is the only one that keeps its position.
async fn forget_all_but_the_last(server: &Server, database: &Database) {
    for number in 7..10 {
        post(server, number..number + 1).await;
        database.numbered().await;
    }
    database.execute("delete from feed where position < (select max(position) from feed)").await;
}

fn sorted(mut rooms: Vec<String>) -> Vec<String> {
    rooms.sort();
    rooms
}

on_both_stores! {
    async fn an_event_shows_up_with_every_listener_whose_filter_it_passes(database: Database) {
        let server = Server::start(&database).await;
        post(&server, 0..3).await;
        database.numbered().await;
        let mut all = Listener::open(&server, "", None).await;
        let mut one = Listener::open(&server, "?room=room-5&text=u5&user=u5&family=room", None).await;
        let posted = post(&server, 3..7).await;
        // What was there before is no news.
        assert_eq!(sorted(all.rooms(4).await), posted);
        assert_eq!(one.room().await, "room-5");
        // Filters are those of the list.
        let (_, list) = server.get_ops("/api/v1/events?room=room-5&text=u5&user=u5&family=room").await;
        let list: Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        server.stop().await;
    }

    async fn missed_events_are_complete_though_read_in_parts(database: Database) {
        let server = Server::start(&database).await;
        let posted: Vec<_> = (0..12)
            .map(|number| {
                let body = destroy_room(number);
                let large = format!("{{\"Padding\":\"{}\",{}", "x".repeat(200_000), &body[1..]);
                (format!("room-{number}"), large)
            })
            .collect();
        for (_, body) in &posted {
            server.post_body(DESTROY_ROOM, body.clone()).await;
        }
        // From the beginning: all is read past the tail, more than is kept at once.
        let mut listener = Listener::open(&server, "?payload=true", Some("0")).await;
        let rooms = posted.into_iter().map(|(room, _)| room).collect();
        assert_eq!(sorted(listener.rooms(12).await), sorted(rooms));
        let later = post(&server, 20..22).await;
        assert_eq!(sorted(listener.rooms(2).await), later);
        server.stop().await;
    }

    async fn a_stream_resumes_without_loss_or_duplicate(database: Database) {
        let server = Server::start(&database).await;
        let mut listener = Listener::open(&server, "", None).await;
        post(&server, 0..5).await;
        let mut seen = listener.rooms(3).await;
        let behind = listener.id.clone();
        drop(listener);
        // With nobody there, and with somebody else.
        let mut posted = post(&server, 5..8).await;
        let mut other = Listener::open(&server, "", None).await;
        posted.extend(post(&server, 8..10).await);
        other.rooms(2).await;
        let mut listener = Listener::open(&server, "", Some(&behind)).await;
        posted.extend(post(&server, 10..12).await);
        seen.extend(listener.rooms(9).await);
        let mut all: Vec<_> = (0..5).map(|number| format!("room-{number}")).collect();
        all.extend(posted);
        assert_eq!(sorted(seen), sorted(all));
        server.stop().await;
    }

    async fn a_stream_client_that_missed_too_much_is_told(database: Database) {
        let server = Server::start(&database).await;
        let mut listener = Listener::open(&server, "", None).await;
        post(&server, 0..1).await;
        listener.rooms(1).await;
        let behind = listener.id.clone();
        drop(listener);
        forget_all_but_the_last(&server, &database).await;
        let mut listener = Listener::open(&server, "", Some(&behind)).await;
        assert_eq!(listener.block().await, "event: lagged\ndata: {}\n\n");
        assert_eq!(listener.room().await, "room-9", "it goes on with the oldest that is kept");
        post(&server, 2..3).await;
        assert_eq!(listener.room().await, "room-2");
        server.stop().await;
    }

    async fn a_position_of_no_feed_is_told(database: Database) {
        let server = Server::start(&database).await;
        post(&server, 0..2).await;
        database.numbered().await;
        // As after the store was replaced by an older backup.
        let mut listener = Listener::open(&server, "", Some("5120000")).await;
        assert_eq!(listener.block().await, "event: lagged\ndata: {}\n\n");
        post(&server, 2..3).await;
        assert_eq!(listener.room().await, "room-2");
        server.stop().await;
    }

    async fn events_from_the_spool_are_in_the_stream(database: Database) {
        let server = Server::start(&database).await;
        let mut listener = Listener::open(&server, "", None).await;
        post(&server, 0..2).await;
        listener.rooms(2).await;
        let behind = listener.id.clone();
        drop(listener);
        server.stop().await;
        // Received long before the others, stored after them.
        let settings = settings(&database, &[]);
        let (spool, _) = Spool::open(&settings.spool.path, 1 << 20, Duration::ZERO, NOW).await.unwrap();
        let received = NOW.minus(Duration::from_hours(5));
        let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
        let query = format!("SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}");
        let verified = apps.verify(Query::parse(&query), received).unwrap();
        let late = [7, 8].map(|number| Event::decode(&verified, destroy_room(number).as_bytes(), received));
        spool.append(&[&late[0], &late[1]]).await.unwrap();
        spool.close().await;
        let server = Server::start_with(settings).await;
        let mut listener = Listener::open(&server, "", Some(&behind)).await;
        assert_eq!(sorted(listener.rooms(2).await), ["room-7", "room-8"]);
        server.stop().await;
    }

    async fn a_catch_up_that_is_cut_off_resumes_where_it_was(database: Database) {
        let server = Server::start(&database).await;
        let behind = Listener::open(&server, "", None).await.id;
        let at = |number: usize| NOW.plus(Duration::from_secs(30 * number as u64));
        for number in 0..6 {
            server.clock.set(at(number));
            post(&server, number..number + 1).await;
        }
        server.stop().await;
        let server = Server::start(&database).await;
        server.clock.set(at(6));
        let mut seen = Vec::new();
        let mut behind = behind;
        for _ in 0..2 {
            let mut listener = Listener::open(&server, &format!("?text=room&last_event_id={behind}"), None).await;
            // Before anything is told, it is still where it was.
            assert_eq!(listener.id, behind);
            for _ in 0..2 {
                let block = listener.block().await;
                seen.push(block.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned());
            }
            behind = listener.id;
        }
        let mut listener = Listener::open(&server, "", Some(&behind)).await;
        while !seen.last().unwrap().contains("room-5") {
            seen.push(listener.room().await);
        }
        for number in 0..6 {
            assert!(seen.iter().any(|told| told.contains(&format!("room-{number}"))), "{number}: {seen:?}");
        }
        server.stop().await;
    }

    async fn another_server_also_tells_a_client_that_missed_too_much(database: Database) {
        let server = Server::start(&database).await;
        post(&server, 0..1).await;
        database.numbered().await;
        let behind = Listener::open(&server, "", None).await.id;
        forget_all_but_the_last(&server, &database).await;
        server.stop().await;
        let server = Server::start(&database).await;
        let mut listener = Listener::open(&server, "", Some(&behind)).await;
        assert_eq!(listener.block().await, "event: lagged\ndata: {}\n\n");
        assert_eq!(listener.room().await, "room-9");
        server.stop().await;
    }

    async fn a_stream_loses_no_event_over_a_restart(database: Database) {
        let server = Server::start(&database).await;
        let mut listener = Listener::open(&server, "", None).await;
        post(&server, 0..2).await;
        listener.rooms(2).await;
        let behind = listener.id.clone();
        drop(listener);
        post(&server, 2..4).await;
        server.stop().await;
        let server = Server::start(&database).await;
        let mut listener = Listener::open(&server, "", Some(&behind)).await;
        post(&server, 4..5).await;
        assert_eq!(listener.rooms(3).await, ["room-2", "room-3", "room-4"]);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_clients_are_limited_and_closed_at_a_stop() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let mut listeners = Vec::new();
    for _ in 0..32 {
        listeners.push(Listener::open(&server, "", None).await);
    }
    let (status, text) = server.get_ops("/api/v1/events/stream").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("too many subscribers"), "{text}");
    // A place is free again when one goes.
    listeners.pop();
    let free = || async {
        let url = format!("{}/api/v1/events/stream", server.ops_url);
        let answer = server.client.get(url).timeout(Duration::from_mins(5)).send().await.unwrap();
        answer.status() == 200
    };
    eventually("a place is free", free).await;
    let stopped = async { server.stop().await };
    let ended = async {
        for mut listener in listeners {
            while timeout(Duration::from_secs(30), listener.answer.chunk())
                .await
                .unwrap()
                .is_ok_and(|chunk| chunk.is_some())
            {}
        }
    };
    tokio::join!(stopped, ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_last_event_id_is_a_problem() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let url = format!("{}/api/v1/events/stream", server.ops_url);
    for id in ["x", "-1", "0a1b2c3d-7-1793534400000"] {
        let answer = server.client.get(&url).header("Last-Event-ID", id).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{id}");
        assert!(answer.text().await.unwrap().contains("Last-Event-ID"), "{id}");
    }
    server.stop().await;
}
