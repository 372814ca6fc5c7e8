//! Forwarding: stored events reach destinations, at least once and in order, whatever happens in between.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use trtc_callbacks::settings::{Settings, Sources};

use crate::forward_receiver::{Received, Receiver, SECRET};
use crate::process::Serving;
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, on_both_stores, settings,
};

/// One destination, `default`.
fn forwarding(database: &Database, receiver: &Receiver) -> Settings {
    let changes = [("TRTC_FORWARD_URL", receiver.url.as_str()), ("TRTC_FORWARD_SECRET", SECRET)];
    settings(database, &changes)
}

/// Destinations as a file has them.
fn destinations(database: &Database, toml: &str) -> Settings {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), toml).unwrap();
    let loaded = Settings::load(&Sources { file: Some(file.path().into()), ..Sources::default() });
    let mut all = settings(database, &[]);
    all.forward = loaded.unwrap().forward;
    all
}

async fn post(server: &Server, numbers: std::ops::Range<usize>) {
    for number in numbers {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
}

/// Waits until the destination is there, so that what is stored from now on is for it.
async fn known(database: &Database, name: &str) {
    let sql = format!("select count(*) from destinations where name = '{name}' and holder is not null");
    eventually("the destination is known", || async { database.count(&sql).await == 1 }).await;
}

fn ids(received: &[Received]) -> Vec<String> {
    received.iter().map(Received::id).collect()
}

async fn stored_ids(database: &Database) -> HashSet<String> {
    let sql = if database.is_postgres() { "select id::text from events" } else { "select id from events" };
    database.texts(sql).await.into_iter().collect()
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
}
