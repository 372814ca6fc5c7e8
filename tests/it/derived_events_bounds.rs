//! Derived events of rooms with very many sessions, of rows that cannot be read in time, and of rows that cannot be read at all.

use std::collections::HashSet;

use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use crate::derived_events::{ALL, CREATE, DESTROY, T, ended, post, quiet, room, serve};
use crate::doctor::examined;
use crate::forward_receiver::Receiver;
use crate::forwarding::{destination, exceptions, in_state};
use crate::support::{APP, Database, eventually, on_both_stores};

on_both_stores! {
    async fn every_session_of_a_room_is_derived(database: Database) {
        let receiver = Receiver::start().await;
        let server = serve(&database, &receiver, ALL).await;
        let started = "select count(*) from derived_progress where holder is not null";
        eventually("it derives", || async { database.count(started).await == 1 }).await;
        // Nobody derives until all are stored, so that they are looked at together.
        let later = if database.is_postgres() { "now() + interval '1 h'" } else { "lease_until + 3600000" };
        database.execute(&format!("update derived_progress set holder = 'other', lease_until = {later}")).await;
        let sessions = 230;
        for session in 0..sessions {
            let at = session * 10_000;
            post(&server, [room(CREATE, "room", at), room(DESTROY, "room", at + 5000)]).await;
        }
        let queued = "select count(*) from settle_queue";
        eventually("the room is settled", || async { database.count(queued).await == 0 }).await;
        database.execute("update derived_progress set holder = null").await;
        let taken = receiver.took(230).await;
        quiet(&database).await;
        let came: HashSet<i64> = taken.iter().map(|one| one.body["data"]["session"].as_i64().unwrap()).collect();
        assert_eq!(came, (0..sessions).map(|session| T + session * 10_000).collect());
        assert!(taken.iter().all(|one| one.body["data"]["revision"] == 1));
        server.stop().await;
        assert_eq!(receiver.received().len(), 230, "none twice");
    }

    async fn a_job_that_stands_still_is_seen(database: Database) {
        let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
        std::fs::write(folder.path().join("trtc.toml"), destination("one", &receiver.url, ALL)).unwrap();
        let says = || {
            let (_, checks) = examined(folder.path(), &["--config", "trtc.toml", "--store", &database.url]);
            let check = checks.iter().find(|check| check["what"] == "derived events").unwrap();
            format!("{} {}", check["level"].as_str().unwrap(), check["text"].as_str().unwrap())
        };
        let server = serve(&database, &receiver, ALL).await;
        let started = "select count(*) from derived_progress where holder is not null";
        eventually("it derives", || async { database.count(started).await == 1 }).await;
        assert_eq!(says(), "ok up to date");
        // Another server has the right to derive, and does nothing.
        let later = if database.is_postgres() { "now() + interval '1 h'" } else { "lease_until + 3600000" };
        database.execute(&format!("update derived_progress set holder = 'other', lease_until = {later}")).await;
        post(&server, [ended("c1", "Cancel", false, 20_000)]).await;
        let figure = async |name: &str| server.figures().await.value(&format!("trtc_derived_{name}"));
        // It is a fraction.
        let lag = async || {
            let figures = server.figures().await.0;
            let line = figures.lines().find_map(|line| line.strip_prefix("trtc_derived_lag_seconds ")).unwrap();
            line.parse::<f64>().unwrap()
        };
        eventually("it is shown", || async { figure("backlog_events").await == 1 }).await;
        let earlier = if database.is_postgres() { "numbered_at - interval '1 h'" } else { "numbered_at - 3600000" };
        database.execute(&format!("update feed set numbered_at = {earlier}")).await;
        eventually("for how long, too", || async { lag().await >= 3600.0 }).await;
        let behind = "warn behind by 1 events and 0 calls, rooms and recordings since ";
        assert!(says().starts_with(behind) && says().ends_with('Z'), "{}", says());
        // It has read the event, and looks at no call.
        let slot = if database.is_postgres() { "extract(epoch from now()) / 2" } else { "unixepoch() / 2" };
        let now = if database.is_postgres() { "now()" } else { "unixepoch() * 1000" };
        database.execute(&format!(
            "insert into derived_pending (kind, sdk_app_id, subject, day, from_at, until_at, slot, slot_last, due_at)
             select 'call', {APP}, 'c1', 0, {now}, {now}, {slot} - 1800, {slot}, {now}"
        )).await;
        database.execute("update derived_progress set position = (select max(position) from feed) * 512 + 511").await;
        eventually("that is shown", || async {
            figure("pending").await == 1 && figure("backlog_events").await == 0 && lag().await >= 3590.0
        }).await;
        assert!(says().starts_with("warn behind by 0 events and 1 calls"), "{}", says());
        server.stop().await;
        database.execute("update derived_progress set holder = null").await;
        assert!(says().ends_with(": no server makes them now"), "{}", says());
        let server = serve(&database, &receiver, ALL).await;
        receiver.took(2).await;
        quiet(&database).await;
        assert_eq!(says(), "ok up to date");
        server.stop().await;
    }

    async fn a_damaged_derived_event_stops_no_other(database: Database) {
        let receiver = Receiver::start().await;
        let server = serve(&database, &receiver, ALL).await;
        let set_paused = async |is_paused: bool| {
            let value = if database.is_postgres() { is_paused.to_string() } else { i32::from(is_paused).to_string() };
            database.execute(&format!("update destinations set paused = {value}")).await;
        };
        set_paused(true).await;
        in_state(&database, "one", "paused").await;
        post(&server, [ended("c1", "NormalEnd", true, 65_000), ended("c2", "NormalEnd", true, 65_000)]).await;
        let derived = "select count(*) from derived_events";
        eventually("they are derived", || async { database.count(derived).await == 2 }).await;
        database.execute("update derived_events set sdk_app_id = 0 where subject = 'c1'").await;
        set_paused(false).await;
        let taken = receiver.took(1).await;
        assert_eq!(taken[0].body["data"]["call_id"], json!("c2"));
        eventually("it is given up", || async { exceptions(&database, "dead").await == 1 }).await;
        quiet(&database).await;
        server.stop().await;
        assert_eq!(receiver.received().len(), 1);
    }

    async fn an_event_whose_row_is_unreadable_is_a_dead_letter(database: Database) {
        let receiver = Receiver::start().await;
        receiver.answer(|_| 503);
        let server = serve(&database, &receiver, ALL).await;
        post(&server, [ended("c1", "NormalEnd", true, 65_000)]).await;
        eventually("it is tried", || async { !receiver.received().is_empty() }).await;
        let new = if database.is_postgres() { "(select count(*) from feed_new)" } else { "0" };
        let left = format!(
            "select {new} + (select count(*) from derived_progress where position / 512 < (select max(position) from feed))"
        );
        eventually("the job that derives has read it", || async { database.count(&left).await == 0 }).await;
        database.execute("update derived_events set sdk_app_id = 0").await;
        receiver.answer(|one| if one.body["data"]["call_id"] == "c1" { 503 } else { 200 });
        eventually("it is given up", || async { exceptions(&database, "dead").await == 1 }).await;
        assert_eq!(database.texts("select last_error from delivery_exceptions").await, ["its row cannot be read"]);
        post(&server, [ended("c2", "NormalEnd", true, 65_000)]).await;
        let taken = receiver.took(1).await;
        assert_eq!(taken[0].body["data"]["call_id"], json!("c2"));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_is_slow_to_read_stops_no_other() {
    let database = Database::postgres().await;
    let receiver = Receiver::start().await;
    let server = serve(&database, &receiver, ALL).await;
    let mut lock = PgConnection::connect(&database.url).await.unwrap();
    lock.execute("begin; lock table recording_marks in access exclusive mode").await.unwrap();
    let pending = format!(
        "insert into derived_pending (kind, sdk_app_id, subject, day, from_at, until_at, slot, slot_last, due_at)
         values ('recording', {APP}, 'task', 0, now(), now(), 0, 0, now() - interval '1 h')"
    );
    database.execute(&pending).await;
    post(&server, [ended("c1", "Cancel", false, 20_000)]).await;
    receiver.took(2).await;
    let later = "select count(*) from derived_pending where kind = 'recording' and due_at > now()";
    assert_eq!(database.count(later).await, 1, "it is looked at again");
    lock.close().await.unwrap();
    server.stop().await;
}
