//! Scale-out mode: users, foreign streams and consumers, connections that break.

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::nats_server::NatsServer;
use crate::stream::{STREAM, command, drained, post, role, rows_become, start, stream};
use crate::support::{DESTROY_ROOM, Database, Server, eventually};

const AUTHORIZATION: &str = "authorization { user: trtc, password: \"p@ss/word\" }";

/// A stream as this program would make it.
fn layout() -> Config {
    Config {
        name: STREAM.to_owned(),
        subjects: vec!["trtc.ingest.*".to_owned()],
        max_bytes: 1 << 30,
        discard: DiscardPolicy::New,
        ..Config::default()
    }
}

async fn made(nats: &NatsServer, config: &Config) -> async_nats::jetstream::Context {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    context.create_stream(config).await.unwrap();
    context
}

/// The URL of a server with a user and password, which are percent-encoded.
fn with_user(nats: &NatsServer, user: &str) -> String {
    nats.url().replace("nats://", &format!("nats://{user}@"))
}

/// The URL of a proxy to the server, which breaks its first connection once so many bytes came from there.
async fn breaking_after(nats: &NatsServer, bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let server = nats.url().trim_start_matches("nats://").to_owned();
    tokio::spawn(async move {
        let mut limit = bytes;
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(pass_on(client, server, std::mem::replace(&mut limit, u64::MAX)));
        }
    });
    url
}

/// Passes on what both say, until one ends or the server has said this much.
async fn pass_on(mut client: TcpStream, mut server: TcpStream, bytes: u64) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let mut said = (&mut from_server).take(bytes);
    // An error is the end of a connection as any other.
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = tokio::io::copy(&mut said, &mut to_client) => {}
    }
}

/// What `doctor` prints.
fn doctor(database: &Database, nats: &NatsServer) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(database, nats, folder.path(), "receiver");
    let output = command.arg("doctor").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password_of_the_stream_url_are_used() {
    let Some(nats) = NatsServer::start_with(AUTHORIZATION).await else { return };
    let database = Database::sqlite();
    let url = with_user(&nats, "trtc:p%40ss%2Fword");
    let server = start(role(&database, &nats, "all", &[("TRTC_STREAM_URL", &url)])).await;
    post(&server, 0..3).await;
    assert_eq!(server.figures().await.value("trtc_stream_publish_total{result=\"stored\"}"), 3);
    rows_become(&database, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cause_of_a_failed_connection_is_logged() {
    let Some(nats) = NatsServer::start_with(AUTHORIZATION).await else { return };
    let database = Database::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&database, &nats, folder.path(), "receiver");
    command.env("TRTC_STREAM_URL", with_user(&nats, "trtc:wrong"));
    let serving = crate::process::Serving::start_as(command, &[]);
    let line = serving.next_error(|line| {
        line["reason"].as_str().is_some_and(|reason| reason.contains("authorization violation"))
    });
    assert!(line["message"].as_str().unwrap().contains("stream is not ready"), "{line}");
    assert!(!line.to_string().contains("wrong"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_skips_nothing_when_its_connection_breaks() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::sqlite();
    let server = start(role(&database, &nats, "all", &[])).await;
    let filler = "x".repeat(20_000);
    for number in 0..60 {
        let body = format!(
            "{{\"CallbackCommand\":\"{DESTROY_ROOM}\",\"RoomId\":\"{number}\",\"Text\":\"{filler}\"}}"
        );
        server.post_body(DESTROY_ROOM, body).await;
    }
    rows_become(&database, 60).await;
    drained(&nats).await;
    database.execute("delete from events").await;
    let url = breaking_after(&nats, 400_000).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&database, &nats, folder.path(), "all");
    command.env("TRTC_STREAM_URL", url).args(["stream", "replay", "--since", "1h"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "60 events stored, 0 were stored already\n", "{errors}");
    assert_eq!(database.rows().await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_a_limit_of_each_subject_is_not_used() {
    let Some(nats) = NatsServer::start().await else { return };
    let mut config = Config { max_messages_per_subject: 1, ..layout() };
    let context = made(&nats, &config).await;
    // The server acknowledges the second, and deletes the first.
    for text in ["first", "second"] {
        context.publish("trtc.ingest.0", text.into()).await.unwrap().await.unwrap();
    }
    assert_eq!(stream(&nats).await.cached_info().state.messages, 1);
    stream(&nats).await.purge().await.unwrap();

    let database = Database::sqlite();
    let server = Server::start_before_its_store(role(&database, &nats, "all", &[])).await;
    post(&server, 0..3).await;
    assert_eq!(server.figures().await.outcome("spooled"), 3);
    let said = doctor(&database, &nats);
    assert!(said.contains("fail  stream: stream `TRTC_INGEST` deletes the oldest event"), "{said}");
    config.discard_new_per_subject = true;
    context.update_stream(&config).await.unwrap();
    rows_become(&database, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_gives_events_up_is_not_used() {
    let Some(nats) = NatsServer::start().await else { return };
    let context = made(&nats, &layout()).await;
    let made = context.get_stream(STREAM).await.unwrap();
    let database = Database::sqlite();
    let name = || Some("writer".to_owned());
    for (config, said) in [
        (
            pull::Config { durable_name: name(), max_deliver: 3, ..pull::Config::default() },
            "gives an event up after 3 deliveries",
        ),
        (
            pull::Config {
                durable_name: name(),
                ack_policy: AckPolicy::All,
                ..pull::Config::default()
            },
            "does not wait for the acknowledgement of each event",
        ),
    ] {
        made.create_consumer(config).await.unwrap();
        let found = doctor(&database, &nats);
        assert!(found.contains(said), "{found}");
        made.delete_consumer("writer").await.unwrap();
    }
    let filter_subject = "trtc.ingest.none".to_owned();
    let config = pull::Config { durable_name: name(), filter_subject, ..pull::Config::default() };
    made.create_consumer(config).await.unwrap();
    let found = doctor(&database, &nats);
    assert!(found.contains("reads some subjects only"), "{found}");
    let server = start(role(&database, &nats, "all", &[])).await;
    post(&server, 0..3).await;
    made.delete_consumer("writer").await.unwrap();
    rows_become(&database, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_writer_finishes_its_batch() {
    let Some(nats) = NatsServer::start().await else { return };
    let database = Database::postgres().await;
    let receiver = start(role(&database, &nats, "receiver", &[])).await;
    let writer = start(role(&database, &nats, "writer", &[("TRTC_SPOOL__PATH", "")])).await;
    post(&receiver, 0..1).await;
    rows_become(&database, 1).await;
    drained(&nats).await;
    let held = async {
        let lock = "begin; lock table events in access exclusive mode; select pg_sleep(1); commit";
        database.execute(lock).await;
    };
    let stopped = async {
        let is_locked = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' \
                         and granted and relation = 'events'::regclass";
        eventually("the table is locked", || async { database.count(is_locked).await > 0 }).await;
        post(&receiver, 1..2).await;
        let has = stream(&nats).await;
        let are_held = || async { has.consumer_info("writer").await.unwrap().num_ack_pending > 0 };
        eventually("the writer holds events", are_held).await;
        writer.stop().await;
        let info = has.consumer_info("writer").await.unwrap();
        assert_eq!((info.num_ack_pending, info.num_pending), (0, 0));
    };
    tokio::join!(held, stopped);
}
