//! A signed sample, sent once to see whether a destination takes it. Nothing is stored.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Clock;
use crate::forwarding::sender::http::HttpSender;
#[cfg(feature = "nats")]
use crate::forwarding::sender::nats::NatsSender;
use forward::answer::{DestinationMeaning, EventMeaning, Meaning};
use forward::destination::Destination;
use forward::destination::target::{Target, TargetKind};
use forward::envelope::{SAMPLE_TYPE, envelope};
use forward::event_columns::{Content, EventColumns};
use forward::http::Guard;
use forward::sender::Outgoing;
use protocol::diagnostic::{Diagnostic, Hint};
use protocol::event::Payload;
use protocol::{AppId, event_id};

/// The app that a sample names; no user has it.
const TEST_APP: &str = "1400000000";

/// The result of sending a sample.
pub(crate) struct Sample {
    /// Scheme, host and port of the destination.
    pub(crate) url: String,
    /// Its id.
    pub(crate) id: Uuid,
    /// Its size.
    pub(crate) bytes: usize,
    /// What TLS trusts.
    pub(crate) tls: &'static str,
    /// What only this kind of destination says.
    pub(crate) of_kind: SampleOfKind,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether it counts as delivered.
    pub(crate) is_taken: bool,
    /// What the answer means for an event.
    pub(crate) meaning: &'static str,
    /// What went wrong.
    pub(crate) problem: Option<String>,
}

/// What a kind of destination says to a sample.
pub(crate) enum SampleOfKind {
    /// An HTTP server.
    Http {
        /// How many secrets it is signed with.
        signatures: usize,
        /// Who answered: the destination, or the proxy on the way there.
        peer: Option<SocketAddr>,
        /// The version of HTTP.
        version: Option<&'static str>,
        /// The status of the answer.
        status: Option<u16>,
        /// The beginning of the answer.
        excerpt: String,
    },
    /// A stream of NATS.
    #[cfg(feature = "nats")]
    Nats {
        /// What it was published to.
        subject: String,
        /// The stream that acked it, and its sequence there.
        acked: Option<(String, u64)>,
    },
}

/// Sends a sample once, as an event would be sent.
pub(crate) async fn send_sample(
    destination: Destination,
    guard: Guard,
    clock: &Clock,
) -> Result<Sample, Diagnostic> {
    let destination = Arc::new(destination);
    match destination.target.kind() {
        TargetKind::Http => over_http(destination, guard, clock).await,
        #[cfg(feature = "nats")]
        TargetKind::Nats => over_nats(destination, guard, clock).await,
        // It was refused when the settings were checked.
        #[cfg(not(feature = "nats"))]
        TargetKind::Nats => Err(Diagnostic::new(
            format!(
                "`{}` is a stream of NATS, which this program was built without",
                destination.name
            ),
            "use a program with the Cargo feature `nats`",
        )),
    }
}

fn outgoing(destination: &Destination, clock: &Clock) -> Outgoing {
    let event = Arc::new(test_event(clock));
    let body = envelope(&event, destination.client_ip);
    Outgoing { event, body, attempt: 1, replay: false }
}

async fn over_http(
    destination: Arc<Destination>,
    guard: Guard,
    clock: &Clock,
) -> Result<Sample, Diagnostic> {
    let outgoing = outgoing(&destination, clock);
    let (id, bytes) = (outgoing.event.id, outgoing.body.len());
    let sender = HttpSender::new(destination.clone(), guard, clock.clone());
    let (attempt, meaning) = sender.attempt(outgoing).await.map_err(|error| error.diagnostic())?;
    Ok(Sample {
        url: destination.target.to_string(),
        id,
        bytes,
        tls: tls(&destination),
        took: attempt.duration,
        problem: crate::forwarding::sender::http::problem(&attempt, &meaning),
        is_taken: meaning.event == EventMeaning::Delivered,
        meaning: said(&meaning, TargetKind::Http),
        of_kind: SampleOfKind::Http {
            signatures: destination.secrets.len(),
            peer: attempt.peer,
            version: attempt.version,
            status: attempt.status,
            excerpt: attempt.excerpt,
        },
    })
}

#[cfg(feature = "nats")]
async fn over_nats(
    destination: Arc<Destination>,
    guard: Guard,
    clock: &Clock,
) -> Result<Sample, Diagnostic> {
    let outgoing = outgoing(&destination, clock);
    let (id, bytes) = (outgoing.event.id, outgoing.body.len());
    let subject = forward::nats::subject(&destination.nats.subject_prefix, &outgoing.event);
    let sender = NatsSender::new(destination.clone(), guard, clock.clone());
    let sender = sender.map_err(|error| error.diagnostic())?;
    let attempt = sender.attempt(outgoing).await;
    let meaning = attempt.response().meaning(clock.now());
    let (took, problem) = (attempt.duration, crate::forwarding::sender::nats::problem(&attempt));
    let acked = attempt.result.ok().map(|ack| (ack.stream, ack.sequence));
    Ok(Sample {
        url: destination.target.to_string(),
        id,
        bytes,
        tls: tls(&destination),
        took,
        problem,
        is_taken: meaning.event == EventMeaning::Delivered,
        meaning: said(&meaning, TargetKind::Nats),
        of_kind: SampleOfKind::Nats { subject, acked },
    })
}

fn test_event(clock: &Clock) -> EventColumns {
    let now = clock.now();
    let payload = format!(r#"{{"CallbackCommand":"{SAMPLE_TYPE}","EventTime":{}}}"#, now.0);
    EventColumns {
        id: event_id::unique(now),
        position: 0,
        app: AppId::parse(TEST_APP).expect("it is a constant, and valid"),
        family: "test".to_owned(),
        command: SAMPLE_TYPE.to_owned(),
        command_sent: None,
        event_time: now,
        received_at: now,
        call_id: None,
        room_id: None,
        operator: None,
        client_ip: None,
        platform: None,
        decode_error: None,
        content: Content::Vendor(Payload::Json(payload)),
    }
}

fn tls(destination: &Destination) -> &'static str {
    let is_plain = match &destination.target {
        Target::Http(url) => (url.scheme() != "https").then_some("none: plain HTTP"),
        Target::Nats(servers) => {
            let has_files = destination.tls.ca.is_some() || destination.tls.certificate.is_some();
            let is_required = has_files || servers.iter().all(|server| server.scheme() == "tls");
            (!is_required).then_some("only if the server requires it")
        }
    };
    is_plain.unwrap_or(match &destination.tls.ca {
        Some(_) => "certificate checked with `tls_ca`",
        None => "certificate checked with this machine's authorities",
    })
}

/// What an answer means for an event, and what to do.
fn said(meaning: &Meaning, kind: TargetKind) -> &'static str {
    match (meaning.event, meaning.destination) {
        (EventMeaning::Delivered, _) => "an event with this answer counts as delivered",
        (_, DestinationMeaning::Gone) => {
            "the destination wants no events: an event pauses it until `forward resume`"
        }
        (_, DestinationMeaning::Misconfigured) => {
            "nothing can be sent as it is configured: events wait"
        }
        (EventMeaning::Failed, _) if kind == TargetKind::Nats => {
            "an event goes on its retry schedule: `doctor` checks the stream"
        }
        (EventMeaning::Failed, _) => {
            "an event goes on its retry schedule: does the receiver know the secret and the path, and take type `trtc.test`?"
        }
        (EventMeaning::Undeliverable, _) => "an event becomes a dead letter",
        (EventMeaning::Waits { .. }, _) => "events wait, and one is tried after growing pauses",
    }
}
