//! Publishing to NATS `JetStream`: subjects, one client for each destination, and whether its stream does.
//!
//! # Design
//!
//! **An ack for each event.** An event is delivered when the stream has acked it. `Nats-Msg-Id` is its id, so that a try whose ack was
//! lost is stored once, within the stream's duplicate window.
//!
//! **A lost connection is not mended.** The library would connect again by itself, to servers that servers name, with the credentials
//! of the first time, and would send then what was given up long ago. Here a connection that is lost is dropped: what waits for acks
//! fails at once, and the next try connects anew, past the guard and with the files as they are now. When it comes is the breaker's to
//! decide, as for every destination.
//!
//! **Bounds.** One timeout for the whole try, connecting included. No more messages than may be under way wait in the client.
//!
//! **The egress guard** judges each server of the URL, literal or name, before each connection. Servers that a server names are not
//! used, as redirects are not followed.
//!
//! # What an error means
//!
//! As the tests in `tests/nats/` provoke them with a nats-server. [`Attempt::response`] says it in the terms of [`crate::answer`].
//!
//! | case | what comes | as |
//! |---|---|---|
//! | stored, or there already (`duplicate`) | an ack | 200 |
//! | no stream, or none with a leader just now | "no responders" within ms | 503 |
//! | stream full, discard new | 10077 | 429 |
//! | the same for one subject only | 10077, "per subject" | 503 |
//! | account, memory or disk limits of servers | 10023, 10028, 10047 | 429 |
//! | larger than the stream's `max_msg_size` | 10054 | `TooLarge` |
//! | larger than the server's `max_payload` | the client's own error, nothing is sent | `TooLarge` |
//! | another stream than `stream` | 10060 | `Unusable` |
//! | other errors | their `code` | that status |
//! | stream full, discard old | an ack: the oldest are gone | 200 |
//! | `no_ack`, disk full, no right to publish | nothing | `Timeout` |
//! | user or password refused, file not readable | an error of the connection | `Unusable` |
//! | connection ends before the ack | | `Reset` |
//! | nobody listens | | `Connect` |

mod api;
mod attempt;
mod check;
mod client;
mod connection;
mod inbox;
mod message;
mod settings;
mod subject;

pub use attempt::{Ack, Attempt, PublishFailure};
pub use check::{Creation, Finding, MESSAGE_BYTES_MAX, Report, check};
pub use client::Client;
pub use message::Message;
pub use settings::{ClientSettings, user_of, without_user};
pub use subject::{SLOTS, slot, subject, wildcard};
