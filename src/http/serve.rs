//! The accept loop, with a bound on everything a client can make it wait for or keep. (`axum::serve` sets none.)

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// What one listener grants its clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many connections are served at once; more wait to be accepted.
    pub connections_max: usize,
    /// How long a request's head may take, and an idle connection stay.
    pub header_timeout: Duration,
    /// How large a request's head may be, in bytes.
    pub header_bytes_max: usize,
    /// How long requests are still taken once the server is to stop.
    pub drain: Duration,
    /// How long requests under way may take after that.
    pub shutdown_timeout: Duration,
}

/// Serves `router` until `stop` is cancelled and some time more; then takes no more connections, lets requests under way
/// finish, and returns. HTTP/1.1 with keep-alive, as the vendor speaks it.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    open: Gauge,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.header_bytes_max)
        // What is read ahead of the head's end counts too: it is all that a slow head can make us keep.
        .max_buf_size(limits.header_bytes_max);
    let service = TowerToHyperService::new(router);
    let places = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    // For some time after the stop all goes on: hyper closes a connection whose request it has not begun to read, so
    // what is on its way must arrive first.
    let drained = async {
        stop.cancelled().await;
        sleep(limits.drain).await;
    };
    let mut drained = std::pin::pin!(drained);
    loop {
        let (stream, place) = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut drained => break,
        };
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        let (counted, cut) = (Counted::new(&open), cut.clone());
        connections.spawn(async move {
            tokio::select! {
                // An error is the client's fault: a broken head, a slow one, a connection cut.
                ended = connection => if let Err(error) = ended { debug!(%error, "connection ended") },
                () = cut.cancelled() => {}
            }
            drop((counted, place));
        });
    }
    drop(listener);
    connections.close();
    if timeout(limits.shutdown_timeout, graceful.shutdown()).await.is_err() {
        warn!(connections = connections.len(), "requests did not finish in time, cutting them off");
    }
    cut.cancel();
    connections.wait().await;
}

/// An open connection, counted until it is dropped, however that comes about.
struct Counted(Gauge);

impl Counted {
    fn new(open: &Gauge) -> Self {
        open.increment(1);
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// The next connection and its place.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Nobody closes the semaphore, so there is always a place in the end.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer is one small packet: do not hold it back to fill a larger one.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "set TCP_NODELAY");
                }
                return (stream, place);
            }
            Err(error) => {
                // Out of file descriptors, most likely: those of others come free in time.
                warn!(%error, "accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
