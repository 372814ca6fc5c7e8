//! A signed sample, sent once to see whether a destination takes it. Nothing is stored.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Clock;
use crate::forwarding::sender::http::HttpSender;
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
    /// How many secrets it is signed with.
    pub(crate) signatures: usize,
    /// Who answered: the destination, or the proxy on the way there.
    pub(crate) peer: Option<SocketAddr>,
    /// The version of HTTP.
    pub(crate) version: Option<&'static str>,
    /// What TLS trusts.
    pub(crate) tls: &'static str,
    /// The status of the answer.
    pub(crate) status: Option<u16>,
    /// How long it took.
    pub(crate) took: Duration,
    /// The beginning of the answer.
    pub(crate) excerpt: String,
    /// Whether it counts as delivered.
    pub(crate) is_taken: bool,
    /// What the answer means for an event.
    pub(crate) meaning: &'static str,
    /// What went wrong.
    pub(crate) problem: Option<String>,
}

/// Sends a sample once, as an event would be sent.
pub(crate) async fn send_sample(
    destination: Destination,
    guard: Guard,
    clock: &Clock,
) -> Result<Sample, Diagnostic> {
    match destination.target.kind() {
        TargetKind::Http => over_http(Arc::new(destination), guard, clock).await,
        TargetKind::Nats => Err(Diagnostic::new(
            format!("`{}` is a stream of NATS, to which no sample is sent", destination.name),
            "`doctor` checks its stream",
        )),
    }
}

async fn over_http(
    destination: Arc<Destination>,
    guard: Guard,
    clock: &Clock,
) -> Result<Sample, Diagnostic> {
    let event = Arc::new(test_event(clock));
    let id = event.id;
    let body = envelope(&event, destination.client_ip);
    let bytes = body.len();
    let sender = HttpSender::new(destination.clone(), guard, clock.clone());
    let outgoing = Outgoing { event, body, attempt: 1, replay: false };
    let (attempt, meaning) = sender.attempt(outgoing).await.map_err(|error| error.diagnostic())?;
    Ok(Sample {
        url: destination.target.to_string(),
        id,
        bytes,
        signatures: destination.secrets.len(),
        peer: attempt.peer,
        version: attempt.version,
        tls: tls(&destination),
        status: attempt.status,
        took: attempt.duration,
        problem: crate::forwarding::sender::http::problem(&attempt, &meaning),
        excerpt: attempt.excerpt,
        is_taken: meaning.event == EventMeaning::Delivered,
        meaning: said(&meaning),
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
    match &destination.target {
        Target::Http(url) if url.scheme() == "https" => match &destination.tls.ca {
            Some(_) => "certificate checked with `tls_ca`",
            None => "certificate checked with this machine's authorities",
        },
        _ => "none: plain HTTP",
    }
}

/// What an answer means for an event, and what to do.
fn said(meaning: &Meaning) -> &'static str {
    match (meaning.event, meaning.destination) {
        (EventMeaning::Delivered, _) => "an event with this answer counts as delivered",
        (_, DestinationMeaning::Gone) => {
            "the destination wants no events: an event pauses it until `forward resume`"
        }
        (_, DestinationMeaning::Misconfigured) => {
            "nothing can be sent as it is configured: events wait"
        }
        (EventMeaning::Failed, _) => {
            "an event goes on its retry schedule: does the receiver know the secret and the path, and take type `trtc.test`?"
        }
        (EventMeaning::Undeliverable, _) => "an event becomes a dead letter",
        (EventMeaning::Waits { .. }, _) => "events wait, and one is tried after growing pauses",
    }
}
