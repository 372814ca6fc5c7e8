//! One connection, with bounds on what its client can make the server wait for.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::debug;

use crate::http::listener::slot::{Command, ConnectionSlot, Timeouts};
use crate::telemetry::{Closed, Metrics, RefusedHead};

/// Timeout of writing the answer to a slow head.
const TOO_SLOW_TIMEOUT: Duration = Duration::from_secs(1);
/// Lingering close: how long a client may go on sending after it was answered.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of that is read and dropped, in bytes.
const LINGER_BYTES_MAX: usize = 1 << 20;
/// The answer to a slow head, for which hyper has none.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 30\r\n\r\nthe head did not come in time\n";

/// Why a connection ended.
enum Ended {
    /// hyper finished: closed by either side, or a client error.
    ByHttp(Result<(), hyper::Error>),
    /// Closed by us.
    ByUs(Closed),
    /// The server stopped and waits no longer.
    Cut,
}

/// Serves the requests of one connection until it ends, and counts what never became a request of `service`. `stream`
/// is a socket or a wrapper of one.
pub(crate) async fn run<I, S>(
    stream: I,
    slot: &Arc<ConnectionSlot>,
    patience: &Timeouts,
    http: &http1::Builder,
    service: S,
    metrics: Option<Arc<Metrics>>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming>,
    S::Error: Into<BoxError>,
    S::ResBody: Body + 'static,
    <S::ResBody as Body>::Error: Into<BoxError>,
{
    let watched = MonitoredStream {
        stream,
        slot: slot.clone(),
        metrics: metrics.clone(),
        unflushed: false,
        stuck: false,
        linger: None,
        discarded: 0,
    };
    let mut connection = http.serve_connection(TokioIo::new(watched), service);
    let mut alarm = pin!(sleep(patience.header));
    let ended = loop {
        let step = poll_fn(|context| {
            slot.turn_begins();
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(Ended::ByHttp(ended));
            }
            overdue(slot, patience, alarm.as_mut(), context).map(Ended::ByUs)
        });
        // Pending input is read before a command is obeyed, so that an arrived request is not cut off.
        let command = tokio::select! {
            biased;
            ended = step => break ended,
            command = slot.called() => command,
        };
        match command {
            Command::Evict if slot.is_evictable() => break Ended::ByUs(Closed::Evicted),
            Command::Evict => {}
            Command::Finish => Pin::new(&mut connection).graceful_shutdown(),
            Command::Cut => break Ended::Cut,
        }
    };
    if let Some(metrics) = metrics {
        account(&ended, slot, &metrics);
    }
    if matches!(ended, Ended::ByUs(Closed::HeadTooSlow)) {
        connection.into_parts().io.into_inner().write_408().await;
    }
}

/// Whether the connection exceeded the timeout of its state, and under which reason it is closed.
fn overdue(
    slot: &ConnectionSlot,
    patience: &Timeouts,
    mut alarm: Pin<&mut Sleep>,
    context: &mut Context<'_>,
) -> Poll<Closed> {
    let Some((due, closed)) = slot.due(patience) else { return Poll::Pending };
    // A request postpones the deadline. The timer is left as it is and is reset when it fires, so that consecutive
    // requests do not each cost a timer.
    if due < alarm.deadline() {
        alarm.as_mut().reset(due);
    }
    loop {
        ready!(alarm.as_mut().poll(context));
        if due <= Instant::now() {
            return Poll::Ready(closed);
        }
        alarm.as_mut().reset(due);
    }
}

/// Counts what no handler saw: connections closed by us, and broken heads. Heads that hyper answers are counted
/// before the answer is written, so that its receiver finds it counted.
fn account(ended: &Ended, slot: &ConnectionSlot, metrics: &Metrics) {
    let refused = match ended {
        Ended::ByUs(closed) => {
            metrics.closed(*closed);
            debug!(reason = closed.as_str(), "connection closed");
            (*closed == Closed::HeadTooSlow).then_some(RefusedHead::TooSlow)
        }
        Ended::ByHttp(Ok(())) | Ended::Cut => None,
        Ended::ByHttp(Err(error)) => {
            debug!(%error, "connection ended");
            // HTTP/2, for which hyper has no answer, or a head that was cut off.
            let broken = !slot.refused() && (error.is_parse() || slot.is_in_head());
            broken.then_some(RefusedHead::Broken)
        }
    };
    if let Some(refused) = refused {
        metrics.refused_head(refused);
    }
}

/// Why hyper refuses a head with this answer. hyper reports the reason only once the connection has
/// ended.
fn refusal(answer: &[u8]) -> RefusedHead {
    match answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some(b"414" | b"431") => RefusedHead::TooLarge,
        _ => RefusedHead::Broken,
    }
}

/// A stream that reports its client's progress to the slot.
struct MonitoredStream<I> {
    stream: I,
    slot: Arc<ConnectionSlot>,
    metrics: Option<Arc<Metrics>>,
    /// Whether something was written since the last complete flush.
    unflushed: bool,
    /// Whether the client does not read what is written.
    stuck: bool,
    /// The linger timer, started once everything is written.
    linger: Option<Pin<Box<Sleep>>>,
    /// Number of bytes dropped since.
    discarded: usize,
}

impl<I: AsyncRead + AsyncWrite + Unpin> MonitoredStream<I> {
    /// Reads and drops what the client is still sending. Closing a socket with unread bytes resets the connection,
    /// and the client may then never see the answer.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER_TIMEOUT)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut bytes = [0; 4096];
        while self.discarded < LINGER_BYTES_MAX {
            let mut into = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut into));
            if read.is_err() || into.filled().is_empty() {
                break;
            }
            self.discarded += into.filled().len();
        }
        Poll::Ready(())
    }

    async fn write_408(mut self) {
        // Never within another answer.
        if self.unflushed {
            return;
        }
        let say = async {
            self.stream.write_all(TOO_SLOW).await?;
            self.stream.shutdown().await
        };
        // A client that does not read the answer loses it.
        if let Ok(Err(error)) = timeout(TOO_SLOW_TIMEOUT, say).await {
            debug!(%error, "answer a slow head");
        }
    }

    fn write_begins(&mut self, bytes: &[u8]) {
        if self.unflushed {
            return;
        }
        self.unflushed = true;
        if self.slot.write_begins()
            && let Some(metrics) = &self.metrics
        {
            metrics.refused_head(refusal(bytes));
        }
    }

    /// Records whether a write made progress.
    fn write_moves<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() || self.stuck {
            self.stuck = polled.is_pending();
            self.slot.write_moves(!self.stuck);
        }
        polled
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for MonitoredStream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        // Empty lines before a request are not part of a head: some clients send one after each body.
        let read = into.filled().get(before..).unwrap_or_default();
        if read.iter().any(|byte| !b"\r\n".contains(byte)) {
            self.slot.head_begins();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MonitoredStream<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_begins(bytes);
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.write_moves(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_begins(slices.first().map_or(&[], |slice| slice));
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.write_moves(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        ready!(self.write_moves(polled))?;
        // hyper flushes repeatedly, also without having written anything.
        if self.unflushed {
            self.unflushed = false;
            self.slot.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let polled = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.write_moves(polled))?;
        }
        if self.slot.is_cut_short() {
            ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}
