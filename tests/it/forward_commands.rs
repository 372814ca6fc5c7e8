//! The commands `forward …`, beside a running server.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::forward_receiver::Receiver;
use crate::forwarding::{destination, exceptions, in_state, known, paused, post, with};
use crate::process::{done, failed, run};
use crate::support::{Database, Server, eventually, on_both_stores};

/// What `forward …` says on standard error when it succeeds.
fn said(folder: &Path, database: &Database, arguments: &[&str]) -> String {
    let output: Output =
        run(folder, &[&["forward"], arguments, &["--store", &database.url]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

fn status(folder: &Path, database: &Database) -> Value {
    let said = done(folder, &["forward", "status", "billing", "--json", "--store", &database.url]);
    serde_json::from_str(&said).unwrap()
}

on_both_stores! {
    async fn a_destination_is_paused_and_resumed(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let toml = destination("default", &receiver.url, "") + &destination("billing", &receiver.url, "");
        let server = Server::start_with(with(&database, &toml)).await;
        known(&database, "billing").await;
        known(&database, "default").await;
        for name in ["default", "billing"] {
            said(folder.path(), &database, &["pause", name]);
            paused(&server, name).await;
        }
        post(&server, 0..3).await;
        eventually("they are counted", || async {
            status(folder.path(), &database)["backlog_events"] == 3
        }).await;
        let shown = status(folder.path(), &database);
        assert_eq!((&shown["state"], &shown["reason"]), (&"paused".into(), &"by_hand".into()));
        assert_eq!((&shown["is_configured"], &shown["is_served"]), (&false.into(), &true.into()));
        let table = done(folder.path(), &["forward", "status", "--store", &database.url]);
        assert!(table.starts_with("NAME") && table.contains("\nbilling  paused  by_hand"), "{table}");
        let all = ["resume", "billing"];
        assert!(said(folder.path(), &database, &all).contains("billing has about 3 stored events"));
        receiver.took(3).await;
        in_state(&database, "billing", "running").await;
        // The other one never gets them.
        let place = ["--store", &database.url];
        let unasked = failed(folder.path(), &[&["forward", "resume", "default", "--from-now"], &place[..]].concat(), 1);
        assert!(unasked.contains("about 3 stored events will never be sent to default"), "{unasked}");
        assert!(unasked.contains("\nhint: give `--yes`"), "{unasked}");
        said(folder.path(), &database, &["resume", "default", "--from-now", "--yes"]);
        post(&server, 3..5).await;
        receiver.took(7).await;
        in_state(&database, "default", "running").await;
        let to_default = receiver.received().into_iter().filter(|one| one.header("trtc-destination") == "default");
        assert_eq!(to_default.count(), 2);
        server.stop().await;
    }

    async fn dead_letters_are_sent_again_on_demand(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        receiver.answer(|one| if one.text.contains("\"room-1\"") { 400 } else { 200 });
        let more = "retry_schedule_s = [1]\norder_wait_s = 0";
        let server = Server::start_with(with(&database, &destination("billing", &receiver.url, more))).await;
        known(&database, "billing").await;
        post(&server, 0..3).await;
        eventually("it is given up", || async { exceptions(&database, "dead").await == 1 }).await;
        assert_eq!(status(folder.path(), &database)["dead"], 1);
        let place = ["--store", &database.url];
        let other = "01a196fb-120b-8870-bd94-eb89a3dc61ef";
        let wrong = failed(folder.path(), &[&["forward", "retry", "billing", "--event", other], &place[..]].concat(), 1);
        assert!(wrong.contains(&format!("event {other} neither waits for billing")), "{wrong}");
        receiver.answer(|_| 200);
        let again = said(folder.path(), &database, &["retry", "billing", "--dead"]);
        assert!(again.contains("1 events of billing are tried again now"), "{again}");
        eventually("no row is left", || async { status(folder.path(), &database)["dead"] == 0 && exceptions(&database, "waiting").await == 0 }).await;
        receiver.took(3).await;
        server.stop().await;
    }

    async fn a_destination_is_removed_after_confirmation(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let server = Server::start_with(with(&database, &destination("billing", &receiver.url, ""))).await;
        known(&database, "billing").await;
        server.stop().await;
        let place = ["--store", &database.url];
        let unknown = failed(folder.path(), &[&["forward", "pause", "bilking"], &place[..]].concat(), 1);
        assert!(unknown.contains("there is no destination `bilking`\nhint: known are billing"), "{unknown}");
        let unasked = failed(folder.path(), &[&["forward", "remove", "billing"], &place[..]].concat(), 1);
        assert!(unasked.contains("\nhint: give `--yes`"), "{unasked}");
        assert_eq!(status(folder.path(), &database)["is_served"], false);
        said(folder.path(), &database, &["remove", "billing", "--yes"]);
        assert_eq!(database.count("select count(*) from destinations").await, 0);
    }
}

#[test]
fn a_new_secret_is_one_that_destinations_take() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = [(); 2].map(|()| done(folder.path(), &["forward", "secret"]));
    assert_ne!(secrets[0], secrets[1]);
    for secret in secrets {
        let file = folder.path().join("trtc.toml");
        let toml = format!(
            "[[forward]]\nname = 'a'\nurl = 'https://a.test/'\nsecrets = ['{}']\n",
            secret.trim()
        );
        std::fs::write(&file, toml).unwrap();
        done(
            folder.path(),
            &["check-config", "--config", "trtc.toml", "--sdk-app-id", "1400000001"],
        );
    }
}
