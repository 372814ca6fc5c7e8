//! A receiver of the tests' own, and a client for it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forward::destination::checked::TlsFiles;
use forward::http::header::{HeaderMap, HeaderValue};
use forward::http::{Attempt, Client, ClientSettings, FailureClass, Guard, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::names::Names;

/// What a request carries that nothing may show.
pub(crate) const SECRETS: [&str; 4] =
    ["v1,c2lnbmF0dXJl", "Bearer hunter2", "/hook/s3cret", "key=k3y"];

/// Path and query of every destination.
pub(crate) const PATH: &str = "/hook/s3cret?key=k3y";

/// Both ends of a connection, with TLS or without.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Listens on a port of its own for as long as it lives.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    /// Does `script` with each connection.
    pub(crate) async fn start<F, Done>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Done + Send + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut running = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                running.spawn(script(stream));
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    /// Answers each request with these bytes, and keeps the connection.
    pub(crate) async fn answering(answer: impl AsRef<[u8]>) -> Self {
        let answer: Arc<[u8]> = answer.as_ref().into();
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                while read_request(&mut stream).await.is_some() {
                    stream.write_all(&answer).await.unwrap();
                }
            }
        })
        .await
    }

    /// Reads one request, and leaves the rest to `script`.
    pub(crate) async fn after_request<F, Done>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let script = Arc::new(script);
        Self::start(move |mut stream| {
            let script = Arc::clone(&script);
            let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                if read_request(&mut stream).await.is_some() {
                    script(stream).await;
                }
            });
            task
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// How many connections it took.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The next request of a connection, head and body; absent where it ended.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(text);
        }
    }
}

pub(crate) fn settings(url: &str) -> ClientSettings {
    ClientSettings {
        url: url.parse().unwrap(),
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(10),
        tls: TlsFiles::default(),
        proxy: None,
    }
}

/// A client whose names lead nowhere.
pub(crate) fn client(settings: ClientSettings) -> Client {
    Client::with_resolver(settings, Guard::default(), Arc::new(Names::none())).unwrap()
}

/// A request with secrets in it.
pub(crate) fn request() -> Request {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("webhook-id", HeaderValue::from_static("0198f3c0"));
    for (name, value) in [("webhook-signature", SECRETS[0]), ("authorization", SECRETS[1])] {
        let mut value = HeaderValue::from_static(value);
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Request { headers, body: b"{\"type\":\"trtc.test\"}".to_vec() }
}

/// Sends once, and holds that nothing of it shows a secret.
pub(crate) async fn send(client: &Client) -> Attempt {
    let attempt = client.send(request()).await;
    let failure = attempt.failure.as_ref().map(ToString::to_string);
    let shown = format!("{client:?} {attempt:?} {failure:?} {:?}", request());
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    attempt
}

/// The class of a failure, which must be one.
pub(crate) fn class(attempt: &Attempt) -> FailureClass {
    attempt.failure.as_ref().unwrap_or_else(|| panic!("{attempt:?}")).class
}
