//! Forwarding: stored events reach destinations, at least once and in order, whatever happens in between.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use trtc_callbacks::settings::{Settings, Sources};
use trtc_callbacks::store::{ForwardingConnection, RetryOf};

use crate::forward_receiver::{Received, Receiver, SECRET};
use crate::process::{Serving, done, program};
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, OK, Server, destroy_room, eventually, on_both_stores,
    settings,
};

/// One destination, `default`.
fn forwarding(database: &Database, receiver: &Receiver) -> Settings {
    let changes = [("TRTC_FORWARD_URL", receiver.url.as_str()), ("TRTC_FORWARD_SECRET", SECRET)];
    settings(database, &changes)
}

/// A destination as a file has it.
pub(crate) fn destination(name: &str, url: &str, more: &str) -> String {
    format!("[[forward]]\nname = '{name}'\nurl = '{url}'\nsecrets = ['{SECRET}']\n{more}\n")
}

pub(crate) fn with(database: &Database, toml: &str) -> Settings {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), toml).unwrap();
    let loaded = Settings::load(&Sources { file: Some(file.path().into()), ..Sources::default() });
    let mut all = settings(database, &[]);
    all.forward = loaded.unwrap().forward;
    all
}

pub(crate) async fn post(server: &Server, numbers: std::ops::Range<usize>) {
    for number in numbers {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
}

/// Waits until somebody forwards to the destination, so that what is stored from now on is for it.
pub(crate) async fn known(database: &Database, name: &str) {
    let sql =
        format!("select count(*) from destinations where name = '{name}' and holder is not null");
    eventually("the destination is known", || async { database.count(&sql).await == 1 }).await;
}

/// Waits until a destination is in this state.
pub(crate) async fn in_state(database: &Database, name: &str, state: &str) {
    let sql =
        format!("select count(*) from destinations where name = '{name}' and state = '{state}'");
    eventually(state, || async { database.count(&sql).await == 1 }).await;
}

/// Waits until the server knows that a destination is paused.
pub(crate) async fn paused(server: &Server, name: &str) {
    let state = format!("trtc_forward_state{{destination=\"{name}\"}}");
    eventually("paused", || async { server.figures().await.value(&state) == 2 }).await;
}

pub(crate) async fn exceptions(database: &Database, state: &str) -> i64 {
    let sql = format!("select count(*) from delivery_exceptions where state = '{state}'");
    database.count(&sql).await
}

async fn control(database: &Database) -> ForwardingConnection {
    ForwardingConnection::open(&settings(database, &[]).store_options()).await.unwrap()
}

/// Lets a failing destination be tried at once: after a long outage its next probe may be a minute away.
pub(crate) async fn resume(database: &Database, name: &str) {
    let mut control = control(database).await;
    assert!(control.resume(name).await.unwrap());
    control.close().await;
}

fn ids(received: &[Received]) -> Vec<String> {
    received.iter().map(Received::id).collect()
}

fn distinct(received: &[Received]) -> HashSet<String> {
    ids(received).into_iter().collect()
}

fn position(one: &Received) -> i64 {
    one.body["data"]["position"].as_i64().unwrap()
}

fn room(one: &Received) -> &str {
    one.body["data"]["room_id"].as_str().unwrap()
}

async fn stored_ids(database: &Database) -> HashSet<String> {
    let sql = if database.is_postgres() {
        "select id::text from events"
    } else {
        "select id from events"
    };
    database.texts(sql).await.into_iter().collect()
}

/// Many events of few rooms, at the same time.
pub(crate) async fn post_rooms(server: &Server, rooms: usize, each: usize) {
    let one = |number: usize| {
        let room = number % rooms;
        let time = NOW.0 - 1000 - i64::try_from(number).unwrap();
        let body = format!(
            r#"{{"CallbackCommand":"{DESTROY_ROOM}","Operator_Account":"u","RoomId":"r{room}","EventTime":{time}}}"#
        );
        server.post_body(DESTROY_ROOM, body)
    };
    futures_util::future::join_all((0..rooms * each).map(one)).await;
}

on_both_stores! {
    async fn each_event_is_sent_once_with_its_signature(database: Database) {
        let receiver = Receiver::start().await;
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        known(&database, "default").await;
        post(&server, 0..40).await;
        let taken = receiver.took(40).await;
        let stored = stored_ids(&database).await;
        assert_eq!(ids(&taken).into_iter().collect::<HashSet<_>>(), stored);
        for one in &taken {
            assert!(one.is_signed(SECRET), "{one:?}");
            assert_eq!(one.header("webhook-id"), one.id());
            assert_eq!(one.header("webhook-timestamp"), NOW.as_secs().to_string());
            assert_eq!(one.header("trtc-attempt"), "1");
            assert_eq!(one.header("trtc-destination"), "default");
            assert_eq!(one.body["type"], DESTROY_ROOM);
            assert_eq!(one.body["data"]["app"].to_string(), APP);
        }
        server.stop().await;
        assert_eq!(receiver.received().len(), 40, "none twice");
    }

    async fn a_restart_goes_on_at_the_cursor(database: Database) {
        let receiver = Receiver::start().await;
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        known(&database, "default").await;
        post(&server, 0..10).await;
        receiver.took(10).await;
        server.stop().await;
        let without = Server::start(&database).await;
        post(&without, 10..20).await;
        without.stop().await;
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        let taken = receiver.took(20).await;
        assert_eq!(ids(&taken).into_iter().collect::<HashSet<_>>().len(), 20);
        server.stop().await;
        assert_eq!(receiver.received().len(), 20, "none twice");
    }

    async fn events_of_one_room_come_one_after_the_other(database: Database) {
        let receiver = Receiver::start().await;
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        known(&database, "default").await;
        post_rooms(&server, 5, 30).await;
        let taken = receiver.took(150).await;
        for number in 0..5 {
            let of_room = taken.iter().filter(|one| room(one) == format!("r{number}"));
            let positions: Vec<i64> = of_room.map(position).collect();
            assert!(positions.len() == 30 && positions.is_sorted(), "{positions:?}");
        }
        assert_eq!(receiver.overlaps(), 0, "two of one room at once");
        server.stop().await;
    }

    async fn an_outage_uses_up_no_attempt_and_keeps_the_order(database: Database) {
        let receiver = Receiver::start().await;
        let is_down = Arc::new(AtomicBool::new(true));
        let down = is_down.clone();
        receiver.answer(move |_| if down.load(Ordering::Relaxed) { 500 } else { 200 });
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        known(&database, "default").await;
        post_rooms(&server, 4, 15).await;
        in_state(&database, "default", "failing").await;
        is_down.store(false, Ordering::Relaxed);
        let taken = receiver.took(60).await;
        in_state(&database, "default", "running").await;
        assert_eq!(distinct(&taken).len(), 60);
        for number in 0..4 {
            let of_room = taken.iter().filter(|one| room(one) == format!("r{number}"));
            assert!(of_room.map(position).is_sorted(), "room {number}");
        }
        let used = "select count(*) from delivery_exceptions where attempts > 0";
        assert_eq!(database.count(used).await, 0);
        server.stop().await;
    }

    async fn a_poisonous_event_ends_as_a_dead_letter(database: Database) {
        let receiver = Receiver::start().await;
        receiver.answer(|one| if one.text.contains("\"room-3\"") { 400 } else { 200 });
        let more = "retry_schedule_s = [1, 1]\norder_wait_s = 0";
        let server = Server::start_with(with(&database, &destination("billing", &receiver.url, more))).await;
        known(&database, "billing").await;
        post(&server, 0..10).await;
        eventually("it is given up", || async { exceptions(&database, "dead").await == 1 }).await;
        let tries: Vec<_> = receiver.received().into_iter().filter(|one| one.status == 400).collect();
        assert_eq!(tries.iter().map(|one| one.header("trtc-attempt")).collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(distinct(&tries).len(), 1);
        assert_eq!(distinct(&receiver.took(9).await).len(), 9);
        let row = "select last_status || ' ' || attempts || ' ' || last_error from delivery_exceptions";
        assert_eq!(database.texts(row).await, ["400 3 answered 400: an answer"]);
        in_state(&database, "billing", "running").await;
        // Somebody mended the receiver.
        receiver.answer(|_| 200);
        let mut control = control(&database).await;
        assert_eq!(control.retry("billing", RetryOf::Dead { since: None }).await.unwrap(), 1);
        control.close().await;
        receiver.took(10).await;
        eventually("no row is left", || async { database.count("select count(*) from delivery_exceptions").await == 0 }).await;
        for (result, count) in [("delivered", 10), ("dead", 1), ("gone", 0)] {
            let series = format!("trtc_forward_events_total{{destination=\"billing\",result=\"{result}\"}}");
            server.shows(&series, count).await;
        }
        server.stop().await;
    }

    async fn a_410_pauses_until_somebody_resumes_it(database: Database) {
        let receiver = Receiver::start().await;
        receiver.answer(|_| 410);
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        known(&database, "default").await;
        post(&server, 0..3).await;
        in_state(&database, "default", "paused").await;
        assert_eq!(database.texts("select reason from destinations").await, ["gone"]);
        let before = receiver.received().len();
        receiver.answer(|_| 200);
        post(&server, 3..5).await;
        assert_eq!(receiver.received().len(), before, "nothing is sent meanwhile");
        let mut control = control(&database).await;
        assert!(control.resume("default").await.unwrap() && !control.resume("nobody").await.unwrap());
        assert_eq!(distinct(&receiver.took(5).await).len(), 5);
        in_state(&database, "default", "running").await;
        // And by hand, while it runs: it is noticed within a second or so.
        let asked = Instant::now();
        assert!(control.pause("default").await.unwrap());
        paused(&server, "default").await;
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        post(&server, 5..8).await;
        assert!(control.resume("default").await.unwrap());
        assert_eq!(distinct(&receiver.took(8).await).len(), 8);
        control.close().await;
        server.stop().await;
    }

    async fn a_destination_gets_what_its_filter_says(database: Database) {
        let (all, some) = (Receiver::start().await, Receiver::start().await);
        let toml = destination("all", &all.url, "") + &destination("some", &some.url, "rooms = ['room-1', 'room-2*']");
        let server = Server::start_with(with(&database, &toml)).await;
        known(&database, "all").await;
        known(&database, "some").await;
        post(&server, 0..25).await;
        all.took(25).await;
        let taken = some.took(7).await;
        let rooms: HashSet<&str> = taken.iter().map(room).collect();
        assert_eq!(rooms, HashSet::from(["room-1", "room-2", "room-20", "room-21", "room-22", "room-23", "room-24"]));
        let end = "select count(*) from destinations as one join destinations as two on one.position = two.position where one.name < two.name";
        eventually("both are at the end", || async { database.count(end).await == 1 }).await;
        server.stop().await;
        assert_eq!(some.received().len(), 7);
    }

    async fn a_dead_destination_delays_no_other(database: Database) {
        let good = Receiver::start().await;
        // Nobody listens at port 1.
        let toml = destination("dead", "http://127.0.0.1:1/hook", "") + &destination("good", &good.url, "");
        let server = Server::start_with(with(&database, &toml)).await;
        known(&database, "dead").await;
        known(&database, "good").await;
        post(&server, 0..30).await;
        good.took(30).await;
        in_state(&database, "dead", "failing").await;
        in_state(&database, "good", "running").await;
        assert_eq!(exceptions(&database, "waiting").await, 0, "an outage costs no event an attempt");
        server.stop().await;
    }

    async fn a_new_destination_starts_at_now(database: Database) {
        let server = Server::start(&database).await;
        post(&server, 0..10).await;
        server.stop().await;
        let receiver = Receiver::start().await;
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        known(&database, "default").await;
        post(&server, 10..13).await;
        let taken = receiver.took(3).await;
        assert_eq!(taken.iter().map(room).collect::<HashSet<_>>(), HashSet::from(["room-10", "room-11", "room-12"]));
        server.stop().await;
        assert_eq!(receiver.received().len(), 3);
    }

    async fn an_erased_account_is_sent_as_its_pseudonym(database: Database) {
        let receiver = Receiver::start().await;
        receiver.answer(|_| 503);
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        known(&database, "default").await;
        post(&server, 1..5).await;
        in_state(&database, "default", "failing").await;
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["erase-user", "u1", "--yes", "--store", &database.url]);
        done(folder.path(), &["erase-user", "u2", "--yes", "--delete", "--store", &database.url]);
        receiver.answer(|_| 200);
        resume(&database, "default").await;
        let taken = receiver.took(3).await;
        let operators: HashSet<&str> = taken.iter().map(|one| one.body["data"]["operator"].as_str().unwrap()).collect();
        assert!(operators.contains("u3") && operators.contains("u4") && operators.len() == 3, "{operators:?}");
        assert!(taken.iter().all(|one| !one.text.contains("\"u1\"") && !one.text.contains("\"u2\"")));
        let gone = "trtc_forward_events_total{destination=\"default\",result=\"gone\"}";
        eventually("the deleted one is gone", || async { server.figures().await.value(gone) == 1 }).await;
        server.stop().await;
    }

    async fn a_backlog_beyond_its_bound_is_skipped_and_dated(database: Database) {
        let receiver = Receiver::start().await;
        let server = Server::start_with(forwarding(&database, &receiver)).await;
        known(&database, "default").await;
        let mut control = control(&database).await;
        assert!(control.pause("default").await.unwrap());
        paused(&server, "default").await;
        // Each in a row of its own.
        let unnumbered = if database.is_postgres() { "select count(*) from feed_new" } else { "select 0" };
        for number in 0..30 {
            post(&server, number..number + 1).await;
            eventually("it has a position", || async { database.count(unnumbered).await == 0 }).await;
        }
        // What the server does twice a minute, with a bound that a test reaches.
        let now = if database.is_postgres() { "now()" } else { "0" };
        database.execute(&format!("insert into derived_progress (id, position, lease_until) values (1, 511, {now})")).await;
        while control.skip_excess(10).await.unwrap() {}
        let derived = "select count(*) from derived_progress where position = (select position from destinations)";
        assert_eq!(database.count(derived).await, 1, "what derived events are made of is bounded, too");
        let row = control.destination("default").await.unwrap().unwrap();
        let skipped = row.skipped.events;
        assert!((18..=20).contains(&skipped), "{skipped}");
        let (from, until) = row.skipped.span.unwrap();
        assert!(from <= until && row.now.since(from) < Duration::from_mins(10), "{row:?}");
        let backlog = control.backlog("default").await.unwrap();
        assert_eq!((backlog.events, backlog.skipped), (30 - skipped, skipped));
        assert!(control.resume("default").await.unwrap());
        control.close().await;
        let left = usize::try_from(30 - skipped).unwrap();
        // Those that the server had read before are sent all the same.
        eventually("the rest comes", || async { distinct(&receiver.taken()).len() >= left }).await;
        server.stop().await;
    }

    async fn exceptions_of_expired_events_are_deleted(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        let at = if database.is_postgres() { "now()" } else { "0" };
        let row = |id: &str| format!("insert into delivery_exceptions (destination, event_id, position, attempts, next_at, state, changed_at)
            values ('a', '{id}', 1, 1, {at}, 'dead', {at})");
        // An id begins with the time of its event: one from before NOW, and one from then.
        let time = format!("{:012x}", NOW.0);
        let (before, then) = (format!("{:012x}", NOW.0 - 1), time);
        for time in [&before, &then] {
            database.execute(&row(&format!("{}-{}-8fff-8fff-ffffffffffff", &time[..8], &time[8..]))).await;
        }
        let _ = store.delete_expired(NOW, 100).await.unwrap();
        let left = if database.is_postgres() { "select event_id::text from delivery_exceptions" } else { "select event_id from delivery_exceptions" };
        let left = database.texts(left).await;
        assert!(left.len() == 1 && left[0].replace('-', "").starts_with(&then), "{left:?}");
        store.close().await;
    }

    async fn a_killed_server_loses_no_event(database: Database) {
        let receiver = Receiver::start().await;
        let folder = tempfile::tempdir().unwrap();
        let start = || {
            let mut command = program(folder.path());
            command.env("TRTC_FORWARD_URL", &receiver.url).env("TRTC_FORWARD_SECRET", SECRET);
            command.env("TRTC_STORE__URL", &database.url);
            Serving::start_as(command, &[]).with_store()
        };
        let mut serving = start();
        known(&database, "default").await;
        let client = trtc_callbacks::tencent_api::http_client().build().unwrap();
        let mut sent = 0;
        for round in 0..3 {
            for number in 0..60 {
                let url = format!("{}/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&contenttype=json", serving.url);
                let answer = client.post(url).body(destroy_room(round * 1000 + number)).send().await.unwrap();
                assert_eq!(answer.text().await.unwrap(), OK);
                sent += 1;
            }
            // In the middle of it: dropping it kills it.
            drop(serving);
            serving = start();
        }
        eventually("all came", || async { distinct(&receiver.taken()).len() >= sent }).await;
        assert_eq!(distinct(&receiver.taken()), stored_ids(&database).await);
        let again = receiver.taken().len() - sent;
        assert!(again <= 3 * 60, "{again} came twice");
        serving.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_forwards_and_the_other_takes_over() {
    let database = Database::postgres().await;
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let start = |spool: &str| {
        let mut command = program(folder.path());
        command.env("TRTC_FORWARD_URL", &receiver.url).env("TRTC_FORWARD_SECRET", SECRET);
        command.env("TRTC_STORE__URL", &database.url).env("TRTC_SPOOL__PATH", spool);
        Serving::start_as(command, &[]).with_store()
    };
    let first = start("one.db");
    known(&database, "default").await;
    let second = start("two.db");
    let client = trtc_callbacks::tencent_api::http_client().build().unwrap();
    let post = async |server: &Serving, numbers: std::ops::Range<usize>| {
        for number in numbers {
            let url = format!(
                "{}/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&contenttype=json",
                server.url
            );
            let answer = client.post(url).body(destroy_room(number)).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), OK);
        }
    };
    post(&second, 0..40).await;
    receiver.took(40).await;
    let epochs = database.count("select epoch from destinations").await;
    assert_eq!((receiver.received().len(), epochs), (40, 1), "one server sent");
    drop(first);
    let killed = Instant::now();
    post(&second, 40..41).await;
    receiver.took(41).await;
    // A lease lasts 2 s; the rest is for a busy machine.
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    assert_eq!(database.count("select epoch from destinations").await, 2);
    second.stop();
    let released = "select count(*) from destinations where holder is null";
    assert_eq!(database.count(released).await, 1, "a server that ends gives its lease back");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_destination_is_logged() {
    let receiver = Receiver::start().await;
    receiver.answer(|_| 401);
    let folder = tempfile::tempdir().unwrap();
    let toml = format!(
        "[log]\nfilter = 'trtc_callbacks=trace,forward=trace'\n{}",
        destination(
            "billing",
            &format!("{}/s3cretpath?key=s3cretquery", receiver.url),
            "headers = { authorization = 'Bearer s3cretheader' }"
        )
    );
    std::fs::write(folder.path().join("my.toml"), toml).unwrap();
    let serving = Serving::start_as(program(folder.path()), &["--config", "my.toml"]);
    let client = trtc_callbacks::tencent_api::http_client().build().unwrap();
    let log = serving
        .log_until(
            |line| line.contains("the destination fails"),
            async |server| {
                // Until it is known, what is stored is not for it.
                let url = format!(
                    "{}/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&contenttype=json",
                    server.url
                );
                for number in 0..20 {
                    client.post(&url).body(destroy_room(number)).send().await.unwrap();
                }
            },
        )
        .await;
    assert!(
        receiver.received().iter().all(|one| one.header("authorization") == "Bearer s3cretheader")
    );
    for secret in ["s3cret", "C2FVsBQIhrscChlQIMV", "room-1", "an answer"] {
        assert!(!log.contains(secret), "{secret} stands in {log}");
    }
}
