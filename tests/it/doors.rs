//! Who is let in: by address, by signature, and at the operations listener.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use protocol::UnixMillis;
use protocol::source_filter::Networks;
use protocol::verify::sign;
use protocol::{Admission, AppId, Apps, Event};
use receiver::{Outcome, Receiver, Sink, callback_router};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::http::RequestObserver;
use trtc_callbacks::telemetry::Metrics;

use crate::support::{
    APP, DESTROY_ROOM, Database, Figures, NOW, OK, Server, destroy_room, settings,
};

async fn server(changes: &[(&str, &str)]) -> (Database, Server) {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, changes)).await;
    (database, server)
}

/// Posts an event that names these addresses in `X-Forwarded-For`, one line each; returns the status.
async fn post_for(server: &Server, number: usize, forwarded: &[&str]) -> (u16, String) {
    let url = format!("{}/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}", server.url);
    let mut request = server.client.post(url).body(destroy_room(number));
    for line in forwarded {
        request = request.header("X-Forwarded-For", *line);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_from_elsewhere_is_answered_and_not_stored() {
    let (database, server) =
        server(&[("TRTC_AUTH__SOURCE_ADDRESSES", "203.0.113.0/24, ::2")]).await;
    for (number, forwarded) in [&[][..], &["203.0.113.9"]].into_iter().enumerate() {
        assert_eq!(post_for(&server, number, forwarded).await, (200, OK.to_owned()));
    }
    assert_eq!(database.rows().await, 0);
    assert_eq!(server.figures().await.outcome("rejected_address_foreign"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_from_a_listed_address_is_stored() {
    let (database, server) = server(&[("TRTC_AUTH__SOURCE_ADDRESSES", "127.0.0.0/8")]).await;
    // Nobody is a trusted proxy, so this is not believed.
    post_for(&server, 0, &["192.0.2.1"]).await;
    assert_eq!(database.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_proxys_forwarded_address_is_believed() {
    let changes = [
        ("TRTC_AUTH__SOURCE_ADDRESSES", "203.0.113.0/24"),
        ("TRTC_AUTH__TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8"),
        ("TRTC_ANSWER__REJECTED", "forbidden"),
    ];
    let (database, server) = server(&changes).await;
    for (number, (forwarded, status)) in [
        (&["203.0.113.9"][..], 200),
        (&["192.0.2.1, 203.0.113.9", "10.0.0.3"], 200),
        (&["203.0.113.9, 192.0.2.1"], 403),
        (&["203.0.113.9", "192.0.2.1"], 403),
        (&["203.0.113.9, nobody"], 403),
        (&["203.0.113.9, [fd00::1]:80"], 403),
        (&["203.0.113.9, [::ffff:10.0.0.3], 10.0.0.4:80"], 200),
        (&[], 403),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(post_for(&server, number, forwarded).await.0, status, "{forwarded:?}");
    }
    assert_eq!(database.rows().await, 3);
    assert_eq!(server.figures().await.outcome("rejected_address_foreign"), 5);
}

/// A sink of somebody's own, which says this, or panics.
struct Own(Option<Outcome>);

#[async_trait]
impl Sink for Own {
    async fn submit(&self, _: Event, _: Instant) -> Outcome {
        self.0.expect("it panics")
    }
}

/// A receiver that hands events to such a sink, and its figures.
fn own_receiver(says: Option<Outcome>, tokens: Vec<SecretString>) -> (Receiver, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), tokens);
    let receiver = Receiver::new(apps, Arc::new(Own(says)))
        .with_observer(Arc::new(RequestObserver::new(metrics.clone())));
    (receiver, metrics)
}

/// Serves it as an app of somebody's own does. Returns its address.
async fn serve_own(receiver: Receiver) -> (String, AbortOnDropHandle<()>) {
    let router = callback_router(receiver, &["/".to_owned()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/?SdkAppid={APP}", listener.local_addr().unwrap());
    let serve = async { axum::serve(listener, router).await.unwrap() };
    (url, AbortOnDropHandle::new(tokio::spawn(serve)))
}

async fn post_to(url: &str) -> (u16, String) {
    let client = trtc_callbacks::tencent_api::http_client()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let answer = client.post(url).body("{}").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_sink_panics_is_answered_and_counted_as_lost() {
    let (receiver, metrics) = own_receiver(None, Vec::new());
    let (url, _served) = serve_own(receiver).await;
    assert_eq!(post_to(&url).await, (200, OK.to_owned()));
    let figures = Figures(metrics.handle().render());
    assert_eq!(figures.outcome("not_stored"), 1);
    assert_eq!(figures.value("trtc_last_resort_total{result=\"lost\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_signature_is_counted_for_spooled_events_too() {
    let (receiver, metrics) = own_receiver(Some(Outcome::Spooled), vec!["t".into()]);
    let clock = Clock::manual(NOW);
    let (url, _served) = serve_own(receiver.with_clock({
        let clock = clock.clone();
        move || clock.now()
    }))
    .await;
    let time = NOW.as_secs();
    let url = format!("{url}&Sign={}&RequestTime={time}", sign(&"t".into(), &time.to_string()));
    for (seconds, reused) in [(0, 0), (30, 1)] {
        clock.set(NOW.plus(Duration::from_secs(seconds)));
        assert_eq!(post_to(&url).await.0, 200);
        let figures = Figures(metrics.handle().render());
        assert_eq!(figures.outcome("spooled"), reused + 1);
        assert_eq!(figures.value("trtc_sign_reused_total"), reused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_receiver_without_peers_rejects_under_a_list() {
    let sources = Networks::parse(["0.0.0.0/0", "::/0"]).unwrap();
    let (receiver, metrics) = own_receiver(Some(Outcome::New), Vec::new());
    let receiver = receiver.with_admission(Admission::new(sources, Networks::default()));
    let (url, _served) = serve_own(receiver).await;
    assert_eq!(post_to(&url).await.0, 200);
    let figures = Figures(metrics.handle().render());
    assert_eq!(figures.outcome("rejected_address_foreign"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_reused_for_another_event_is_counted_and_stored() {
    let (database, server) = server(&[("TRTC_CALLBACK_TOKEN", "t")]).await;
    let time = NOW.as_secs();
    let sign = sign(&SecretString::from("t"), &time.to_string());
    let path =
        format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&Sign={sign}&RequestTime={time}");
    let post = async |seconds: i64, number| {
        server.clock.set(UnixMillis(NOW.0 + seconds * 1000));
        server.post_raw(&path, destroy_room(number).into_bytes()).await;
        server.figures().await.value("trtc_sign_reused_total")
    };
    // Two events of one second, and the vendor's retry of the first.
    assert_eq!(post(0, 0).await, 0);
    assert_eq!(post(1, 1).await, 0);
    assert_eq!(post(30, 0).await, 0);
    // Something new under it after half a minute.
    assert_eq!(post(30, 2).await, 1);
    assert_eq!(database.rows().await, 3);
    let figures = server.figures().await;
    assert_eq!((figures.outcome("stored"), figures.outcome("duplicate")), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ops_response_has_the_security_headers() {
    let (_database, server) = server(&[("TRTC_OPS__TOKEN", "s3cret")]).await;
    // A page leads to the one to sign in at.
    for (path, status) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 401),
        ("/api/nothing", 401),
        ("/", 200),
        ("/nothing", 404),
    ] {
        let answer = server.client.get(format!("{}{path}", server.ops_url)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("x-frame-options", "DENY"),
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                 form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ),
        ] {
            assert_eq!(answer.headers()[name], value, "{path}");
        }
    }
    let post = server.client.post(format!("{}/livez", server.ops_url)).send().await.unwrap();
    assert_eq!(post.status(), 405);
    assert_eq!(post.headers()["x-frame-options"], "DENY");
}

/// A web page's own name may lead to 127.0.0.1 all of a sudden, and its scripts with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_header_does_not_open_the_ops_listener() {
    let ask = async |server: &Server, host: &str| {
        let url = format!("{}/metrics", server.ops_url);
        let answer = server.client.get(url).header("Host", host).send().await.unwrap();
        assert_eq!(answer.headers()["x-frame-options"], "DENY");
        answer.status().as_u16()
    };
    let (_database, open) = server(&[]).await;
    for (host, status) in [
        ("127.0.0.1:9090", 200),
        ("localhost:9090", 200),
        ("[::1]:9090", 200),
        ("evil.example", 403),
        ("evil.example:9090", 403),
        ("localhost.evil.example", 403),
    ] {
        assert_eq!(ask(&open, host).await, status, "{host}");
    }
    // With a token no page can ask, whatever its name.
    let (_database, closed) = server(&[("TRTC_OPS__TOKEN", "s3cret")]).await;
    assert_eq!(ask(&closed, "metrics.internal").await, 401);
}
