//! Destinations of NATS, through the server: stored events are messages of a stream.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::doctor::{assert_check, examined};
use crate::forwarding::{in_state, known, post, post_rooms, resume, with};
use crate::nats_server::NatsServer;
use crate::process::{done, run};
use crate::support::{Server, eventually, on_both_stores};

/// A destination as a file has it.
pub(crate) fn destination(nats: &NatsServer, more: &str) -> String {
    format!("[[forward]]\nname = 'warehouse'\nurl = '{}'\ntimeout_ms = 2000\n{more}\n", nats.url())
}

async fn ask(nats: &NatsServer, what: &str, body: &Value) -> Value {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let answer = client.request(format!("$JS.API.{what}"), body.to_string().into()).await;
    serde_json::from_slice(&answer.unwrap().payload).unwrap()
}

/// The events of the stream, in its order, once there are so many.
async fn events(nats: &NatsServer, count: u64) -> Vec<Value> {
    eventually("they are in the stream", || async {
        let info = ask(nats, "STREAM.INFO.TRTC_EVENTS", &json!({})).await;
        info["state"]["messages"].as_u64() >= Some(count)
    })
    .await;
    let last = ask(nats, "STREAM.INFO.TRTC_EVENTS", &json!({})).await["state"]["last_seq"].clone();
    let mut events = Vec::new();
    for seq in 1..=last.as_u64().unwrap() {
        let message = ask(nats, "STREAM.MSG.GET.TRTC_EVENTS", &json!({ "seq": seq })).await;
        let text = STANDARD.decode(message["message"]["data"].as_str().unwrap()).unwrap();
        events.push(serde_json::from_slice(&text).unwrap());
    }
    events
}

on_both_stores! {
    async fn events_reach_the_stream_once_past_an_outage_of_nats(database: Database) {
        let Some(mut nats) = NatsServer::start().await else { return };
        let settings = || with(&database, &destination(&nats, "create_stream = true"));
        let server = Server::start_with(settings()).await;
        known(&database, "warehouse").await;
        post_rooms(&server, 4, 10).await;
        assert_eq!(events(&nats, 40).await.len(), 40);

        nats.kill();
        post(&server, 0..20).await;
        in_state(&database, "warehouse", "failing").await;
        nats.run().await;
        resume(&database, "warehouse").await;
        let events = events(&nats, 60).await;
        in_state(&database, "warehouse", "running").await;
        let used = "select count(*) from delivery_exceptions where attempts > 0";
        assert_eq!(database.count(used).await, 0, "no attempt is used up");

        let ids: HashSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!((events.len(), ids.len()), (60, 60));
        for number in 0..4 {
            let room = format!("r{number}");
            let of_room = events.iter().filter(|event| event["data"]["room_id"] == room.as_str());
            let positions: Vec<_> = of_room.map(|event| event["data"]["position"].as_i64()).collect();
            assert!(positions.len() == 10 && positions.is_sorted(), "{positions:?}");
        }
        server.stop().await;
    }
}

/// The `forward test` of a destination; waits for it while the test's own tasks go on.
fn sample(nats: &NatsServer, more: &str, name: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trtc.toml"), destination(nats, more)).unwrap();
    let arguments = ["forward", "test", name, "--config", "trtc.toml"];
    let output = run(folder.path(), &[&arguments[..], &["--json"]].concat());
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.success(), texts.concat())
}

#[tokio::test]
async fn a_sample_is_acked_by_the_stream_or_says_why_not() {
    let Some(mut nats) = NatsServer::start().await else { return };
    let (is_taken, said) = sample(&nats, "", "warehouse");
    assert!(!is_taken && said.contains("error: warehouse did not take the sample: no stream takes `trtc.events.1400000000.test.test."), "{said}");
    assert!(said.contains("\nhint: events wait, and one is tried after growing pauses"), "{said}");
    let stream =
        json!({"name": "TRTC_EVENTS", "subjects": ["trtc.events.>"], "max_msg_size": 2000});
    ask(&nats, "STREAM.CREATE.TRTC_EVENTS", &stream).await;
    for sequence in [1, 2] {
        let (is_taken, said) = sample(&nats, "stream = 'TRTC_EVENTS'", "warehouse");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert!(is_taken, "{said}");
        assert_eq!((&said["stream"], &said["sequence"]), (&json!("TRTC_EVENTS"), &json!(sequence)));
        assert_eq!((&said["url"], &said["problem"]), (&json!(nats.url()), &Value::Null));
        let message = &events(&nats, sequence).await[usize::try_from(sequence).unwrap() - 1];
        assert_eq!((&message["type"], &message["id"]), (&json!("trtc.test"), &said["id"]));
    }
    let (is_taken, said) = sample(&nats, "stream = 'OTHER'", "warehouse");
    assert!(!is_taken && said.contains("another stream takes the subject: see `stream`"), "{said}");
    assert!(
        said.contains("\nhint: nothing can be sent as it is configured: events wait"),
        "{said}"
    );
    nats.kill();
    let (is_taken, said) = sample(&nats, "", "warehouse");
    assert!(
        !is_taken && said.contains("is a NATS server up there, and may this machine reach it?"),
        "{said}"
    );
}

#[tokio::test]
async fn doctor_names_what_is_wrong_with_a_stream() {
    let Some(nats) = NatsServer::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (store, config) = (folder.path().join("store.db"), folder.path().join("config.toml"));
    std::fs::write(&config, destination(&nats, "stream = 'TRTC_EVENTS'")).unwrap();
    let store = format!("sqlite://{}", store.display());
    let config = config.to_str().unwrap().to_owned();
    let arguments = ["--store", store.as_str(), "--config", config.as_str()];
    done(folder.path(), &["migrate", "--store", store.as_str()]);
    let looked = || examined(folder.path(), &arguments).1;
    let checks = looked();
    assert_check(&checks, "forwarding", "fail", "`warehouse`: there is no stream `TRTC_EVENTS`");
    let mut stream = json!({"name": "TRTC_EVENTS", "subjects": ["trtc.events.>"], "no_ack": true});
    ask(&nats, "STREAM.CREATE.TRTC_EVENTS", &stream).await;
    assert_check(&looked(), "forwarding", "fail", "has `no_ack`");
    stream["no_ack"] = json!(false);
    ask(&nats, "STREAM.UPDATE.TRTC_EVENTS", &stream).await;
    assert_check(&looked(), "forwarding", "ok", "takes its events");
}
