//! How many requests a second the client sends to a receiver on this machine that takes 1 ms: `cargo run --example send_rate`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use forward::destination::checked::TlsFiles;
use forward::http::header::HeaderMap;
use forward::http::{Client, ClientSettings, Guard, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const REQUESTS: usize = 20_000;
const IN_FLIGHT: usize = 64;
const BODY_BYTES: usize = 1200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut receiver = JoinSet::new();
    receiver.spawn(receive(listener));
    for in_flight in [1, 8, IN_FLIGHT] {
        let requests = REQUESTS * in_flight / IN_FLIGHT;
        let (mut durations, elapsed) = send(address, requests, in_flight).await?;
        durations.sort_unstable();
        let percentile = |part: usize| durations[(requests - 1) * part / 100];
        println!(
            "{in_flight:>2} in flight: {:>6} requests/s, p50 {:.1?}, p99 {:.1?}",
            requests as u128 * 1000 / elapsed.as_millis(),
            percentile(50),
            percentile(99),
        );
    }
    Ok(())
}

async fn send(
    address: SocketAddr,
    requests: usize,
    in_flight: usize,
) -> Result<(Vec<Duration>, Duration), Box<dyn std::error::Error>> {
    let settings = ClientSettings {
        url: format!("http://{address}/hook").parse()?,
        timeout: Duration::from_secs(15),
        connect_timeout: Duration::from_secs(5),
        tls: TlsFiles::default(),
        proxy: None,
    };
    let client = Client::new(settings, Guard::default())?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let mut durations = Vec::with_capacity(requests);
    for _ in 0..requests {
        if tasks.len() == in_flight {
            durations.extend(tasks.join_next().await.transpose()?);
        }
        let client = client.clone();
        tasks.spawn(async move {
            let body = vec![b'x'; BODY_BYTES];
            let attempt = client.send(Request { headers: HeaderMap::new(), body }).await;
            assert_eq!(attempt.status, Some(200), "{attempt:?}");
            attempt.duration
        });
    }
    durations.extend(tasks.join_all().await);
    Ok((durations, started.elapsed()))
}

async fn receive(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let service = service_fn(async |request: hyper::Request<Incoming>| {
                request.into_body().collect().await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok::<_, hyper::Error>(hyper::Response::new(Full::new(Bytes::from_static(b"ok"))))
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection broke: {error}");
            }
        });
    }
}
