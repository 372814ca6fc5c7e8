//! Proxies: one that is configured is used, one of the environment is not.

use std::process::{Command, Stdio};
use std::sync::Arc;

use forward::http::{Client, ClientSettings, FailureClass, Guard};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::names::Names;
use crate::receiver::{PATH, Receiver, class, client, read_request, send, settings};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Sends what it is asked, and answers.
async fn proxy(answer: &'static [u8]) -> (Receiver, mpsc::Receiver<String>) {
    let (sender, requests) = mpsc::channel(8);
    let receiver = Receiver::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                sender.send(request).await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    (receiver, requests)
}

/// Where the test below sends to, in the process that it starts.
const TARGET: &str = "TEST_FORWARD_TARGET";

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(target) = std::env::var(TARGET) {
        runtime.block_on(send_in_a_process_with_proxies(&target));
        return;
    }
    let ((proxy, mut requests), receiver) = runtime
        .block_on(async { (proxy(OK).await, Receiver::answering("HTTP/1.1 204 X\r\n\r\n").await) });
    let url = format!("http://{}", proxy.address);
    let names =
        ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "proxy::a_proxy_of_the_environment_is_not_used", "--nocapture"])
        .envs(names.map(|name| (name, &url)))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env(TARGET, receiver.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // One by the client of the comparison, none by ours.
    assert_eq!((proxy.connections(), receiver.connections()), (1, 1));
    let request = requests.try_recv().unwrap();
    assert!(request.starts_with(&format!("POST {} HTTP/1.1\r\n", receiver.url())), "{request}");
}

async fn send_in_a_process_with_proxies(target: &str) {
    // Makes the TLS library ready, too, which the other client needs.
    let ours = client(settings(target));
    let theirs = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    assert_eq!(theirs.post(target).send().await.unwrap().status(), 200);
    assert_eq!(send(&ours).await.status, Some(204));
}

fn through(proxy: &str, url: &str, names: &Arc<Names>) -> Client {
    let settings = ClientSettings { proxy: Some(proxy.parse().unwrap()), ..settings(url) };
    Client::with_resolver(settings, Guard::default(), names.clone()).unwrap()
}

#[tokio::test]
async fn a_configured_proxy_resolves_the_name() {
    let (proxy, mut requests) = proxy(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    let names = Arc::new(Names::new(&[&["127.0.0.1"]]));
    let port = proxy.address.port();
    let client =
        through(&format!("http://proxy.test:{port}"), &format!("https://hooks.test{PATH}"), &names);
    let attempt = send(&client).await;
    assert_eq!((attempt.status, class(&attempt)), (None, FailureClass::Connect));
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("CONNECT hooks.test:443 HTTP/1.1\r\n"), "{request}");
    assert!(!request.contains("s3cret") && !request.contains("hunter2"), "{request}");
    assert_eq!(names.asked(), ["proxy.test"]);
}

#[tokio::test]
async fn a_configured_proxy_takes_requests_for_own_addresses() {
    let (proxy, mut requests) = proxy(OK).await;
    let names = Arc::new(Names::none());
    let proxy = format!("http://user:hunter3@{}", proxy.address);
    let client = through(&proxy, &format!("http://127.0.0.9{PATH}"), &names);
    let attempt = send(&client).await;
    assert_eq!((attempt.status, &attempt.failure), (Some(200), &None));
    assert!(!format!("{client:?} {attempt:?}").contains("hunter3"));
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with(&format!("POST http://127.0.0.9{PATH} HTTP/1.1\r\n")), "{request}");
    assert!(request.contains("proxy-authorization: Basic "), "{request}");
}

#[tokio::test]
async fn the_name_of_a_proxy_is_judged_too() {
    let names = Arc::new(Names::new(&[&["0.0.0.0"]]));
    let client = through("http://proxy.test:3128", "https://hooks.test/", &names);
    assert_eq!(class(&send(&client).await), FailureClass::BlockedAddress);
}
