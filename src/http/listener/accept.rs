//! The accept loop. It bounds everything a client can make the server wait for or keep, unlike `axum::serve`.

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

use crate::http::listener::connection;
use crate::http::listener::exchange::Exchange;
use crate::http::listener::fd_limit;
use crate::http::listener::preamble::{InspectedStream, Inspection, Preambles};
use crate::http::listener::proxy_protocol::{Client, HeaderFailure, read_header};
use crate::http::listener::slot::{Command, Timeouts};
use crate::http::listener::slots::{ConnectionSlots, SlotGuard};
use crate::http::listener::stop::Stop;
use crate::http::listener::tls::Tls;
use crate::telemetry::{Closed, Metrics, RefusedHead};
use protocol::source_filter::Networks;

/// Pause after a failed `accept`.
const REST: Duration = Duration::from_millis(100);
/// How long connections may last after another process has taken over accepting.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum interval of warnings about that.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// Limits of one listener's clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of connections. For one more, an idle connection is evicted; where there is none, the new one
    /// waits.
    pub connections_max: usize,
    /// Additional connections while all of those are busy, for requests that are answered at once, such as `/livez`.
    /// The router refuses all others on them.
    pub reserved_max: usize,
    /// Peers that stand for many clients. Of the others, one with very many connections is evicted first.
    pub trusted_proxies: Networks,
    /// Whether a connection of those peers must begin with a header of the PROXY protocol, which names the client.
    pub proxy_protocol: bool,
    /// Timeout of a request's head, and of a new connection until its first byte.
    pub header_timeout: Duration,
    /// Maximum size of a request's head, in bytes.
    pub header_bytes_max: usize,
    /// Timeout of an idle connection between two requests.
    pub idle_timeout: Duration,
    /// Timeout of a write that makes no progress.
    pub write_timeout: Duration,
    /// How long requests are still accepted after the stop was requested.
    pub drain: Duration,
    /// How long running requests may take after that.
    pub shutdown_timeout: Duration,
}

/// Serves `router` until `stop` is cancelled and a grace period has passed; then accepts no more connections, drains
/// running requests, and returns. HTTP/1.1 with keep-alive, as the vendor speaks it, over TLS where `tls` is given.
/// `metrics`, where given, count connections and requests that never reach `router`.
///
/// After the stop was requested each connection is closed with its next answer, which announces it: a client that
/// learns of it only when it sends again loses that request.
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
    // During the grace period everything continues: hyper closes a connection whose request it has not begun to read,
    // so requests on their way must arrive first.
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
        // Connections that are idle for this long are closed then.
        let _ = timeout(HANDOVER_TIMEOUT, connections.wait()).await;
    }
    slots.call_all(Command::Finish);
    if timeout(limits.shutdown_timeout, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "requests did not finish in time, cutting them off");
        slots.call_all(Command::Cut);
        connections.wait().await;
    }
}

/// Shared by all connections of a listener.
struct Shared {
    http: http1::Builder,
    router: TowerToHyperService<Router>,
    tls: Option<Tls>,
    patience: Timeouts,
    metrics: Option<Arc<Metrics>>,
    preambles: Arc<Preambles>,
    /// The peers that must send a header of the PROXY protocol; absent where none is read.
    header_senders: Option<Networks>,
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
        // hyper has a single timeout for a head and the pause before it, so we keep our own two.
        http.header_read_timeout(None)
            // Without half-close hyper would drop a complete request whose sender has closed its side. Whether the
            // client still reads shows when the answer is written.
            .half_close(true)
            .max_header_size(limits.header_bytes_max)
            // The read-ahead beyond the head counts too: it bounds what a slow head can make us keep.
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
            header_senders: limits.proxy_protocol.then(|| limits.trusted_proxies.clone()),
            stop,
        }
    }

    /// Serves one connection to its end, and holds its slot until the stream is closed.
    async fn attend(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, guard: SlotGuard) {
        let metrics = self.metrics.as_ref();
        let _counted = metrics.map(|metrics| OpenConnection::new(&metrics.connections));
        let slot = guard.slot().clone();
        let has_header = self.header_senders.as_ref().is_some_and(|it| it.holds(peer.ip()));
        let (client, read_ahead) = if has_header {
            match read_header(&mut stream, peer, &slot, self.patience.header).await {
                Ok(read) => read,
                Err(failure) => return self.refuse(&failure, peer),
            }
        } else {
            (Client::direct(peer), Vec::new())
        };
        if has_header && !client.is_unnamed {
            guard.counts_for(client.address.ip());
        }
        let (router, metrics) = (self.router.clone(), metrics.cloned());
        let (kept, counts, stop) = (slot.clone(), metrics.clone(), self.stop.clone());
        let exchange = Exchange { router, slot: kept, client, metrics: counts, stop };
        let service = service_fn(move |request| exchange.clone().answer(request));
        // On the ops listener operators notice a wrong protocol themselves.
        let look = metrics.is_some().then(|| Inspection {
            preambles: self.preambles.clone(),
            peer: client.address,
            speaks_tls: self.tls.is_some(),
            reads_headers: self.header_senders.is_some(),
        });
        let stream = InspectedStream::new(stream, read_ahead, look);
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

impl Shared {
    /// Counts and names a connection without a valid header of the PROXY protocol, which is closed.
    fn refuse(&self, failure: &HeaderFailure, peer: SocketAddr) {
        let Some(metrics) = &self.metrics else { return };
        match failure {
            HeaderFailure::Invalid(reason, began) => {
                metrics.refused_head(RefusedHead::Broken);
                self.preambles.warn_of_header(*reason, began, peer);
            }
            HeaderFailure::Closed(closed) => {
                metrics.closed(*closed);
                if *closed == Closed::HeadTooSlow {
                    metrics.refused_head(RefusedHead::TooSlow);
                }
            }
            HeaderFailure::Gone => {}
        }
    }
}

/// An open connection in the metrics, counted until it is dropped.
struct OpenConnection(Gauge);

impl OpenConnection {
    fn new(open: &Gauge) -> Self {
        open.increment(1);
        Self(open.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Accepts connections.
struct Acceptor {
    listener: TcpListener,
    slots: Arc<ConnectionSlots>,
    /// The time of the last warning.
    warned: Option<Instant>,
    /// The number of failures since then.
    suppressed: u64,
}

impl Acceptor {
    /// The next connection and its slot. Accepted before it has a slot: only then does another connection need to be
    /// evicted.
    async fn next(&mut self) -> (TcpStream, SocketAddr, SlotGuard) {
        let (stream, peer) = self.accept().await;
        // An answer is one small packet: Nagle's algorithm would delay it.
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
            // The pending connection was reset by its client; the next one is not affected.
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

    /// Warns of a failure, throttled.
    fn warn(&mut self, error: &io::Error) {
        if self.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            self.suppressed += 1;
            return;
        }
        warn!(%error, suppressed = self.suppressed, "accept a connection");
        (self.warned, self.suppressed) = (Some(Instant::now()), 0);
    }
}
