//! `forward replay` and `forward test`: stored events once more, and a sample.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::settings::Settings;
use trtc_callbacks::store::{ForwardingConnection, Replay};

use crate::forward_receiver::{Received, Receiver, SECRET};
use crate::forwarding::{destination, exceptions, in_state, known, paused, post, with};
use crate::process::{program, run};
use crate::support::{APP, Database, Server, eventually, on_both_stores, settings};

/// Before everything that a server with the tests' clock receives.
const SINCE: [&str; 2] = ["--since", "2026-10-31"];

/// The folder of a configuration with these destinations, where commands run.
fn folder(toml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trtc.toml"), toml).unwrap();
    folder
}

/// What a command came to: its exit code, and what it printed and said.
struct Done {
    code: i32,
    printed: String,
    said: String,
}

/// Runs `forward …` while the test's own server and receiver go on.
async fn forward(folder: &Path, database: Option<&Database>, arguments: &[&str]) -> Done {
    let place = ["--config", "trtc.toml"];
    let store = database.map(|database| ["--store", database.url.as_str()]);
    let store = store.as_ref().map_or(&[][..], |store| &store[..]);
    let all = [&["forward"], arguments, &place, store].concat();
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let folder = folder.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        run(&folder, &all.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let output = ran.await.unwrap();
    Done {
        code: output.status.code().unwrap(),
        printed: String::from_utf8(output.stdout).unwrap(),
        said: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn replay(folder: &Path, database: &Database, more: &[&str]) -> Done {
    forward(folder, Some(database), &[&["replay", "billing"], &SINCE[..], more].concat()).await
}

async fn status(folder: &Path, database: &Database) -> Value {
    let done = forward(folder, Some(database), &["status", "billing", "--json"]).await;
    serde_json::from_str(&done.printed).unwrap()
}

/// Waits until the destination has no backlog that is written down.
async fn caught_up(database: &Database) {
    let sql = "select count(*) from destinations
        where position < (select coalesce(max(position), 0) from feed) * 512";
    eventually("the cursor is written", || async { database.count(sql).await == 0 }).await;
    let events = if database.is_postgres() {
        "select max(position) * 512 + max(cardinality(ids)) - 1 from feed
             where position = (select max(position) from feed)"
    } else {
        "select max(position) * 512 + max(length(ids) / 16) - 1 from feed
             where position = (select max(position) from feed)"
    };
    let end = database.count(events).await;
    let sql = format!("select count(*) from destinations where position < {end}");
    eventually("the cursor is at the end", || async { database.count(&sql).await == 0 }).await;
}

fn again(receiver: &Receiver) -> Vec<Received> {
    receiver.taken().into_iter().filter(|one| one.header("trtc-replay") == "1").collect()
}

fn distinct(received: &[Received]) -> HashSet<String> {
    received.iter().map(Received::id).collect()
}

/// Stores events without a server, received since the tests' day began. Their ids begin with their time.
async fn insert(database: &Database, count: u32) {
    let columns = "insert into events (id, sdk_app_id, family, command, event_time, received_at, room_id, payload)";
    let event = format!("{APP}, 'room', 'Room.CallbackAfterDestroyRoom', at, at, 'r', '{{}}'");
    let sql = if database.is_postgres() {
        format!(
            "{columns} select (lpad(to_hex(ms), 12, '0') || '80008000' || lpad(to_hex(n), 12, '0'))::uuid, {event} from (
                 select n, ms, timestamptz 'epoch' + ms * interval '1 millisecond' as at from (
                     select n, 1793491200000 + n / 7 as ms from generate_series(1, {count}) as n) as numbers) as listed"
        )
    } else {
        format!(
            "with recursive numbers (n, at) as (
                 select 1, 1793491200000 union all select n + 1, 1793491200000 + (n + 1) / 7 from numbers where n < {count})
             {columns} select printf('%08x-%04x-8000-8000-%012x', at >> 16, at & 65535, n), {event} from numbers"
        )
    };
    database.execute(&sql).await;
}

async fn make_destination(database: &Database) {
    let store = database.store().await;
    store.migrate().await.unwrap();
    store.close().await;
    let options = settings(database, &[]).store_options();
    let mut control = ForwardingConnection::open(&options).await.unwrap();
    control.ensure("billing", "a").await.unwrap();
    control.close().await;
}

fn serving(database: &Database, receiver: &Receiver, more: &str) -> (Settings, String) {
    let toml = destination("billing", &receiver.url, more);
    (with(database, &toml), toml)
}

on_both_stores! {
    async fn stored_events_are_sent_again_with_their_ids(database: Database) {
        let receiver = Receiver::start().await;
        let (settings, toml) = serving(&database, &receiver, "rooms = ['room-1*', 'room-2']");
        let folder = folder(&toml);
        let server = Server::start_with(settings).await;
        known(&database, "billing").await;
        post(&server, 0..15).await;
        receiver.took(7).await;
        caught_up(&database).await;
        let counted = replay(folder.path(), &database, &["--dry-run", "--json"]).await;
        let counted: Value = serde_json::from_str(&counted.printed).unwrap();
        assert_eq!((&counted["read"], &counted["queued"], &counted["filtered"]), (&15.into(), &7.into(), &8.into()));
        let others = replay(folder.path(), &database, &["--dry-run", "--command", "Room.CallbackAfterCreate*"]).await;
        assert!(others.printed.starts_with("0 events would be sent again to billing; of 15 events received then, 15 have another command"), "{}", others.printed);
        assert_eq!(database.count("select count(*) from replays").await, 0, "nothing was changed");
        let done = replay(folder.path(), &database, &[]).await;
        assert!(done.said.contains("done: 7 events went to billing again; of 15 events"), "{}", done.said);
        let first: Vec<Received> = receiver.taken().into_iter().filter(|one| one.header("trtc-replay").is_empty()).collect();
        let again = again(&receiver);
        assert_eq!((first.len(), again.len()), (7, 7));
        assert_eq!(distinct(&first), distinct(&again));
        for one in &again {
            assert!(one.is_signed(SECRET) && one.body["data"]["position"].is_null(), "{one:?}");
            let before = first.iter().find(|first| first.id() == one.id()).unwrap();
            assert_eq!(one.body["data"]["payload"], before.body["data"]["payload"]);
        }
        let rows = "select (select count(*) from delivery_exceptions) + (select count(*) from replays)";
        eventually("no row is left", || async { database.count(rows).await == 0 }).await;
        // A new event of the same room goes on.
        post(&server, 100..101).await;
        receiver.took(15).await;
        server.stop().await;
    }

    async fn a_stopped_replay_goes_on_and_few_events_wait(database: Database) {
        make_destination(&database).await;
        insert(&database, 5_700).await;
        let receiver = Receiver::start().await;
        let folder = folder(&destination("billing", &receiver.url, ""));
        // Nobody forwards.
        let stopped = replay(folder.path(), &database, &[]).await;
        assert_eq!(stopped.code, 1, "{}", stopped.said);
        assert!(stopped.said.contains("no server forwards to billing: 5000 events wait, and there are more"), "{}", stopped.said);
        assert_eq!(exceptions(&database, "replay").await, 5_000);
        let shown = status(folder.path(), &database).await;
        assert_eq!((&shown["replays"], &shown["replay"]), (&5000.into(), &"--since 2026-10-31".into()));
        let other = replay(folder.path(), &database, &["--until", "2026-11-02"]).await;
        assert_eq!(other.code, 1);
        assert!(other.said.contains("another replay of billing has not ended: `forward replay billing --since 2026-10-31`"), "{}", other.said);
        // As if they had been sent.
        database.execute("delete from delivery_exceptions").await;
        let rest = replay(folder.path(), &database, &[]).await;
        assert_eq!(rest.code, 0, "{}", rest.said);
        assert!(rest.said.contains("going on with the replay of 2026-10-31") && rest.said.contains("700 events wait: nothing is sent until a server forwards"), "{}", rest.said);
        assert_eq!(exceptions(&database, "replay").await, 700, "each once");
        assert_eq!(database.count("select queued from replays").await, 5_700);
        database.execute("delete from delivery_exceptions where event_id in (select event_id from delivery_exceptions limit 650)").await;
        let server = Server::start_with(with(&database, &destination("billing", &receiver.url, "rate_max = 400"))).await;
        let ended = replay(folder.path(), &database, &[]).await;
        assert!(ended.said.contains("done: 5700 events went to billing again"), "{}", ended.said);
        assert_eq!(distinct(&again(&receiver)).len(), 50);
        server.stop().await;
    }

    async fn a_failing_replay_stops_no_live_event(database: Database) {
        let receiver = Receiver::start().await;
        let (settings, toml) = serving(&database, &receiver, "");
        let folder = folder(&toml);
        let server = Server::start_with(settings).await;
        known(&database, "billing").await;
        post(&server, 0..8).await;
        receiver.took(8).await;
        caught_up(&database).await;
        receiver.answer(|one| if one.header("trtc-replay") == "1" { 503 } else { 200 });
        let running = replay(folder.path(), &database, &["--json"]);
        let meanwhile = async {
            eventually("replays fail", || async { receiver.received().iter().any(|one| one.status == 503) }).await;
            post(&server, 8..20).await;
            receiver.took(20).await;
            assert_eq!(database.texts("select state from destinations").await, ["running"]);
            receiver.answer(|_| 200);
        };
        let (done, ()) = tokio::join!(running, meanwhile);
        let last: Value = serde_json::from_str(done.printed.lines().last().unwrap()).unwrap();
        assert_eq!((&last["is_done"], &last["queued"], &last["pending"]), (&true.into(), &8.into(), &0.into()));
        assert_eq!(distinct(&again(&receiver)).len(), 8);
        server.stop().await;
    }

    async fn a_killed_replay_goes_on_and_sends_each_event_once(database: Database) {
        let receiver = Receiver::start().await;
        let (settings, toml) = serving(&database, &receiver, "");
        let folder = folder(&toml);
        let server = Server::start_with(settings).await;
        known(&database, "billing").await;
        post(&server, 0..60).await;
        receiver.took(60).await;
        caught_up(&database).await;
        let mut command = program(folder.path());
        command.args(["forward", "replay", "billing", "--rate", "10", "--config", "trtc.toml", "--store", &database.url]);
        let mut child = command.args(SINCE).stderr(Stdio::null()).spawn().unwrap();
        receiver.took(65).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(database.count("select count(*) from replays where queued < 60").await, 1, "in the middle of it");
        let done = replay(folder.path(), &database, &[]).await;
        assert!(done.said.contains("going on with the replay") && done.said.contains("done: 60 events"), "{}", done.said);
        let again = again(&receiver);
        assert_eq!((again.len(), distinct(&again).len()), (60, 60));
        server.stop().await;
    }

    async fn what_was_skipped_is_replayed_by_the_command_of_status(database: Database) {
        let receiver = Receiver::start().await;
        let (settings_of, toml) = serving(&database, &receiver, "");
        let folder = folder(&toml);
        let server = Server::start_with(settings_of).await;
        server.clock.set(Clock::system().now());
        known(&database, "billing").await;
        let options = settings(&database, &[]).store_options();
        let mut control = ForwardingConnection::open(&options).await.unwrap();
        assert!(control.pause("billing").await.unwrap());
        paused(&server, "billing").await;
        let unnumbered = if database.is_postgres() { "select count(*) from feed_new" } else { "select 0" };
        for number in 0..30 {
            post(&server, number..number + 1).await;
            eventually("it has a position", || async { database.count(unnumbered).await == 0 }).await;
        }
        while control.skip_excess(10).await.unwrap() {}
        assert!(control.resume("billing").await.unwrap());
        control.close().await;
        in_state(&database, "billing", "running").await;
        caught_up(&database).await;
        let shown = forward(folder.path(), Some(&database), &["status", "billing"]).await.said;
        assert!(shown.contains("came out of the spool needs an earlier `--since`"), "{shown}");
        let command = shown.split('`').find(|part| part.starts_with("forward replay billing")).unwrap();
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        let done = forward(folder.path(), Some(&database), &arguments).await;
        assert!(done.said.contains("done: "), "{}", done.said);
        assert_eq!(distinct(&receiver.taken()).len(), 30);
        let left = "select count(*) from destinations where skipped_from is not null or skipped_until is not null";
        assert_eq!(database.count(left).await, 0, "the span is filled");
        assert!(database.count("select skipped from destinations").await >= 18, "it is a counter");
        server.stop().await;
    }

    async fn a_replay_to_a_removed_destination_leaves_no_row(database: Database) {
        make_destination(&database).await;
        let options = settings(&database, &[]).store_options();
        let mut control = ForwardingConnection::open(&options).await.unwrap();
        let now = Clock::system().now();
        let asked = Replay::new("--since 1h".to_owned(), now, now);
        assert!(!control.begin_replay("removed", &asked).await.unwrap());
        assert_eq!(database.count("select count(*) from replays").await, 0);
        assert!(control.begin_replay("billing", &asked).await.unwrap());
        assert!(control.begin_replay("billing", &asked).await.unwrap(), "in place of the one before");
        assert_eq!(database.count("select count(*) from replays").await, 1);
        control.close().await;
    }

    async fn only_dead_letters_since_a_time_are_put_back(database: Database) {
        make_destination(&database).await;
        let folder = folder(&destination("billing", "https://billing.example.com/", ""));
        let at = if database.is_postgres() { "now() - interval '2 h'" } else { "cast(unixepoch('subsec') * 1000 as integer) - 7200000" };
        let id = "01a196fb-120b-8870-bd94-eb89a3dc61ef";
        database.execute(&format!("insert into delivery_exceptions (destination, event_id, position, attempts, next_at, state, changed_at)
            values ('billing', '{id}', 1, 1, {at}, 'dead', {at})")).await;
        for (since, count) in [("1h", 0), ("3h", 1)] {
            let done = forward(folder.path(), Some(&database), &["retry", "billing", "--dead", "--since", since]).await;
            assert!(done.said.contains(&format!("{count} events of billing are tried again now")), "{}", done.said);
        }
        assert_eq!((exceptions(&database, "dead").await, exceptions(&database, "waiting").await), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_says_what_the_destination_answers() {
    let receiver = Receiver::start().await;
    let folder = folder(&destination("billing", &receiver.url, "headers = { x-key = 'k' }"));
    let test = ["test", "billing"];
    let done = forward(folder.path(), None, &test).await;
    assert_eq!(done.code, 0, "{}", done.said);
    let origin = receiver.url.trim_end_matches("/hook");
    let address = format!("address  {}, HTTP/1.1\n", origin.trim_start_matches("http://"));
    for part in
        [&format!("to       {origin}"), &address, "status   200\n", "signed   with 1 secret\n"]
    {
        assert!(done.printed.contains(part), "{part:?}: {}", done.printed);
    }
    let [sample] = &receiver.received()[..] else { panic!("one request") };
    assert!(sample.is_signed(SECRET) && sample.body["type"] == "trtc.test", "{sample:?}");
    assert_eq!((sample.header("x-key"), sample.header("trtc-attempt")), ("k", "1"));
    receiver.answer(|_| 401);
    let refused = forward(folder.path(), None, &["test", "billing", "--json"]).await;
    assert_eq!(refused.code, 1);
    let shown: Value = serde_json::from_str(&refused.printed).unwrap();
    assert_eq!((&shown["status"], &shown["is_taken"]), (&401.into(), &false.into()));
    assert!(
        refused.said.contains("billing did not take the sample: answered 401"),
        "{}",
        refused.said
    );
    assert!(
        refused.said.contains("\nhint: an event goes on its retry schedule"),
        "{}",
        refused.said
    );
    let unknown = forward(folder.path(), None, &["test", "bilking"]).await;
    assert!(unknown.code == 1 && unknown.said.contains("hint: it has billing"), "{}", unknown.said);
    drop(receiver);
    let away = forward(folder.path(), None, &test).await;
    assert!(
        away.code == 1 && away.printed.contains("status   -\n"),
        "{}{}",
        away.printed,
        away.said
    );
    assert!(away.said.contains("no connection"), "{}", away.said);
}
