//! Reads the header of the PROXY protocol that a load balancer sends before what its client sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::http::listener::proxy_header::{InvalidHeader, ProxyHeader, Source};
use crate::http::listener::slot::{Command, ConnectionSlot};
use crate::telemetry::Closed;

/// How many bytes are read at once at first: most headers, with the first bytes of the client.
const READ_BYTES: usize = 256;

/// The client of a connection, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Its address; the load balancer's where that states none.
    pub(crate) address: SocketAddr,
    /// Whether that is the load balancer's, which stands for a client it does not name: what such a client says in
    /// `X-Forwarded-For` is not the load balancer's word.
    pub(crate) is_unnamed: bool,
}

impl Client {
    /// The peer itself, on a connection without a header.
    pub(crate) fn direct(peer: SocketAddr) -> Self {
        Self { address: peer, is_unnamed: false }
    }
}

/// Why a connection has no valid header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFailure {
    /// These bytes are none. They are what it began with.
    Invalid(InvalidHeader, Vec<u8>),
    /// It is to be closed for this reason.
    Closed(Closed),
    /// The load balancer closed it before the first byte, as some health checks do, or the server stops.
    Gone,
}

/// Reads the header, and gives the client that it states, with the bytes that came behind it.
pub(crate) async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
    slot: &ConnectionSlot,
    within: Duration,
) -> Result<(Client, Vec<u8>), HeaderFailure> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    let whole = timeout(within, read_whole(stream, &mut bytes));
    let read = tokio::select! {
        biased;
        read = whole => read,
        // There is no request yet that could be finished.
        command = slot.called() => {
            let is_evicted = command == Command::Evict;
            return Err(if is_evicted { HeaderFailure::Closed(Closed::Evicted) } else { HeaderFailure::Gone });
        }
    };
    let header = match read {
        Ok(Ok(Some(header))) => header,
        Ok(Ok(None)) if bytes.is_empty() => return Err(HeaderFailure::Gone),
        Ok(Ok(None)) => {
            return Err(HeaderFailure::Invalid(InvalidHeader::Malformed("it is cut off"), bytes));
        }
        Ok(Err(reason)) => return Err(HeaderFailure::Invalid(reason, bytes)),
        Err(_) if bytes.is_empty() => return Err(HeaderFailure::Closed(Closed::Idle)),
        Err(_) => return Err(HeaderFailure::Closed(Closed::HeadTooSlow)),
    };
    let client = match header.source {
        Source::Client(address) => Client { address, is_unnamed: false },
        Source::LoadBalancer => Client::direct(peer),
        Source::Unknown => Client { address: peer, is_unnamed: true },
    };
    Ok((client, bytes.split_off(header.length)))
}

/// `None` where the stream ends before the header does. An error of the socket is an end, too.
async fn read_whole<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
) -> Result<Option<ProxyHeader>, InvalidHeader> {
    loop {
        if !matches!(stream.read_buf(bytes).await, Ok(1..)) {
            return Ok(None);
        }
        if let Some(header) = ProxyHeader::parse(bytes)? {
            return Ok(Some(header));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncWriteExt, duplex};
    use tokio_util::task::{AbortOnDropHandle, TaskTracker};

    use crate::http::listener::proxy_protocol::*;

    const WITHIN: Duration = Duration::from_secs(10);
    const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n";

    fn peer() -> SocketAddr {
        "10.0.0.1:5".parse().unwrap()
    }

    fn slot() -> Arc<ConnectionSlot> {
        Arc::new(ConnectionSlot::new(None, false))
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_in_single_bytes_is_read_and_no_byte_behind_it_is_lost() {
        let (mut near, mut far) = duplex(1);
        let sends = AbortOnDropHandle::new(TaskTracker::new().spawn(async move {
            far.write_all(HEADER).await.unwrap();
            far.write_all(b"POST").await.unwrap();
        }));
        let (client, mut rest) = read_header(&mut near, peer(), &slot(), WITHIN).await.unwrap();
        assert_eq!(client.address, "203.0.113.7:40000".parse().unwrap());
        while near.read_buf(&mut rest).await.unwrap() > 0 {}
        assert_eq!(rest, b"POST");
        sends.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_header_is_given_up_however_it_trickles() {
        let begun = tokio::time::Instant::now();
        let (mut near, _far) = duplex(64);
        let silent = read_header(&mut near, peer(), &slot(), WITHIN).await;
        assert_eq!(silent.unwrap_err(), HeaderFailure::Closed(Closed::Idle));
        assert_eq!(begun.elapsed(), WITHIN);
        let (mut near, mut far) = duplex(64);
        let _sends = AbortOnDropHandle::new(TaskTracker::new().spawn(async move {
            for byte in HEADER {
                far.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }));
        let slow = read_header(&mut near, peer(), &slot(), WITHIN).await;
        assert_eq!(slow.unwrap_err(), HeaderFailure::Closed(Closed::HeadTooSlow));
        assert_eq!(begun.elapsed(), 2 * WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_before_the_first_byte_is_no_fault() {
        let (mut near, far) = duplex(64);
        drop(far);
        let gone = read_header(&mut near, peer(), &slot(), WITHIN).await;
        assert_eq!(gone.unwrap_err(), HeaderFailure::Gone);
        let (mut near, mut far) = duplex(64);
        far.write_all(&HEADER[..9]).await.unwrap();
        drop(far);
        let cut = read_header(&mut near, peer(), &slot(), WITHIN).await.unwrap_err();
        let reason = InvalidHeader::Malformed("it is cut off");
        assert_eq!(cut, HeaderFailure::Invalid(reason, HEADER[..9].to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_evicted_connection_waits_for_no_header() {
        let (mut near, _far) = duplex(64);
        let slot = slot();
        slot.call(Command::Evict);
        let evicted = read_header(&mut near, peer(), &slot, WITHIN).await;
        assert_eq!(evicted.unwrap_err(), HeaderFailure::Closed(Closed::Evicted));
    }
}
