//! The least that an HTTP answer takes: it reads the body, drops it, and answers the envelope. `scripts/bench` takes it for
//! a limit that a server which also stores can come near, and not beat. `http-nothing PORT`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::convert::Infallible;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

const OK: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

#[tokio::main]
async fn main() {
    let Some(port) = std::env::args().nth(1) else {
        println!("usage: http-nothing PORT");
        return;
    };
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).await.unwrap();
    let connections = TaskTracker::new();
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let served =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        // That a client goes away is no fault.
        connections.spawn(async { drop(served.await) });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    drop(body);
    let mut response = Response::new(Full::new(Bytes::from_static(OK.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
