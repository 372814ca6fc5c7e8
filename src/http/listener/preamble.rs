//! Recognises other protocols by a connection's first bytes, and logs them throttled, so that clients cannot fill the
//! log.

use std::io::{self, Cursor, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tracing::warn;

use crate::http::listener::proxy_header::{InvalidHeader, V2_SIGNATURE};

/// Minimum interval between two warnings of one protocol.
const PAUSE: Duration = Duration::from_mins(1);

/// Another protocol than the listener's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preamble {
    /// A header of the PROXY protocol, version 1 or 2, where none is read.
    Proxy,
    /// Such a header from a peer that is not a trusted proxy.
    UntrustedProxy,
    /// No such header from a trusted proxy, where it is required.
    ProxyMissing,
    /// A malformed header from one.
    ProxyMalformed,
    /// HTTP/2 without TLS.
    Http2,
    /// A `ClientHello` on a plain HTTP port.
    Tls,
    /// An HTTP request on a TLS port.
    PlainHttp,
}

impl Preamble {
    const ALL: [Self; 7] = [
        Self::Proxy,
        Self::UntrustedProxy,
        Self::ProxyMissing,
        Self::ProxyMalformed,
        Self::Http2,
        Self::Tls,
        Self::PlainHttp,
    ];

    /// Recognises first bytes; `None` where they fit the listener's protocol.
    fn of(bytes: &[u8], speaks_tls: bool) -> Option<Self> {
        let begins = |methods: &[&str]| methods.iter().any(|it| bytes.starts_with(it.as_bytes()));
        if bytes.starts_with(V2_SIGNATURE) || begins(&["PROXY TCP", "PROXY UNKNOWN"]) {
            Some(Self::Proxy)
        } else if begins(&["PRI * HTTP/2.0"]) {
            Some(Self::Http2)
        } else if speaks_tls {
            begins(&["POST /", "GET /", "HEAD /", "PUT /", "OPTIONS "]).then_some(Self::PlainHttp)
        } else {
            // A handshake record, of any version since SSL 3.
            matches!(bytes, [0x16, 3, ..]).then_some(Self::Tls)
        }
    }

    /// Its name in the log, the description, and the hint.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::Proxy => [
                "proxy_protocol",
                "a connection began with a PROXY protocol header, which is not read here, and was closed",
                "name the load balancer in auth.trusted_proxies and set server.proxy_protocol to \"required\", or turn the PROXY protocol off there",
            ],
            Self::UntrustedProxy => [
                "proxy_protocol_untrusted",
                "a connection that is not from auth.trusted_proxies began with a PROXY protocol header, and was closed",
                "if the address is your load balancer's, add it to auth.trusted_proxies",
            ],
            Self::ProxyMissing => [
                "proxy_protocol_missing",
                "a connection from auth.trusted_proxies began without the PROXY protocol header that server.proxy_protocol requires, and was closed",
                "turn the PROXY protocol on in the load balancer, for its health checks too, or set server.proxy_protocol to \"off\"",
            ],
            Self::ProxyMalformed => [
                "proxy_protocol_malformed",
                "a connection began with a malformed PROXY protocol header, and was closed",
                "have the load balancer send version 1 or 2 of the PROXY protocol",
            ],
            Self::Http2 => [
                "http2_without_tls",
                "a connection spoke HTTP/2, which is not spoken here, and was closed",
                "have the proxy speak HTTP/1.1 to this server, and not h2c",
            ],
            Self::Tls => [
                "tls_on_plain_port",
                "a connection began TLS where plain HTTP is spoken, and was closed",
                "set server.tls_certificate and server.tls_key, or have the proxy speak http:// to this server",
            ],
            Self::PlainHttp => [
                "http_on_tls_port",
                "a connection spoke plain HTTP where TLS is spoken, and was closed",
                "register an https:// URL, or have the proxy speak https:// to this server",
            ],
        }
    }
}

/// For each protocol the time of the last warning and the number of occurrences since.
#[derive(Debug, Default)]
pub(crate) struct Preambles(Mutex<[Option<(Instant, u64)>; Preamble::ALL.len()]>);

impl Preambles {
    fn warn(&self, preamble: Preamble, peer: SocketAddr, found: Option<&'static str>) {
        let Some(more) = self.due(preamble) else { return };
        let [reason, message, advice] = preamble.words();
        let address = peer.ip().to_canonical().to_string();
        warn!(reason, address, found, more_since_last_warning = more, advice, "{message}");
    }

    /// Warns of a connection that began with these bytes, and not with a valid header of the PROXY protocol.
    pub(crate) fn warn_of_header(&self, reason: InvalidHeader, began: &[u8], peer: SocketAddr) {
        match reason {
            InvalidHeader::Malformed(how) => self.warn(Preamble::ProxyMalformed, peer, Some(how)),
            InvalidHeader::Missing => {
                let found = match Preamble::of(began, true) {
                    Some(Preamble::PlainHttp) => "an HTTP request",
                    Some(Preamble::Http2) => "HTTP/2",
                    _ if Preamble::of(began, false) == Some(Preamble::Tls) => "TLS",
                    _ => "another protocol",
                };
                self.warn(Preamble::ProxyMissing, peer, Some(found));
            }
        }
    }

    /// The number of suppressed occurrences, when a warning is due.
    fn due(&self, preamble: Preamble) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let met = &mut all[preamble as usize];
        if let Some((named, unnamed)) = met
            && named.elapsed() < PAUSE
        {
            *unnamed += 1;
            return None;
        }
        let more = met.map_or(0, |(_, unnamed)| unnamed);
        *met = Some((Instant::now(), 0));
        Some(more)
    }
}

/// The inspection of a stream's first bytes.
pub(crate) struct Inspection {
    pub(crate) preambles: Arc<Preambles>,
    pub(crate) peer: SocketAddr,
    pub(crate) speaks_tls: bool,
    /// Whether headers of the PROXY protocol are read from trusted proxies.
    pub(crate) reads_headers: bool,
}

/// A stream whose first bytes are inspected as they are read, and otherwise passed through.
pub(crate) struct InspectedStream<I> {
    stream: I,
    /// What was read of the stream before, and comes first.
    read_ahead: Cursor<Vec<u8>>,
    /// Absent after the inspection.
    look: Option<Inspection>,
}

impl<I> InspectedStream<I> {
    pub(crate) fn new(stream: I, read_ahead: Vec<u8>, look: Option<Inspection>) -> Self {
        Self { stream, read_ahead: Cursor::new(read_ahead), look }
    }
}

impl<I: AsyncRead + Unpin> InspectedStream<I> {
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.get_ref().is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let polled = Pin::new(&mut self.read_ahead).poll_read(context, into);
        if self.read_ahead.position() == self.read_ahead.get_ref().len() as u64 {
            self.read_ahead = Cursor::default();
        }
        polled
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for InspectedStream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(self.poll_next(context, into))?;
        if let Some(Inspection { preambles, peer, speaks_tls, reads_headers }) = self.look.take() {
            let first = into.filled().get(before..).unwrap_or_default();
            match Preamble::of(first, speaks_tls) {
                Some(Preamble::Proxy) if reads_headers => {
                    preambles.warn(Preamble::UntrustedProxy, peer, None);
                }
                Some(preamble) => preambles.warn(preamble, peer, None),
                None => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for InspectedStream<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use crate::http::listener::preamble::*;

    #[test]
    fn the_first_bytes_identify_the_protocol() {
        for (bytes, plain, tls) in [
            (
                &b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..],
                Some(Preamble::Proxy),
                Some(Preamble::Proxy),
            ),
            (b"PROXY UNKNOWN\r\n", Some(Preamble::Proxy), Some(Preamble::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Some(Preamble::Proxy), Some(Preamble::Proxy)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Preamble::Http2), Some(Preamble::Http2)),
            (b"\x16\x03\x01\x02\0\x01", Some(Preamble::Tls), None),
            (b"POST /?SdkAppid=1 HTTP/1.1\r\n", None, Some(Preamble::PlainHttp)),
            (b"\r\n\r\nPOST / HTTP/1.1", None, None),
            (b"\x80\x2e\x01", None, None),
            (b"", None, None),
        ] {
            assert_eq!(Preamble::of(bytes, false), plain, "{bytes:?}");
            assert_eq!(Preamble::of(bytes, true), tls, "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_protocol_is_logged_once_a_minute_with_a_count() {
        let preambles = Preambles::default();
        assert_eq!(preambles.due(Preamble::Tls), Some(0));
        assert_eq!(preambles.due(Preamble::Tls), None);
        assert_eq!(preambles.due(Preamble::Proxy), Some(0));
        tokio::time::advance(PAUSE).await;
        assert_eq!(preambles.due(Preamble::Tls), Some(1));
    }
}
