//! `listen`: events reach a service on a developer's machine, whatever happens in between.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpSocket;
use trtc_callbacks::store::Spool;

use crate::forward_receiver::{Received, Receiver, SECRET};
use crate::forwarding::post;
use crate::listening::{Gate, Listening};
use crate::process::{failed, program};
use crate::spool::numbered;
use crate::support::{
    DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, on_both_stores, settings,
};

fn rooms(received: &[Received]) -> Vec<&str> {
    received.iter().map(|one| one.body["data"]["room_id"].as_str().unwrap()).collect()
}

fn room_names(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("room-{number}")).collect()
}

on_both_stores! {
    async fn events_reach_a_service_signed(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receivers = [Receiver::start().await, Receiver::start().await];
        let server = Server::start(&database).await;
        post(&server, 0..2).await;
        database.numbered().await;
        let store = ["--store", database.url.as_str()];
        let of_store = Listening::ready(folder.path(), &receivers[0].url, &store).await;
        let api = ["--from", server.ops_url.as_str()];
        let of_api = Listening::ready(folder.path(), &receivers[1].url, &api).await;
        post(&server, 2..5).await;
        // Bodies that a parsed value would change, and one that is not JSON.
        let odd = destroy_room(5).replace('}', ", \"Long\": 144115212830834855999,\n\"a\":1,\"a\":2 }");
        server.post_body(DESTROY_ROOM, odd).await;
        server.post_body(DESTROY_ROOM, "no JSON").await;
        let taken = [receivers[0].took(5).await, receivers[1].took(5).await];
        let texts = |received: &[Received]| received.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&taken[0]), texts(&taken[1]), "one envelope, wherever it is read");
        assert!(taken[0][3].text.contains("\"Long\": 144115212830834855999,\n\"a\":1,\"a\":2 }"));
        let positions: Vec<i64> = taken[0].iter().map(|one| one.body["data"]["position"].as_i64().unwrap()).collect();
        assert!(positions[0] > 0 && positions.is_sorted_by(|one, other| one < other), "{positions:?}");
        let secret = program(folder.path()).args(["listen", "--print-secret"]).env("XDG_STATE_HOME", folder.path().join("state")).output().unwrap();
        let secret = String::from_utf8(secret.stdout).unwrap();
        for one in taken.iter().flatten() {
            assert!(one.is_signed(secret.trim()), "{one:?}");
            assert_eq!((one.header("trtc-destination"), one.header("trtc-attempt"), one.header("trtc-replay")), ("listen", "1", ""));
        }
        assert_eq!(database.count("select count(*) from destinations").await, 0);
        let id = taken[0][0].id();
        of_store.prints(&format!("--> {DESTROY_ROOM} {id}")).await;
        assert!(of_store.prints("<-- 200 ").await.ends_with(" ms"));
        for listening in [of_store, of_api] {
            listening.interrupt(5, "5 events: 5 answered 2xx, 0 otherwise, 0 not answered").await;
        }
        server.stop().await;
    }

    async fn a_restart_of_the_server_misses_no_event(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let server = Server::start(&database).await;
        let gate = Gate::start("127.0.0.1:0", &server.ops_url).await;
        let listening = Listening::ready(folder.path(), &receiver.url, &["--from", &gate.url]).await;
        post(&server, 0..2).await;
        receiver.took(2).await;
        gate.close();
        server.stop().await;
        listening.says("trying again").await;
        let server = Server::start(&database).await;
        post(&server, 2..9).await;
        database.numbered().await;
        gate.lead_to(&server.ops_url);
        listening.says(": 7 events were stored meanwhile").await;
        let taken = receiver.took(9).await;
        assert_eq!(rooms(&taken), room_names(0..9));
        post(&server, 9..10).await;
        receiver.took(10).await;
        listening.interrupt(10, "10 events: 10 answered 2xx").await;
        server.stop().await;
    }

    async fn a_sleep_of_the_machine_misses_no_event(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receivers = [Receiver::start().await, Receiver::start().await];
        let server = Server::start(&database).await;
        let store = ["--store", database.url.as_str()];
        let of_store = Listening::ready(folder.path(), &receivers[0].url, &store).await;
        let api = ["--from", server.ops_url.as_str()];
        let of_api = Listening::ready(folder.path(), &receivers[1].url, &api).await;
        let both = [of_store, of_api];
        for listening in &both {
            listening.signal(Signal::STOP);
        }
        post(&server, 0..4).await;
        database.numbered().await;
        // What is tested is that time passes: shorter stops are none that a process notices.
        tokio::time::sleep(Duration::from_secs(6)).await;
        for listening in &both {
            listening.signal(Signal::CONT);
        }
        for (listening, receiver) in both.into_iter().zip(&receivers) {
            let said = listening.says("this machine was asleep for ").await;
            assert!(said.ends_with(": 4 events were stored meanwhile"), "{said}");
            assert_eq!(rooms(&receiver.took(4).await), room_names(0..4));
            listening.interrupt(4, "4 events: 4 answered 2xx").await;
        }
        server.stop().await;
    }

    async fn a_service_that_is_away_gets_all_in_order(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let server = Server::start(&database).await;
        // Nobody else gets the port, and nothing listens at it.
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = reserved.local_addr().unwrap();
        let url = format!("http://{address}/hook");
        let listening = Listening::ready(folder.path(), &url, &["--store", &database.url]).await;
        post(&server, 0..3).await;
        listening.prints(&format!("<-- nothing listens at http://{address}")).await;
        listening.prints("hint: start the service").await;
        drop(reserved);
        let gate = Gate::start(&address.to_string(), &receiver.url).await;
        let taken = receiver.took(3).await;
        assert_eq!(rooms(&taken), room_names(0..3));
        assert_eq!(taken[0].header("trtc-attempt"), "1", "it is the first that came");
        listening.prints("after it was away for").await;
        let nothing = listening.printed().into_iter().filter(|line| line.contains("nothing listens"));
        assert_eq!(nothing.count(), 1, "it is said once");
        // Gone for good: what waits is named at the end.
        drop(gate);
        post(&server, 3..5).await;
        listening.prints("-->").await;
        let away = || listening.printed().iter().filter(|line| line.contains("nothing listens")).count();
        eventually("it is away again", || async { away() == 2 }).await;
        listening.interrupt(3, "--since 2026-11-01T12:00:00.000Z` sends them").await;
        server.stop().await;
    }

    async fn spooled_events_come_late_and_come(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let server = Server::start(&database).await;
        let listening = Listening::ready(folder.path(), &receiver.url, &["--store", &database.url]).await;
        post(&server, 0..2).await;
        receiver.took(2).await;
        server.stop().await;
        let path = folder.path().join("spool.db");
        let events: Vec<_> = (2..5).map(numbered).collect();
        let (spool, _) = Spool::open(&path, 64 << 20, Duration::ZERO, NOW).await.unwrap();
        spool.append(&events.iter().collect::<Vec<_>>()).await.unwrap();
        spool.close().await;
        let with_spool = [("TRTC_SPOOL__PATH", path.to_str().unwrap())];
        let server = Server::start_with(settings(&database, &with_spool)).await;
        let taken = receiver.took(5).await;
        let mut names = rooms(&taken);
        names.sort_unstable();
        assert_eq!(names, room_names(0..5));
        listening.interrupt(5, "5 events: 5 answered 2xx").await;
        server.stop().await;
    }

    async fn lost_positions_end_it_with_what_to_do(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let server = Server::start(&database).await;
        let gate = Gate::start("127.0.0.1:0", &server.ops_url).await;
        let options = ["--from", gate.url.as_str(), "--room", "room-*"];
        let mut listening = Listening::ready(folder.path(), &receiver.url, &options).await;
        post(&server, 0..1).await;
        receiver.took(1).await;
        gate.close();
        listening.says("trying again").await;
        for numbers in [1..3, 3..5] {
            post(&server, numbers).await;
            // Each in a row of its own.
            database.numbered().await;
        }
        database.execute("delete from feed where position < (select max(position) from feed)").await;
        gate.lead_to(&server.ops_url);
        assert_eq!(listening.end().await, Some(1));
        let error = listening.says("error: events stored between ").await;
        assert!(error.contains("is no longer kept"), "{error}");
        let hint = listening.says("hint: ").await;
        let command = format!("`trtc-callbacks listen --forward {} --from {} --room 'room-*' --since 2026-1", receiver.url, gate.url);
        assert!(hint.contains(&command), "{hint}");
        // And that it does.
        let again = [&options[..], &["--since", "2026-11-01"]].concat();
        let listening = Listening::ready(folder.path(), &receiver.url, &again).await;
        let taken = receiver.took(6).await;
        assert_eq!(rooms(&taken[1..]).len(), 5);
        listening.interrupt(5, "5 events: 5 answered 2xx").await;
        server.stop().await;
    }

    async fn events_are_sent_again_by_time_and_by_id(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&database).await;
        post(&server, 0..30).await;
        database.numbered().await;
        for source in [["--store", database.url.as_str()], ["--from", server.ops_url.as_str()]] {
            let receiver = Receiver::start().await;
            let since = ["--since", "2026-11-01", "--room", "room-1", "--room", "room-2*", "--family", "room", "--secret", SECRET];
            let listening = Listening::ready(folder.path(), &receiver.url, &[&since[..], &source[..]].concat()).await;
            let taken = receiver.took(12).await;
            assert!(taken.iter().all(|one| one.is_signed(SECRET) && one.header("trtc-replay") == "1"));
            listening.says("12 events that arrived since 2026-11-01T00:00:00.000Z were sent again").await;
            let number = 100 + receiver.received().len();
            post(&server, number..number + 1).await;
            server.post_body(DESTROY_ROOM, destroy_room(number + 100)).await;
            let live = receiver.took(13).await;
            assert_eq!((live.len(), live[12].header("trtc-replay")), (13, ""), "none twice");
            listening.interrupt(13, "13 events: 13 answered 2xx").await;
            database.execute("delete from events where room_id like 'room-___'").await;
            // One event, alone.
            let id = taken[0].id();
            let one = [&["--event", id.as_str(), "--json"], &source[..]].concat();
            let mut listening = Listening::start(folder.path(), &receiver.url, &one);
            assert_eq!(listening.end().await, Some(0));
            let told: Value = serde_json::from_str(&listening.prints("taken").await).unwrap();
            assert_eq!((&told["id"], &told["status"]), (&id.as_str().into(), &200.into()));
            receiver.answer(|_| 500);
            let mut listening = Listening::start(folder.path(), &receiver.url, &one);
            assert_eq!(listening.end().await, Some(1));
            listening.says("1 of 1 events were not answered 2xx").await;
            let unknown = ["--event", "01a196fb-120b-8870-bd94-eb89a3dc61ee"];
            let mut listening = Listening::start(folder.path(), &receiver.url, &[&unknown, &source[..]].concat());
            assert_eq!(listening.end().await, Some(1));
            listening.says("there is no event 01a196fb-120b-8870-bd94-eb89a3dc61ee").await;
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_service_is_shown_and_passed_over() {
    let database = Database::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer(|one| match one.body["data"]["room_id"].as_str() {
        Some("room-1") => 500,
        Some("room-2") => 302,
        _ => 200,
    });
    let server = Server::start(&database).await;
    let store = ["--store", database.url.as_str()];
    let text = Listening::ready(folder.path(), &receiver.url, &store).await;
    let json = [&store[..], &["--json", "--room", "room-1"]].concat();
    let json = Listening::ready(folder.path(), &receiver.url, &json).await;
    post(&server, 0..4).await;
    assert!(text.prints("<-- 500 ").await.ends_with(" ms: an answer"));
    text.prints(" ms: redirect, not followed").await;
    let line: Value = serde_json::from_str(&json.prints("rejected").await).unwrap();
    assert_eq!((&line["status"], &line["room_id"]), (&500.into(), &"room-1".into()));
    receiver.took(2).await;
    text.interrupt(4, "4 events: 2 answered 2xx, 2 otherwise, 0 not answered").await;
    json.interrupt(1, "1 events: 0 answered 2xx, 1 otherwise").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_tried_three_times() {
    let database = Database::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&database).await;
    let receiver = Receiver::start().await;
    let gate = Gate::start("127.0.0.1:0", &receiver.url).await;
    gate.close();
    let store = ["--store", database.url.as_str()];
    let listening = Listening::ready(folder.path(), &gate.url, &store).await;
    post(&server, 0..1).await;
    let broken = || {
        listening.printed().iter().filter(|line| line.starts_with("<-- connection broken")).count()
    };
    eventually("it is given up", || async { broken() == 3 }).await;
    gate.lead_to(&receiver.url);
    post(&server, 1..2).await;
    assert_eq!(rooms(&receiver.took(1).await), ["room-1"]);
    listening.interrupt(1, "2 events: 1 answered 2xx, 0 otherwise, 1 not answered").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_ends_listening() {
    let database = Database::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let token = [("TRTC_OPS__TOKEN", "0123456789abcdef")];
    let server = Server::start_with(settings(&database, &token)).await;
    let url = "http://127.0.0.1:1/hook";
    let mut without = Listening::start(folder.path(), url, &["--from", &server.ops_url]);
    assert_eq!(without.end().await, Some(1));
    without.says("asks for a token").await;
    without.says("hint: set TRTC_OPS__TOKEN to one of its tokens with the scope `read`").await;
    server.stop().await;
    let mut nobody = Listening::start(folder.path(), url, &["--from", "http://127.0.0.1:1"]);
    assert_eq!(nobody.end().await, Some(1));
    nobody.says("error: http://127.0.0.1:1 cannot be reached: Connection refused").await;
    nobody.says("hint: is the server up").await;
}

#[test]
fn events_leave_the_machine_only_where_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let all = [&["listen", "--secret", SECRET, "--forward"], arguments].concat();
        failed(folder.path(), &all, 1)
    };
    let remote = refused(&["http://10.0.3.7/hook"]);
    assert!(remote.contains("nothing is sent to 10.0.3.7, which is not this machine"), "{remote}");
    assert!(
        remote.contains("\nhint: `listen` sends to this machine; `--allow-remote`"),
        "{remote}"
    );
    for never in ["http://169.254.169.254/", "http://[fe80::1]/", "http://1.1.1.1/"] {
        refused(&[never, "--allow-remote"]);
    }
    assert!(refused(&["nats://127.0.0.1"]).contains("is not the URL of an HTTP service"));
    // There is no store, which is looked for after the URL was judged.
    for near in [&["http://localhost:1/"][..], &["http://10.0.3.7:1/", "--allow-remote"]] {
        let said = refused(near);
        assert!(said.contains("open the store"), "{said}");
    }
}

#[test]
fn the_secret_of_the_machine_is_made_once_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let print = |name: &str| {
        let mut command = program(folder.path());
        command.args(["listen", "--print-secret"]).env(name, folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(print("XDG_STATE_HOME"), print("XDG_STATE_HOME"));
    assert_ne!(print("XDG_STATE_HOME"), print("HOME"));
    let file = folder.path().join("trtc-callbacks/listen-secret");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), print("XDG_STATE_HOME"));
    let names = std::fs::read_dir(folder.path().join("trtc-callbacks")).unwrap();
    assert_eq!(names.count(), 1, "no other file is left");
    std::fs::write(&file, "whsec_cut").unwrap();
    let output = program(folder.path())
        .args(["listen", "--print-secret"])
        .env("XDG_STATE_HOME", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("listen-secret: the secret is cut") && said.contains("remove the file"),
        "{said}"
    );
    let homeless = failed(folder.path(), &["listen", "--print-secret"], 1);
    assert!(homeless.contains("hint: give one with `--secret`"), "{homeless}");
}

/// A destination of the configuration reaches own names only by `forwarding.allow_networks`.
#[test]
fn only_listen_makes_the_guard_of_listen() {
    fn sources(folder: &Path, found: &mut Vec<String>) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                sources(&path, found);
            } else if std::fs::read_to_string(&path).is_ok_and(|text| {
                text.contains("::loopback_only") || text.contains("::own_networks")
            }) {
                found.push(path.display().to_string());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    assert_eq!(found, [root.join("src/cli/listen/command.rs").display().to_string()]);
}
