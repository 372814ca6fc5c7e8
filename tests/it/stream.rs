//! Scale-out mode: `JetStream` between servers that take callbacks and servers that store events.

use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, DiscardPolicy, Stream};
use protocol::UnixMillis;
use trtc_callbacks::settings::Settings;

use crate::nats_server::NatsServer;
use crate::process::{Serving, done, failed, program};
use crate::support::{
    DESTROY_ROOM, Database, Server, destroy_room, eventually, fixtures, settings,
};

/// As long as an event is given back by a writer that cannot store it, and some time for all else.
const REDELIVERED: Duration = Duration::from_secs(90);
/// A database that nobody may ask for.
const NO_DATABASE: &str = "postgres://nobody@127.0.0.1:1/none";
pub(crate) const STREAM: &str = "TRTC_INGEST";

/// Settings of a server with this role. Acknowledgements have the time that they have in production.
pub(crate) fn role(
    database: &Database,
    nats: &NatsServer,
    role: &str,
    more: &[(&str, &str)],
) -> Settings {
    let url = nats.url();
    let mut changes = vec![
        ("TRTC_STREAM_URL", url.as_str()),
        ("TRTC_STREAM_ROLE", role),
        ("TRTC_STREAM__REPLICAS", "1"),
        ("TRTC_INGEST__ACK_DEADLINE_MS", "1600"),
    ];
    if role == "receiver" {
        changes.push(("TRTC_STORE__URL", NO_DATABASE));
    }
    changes.extend(more);
    settings(database, &changes)
}

/// Returns once the stream takes events.
pub(crate) async fn start(settings: Settings) -> Server {
    let server = Server::start_before_its_store(settings).await;
    let takes = || async { !server.get_ops("/readyz").await.1.contains("stream: ") };
    eventually("the stream takes events", takes).await;
    server
}

pub(crate) async fn post(server: &Server, numbers: std::ops::Range<usize>) {
    for number in numbers {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
}

pub(crate) async fn rows_become(database: &Database, rows: i64) {
    let begun = Instant::now();
    loop {
        let found = database.rows().await;
        if found == rows {
            return;
        }
        assert!(found < rows && begun.elapsed() < REDELIVERED, "{found} rows, not {rows}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn stream(nats: &NatsServer) -> Stream {
    let client = async_nats::connect(nats.url()).await.unwrap();
    async_nats::jetstream::new(client).get_stream(STREAM).await.unwrap()
}

/// Waits until the writers hold nothing and have nothing left.
pub(crate) async fn drained(nats: &NatsServer) {
    let stream = stream(nats).await;
    let is_drained = || async {
        let info = stream.consumer_info("writer").await.unwrap();
        info.num_pending == 0 && info.num_ack_pending == 0
    };
    eventually("all is acknowledged", is_drained).await;
}

/// The command line of a server in scale-out mode.
pub(crate) fn command(
    database: &Database,
    nats: &NatsServer,
    folder: &std::path::Path,
    role: &str,
) -> Command {
    let mut command = program(folder);
    command
        .env("TRTC_STREAM_URL", nats.url())
        .env("TRTC_STREAM_ROLE", role)
        .env("TRTC_STREAM__REPLICAS", "1")
        .env("TRTC_STORE__URL", &database.url);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_without_a_database_answers_and_a_writer_stores() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::postgres().await;
    let receiver = start(role(&database, &nats, "receiver", &[])).await;
    post(&receiver, 0..40).await;
    let figures = receiver.figures().await;
    assert_eq!(figures.outcome("stored"), 40);
    assert_eq!(figures.value("trtc_stream_publish_total{result=\"stored\"}"), 40);
    assert_eq!(receiver.get_ops("/readyz").await, (200, "ok\n".to_owned()));
    let (status, page) = receiver.get_ops("/").await;
    assert!(status == 200 && page.contains("This server is a receiver"), "{page}");
    let (status, page) = receiver.get_ops("/calls").await;
    assert!(status == 503 && page.contains("No store here"), "{page}");
    let (status, text) = receiver.get_ops("/api/v1/events").await;
    assert!(status == 503 && text.contains("has no store"), "{text}");

    let writer = start(role(&database, &nats, "writer", &[("TRTC_SPOOL__PATH", "")])).await;
    rows_become(&database, 40).await;
    assert_eq!(database.count("select count(*) from room_sessions where room_id is null").await, 0);
    let (status, ..) = writer.post_raw("/", Vec::new()).await;
    assert_eq!(status, 404, "a writer takes no callbacks");
    drained(&nats).await;
    database.numbered().await;
    writer.stop().await;
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_at_another_receiver_is_one_row() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::sqlite();
    let all = start(role(&database, &nats, "all", &[])).await;
    let receiver = start(role(&database, &nats, "receiver", &[])).await;
    for server in [&all, &receiver, &all, &receiver] {
        post(server, 0..10).await;
    }
    rows_become(&database, 10).await;
    drained(&nats).await;
    assert_eq!(database.rows().await, 10);
    assert_eq!(receiver.figures().await.outcome("duplicate"), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_the_stream_is_stored_as_without_one() {
    let Some(nats) = NatsServer::start().await else { return };
    let (with, without) = (Database::postgres().await, Database::postgres().await);
    let servers = [start(role(&with, &nats, "all", &[])).await, Server::start(&without).await];
    for server in &servers {
        for fixture in fixtures() {
            server.post(&fixture.delivery).await;
        }
    }
    rows_become(&with, without.rows().await).await;
    drained(&nats).await;
    // Ids of events that may be sent twice are made of what is in them; those of others are random.
    for list in [
        "select concat_ws('|', command, event_time, call_id, room_id, operator, payload, raw) from events order by 1",
        "select concat_ws('|', call_id, calls) from calls order by 1",
        "select concat_ws('|', call_id, account) from call_members order by 1",
        "select 'gifts ' || count(*) from gifts",
        "select 'marks ' || count(*) from room_marks",
    ] {
        assert_eq!(with.texts(list).await, without.texts(list).await, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_to_the_spool_while_nats_is_away() {
    let Some(mut nats) = NatsServer::start().await else { return };
    let database = Database::sqlite();
    let server = start(role(&database, &nats, "all", &[])).await;
    post(&server, 0..5).await;
    nats.kill();
    for number in 5..25 {
        let begun = Instant::now();
        post(&server, number..number + 1).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "the vendor waits 2 s");
    }
    let (status, text) = server.get_ops("/readyz").await;
    assert!(status == 200 && text.contains("stream: not available"), "{text}");
    assert!(server.figures().await.outcome("spooled") > 0);
    nats.run().await;
    rows_become(&database, 25).await;
    drained(&nats).await;
    server.shows("trtc_spool_events", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_starts_without_nats_and_keeps_events() {
    let Some(mut nats) = NatsServer::start().await else { return };
    nats.kill();
    let database = Database::sqlite();
    let server = Server::start_before_its_store(role(&database, &nats, "all", &[])).await;
    post(&server, 0..3).await;
    assert_eq!(server.figures().await.outcome("spooled"), 3);
    nats.run().await;
    rows_become(&database, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_store_refuses_everything() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::postgres().await;
    let server = start(role(&database, &nats, "all", &[])).await;
    post(&server, 0..5).await;
    rows_become(&database, 5).await;
    database.execute("alter table events rename to away").await;
    post(&server, 5..60).await;
    let failed = || async {
        server.figures().await.value("trtc_store_errors_total{kind=\"unavailable\"}") > 0
    };
    eventually("the store fails", failed).await;
    assert_eq!(server.figures().await.outcome("stored"), 60, "the stream has taken them");
    database.execute("alter table away rename to events").await;
    rows_become(&database, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_loses_nothing_and_stores_nothing_twice() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::postgres().await;
    let receiver = start(role(&database, &nats, "receiver", &[])).await;
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let writer = Serving::start_as(command(&database, &nats, folder.path(), "writer"), &[]);
        post(&receiver, round * 100..round * 100 + 100).await;
        // As -9 does.
        drop(writer);
    }
    let writer = Serving::start_as(command(&database, &nats, folder.path(), "writer"), &[]);
    rows_become(&database, 300).await;
    let doubled = "select count(*) from (select room_id from events group by room_id having count(*) > 1) as twice";
    assert_eq!(database.count(doubled).await, 0);
    writer.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_becomes_a_dead_letter_once() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::sqlite();
    let server = start(role(&database, &nats, "all", &[])).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    context.publish("trtc.ingest.0", "not ours".into()).await.unwrap().await.unwrap();
    post(&server, 0..3).await;
    rows_become(&database, 3).await;
    drained(&nats).await;
    assert_eq!(database.count("select count(*) from dead_letter_events").await, 1);
    assert_eq!(server.figures().await.value("trtc_stream_unreadable_total"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_discards_old_events_is_not_used() {
    let Some(nats) = NatsServer::start().await else { return };
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let mut config = Config {
        name: STREAM.to_owned(),
        subjects: vec!["trtc.ingest.*".to_owned()],
        max_bytes: 1 << 30,
        discard: DiscardPolicy::Old,
        ..Config::default()
    };
    context.create_stream(&config).await.unwrap();
    let database = Database::sqlite();
    let server = Server::start_before_its_store(role(&database, &nats, "all", &[])).await;
    post(&server, 0..3).await;
    assert_eq!(server.figures().await.outcome("spooled"), 3);
    config.discard = DiscardPolicy::New;
    context.update_stream(&config).await.unwrap();
    rows_become(&database, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_spools_and_writers_make_room() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::sqlite();
    let small = [("TRTC_STREAM__MAX_BYTES", "1048576")];
    let receiver = start(role(&database, &nats, "receiver", &small)).await;
    let body = |number: usize| {
        let filler = "x".repeat(20_000);
        format!(
            "{{\"CallbackCommand\":\"{DESTROY_ROOM}\",\"RoomId\":\"{number}\",\"Text\":\"{filler}\"}}"
        )
    };
    for number in 0..80 {
        receiver.post_body(DESTROY_ROOM, body(number)).await;
    }
    let figures = receiver.figures().await;
    assert!(figures.outcome("spooled") > 0 && figures.outcome("not_stored") == 0, "{}", figures.0);
    let writer = start(role(&database, &nats, "writer", &small)).await;
    rows_become(&database, 80).await;
    let has_room = || async {
        let bytes = stream(&nats).await.cached_info().state.bytes;
        bytes <= 1 << 19
    };
    eventually("stored events are removed", has_room).await;
    assert!(writer.figures().await.value("trtc_stream_purged_total") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_events_leave_the_stream_after_a_day() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::sqlite();
    let server = start(role(&database, &nats, "all", &[])).await;
    post(&server, 0..5).await;
    let latest = stream(&nats).await.cached_info().state.last_timestamp;
    post(&server, 5..10).await;
    rows_become(&database, 10).await;
    drained(&nats).await;
    let day = 24 * 3_600_000;
    let latest = i64::try_from(latest.unix_timestamp_nanos() / 1_000_000).unwrap();
    server.clock.set(UnixMillis(latest + 1 + day));
    let first = || async { stream(&nats).await.cached_info().state.first_sequence == 6 };
    eventually("the first five are removed", first).await;
    assert_eq!(server.figures().await.value("trtc_stream_purged_total"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_filled_from_the_stream() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::sqlite();
    let server = start(role(&database, &nats, "all", &[])).await;
    post(&server, 0..20).await;
    rows_become(&database, 20).await;
    drained(&nats).await;
    database.execute("delete from events where room_id <> 'room-7'").await;
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = command(&database, &nats, folder.path(), "all").args(arguments).output();
        let output = output.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run(&["stream", "replay", "--since", "1h"]);
    assert_eq!(said, "19 events stored, 1 were stored already\n");
    assert_eq!(database.rows().await, 20);
    let said = run(&["stream", "replay", "--since", "1h"]);
    assert_eq!(said, "0 events stored, 20 were stored already\n");
    let status: serde_json::Value =
        serde_json::from_str(&run(&["stream", "status", "--json"])).unwrap();
    assert_eq!((&status["messages"], &status["pending"]), (&20.into(), &0.into()));
    assert!(run(&["stream", "status"]).contains("stored until   20 of 20\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_what_the_stream_lacks() {
    let Some(mut nats) = NatsServer::start().await else { return };
    let database = Database::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let examined = |nats: &NatsServer| {
        let output = command(&database, nats, folder.path(), "receiver").arg("doctor").output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let said = examined(&nats);
    assert!(said.contains("warn  stream: there is no stream `TRTC_INGEST` at nats://"), "{said}");
    assert!(said.contains("ok    store: none: this server is a receiver"), "{said}");
    let server = start(role(&database, &nats, "receiver", &[])).await;
    let said = examined(&nats);
    assert!(said.contains("ok    stream: `TRTC_INGEST` at nats://"), "{said}");
    assert!(said.contains("warn  stream: stream `TRTC_INGEST` has 1 replicas"), "{said}");
    assert!(said.contains("`stream.monitor_url` is not set"), "{said}");
    server.stop().await;
    nats.kill();
    let said = examined(&nats);
    assert!(said.contains("fail  stream: connect to nats://"), "{said}");
}

#[test]
fn the_commands_say_where_there_is_no_stream() {
    let folder = tempfile::tempdir().unwrap();
    let said = failed(folder.path(), &["stream", "status"], 1);
    assert!(said.contains("key `stream.url` is not set") && said.contains("hint: "), "{said}");
    assert!(done(folder.path(), &["stream", "--help"]).contains("replay"));
}
