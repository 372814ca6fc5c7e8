//! The guard at work: nothing is connected to that is not allowed. The forbidden address is 0.0.0.0, which would lead no further
//! than this machine if the guard failed.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use forward::http::{Attempt, Client, ClientSettings, FailureClass, Guard, HttpClientError};
use protocol::diagnostic::Hint;
use protocol::source_filter::Networks;
use tokio::io::AsyncWriteExt;

use crate::names::{Names, Silence};
use crate::receiver::{Receiver, class, read_request, send, settings};

fn guard(networks: &[&str]) -> Guard {
    Guard::new(Networks::parse(networks.iter().copied()).unwrap())
}

/// A port on which nobody must knock.
struct Trap(TcpListener);

impl Trap {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://hooks.test:{}/hook/s3cret", self.0.local_addr().unwrap().port())
    }

    /// A connection would be in the queue by now, accepted or not.
    fn assert_untouched(&self) {
        assert!(self.0.accept().is_err(), "somebody connected");
    }
}

fn assert_blocked(attempt: &Attempt) -> (String, String) {
    assert_eq!((attempt.status, class(attempt)), (None, FailureClass::BlockedAddress));
    let failure = attempt.failure.as_ref().unwrap();
    (failure.to_string(), failure.hint().unwrap())
}

#[tokio::test]
async fn a_name_that_leads_home_is_refused_before_it_connects() {
    let trap = Trap::new();
    for addresses in [&["127.0.0.1"][..], &["::ffff:127.0.0.1"], &["127.0.0.1", "127.0.0.9"]] {
        let names = Arc::new(Names::new(&[addresses]));
        let settings = settings(&trap.url("https"));
        let client = Client::with_resolver(settings, Guard::default(), names.clone()).unwrap();
        let (problem, hint) = assert_blocked(&send(&client).await);
        assert!(problem.contains("`hooks.test` resolves to"), "{problem}");
        assert!(hint.contains("\"127.0.0.1/32\""), "{hint}");
        assert_eq!(names.asked(), ["hooks.test"]);
        trap.assert_untouched();
    }
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_judged_again() {
    let receiver = Receiver::after_request(async |mut stream| {
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let names = Names::new(&[&["127.0.0.1"], &["127.0.0.2"], &["0.0.0.0"], &["127.0.0.1"]]);
    let url = format!("http://hooks.test:{}/", receiver.address.port());
    let allowed = guard(&["127.0.0.1/32", "0.0.0.0/32"]);
    let client = Client::with_resolver(settings(&url), allowed, Arc::new(names)).unwrap();
    assert_eq!(send(&client).await.status, Some(200));
    let (_, hint) = assert_blocked(&send(&client).await);
    assert_eq!(hint, "add \"127.0.0.2/32\" to forwarding.allow_networks");
    let (problem, hint) = assert_blocked(&send(&client).await);
    assert!(problem.contains("0.0.0.0, an unspecified address"), "{problem}");
    assert!(hint.contains("no setting allows it"), "{hint}");
    assert_eq!(send(&client).await.status, Some(200));
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn of_several_addresses_only_those_allowed_are_tried() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = format!("http://hooks.test:{}/", receiver.address.port());
    let names = Names::new(&[&["127.0.0.3", "::1", "0.0.0.0", "127.0.0.1"]]);
    let allowed = guard(&["127.0.0.1"]);
    let client = Client::with_resolver(settings(&url), allowed, Arc::new(names)).unwrap();
    let attempt = send(&client).await;
    assert_eq!((attempt.status, attempt.peer), (Some(200), Some(receiver.address)));
}

#[tokio::test]
async fn a_name_without_an_address_is_no_connection() {
    for names in [Names::none(), Names::new(&[&[]])] {
        let settings = settings("https://hooks.test/");
        let client = Client::with_resolver(settings, Guard::default(), Arc::new(names)).unwrap();
        let attempt = send(&client).await;
        assert_eq!((attempt.status, class(&attempt)), (None, FailureClass::Dns));
        let problem = attempt.failure.unwrap().to_string();
        assert!(problem.contains("no such name") || problem.contains("no address"), "{problem}");
    }
}

#[tokio::test]
async fn a_name_server_that_does_not_answer_is_a_timeout() {
    let connect_timeout = Duration::from_millis(100);
    let settings = ClientSettings { connect_timeout, ..settings("https://hooks.test/") };
    let client = Client::with_resolver(settings, Guard::default(), Arc::new(Silence)).unwrap();
    let attempt = send(&client).await;
    assert_eq!((attempt.status, class(&attempt)), (None, FailureClass::Timeout));
}

#[tokio::test]
async fn no_client_is_made_for_a_forbidden_literal() {
    for url in ["http://169.254.169.254/", "https://0xa9fea9fe/", "https://[64:ff9b::a9fe:a9fe]/"] {
        let names = Arc::new(Names::none());
        let made = Client::with_resolver(settings(url), guard(&["0.0.0.0/0", "::/0"]), names);
        assert!(matches!(made, Err(HttpClientError::Url(_))), "{url}");
    }
}

#[tokio::test]
async fn a_url_that_no_request_could_name_is_refused() {
    let names = Arc::new(Names::none());
    let url = "https://{{host}}/";
    let made = Client::with_resolver(settings(url), Guard::default(), names);
    assert!(made.unwrap_err().to_string().contains("HTTP cannot carry"));
}

#[tokio::test]
async fn the_system_resolver_is_judged_too() {
    // `localhost` is in the hosts file: nobody is asked about it.
    let trap = Trap::new();
    let url = trap.url("https").replace("hooks.test", "localhost");
    let client = Client::new(settings(&url), Guard::default()).unwrap();
    assert_blocked(&send(&client).await);
    trap.assert_untouched();

    let receiver = Receiver::start(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 204 X\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let url = format!("http://localhost:{}/", receiver.address.port());
    let client = Client::new(settings(&url), guard(&["127.0.0.0/8", "::1"])).unwrap();
    assert_eq!(send(&client).await.status, Some(204));
}

#[tokio::test]
async fn a_host_is_judged_before_there_is_anything_to_send() {
    let trap = Trap::new();
    let client = |guard: Guard, addresses: &[&str]| {
        let names = Arc::new(Names::new(&[addresses]));
        Client::with_resolver(settings(&trap.url("http")), guard, names).unwrap()
    };
    client(Guard::loopback_only(), &["127.0.0.1"]).check_host().await.unwrap();
    let failure = client(Guard::loopback_only(), &["10.0.3.7"]).check_host().await.unwrap_err();
    assert_eq!(failure.class, FailureClass::BlockedAddress);
    assert!(failure.to_string().contains("10.0.3.7, which is not this machine"), "{failure}");
    assert!(failure.hint().unwrap().contains("`--allow-remote`"));
    client(Guard::own_networks(), &["10.0.3.7"]).check_host().await.unwrap();
    client(Guard::own_networks(), &["0.0.0.0"]).check_host().await.unwrap_err();
    let unknown = Client::with_resolver(
        settings(&trap.url("http")),
        Guard::loopback_only(),
        Arc::new(Names::none()),
    );
    let failure = unknown.unwrap().check_host().await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Dns);
    trap.assert_untouched();
}
