//! What the server looks after at the vendor: registrations that drift, and the list of the vendor's addresses. The real
//! server against the stand-in.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::settings::Settings;
use trtc_callbacks::tencent_api::Product;

use crate::process::program;
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, on_both_stores, settings,
};
use crate::vendor::{APP as APP_ID, KEY, URL};
use crate::vendor_stub::{App, Config, Fault, Options, Stub};

/// As many as no test asks for.
const ALWAYS: u32 = 100_000;
/// On the stand-in's list, and on no list.
const LISTED: &str = "203.0.113.7";
const FOREIGN: &str = "10.9.9.9";

async fn stub(clock: Clock) -> Stub {
    let options = Options { apps: vec![App::new(APP_ID, KEY)], ..Options::new(clock) };
    Stub::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap()
}

/// Settings of a server that looks after the stand-in, changed by variables.
fn looking_after(database: &Database, stub: &Stub, changes: &[(&str, &str)]) -> Settings {
    let mut settings = settings(database, &[&[("TRTC_SECRET_KEY", KEY)], changes].concat());
    settings.apps[0].host = Some(stub.origin());
    settings
}

/// Of one that checks what is registered every second.
fn guarding(database: &Database, stub: &Stub, repair: bool) -> Settings {
    let repair = if repair { "true" } else { "false" };
    let changes = [
        ("TRTC_CALLBACK_URL", URL),
        ("TRTC_REGISTRATION__CHECK_INTERVAL_S", "1"),
        ("TRTC_REGISTRATION__REPAIR", repair),
    ];
    looking_after(database, stub, &changes)
}

/// Of one that takes callbacks from the vendor's list, asks for it every second, and believes a proxy on this machine.
fn listing(database: &Database, stub: &Stub) -> Settings {
    let changes = [
        ("TRTC_AUTH__SOURCE_ADDRESSES", "vendor"),
        ("TRTC_AUTH__SOURCE_REFRESH_S", "1"),
        ("TRTC_AUTH__TRUSTED_PROXIES", "127.0.0.1"),
        ("TRTC_ANSWER__REJECTED", "forbidden"),
    ];
    looking_after(database, stub, &changes)
}

fn wanted(product: Product) -> Config {
    Config { url: URL.to_owned(), commands: product.usual_commands().map(str::to_owned).collect() }
}

fn others() -> Config {
    let commands =
        vec!["Live.CallbackAfterCreateRoom".to_owned(), "Live.CallbackAfterNewThing".to_owned()];
    Config { url: "https://others.example.com/s3cret".to_owned(), commands }
}

fn register_all(stub: &Stub) {
    for product in Product::ALL {
        stub.put(APP_ID, product.service(), Some(wanted(product)));
    }
}

fn drift(product: Product) -> String {
    format!("trtc_registration_drift{{app=\"{APP}\",product=\"{product}\"}}")
}

/// Waits until a series has this value.
async fn comes(server: &Server, series: &str, value: u64) {
    let line = format!("{series} {value}");
    let is_so = || async { server.get_ops("/metrics").await.1.lines().any(|found| found == line) };
    eventually(&line, is_so).await;
}

/// Waits until a counter is at least this.
async fn counts(server: &Server, series: &str, least: u64) {
    eventually(series, || async { server.figures().await.value(series) >= least }).await;
}

/// The anomalies of a state, by product.
async fn anomalies(server: &Server, resolved: bool) -> Vec<Value> {
    let path = format!("/api/v1/anomalies?kind=registration_drift&resolved={resolved}");
    let (status, text) = server.get_ops(&path).await;
    assert_eq!(status, 200, "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    let mut items = list["items"].as_array().unwrap().clone();
    items.sort_by_key(|item| item["subject"].as_str().unwrap().to_owned());
    items
}

fn subjects(anomalies: &[Value]) -> Vec<&str> {
    anomalies.iter().map(|item| item["subject"].as_str().unwrap()).collect()
}

async fn page(server: &Server) -> String {
    let (status, html) = server.get_ops("/settings").await;
    assert_eq!(status, 200, "{html}");
    for secret in [KEY, "a-secret-path", "s3cret"] {
        assert!(!html.contains(secret), "{secret} stands in {html}");
    }
    html
}

/// Posts as if from this address; returns the status.
async fn post_from(server: &Server, number: usize, address: &str) -> u16 {
    let url = format!("{}/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}", server.url);
    let request = server.client.post(url).header("X-Forwarded-For", address);
    request.body(destroy_room(number)).send().await.unwrap().status().as_u16()
}

/// Waits until the address is taken from, or is not.
async fn is_taken(server: &Server, address: &str, taken: bool) {
    let status = if taken { 200 } else { 403 };
    let is_so = || async { post_from(server, 0, address).await == status };
    eventually(&format!("{address} is answered {status}"), is_so).await;
}

/// An answer with this list, whatever is asked for.
fn list(entries: &str) -> Fault {
    Fault::Text(format!(r#"{{"ActionStatus":"OK","ErrorCode":0,"IPList":[{entries}]}}"#))
}

on_both_stores! {
    async fn a_drift_is_listed_until_the_registration_is_right(database: Database) {
        let stub = stub(Clock::manual(NOW)).await;
        let server = Server::start_with(guarding(&database, &stub, false)).await;
        let nothing = || async { subjects(&anomalies(&server, false).await) == ["call", "live", "room"] };
        eventually("nothing is registered yet, which is listed", nothing).await;
        register_all(&stub);
        for product in Product::ALL {
            comes(&server, &drift(product), 0).await;
        }
        eventually("all is right", || async { anomalies(&server, false).await.is_empty() }).await;
        assert_eq!(subjects(&anomalies(&server, true).await), ["call", "live", "room"]);
        let html = page(&server).await;
        assert_eq!(html.matches("b-right").count(), 3, "{html}");

        server.clock.set(NOW.plus(Duration::from_mins(5)));
        let asked = || stub.seen().iter().filter(|seen| seen.path == "live_config/get_callback").count();
        let before = asked();
        stub.put(APP_ID, "live_config", Some(others()));
        comes(&server, &drift(Product::Live), 1).await;
        // One may have been under way, the next one is within an interval.
        assert!(asked() <= before + 2);
        comes(&server, &drift(Product::Call), 0).await;
        eventually("it is listed", || async { anomalies(&server, false).await.len() == 1 }).await;
        let listed = anomalies(&server, false).await.remove(0);
        assert_eq!((&listed["subject"], &listed["happened_at"]), (&"live".into(), &"2026-11-01T12:05:00.000Z".into()));
        let detail = listed["detail"].as_str().unwrap();
        for said in ["https://others.example.com/…", "registered, not wanted: Live.CallbackAfterNewThing"] {
            assert!(detail.contains(said), "{detail}");
        }
        assert!(!detail.contains("s3cret") && !detail.contains("a-secret-path"), "{detail}");
        let html = page(&server).await;
        for said in ["b-differs", "https://others.example.com/…", "https://callbacks.example.com/…", "CallbackAfterNewThing"] {
            assert!(html.contains(said), "no {said} in {html}");
        }
        assert!(server.get_ops("/anomalies").await.1.contains("href=\"/settings\""));
        // What is looked at costs the vendor nothing more.
        assert!(stub.seen().iter().all(|seen| seen.action() == "get_callback"));

        stub.put(APP_ID, "live_config", Some(wanted(Product::Live)));
        comes(&server, &drift(Product::Live), 0).await;
        eventually("it is over", || async { anomalies(&server, false).await.is_empty() }).await;
        assert_eq!(subjects(&anomalies(&server, true).await), ["call", "live", "live", "room"]);
        server.stop().await;
    }

    async fn a_drift_is_corrected_where_configured(database: Database) {
        let stub = stub(Clock::manual(NOW)).await;
        register_all(&stub);
        let server = Server::start_with(guarding(&database, &stub, true)).await;
        comes(&server, &drift(Product::Live), 0).await;
        assert!(stub.seen().iter().all(|seen| seen.action() == "get_callback"));
        stub.put(APP_ID, "live_config", Some(others()));
        stub.put(APP_ID, "call_config", None);
        for product in [Product::Live, Product::Call] {
            let is_right = || async { stub.config(APP_ID, product.service()) == Some(wanted(product)) };
            eventually("it is put right", is_right).await;
        }
        counts(&server, "trtc_registration_checks_total{result=\"repaired\"}", 2).await;
        comes(&server, &drift(Product::Live), 0).await;
        eventually("it is listed as over", || async { anomalies(&server, true).await.len() == 2 }).await;
        for listed in anomalies(&server, true).await {
            assert!(listed["detail"].as_str().unwrap().ends_with("; put right by this server"), "{listed}");
        }
        assert!(anomalies(&server, false).await.is_empty());
        assert!(page(&server).await.contains("put right by this server"));
        server.stop().await;
    }

    async fn a_listed_drift_survives_a_restart_until_checked(database: Database) {
        let first = stub(Clock::manual(NOW)).await;
        let server = Server::start_with(guarding(&database, &first, false)).await;
        eventually("it is listed", || async { anomalies(&server, false).await.len() == 3 }).await;
        server.stop().await;
        drop(first);

        let second = stub(Clock::manual(NOW)).await;
        second.fail("get_callback", ALWAYS, Fault::Code(70_009));
        let server = Server::start_with(guarding(&database, &second, false)).await;
        counts(&server, "trtc_registration_checks_total{result=\"failed\"}", 3).await;
        comes(&server, "trtc_anomalies{kind=\"registration_drift\"}", 3).await;
        assert_eq!(anomalies(&server, false).await.len(), 3);
        server.stop().await;

        // Whoever does not look after them any more does not list them either.
        let server = Server::start(&database).await;
        eventually("nobody knows", || async { anomalies(&server, false).await.is_empty() }).await;
        let html = page(&server).await;
        assert!(html.contains("registration.check_interval_s</code> is 0"), "{html}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_correct_drift_do_not_conflict() {
    let database = Database::postgres().await;
    let stub = stub(Clock::manual(NOW)).await;
    let one = Server::start_with(guarding(&database, &stub, true)).await;
    let two = Server::start_with(guarding(&database, &stub, true)).await;
    for round in 0..3 {
        stub.put(APP_ID, "live_config", (round > 0).then(others));
        stub.put(APP_ID, "room_config", None);
        for product in Product::ALL {
            let is_right =
                || async { stub.config(APP_ID, product.service()) == Some(wanted(product)) };
            eventually("it is put right", is_right).await;
        }
    }
    let all = |result: &str| format!("trtc_registration_checks_total{{result=\"{result}\"}}");
    let sum = async |result: &str| {
        let series = all(result);
        one.figures().await.value(&series) + two.figures().await.value(&series)
    };
    eventually("the repairs are counted", || async { sum("repaired").await >= 7 }).await;
    assert_eq!(sum("failed").await, 0);
    // Each lists its own.
    let is_listed = || async {
        subjects(&anomalies(&one, true).await).iter().filter(|subject| **subject == "room").count()
            > 0
    };
    eventually("repairs are listed, whoever settles", is_listed).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_vendor_api_loses_no_callback() {
    let database = Database::sqlite();
    let stub = stub(Clock::manual(NOW)).await;
    for fault in [
        Fault::DelayMs(7000),
        Fault::Drop,
        Fault::Status(500),
        Fault::Text("{".repeat(5000)),
        Fault::Long(2 << 20),
    ] {
        stub.fail("live_config/get_callback", 1, fault.clone());
        stub.fail("room_config/get_callback", 1, fault.clone());
        stub.fail("GetIPList", 1, fault);
    }
    stub.fail("call_config/get_callback", ALWAYS, Fault::Code(70_009));
    let mut settings = guarding(&database, &stub, true);
    settings.auth.source_addresses = ["vendor", "127.0.0.1"].map(str::to_owned).to_vec();
    settings.auth.source_refresh_s = 1;
    let server = Server::start_with(settings).await;
    let failed = || async {
        let figures = server.figures().await;
        figures.value("trtc_registration_checks_total{result=\"failed\"}") >= 3
            && figures.value("trtc_vendor_list_refreshes_total{result=\"failed\"}") >= 2
    };
    // Until the slow answers and the broken ones have come.
    let (begun, mut posted) = (Instant::now(), 0);
    while !failed().await {
        let asked = Instant::now();
        server.post_body(DESTROY_ROOM, destroy_room(posted)).await;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        posted += 1;
        assert!(begun.elapsed() < Duration::from_mins(2), "the vendor's API did not fail");
    }
    assert!(posted > 0);
    assert_eq!(database.rows().await, i64::try_from(posted).unwrap());
    assert_eq!(server.figures().await.outcome("stored"), posted as u64);

    let failing = || async { page(&server).await.contains("70009") };
    eventually("the page says why", failing).await;
    let html = page(&server).await;
    for said in ["b-unknown", "RequestId <bdi class=\"id\">Id-", "hint: "] {
        assert!(html.contains(said), "no {said} in {html}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_vendors_list_applies_without_a_restart() {
    let database = Database::sqlite();
    let stub = stub(Clock::manual(NOW)).await;
    let server = Server::start_with(listing(&database, &stub)).await;
    comes(&server, "trtc_vendor_networks", 4).await;
    // Of both kinds.
    for (number, (address, status)) in [
        (LISTED, 200),
        ("198.51.100.9", 200),
        ("192.0.2.77", 200),
        (FOREIGN, 403),
        ("127.0.0.1", 403),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(post_from(&server, number, address).await, status, "{address}");
    }
    assert_eq!(database.rows().await, 3);
    assert!(!server.get_ops("/readyz").await.1.contains("addresses"));
    let html = page(&server).await;
    assert!(html.contains("4 ranges"), "{html}");

    stub.fail("GetIPList", ALWAYS, list(&format!("\"{FOREIGN}\"")));
    is_taken(&server, FOREIGN, true).await;
    is_taken(&server, LISTED, false).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_or_broken_list_never_replaces_a_good_one() {
    for (answer, adds) in [
        (list(""), false),
        (list(&format!("\"{FOREIGN}\", \"x.y.z\"")), true),
        (Fault::Code(60_008), false),
        (Fault::Drop, false),
        (Fault::Text("[]".to_owned()), false),
    ] {
        let database = Database::sqlite();
        let stub = stub(Clock::manual(NOW)).await;
        let server = Server::start_with(listing(&database, &stub)).await;
        comes(&server, "trtc_vendor_networks", 4).await;
        stub.fail("GetIPList", ALWAYS, answer);
        counts(&server, "trtc_vendor_list_refreshes_total{result=\"failed\"}", 1).await;
        assert_eq!(post_from(&server, 1, LISTED).await, 200);
        assert_eq!(post_from(&server, 2, FOREIGN).await, if adds { 200 } else { 403 });
        let html = page(&server).await;
        assert!(html.contains("hint: ") && html.contains(" ranges"), "{html}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_list_all_sources_are_admitted_with_a_warning() {
    for answer in [list(""), list("\"203.0.113.7\", 7"), Fault::Status(500)] {
        let database = Database::sqlite();
        let stub = stub(Clock::manual(NOW)).await;
        stub.fail("GetIPList", ALWAYS, answer);
        let server = Server::start_with(listing(&database, &stub)).await;
        counts(&server, "trtc_vendor_list_refreshes_total{result=\"failed\"}", 1).await;
        assert_eq!(post_from(&server, 1, FOREIGN).await, 200);
        assert_eq!(database.rows().await, 1);
        assert_eq!(server.figures().await.value("trtc_vendor_networks"), 0);
        let (status, text) = server.get_ops("/readyz").await;
        assert_eq!(status, 200);
        assert!(
            text.contains("addresses: the vendor's list is not known yet, all are let in"),
            "{text}"
        );
        assert!(page(&server).await.contains("none yet: all addresses are let in"));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cached_list_survives_a_restart_without_the_vendors_api() {
    let database = Database::sqlite();
    let stub = stub(Clock::manual(NOW)).await;
    let settings = listing(&database, &stub);
    let file = settings.spool.path.with_file_name("vendor-addresses.json");
    let server = Server::start_with(settings.clone()).await;
    counts(&server, "trtc_vendor_list_refreshes_total{result=\"done\"}", 1).await;
    server.stop().await;
    drop(stub);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let server = Server::start_with(settings.clone()).await;
    assert_eq!(post_from(&server, 1, FOREIGN).await, 403);
    assert_eq!(post_from(&server, 2, LISTED).await, 200);
    counts(&server, "trtc_vendor_list_refreshes_total{result=\"failed\"}", 1).await;
    assert_eq!(post_from(&server, 3, FOREIGN).await, 403);
    server.stop().await;

    // What cannot be read is no list.
    std::fs::write(&file, "{").unwrap();
    let server = Server::start_with(settings).await;
    assert_eq!(post_from(&server, 4, FOREIGN).await, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_the_vendors_api_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let stub = stub(Clock::system()).await;
    // Says back what it was sent.
    for action in ["call_config/get_callback", "live_config/update_callback", "GetIPList"] {
        stub.fail(action, 2, Fault::Echo(100_001));
    }
    stub.put(APP_ID, "live_config", Some(others()));
    let text = format!(
        "[log]\nfilter = \"trace\"\n[registration]\ncheck_interval_s = 1\nrepair = true\n\
         [auth]\nsource_addresses = \"vendor\"\nsource_refresh_s = 1\n\
         [[apps]]\nsdk_app_id = {APP}\nsecret_key = \"{KEY}\"\nhost = \"{}\"\n\
         [apps.callbacks]\nurl = \"{URL}\"\n",
        stub.origin()
    );
    std::fs::write(folder.path().join("my.toml"), text).unwrap();
    let log = folder.path().join("log");
    let mut serving = program(folder.path())
        .args([
            "serve",
            "--config",
            "my.toml",
            "--listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
        ])
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let all_right = || async {
        Product::ALL
            .into_iter()
            .all(|product| stub.config(APP_ID, product.service()) == Some(wanted(product)))
    };
    eventually("all is registered", all_right).await;
    stub.put(APP_ID, "room_config", None);
    eventually("it is put right again", all_right).await;
    let kept = folder.path().join("data/vendor-addresses.json");
    eventually("the list is kept", || async { kept.exists() }).await;
    let id = serving.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(serving.wait().unwrap().success());
    let log = std::fs::read_to_string(log).unwrap();
    // What the HTTP library says at trace level is its own affair, and off by default.
    let ours: Vec<&str> =
        log.lines().filter(|line| line.contains("\"target\":\"trtc_callbacks")).collect();
    assert!(ours.iter().any(|line| line.contains("put right what is registered")), "{log}");
    for line in ours {
        for secret in [KEY, "usersig=", "a-secret-path", "s3cret", "eJ"] {
            assert!(!line.contains(secret), "{secret} stands in {line}");
        }
    }
    assert!(!log.contains(KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_check_config_know_the_vendors_list() {
    let folder = tempfile::tempdir().unwrap();
    let stub = stub(Clock::system()).await;
    let origin = stub.origin();
    let examine = move |entries: &'static str| {
        let text = format!(
            "[ops]\nlisten = \"127.0.0.1:1\"\n[auth]\nsource_addresses = [\"vendor\", \"127.0.0.1\"]\n\
             [[apps]]\nsdk_app_id = {APP}\nsecret_key = \"{KEY}\"\nhost = \"{origin}\"\n"
        );
        std::fs::write(folder.path().join("my.toml"), text).unwrap();
        if !entries.is_empty() {
            std::fs::create_dir_all(folder.path().join("data")).unwrap();
            std::fs::write(folder.path().join("data/vendor-addresses.json"), entries).unwrap();
        }
        let run = |command: &str| {
            let output =
                program(folder.path()).args([command, "--config", "my.toml"]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        (run("doctor"), run("check-config"))
    };
    let examined = tokio::task::spawn_blocking(move || {
        let old =
            r#"{"fetched_at":"2020-01-01T00:00:00.000Z","china":["203.0.113.7/32"],"overseas":[]}"#;
        ["", "{", old].map(&examine)
    })
    .await
    .unwrap();
    let expected = [
        "warn  vendor's addresses: there is no data/vendor-addresses.json yet",
        "fail  vendor's addresses: data/vendor-addresses.json: ",
        "warn  vendor's addresses: data/vendor-addresses.json has 1 ranges, fetched 2020-01-01",
    ];
    for ((doctor, config), expected) in examined.iter().zip(expected) {
        assert!(doctor.contains(expected), "{doctor}");
        assert!(
            doctor.contains("ok    vendor's addresses: the vendor returned 4 ranges"),
            "{doctor}"
        );
        assert!(config.contains("from 127.0.0.1\n"), "{config}");
        assert!(config.contains("from the vendor's list, refreshed every 86400 s"), "{config}");
    }
}
