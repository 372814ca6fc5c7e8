//! What the tests share: databases of their own, and the real server on free ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::response::RTC_OK;
use protocol::{Delivery, Dialect, Event, UnixMillis};
use serde::Deserialize;
use sqlx::{Connection, Executor};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::server::{self, Listeners, StartError};
use trtc_callbacks::settings::{Settings, Sources};
use trtc_callbacks::store::{
    self, EventFilter, EventInsert, Inserted, Order, Store, StoreError, StoredEvent,
};

pub(crate) const APP: &str = "1400000001";
/// When the tests' servers think it is: 2026-11-01 12:00 UTC.
pub(crate) const NOW: UnixMillis = UnixMillis(1_793_534_400_000);
pub(crate) const OK: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

/// A database that nobody else uses, gone with this value.
pub(crate) struct Database {
    pub(crate) url: String,
    kind: Kind,
    /// For its file, and for the spools of its servers.
    folder: tempfile::TempDir,
}

enum Kind {
    Sqlite,
    Postgres { admin: String, name: String },
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/deep/er/events.db", folder.path().display());
        Self { url, kind: Kind::Sqlite, folder }
    }

    pub(crate) async fn postgres() -> Self {
        let admin = std::env::var("TEST_POSTGRES_URL")
            .expect("TEST_POSTGRES_URL is not set: run ./scripts/test, which starts a PostgreSQL");
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let mut connection = sqlx::PgConnection::connect(&admin).await.unwrap();
        let create = format!("create database {name} encoding 'UTF8' template template0");
        connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
        connection.close().await.unwrap();
        let (server, _) = admin.rsplit_once('/').unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { url: format!("{server}/{name}"), kind: Kind::Postgres { admin, name }, folder }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.kind, Kind::Postgres { .. })
    }

    /// A place for a spool that no other server uses.
    pub(crate) fn spool(&self) -> String {
        let name = uuid::Uuid::now_v7().simple().to_string();
        self.folder.path().join(name).join("spool.db").display().to_string()
    }

    /// Runs statements past the store, to arrange what a test needs.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            connection.execute(sqlx::raw_sql(sql)).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            connection.execute(sqlx::raw_sql(sql)).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    /// One number.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }

    /// One column of text, with `null` for what is null: a query that is asked until it gives something may be asked before.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        let texts: Vec<Option<String>> = if self.is_postgres() {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        } else {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        };
        texts.into_iter().map(|text| text.unwrap_or_else(|| "null".to_owned())).collect()
    }

    pub(crate) async fn rows(&self) -> i64 {
        self.count("select count(*) from events").await
    }

    /// Waits until every stored event has its position.
    pub(crate) async fn numbered(&self) {
        let markers = "select count(*) from feed_new";
        let all = || async { !self.is_postgres() || self.count(markers).await == 0 };
        eventually("every event has a position", all).await;
    }

    /// Takes the database away from under the server.
    pub(crate) async fn vanish(&self) {
        let Kind::Postgres { admin, name } = &self.kind else {
            panic!("only a PostgreSQL database can vanish");
        };
        let mut connection = sqlx::PgConnection::connect(admin).await.unwrap();
        let drop = format!("drop database {name} with (force)");
        connection.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
    }

    /// The store itself, not yet migrated.
    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        let settings = settings(self, &[]);
        store::open(&settings.store_options()).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Kind::Postgres { admin, name } = &self.kind else {
            return;
        };
        let (admin, drop) = (admin.clone(), format!("drop database if exists {name} with (force)"));
        // A drop cannot wait for a future on the test's own runtime.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = sqlx::PgConnection::connect(&admin).await?;
                connection.execute(sqlx::AssertSqlSafe(drop)).await?;
                Ok::<_, anyhow::Error>(())
            })
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("left behind: database {name}: {error:#}");
        }
    }
}

/// Declares one test for each store; the body takes a [`Database`].
macro_rules! on_both_stores {
    ($(async fn $name:ident($database:ident: Database) $body:block)*) => {
        $(async fn $name($database: crate::support::Database) $body)*

        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(crate::support::Database::sqlite()).await; })*
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(crate::support::Database::postgres().await).await; })*
        }
    };
}
pub(crate) use on_both_stores;

/// Settings for one app on this database, changed by variables as the environment would.
pub(crate) fn settings(database: &Database, changes: &[(&str, &str)]) -> Settings {
    let spool = database.spool();
    let mut env: BTreeMap<String, String> = [
        ("TRTC_SPOOL__PATH", spool.as_str()),
        ("TRTC_SDK_APP_ID", APP),
        ("TRTC_STORE__URL", database.url.as_str()),
        ("TRTC_SERVER__SHUTDOWN_TIMEOUT_MS", "2000"),
    ]
    .into_iter()
    .chain(changes.iter().copied())
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    env.retain(|_, value| !value.is_empty());
    let deadline_matters = env.contains_key("TRTC_INGEST__ACK_DEADLINE_MS");
    let mut settings = Settings::load(&Sources { env, ..Sources::default() }).unwrap();
    if !deadline_matters {
        // More than may be set, so that a busy machine does not turn a slow commit into a lost one.
        (settings.ingest.ack_deadline_ms, settings.ingest.answer_deadline_ms) = (30_000, 35_000);
    }
    settings
}

/// Asks again and again until it is so; fails after half a minute.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let asked = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), asked).await;
    assert!(waited.is_ok(), "waited for nothing: {what}");
}

/// The real server on free ports, in this process.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) ops_url: String,
    pub(crate) client: reqwest::Client,
    pub(crate) clock: Clock,
    stop: CancellationToken,
    running: Option<JoinHandle<Result<(), StartError>>>,
}

impl Server {
    pub(crate) async fn start(database: &Database) -> Self {
        Self::start_with(settings(database, &[])).await
    }

    /// Returns once the store takes events, so no test has to wait for it.
    pub(crate) async fn start_with(settings: Settings) -> Self {
        let server = Self::start_before_its_store(settings).await;
        let stores = || async { !server.get_ops("/readyz").await.1.contains("store: ") };
        eventually("the store takes events", stores).await;
        server
    }

    /// Returns once events are kept, if only by the spool.
    pub(crate) async fn start_before_its_store(settings: Settings) -> Self {
        let bind = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let listeners = Listeners { public: bind().await, ops: bind().await };
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let url = format!("http://{}", address(&listeners.public));
        let ops_url = format!("http://{}", address(&listeners.ops));
        let stop = CancellationToken::new();
        let clock = Clock::manual(NOW);
        let running = tokio::spawn(server::run(settings, listeners, clock.clone(), stop.clone()));
        let client = trtc_callbacks::tencent_api::http_client()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        let server = Self { url, ops_url, client, clock, stop, running: Some(running) };
        let ready = || async { server.get_ops("/readyz").await.0 == 200 };
        eventually("the server is ready", ready).await;
        server
    }

    /// Stops it as SIGTERM would, and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.running.take().unwrap().await.unwrap().unwrap();
    }

    /// Posts to a path and query; returns status, content type and body.
    pub(crate) async fn post_raw(
        &self,
        path_and_query: &str,
        body: Vec<u8>,
    ) -> (u16, String, String) {
        let url = format!("{}{path_and_query}", self.url);
        let answer = self.client.post(url).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let content_type =
            answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let content_type = content_type.to_owned();
        (status, content_type, answer.text().await.unwrap())
    }

    /// Posts a delivery and expects the OK envelope of its dialect.
    pub(crate) async fn post(&self, delivery: &Delivery) {
        let url = format!("{}/?{}", self.url, delivery.query);
        let mut request = self.client.post(url).body(delivery.bytes().unwrap());
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        let ok = match delivery.dialect {
            Dialect::Im => OK,
            Dialect::RtcEngine => RTC_OK,
        };
        assert_eq!(answer.status(), 200, "{}", delivery.query);
        assert_eq!(answer.headers()["content-type"], "application/json", "{}", delivery.query);
        assert_eq!(answer.text().await.unwrap(), ok, "{}", delivery.query);
    }

    /// Posts a body under the usual query and expects the OK envelope.
    pub(crate) async fn post_body(&self, command: &str, body: impl Into<Vec<u8>>) {
        let path = format!("/?SdkAppid={APP}&CallbackCommand={command}&contenttype=json");
        let (status, _, text) = self.post_raw(&path, body.into()).await;
        assert_eq!((status, text.as_str()), (200, OK));
    }

    pub(crate) async fn get_ops(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.ops_url)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn figures(&self) -> Figures {
        Figures(self.get_ops("/metrics").await.1)
    }

    /// Waits until the metric has this value: what is counted after a commit may be seen in the store first.
    pub(crate) async fn shows(&self, series: &str, value: u64) {
        eventually(&format!("{series} is {value}"), || async {
            self.figures().await.value(series) == value
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The text of `/metrics`.
pub(crate) struct Figures(pub String);

impl Figures {
    /// The value of one series, as it stands there.
    pub(crate) fn value(&self, series: &str) -> u64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{}", self.0)).parse().unwrap()
    }

    pub(crate) fn outcome(&self, outcome: &str) -> u64 {
        self.value(&format!("trtc_request_outcomes_total{{outcome=\"{outcome}\"}}"))
    }

    /// All outcomes together.
    pub(crate) fn outcomes(&self) -> u64 {
        let lines = self.0.lines().filter(|line| line.starts_with("trtc_request_outcomes_total{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// Stores events without what they change.
pub(crate) async fn insert_alone(
    store: &Arc<dyn Store>,
    events: &[&Event],
) -> Result<Vec<Inserted>, StoreError> {
    let entries: Vec<EventInsert> =
        events.iter().map(|event| EventInsert::copied(event, &[])).collect();
    store.insert(&entries).await
}

/// Every stored event, the earliest first.
pub(crate) async fn stored(database: &Database) -> Vec<StoredEvent> {
    let store = database.store().await;
    let filter = EventFilter {
        order: Order::Oldest { after: None },
        limit: 100_000,
        ..EventFilter::default()
    };
    let events = store.events(&filter).await.unwrap();
    store.close().await;
    events
}

/// A body of `Room.CallbackAfterDestroyRoom` that no other number gives.
pub(crate) fn destroy_room(number: usize) -> String {
    let time = NOW.0 - 1000 - i64::try_from(number).unwrap();
    format!(
        r#"{{"CallbackCommand":"{DESTROY_ROOM}","Operator_Account":"u{number}","RoomId":"room-{number}","EventTime":{time}}}"#
    )
}

pub(crate) const DESTROY_ROOM: &str = "Room.CallbackAfterDestroyRoom";

/// A fixture: a delivery, and what must be stored of it.
pub(crate) struct Fixture {
    /// Folder and file name without its ending.
    pub(crate) name: String,
    pub(crate) delivery: Delivery,
    pub(crate) stored: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) family: String,
    pub(crate) command: String,
    pub(crate) command_sent: Option<String>,
    /// ms; absent where the received time stands in for it.
    pub(crate) event_time: Option<i64>,
    pub(crate) call_id: Option<String>,
    pub(crate) room_id: Option<String>,
    pub(crate) operator: Option<String>,
    pub(crate) client_ip: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) id_version: usize,
    pub(crate) undecoded: bool,
}

/// Every fixture, in the order of its name.
pub(crate) fn fixtures() -> Vec<Fixture> {
    #[derive(Deserialize)]
    struct Rest {
        stored: Expected,
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/protocol/fixtures");
    let mut fixtures = Vec::new();
    let entries = root.read_dir().unwrap().map(|entry| entry.unwrap().path());
    for folder in entries.filter(|path| path.is_dir()) {
        for file in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
            let text = std::fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(&root).unwrap().with_extension("");
            let name = name.to_str().unwrap().to_owned();
            let fault = |error: String| -> ! { panic!("{name}: {error}") };
            let rest: Rest =
                serde_json::from_str(&text).unwrap_or_else(|error| fault(error.to_string()));
            let delivery = Delivery::parse(&text).unwrap_or_else(|error| fault(error));
            fixtures.push(Fixture { name, delivery, stored: rest.stored });
        }
    }
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(fixtures.len() >= 90, "only {} fixtures", fixtures.len());
    fixtures
}
