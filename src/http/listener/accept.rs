//! The accept loop, with a bound on everything a client can make it wait for or keep. (`axum::serve` sets none.)

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::callback::source_filter::Networks;
use crate::http::listener::connection;
use crate::http::listener::exchange::Exchange;
use crate::http::listener::fd_limit;
use crate::http::listener::preamble::{Look, Looked, Preambles};
use crate::http::listener::slot::{Command, Timeouts};
use crate::http::listener::slots::{ConnectionSlots, SlotGuard};
use crate::http::listener::stop::Stop;
use crate::http::listener::tls::Tls;
use crate::telemetry::Metrics;

/// How long the loop rests after it could not accept.
const REST: Duration = Duration::from_millis(100);
/// How long connections may last once another process accepts in our place.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is warned about that, at most.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// What one listener grants its clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many connections are served at once. For one more, one that is served no request is closed; where there is
    /// none, it waits.
    pub connections_max: usize,
    /// How many more are served while all of those are busy: for requests that are answered at once, such as `/livez`. The
    /// router is to refuse all others on them.
    pub reserved_max: usize,
    /// Peers that stand for many clients. Of all others, who has very many connections loses some before others do.
    pub trusted_proxies: Networks,
    /// How long a request's head may take, and a new connection until its first byte.
    pub header_timeout: Duration,
    /// How large a request's head may be, in bytes.
    pub header_bytes_max: usize,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// How long requests are still taken once the server is to stop.
    pub drain: Duration,
    /// How long requests under way may take after that.
    pub shutdown_timeout: Duration,
}

/// Serves `router` until `stop` is cancelled and some time more; then takes no more connections, lets requests under
/// way finish, and returns. HTTP/1.1 with keep-alive, as the vendor speaks it, over TLS where `tls` is given. What
/// never becomes a request of `router` is counted in `metrics`, and so are connections; without them, nowhere.
///
/// Once it is to stop, each connection is closed with its next answer, which says so: a client that learns of it only when
/// it sends again loses what it sends.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    limits: Limits,
    metrics: Option<Arc<Metrics>>,
    stop: impl Into<Stop>,
) {
    let stop = stop.into();
    let slots = ConnectionSlots::new(
        limits.connections_max,
        limits.reserved_max,
        limits.trusted_proxies.clone(),
    );
    let connections = TaskTracker::new();
    let shared = Arc::new(Shared::new(router, tls, &limits, metrics, stop.clone()));
    // For some time after the stop all goes on: hyper closes a connection whose request it has not begun to read, so
    // what is on its way must arrive first.
    let drained = async {
        tokio::select! {
            () = stop.handed_over.cancelled() => {}
            () = async { stop.asked.cancelled().await; sleep(limits.drain).await } => {}
        }
    };
    let mut drained = std::pin::pin!(drained);
    let mut acceptor = Acceptor { listener, slots: slots.clone(), warned: None, suppressed: 0 };
    loop {
        let (stream, peer, guard) = tokio::select! {
            accepted = acceptor.next() => accepted,
            () = &mut drained => break,
        };
        connections.spawn(shared.clone().attend(stream, peer, guard));
    }
    drop(acceptor);
    connections.close();
    if stop.handed_over.is_cancelled() {
        // Those that stay idle for so long are closed then.
        let _ = timeout(HANDOVER_TIMEOUT, connections.wait()).await;
    }
    slots.call_all(Command::Finish);
    if timeout(limits.shutdown_timeout, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "requests did not finish in time, cutting them off");
        slots.call_all(Command::Cut);
        connections.wait().await;
    }
}

/// What all connections of a listener have in common.
struct Shared {
    http: http1::Builder,
    router: TowerToHyperService<Router>,
    tls: Option<Tls>,
    patience: Timeouts,
    metrics: Option<Arc<Metrics>>,
    preambles: Arc<Preambles>,
    stop: Stop,
}

impl Shared {
    fn new(
        router: Router,
        tls: Option<Tls>,
        limits: &Limits,
        metrics: Option<Arc<Metrics>>,
        stop: Stop,
    ) -> Self {
        let mut http = http1::Builder::new();
        // hyper has one timeout for a head and for the pause before it, so we keep our own.
        http.header_read_timeout(None)
            // A request that is there whole is served, also when its sender sends no more: hyper would drop it. Whether
            // the sender still reads shows when the answer is written.
            .half_close(true)
            .max_header_size(limits.header_bytes_max)
            // What is read ahead of the head's end counts too: it is all that a slow head can make us keep.
            .max_buf_size(limits.header_bytes_max);
        let patience = Timeouts {
            header: limits.header_timeout,
            idle: limits.idle_timeout,
            write: limits.write_timeout,
        };
        Self {
            http,
            router: TowerToHyperService::new(router),
            tls,
            patience,
            metrics,
            preambles: Arc::default(),
            stop,
        }
    }

    /// Serves one connection to its end, and keeps its slot until the stream is closed.
    async fn attend(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, guard: SlotGuard) {
        let metrics = self.metrics.as_ref();
        let _counted = metrics.map(|metrics| Counted::new(&metrics.connections));
        let slot = guard.slot().clone();
        let (router, metrics) = (self.router.clone(), metrics.cloned());
        let (kept, counts, stop) = (slot.clone(), metrics.clone(), self.stop.clone());
        let exchange = Exchange { router, slot: kept, peer, metrics: counts, stop };
        let service = service_fn(move |request| exchange.clone().answer(request));
        // Operators find out themselves what they speak to their own listener.
        let look = metrics.is_some().then(|| Look {
            preambles: self.preambles.clone(),
            peer,
            speaks_tls: self.tls.is_some(),
        });
        let stream = Looked::new(stream, look);
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => match tls.accept(stream, &slot, self.patience.header).await {
                Ok(stream) => Either::Right(stream),
                Err(closed) => {
                    if let (Some(metrics), Some(closed)) = (&metrics, closed) {
                        metrics.closed(closed);
                    }
                    return;
                }
            },
        };
        connection::run(stream, &slot, &self.patience, &self.http, service, metrics).await;
    }
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

/// Where connections come in.
struct Acceptor {
    listener: TcpListener,
    slots: Arc<ConnectionSlots>,
    /// When it was last warned about a failure.
    warned: Option<Instant>,
    /// Failures since then that were not.
    suppressed: u64,
}

impl Acceptor {
    /// The next connection and its slot. It is accepted before it has one: only then somebody else need go for it.
    async fn next(&mut self) -> (TcpStream, SocketAddr, SlotGuard) {
        let (stream, peer) = self.accept().await;
        // An answer is one small packet: do not hold it back to fill a larger one.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "set TCP_NODELAY");
        }
        (stream, peer, self.slots.take(peer.ip()).await)
    }

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let error = match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => error,
            };
            // The one that waited went away. The next one is no worse for it.
            if error.kind() == io::ErrorKind::ConnectionAborted {
                continue;
            }
            self.warn(&error);
            if fd_limit::are_out(&error) {
                self.slots.evict();
                self.slots.freed(REST).await;
            } else {
                sleep(REST).await;
            }
        }
    }

    /// Warns, but not for each of those that follow.
    fn warn(&mut self, error: &io::Error) {
        if self.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            self.suppressed += 1;
            return;
        }
        warn!(%error, suppressed = self.suppressed, "accept a connection");
        (self.warned, self.suppressed) = (Some(Instant::now()), 0);
    }
}
