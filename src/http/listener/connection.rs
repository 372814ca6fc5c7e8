//! One connection: what its client may make us wait for.

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
use crate::telemetry::{Closed, Metrics, Outcome};

/// How long a client may take to receive that its head was too slow.
const TOO_SLOW_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client may go on sending after it was answered, before its connection is closed.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of what it still sends is read and dropped meanwhile, in bytes.
const LINGER_BYTES_MAX: usize = 1 << 20;
/// What a slow head is answered: hyper has no answer for it.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 30\r\n\r\nthe head did not come in time\n";

/// Why a connection ended.
enum Ended {
    /// hyper is done with it: closed by either side, or an error, which is the client's fault.
    ByHttp(Result<(), hyper::Error>),
    /// We closed it.
    ByUs(Closed),
    /// The server stops and waits no longer.
    Cut,
}

/// Serves the requests of one connection until it ends, and accounts for what never became a request of `service`.
/// `stream` is whatever reads and writes: a socket, or what wraps one.
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
    let watched = Watched {
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
        // What has come is read before a command is obeyed, so that a request that is there is not cut off.
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

/// Whether the connection has outstayed the time its state grants, and as what it is to be closed.
fn overdue(
    slot: &ConnectionSlot,
    patience: &Timeouts,
    mut alarm: Pin<&mut Sleep>,
    context: &mut Context<'_>,
) -> Poll<Closed> {
    let Some((due, closed)) = slot.due(patience) else { return Poll::Pending };
    // A request moves what is due into the future: the alarm is left as it is then, and set anew when it rings. So
    // requests that follow each other do not each cost a timer.
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

/// Counts what no handler saw: connections that we closed, and heads that came to nothing. Those that hyper answered are
/// counted when it does, so that who has the answer finds it counted.
fn account(ended: &Ended, slot: &ConnectionSlot, metrics: &Metrics) {
    let outcome = match ended {
        Ended::ByUs(closed) => {
            metrics.closed(*closed);
            debug!(reason = closed.as_str(), "connection closed");
            (*closed == Closed::HeadTooSlow).then_some(Outcome::HeadTooSlow)
        }
        Ended::ByHttp(Ok(())) | Ended::Cut => None,
        Ended::ByHttp(Err(error)) => {
            debug!(%error, "connection ended");
            // HTTP/2, which hyper has no answer for, or a head that broke off.
            let broken = !slot.refused() && (error.is_parse() || slot.is_in_head());
            broken.then_some(Outcome::HeadBroken)
        }
    };
    if let Some(outcome) = outcome {
        metrics.request();
        metrics.outcome(outcome);
    }
}

/// What became of a head that hyper refuses with this answer. It tells the reason only when the connection has ended.
fn refusal(answer: &[u8]) -> Outcome {
    match answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some(b"414" | b"431") => Outcome::HeadTooLarge,
        _ => Outcome::HeadBroken,
    }
}

/// A stream that tells its slot what its client does.
struct Watched<I> {
    stream: I,
    slot: Arc<ConnectionSlot>,
    metrics: Option<Arc<Metrics>>,
    /// Something was written since all was last flushed.
    unflushed: bool,
    /// The client does not take what is written.
    stuck: bool,
    /// Runs once all is said.
    linger: Option<Pin<Box<Sleep>>>,
    /// Bytes that were dropped since.
    discarded: usize,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Watched<I> {
    /// Reads what the client is still sending. A system that closes a socket with unread bytes resets the connection, and a
    /// client that is reset may never see the answer that is on its way.
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
        // Never into the middle of an answer.
        if self.unflushed {
            return;
        }
        let say = async {
            self.stream.write_all(TOO_SLOW).await?;
            self.stream.shutdown().await
        };
        // Whoever does not want to hear it need not.
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
            metrics.request();
            metrics.outcome(refusal(bytes));
        }
    }

    /// Notes whether a write got anywhere.
    fn write_moves<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() || self.stuck {
            self.stuck = polled.is_pending();
            self.slot.write_moves(!self.stuck);
        }
        polled
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        // Empty lines before a request belong to no head: some clients send one after each body.
        let read = into.filled().get(before..).unwrap_or_default();
        if read.iter().any(|byte| !b"\r\n".contains(byte)) {
            self.slot.head_begins();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
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
        // hyper asks for it again and again, also when it wrote nothing.
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
