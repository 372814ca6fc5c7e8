//! Sending by HTTP: the egress guard, and one client for each destination.
//!
//! # Design
//!
//! **Two checks.** The guard judges the host of the parsed URL when a client is made, since the HTTP library asks its resolver for
//! names only, never for an address that stands in the URL; parsing has made one form of all spellings (`0xa9fea9fe`, `[::ffff:…]`).
//! And it judges every answer of the resolver, each time a connection is opened: addresses that are not allowed are dropped, and
//! the connection goes to one of those that are left, so there is no second lookup that could say something else. A connection
//! that is kept leads where it led when it was judged.
//!
//! **No ways around.** A proxy of the environment would get whole requests without any lookup, and a redirect would lead anywhere:
//! the one is never used, the other never followed. A proxy of the configuration resolves names itself, so it has to judge them;
//! only its own address is judged here.
//!
//! **What is allowed** is what [`AddressClass`] says: public addresses by TLS; addresses of own networks where the operator wrote
//! the address itself into the URL, or `forwarding.allow_networks` has it; some, such as link-local ones and cloud metadata, never.
//! What is not known to be public is taken for an own network. A NAT64 prefix of the network's own outside of `64:ff9b::/16` looks
//! like any other address: a network that translates so must refuse metadata at its gateway.
//!
//! **Bounds.** One timeout for the connection (lookup, TCP and TLS), one for the whole request with the body of the answer. 16 KiB
//! of an answer are read, then its connection is closed (its stream of HTTP/2). At most two lookups of a destination block threads
//! at once. How many requests are under way is the caller's business.
//!
//! **One call, one request.** The library sends again only what the receiver cannot have begun with: where a kept connection turned
//! out to be closed before the request was written, and where HTTP/2 says that a request was not processed (twice at most). Kept
//! connections are dropped after 30 s without a request, and those of HTTP/2 are asked whether they live while requests are under way.
//!
//! **Secrets.** Errors and `Debug` show scheme, host and port of a URL, and no value of a header. The excerpt of an answer has
//! taken out what the receiver repeats of sensitive headers and of the URL.
//!
//! # From errors to classes
//!
//! What reqwest 0.13 with hyper 1 and rustls 0.23 report, as the tests in `tests/http/` provoke it. An I/O error's `source()` skips
//! the error that it wraps, so TLS errors are found by `get_ref()` only. `is_connect()` also holds for lookups and for TLS.
//!
//! [`Attempt::response`] says what each is to [`crate::answer`].
//!
//! | what happens | what is reported | class |
//! |---|---|---|
//! | nobody listens | `Request`, `is_connect`, I/O `ConnectionRefused` | `connect` |
//! | the name has no address | `Request`, `is_connect`, `is_dns` | `dns` |
//! | the guard refuses all addresses | the same, around [`BlockedAddress`] | `blocked_address` |
//! | the proxy refuses the tunnel | `Request`, `is_connect`, without the proxy's status | `connect` |
//! | the connection ends during TLS | `Request`, `is_connect`, I/O error | `connect` |
//! | lookup, TCP or TLS takes too long | `Request`, `is_connect`, `is_timeout` | `timeout` |
//! | unknown CA, expired, other name | `Request`, `is_connect`, rustls `InvalidCertificate` | `tls` |
//! | no TLS on the other side | `Request`, `is_connect`, rustls `InvalidMessage` | `tls` |
//! | our certificate is refused, TLS 1.2 | `Request`, `is_connect`, rustls `AlertReceived` | `tls` |
//! | the same, TLS 1.3 | `Request`, **not** `is_connect`: the handshake was over; rustls `AlertReceived` | `tls` |
//! | no answer | `Request`, `is_timeout` | `timeout` |
//! | the answer drips | the head: the same; the body: `Decode` around `Body`, `is_timeout` | `timeout` |
//! | closed before the answer | `Request`, hyper `IncompleteMessage` | `reset` |
//! | reset before the answer | `Request`, hyper `Io` `ConnectionReset` | `reset` |
//! | closed or reset within the body | `Decode` around `Body`, I/O `UnexpectedEof` or `ConnectionReset` | `reset` |
//! | reset of a stream of HTTP/2 | `Request`, hyper `Http2` | `reset` |
//! | not HTTP | `Request`, hyper `Parse`; wrong chunks: `Decode`, I/O `InvalidInput` | `reset` |
//! | more than 100 headers, or 400 kB of them | `Request`, hyper `Parse(TooLarge)` | `too_large` |
//! | 3xx | no error | `redirect` |
//! | an idle connection was closed by the receiver | no error: a new one is opened | none |
//! | closed after the whole answer | no error | none |
//! | an answer before the request was read to its end | no error | none |
//! | a body of more than 16 KiB | no error | none; [`Attempt::is_truncated`] |

mod address;
mod attempt;
mod blocked_address;
mod classify;
mod client;
mod error;
mod excerpt;
mod guard;
mod request;
mod resolver;
mod tls_material;

pub use address::AddressClass;
pub use attempt::{Attempt, Failure, FailureClass};
pub use blocked_address::BlockedAddress;
pub use client::{ANSWER_BYTES_MAX, Client, ClientSettings};
pub use error::{HttpClientError, UrlError};
pub use excerpt::EXCERPT_BYTES_MAX;
pub use guard::Guard;
pub use request::Request;
pub use reqwest::dns;
pub use reqwest::header;
