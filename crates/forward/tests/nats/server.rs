//! A nats-server of a test's own, on free ports, with its files in a temporary folder.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client as Plain, Request};
use forward::destination::{Destination, DestinationSettings};
use forward::event_columns::EventColumns;
use forward::http::Guard;
use forward::nats::{Attempt, Client, ClientSettings, Message};
use protocol::diagnostic::Diagnostic;
use protocol::event::Payload;
use protocol::{AppId, UnixMillis};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// The program; `None` where there is none, which the test says.
pub(crate) fn program() -> Option<PathBuf> {
    let named = std::env::var_os("TEST_NATS_SERVER").filter(|path| !path.is_empty());
    let found = named.map_or_else(|| PathBuf::from("/usr/sbin/nats-server"), PathBuf::from);
    if found.exists() {
        return Some(found);
    }
    eprintln!("SKIPPED: there is no nats-server on this machine");
    None
}

/// A server. It is killed when it is dropped.
pub(crate) struct Server {
    child: Option<Child>,
    program: PathBuf,
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
}

/// No more settings than every server has: its port and its folder.
pub(crate) const PLAIN: &str = "";

impl Server {
    /// A server that is alone.
    pub(crate) async fn start(config: &str) -> Option<Self> {
        let [port] = free_ports();
        let mut server = Self::prepare(port, config, "")?;
        server.run().await;
        Some(server)
    }

    /// One that does not run yet. `jetstream`: more of its settings.
    pub(crate) fn prepare(port: u16, config: &str, jetstream: &str) -> Option<Self> {
        let program = program()?;
        let folder = TempDir::new().unwrap();
        let store = folder.path().join("store").display().to_string();
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{store}\"\n{jetstream} }}\n{config}\n"
        );
        std::fs::write(folder.path().join("config"), text).unwrap();
        Some(Self { child: None, program, folder, port })
    }

    pub(crate) async fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.folder.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        eventually("it listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
    }

    /// Kills it as -9 does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A client without any of our rules.
    pub(crate) async fn plain(&self) -> Plain {
        async_nats::connect(self.url()).await.unwrap()
    }

    /// A stream of these settings beside a name, `S`, and subjects.
    pub(crate) async fn stream(&self, more: Value) -> Value {
        let mut config = json!({
            "name": "S", "subjects": ["trtc.events.>"], "storage": "file", "retention": "limits",
            "discard": "old", "num_replicas": 1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let subject = format!("STREAM.CREATE.{}", config["name"].as_str().unwrap());
        let answer = ask(&self.plain().await, &subject, &config).await;
        assert_eq!(answer["error"], Value::Null, "{answer}");
        answer
    }

    pub(crate) fn client(&self, change: impl FnOnce(&mut DestinationSettings)) -> Client {
        client(&self.url(), change)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports that were free a moment ago.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Asks `JetStream`.
pub(crate) async fn ask(client: &Plain, what: &str, body: &Value) -> Value {
    let request = Request::new().payload(body.to_string().into());
    let answer = client.send_request(format!("$JS.API.{what}"), request).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

pub(crate) fn destination(url: &str, change: impl FnOnce(&mut DestinationSettings)) -> Destination {
    let no_file = |_: &Path| -> Result<SecretString, Diagnostic> { panic!("no file is read") };
    let mut settings = DestinationSettings::new("warehouse", url);
    settings.timeout_ms = 2_000;
    settings.connect_timeout_ms = 1_000;
    change(&mut settings);
    Destination::check(settings, no_file).unwrap()
}

pub(crate) fn client(url: &str, change: impl FnOnce(&mut DestinationSettings)) -> Client {
    let settings = ClientSettings::of(&destination(url, change)).unwrap();
    Client::new(settings, Guard::default())
}

/// An event of this number, of a call.
pub(crate) fn event(number: u128, call: &str) -> EventColumns {
    EventColumns {
        id: Uuid::from_u128(number),
        position: 7,
        app: AppId::parse("1400000001").unwrap(),
        family: "call".to_owned(),
        command: "Call.CallbackAfterEndCall".to_owned(),
        command_sent: None,
        event_time: UnixMillis(1_795_943_259_235),
        received_at: UnixMillis(1_795_943_259_300),
        call_id: Some(call.to_owned()),
        room_id: Some("r\u{f6}om 1".to_owned()),
        operator: None,
        client_ip: None,
        platform: None,
        decode_error: None,
        payload: Payload::Json("{}".to_owned()),
    }
}

/// Publishes an event with a body of so many bytes.
pub(crate) async fn publish(client: &Client, number: u128, bytes: usize) -> Attempt {
    publish_to(client, number, bytes, None).await
}

/// The same; `stream` is the one that has to take it.
pub(crate) async fn publish_to(
    client: &Client,
    number: u128,
    bytes: usize,
    stream: Option<&str>,
) -> Attempt {
    let target = destination("nats://127.0.0.1", |settings| {
        settings.stream = stream.map(str::to_owned);
    })
    .nats;
    client.publish(Message::new(&target, &event(number, "a"), "x".repeat(bytes), false)).await
}

/// Waits until something holds, 20 s at most.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
