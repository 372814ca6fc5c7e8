//! NATS: a message in a `JetStream` stream for each event.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::telemetry::OnChange;
use forward::answer::Response;
use forward::destination::Destination;
use forward::http::{Guard, UrlError};
use forward::nats::{Attempt, Client, ClientSettings, Creation, Message, check};
use forward::sender::{Outgoing, Sender, Sent};
use protocol::diagnostic::Diagnostic;

/// How long to wait before the stream is looked at again after it could not be, and at most.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
const LOOK_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Publishes to one stream.
pub(crate) struct NatsSender {
    destination: Arc<Destination>,
    client: Client,
    clock: Clock,
}

impl NatsSender {
    pub(crate) fn new(
        destination: Arc<Destination>,
        guard: Guard,
        clock: Clock,
    ) -> Result<Self, UrlError> {
        let client = Client::new(ClientSettings::of(&destination)?, guard);
        Ok(Self { destination, client, clock })
    }

    /// Publishes once.
    pub(crate) async fn attempt(&self, outgoing: Outgoing) -> Attempt {
        let Outgoing { event, body, replay, .. } = outgoing;
        let message = Message::new(&self.destination.nats, &event, body, replay);
        self.client.publish(message).await
    }
}

#[async_trait]
impl Sender for NatsSender {
    async fn send(&self, outgoing: Outgoing) -> Sent {
        sent(&self.attempt(outgoing).await, &self.clock)
    }

    /// Looks at the stream until it could be looked at once, and creates it where that is configured.
    async fn prepare(&self) {
        let destination = self.destination.name.as_str();
        let (mut logged, mut pause) = (OnChange::default(), LOOK_PAUSE);
        let report = loop {
            match check(&self.client, &self.destination.nats, Creation::AsConfigured).await {
                Ok(report) => break report,
                Err(found) => {
                    if logged.is_new(&found) {
                        let Diagnostic { problem: reason, hint } = found;
                        warn!(
                            destination,
                            reason, hint, "the stream cannot be looked at; trying again"
                        );
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LOOK_PAUSE_MAX);
                }
            }
        };
        let (streams, created) = (report.streams.join(", "), report.created);
        info!(destination, streams, created, "the stream was looked at");
        for finding in report.findings {
            let Diagnostic { problem: reason, hint } = finding.found;
            if finding.is_grave {
                error!(destination, reason, hint, "events will not reach the stream");
            } else {
                warn!(destination, reason, hint, "the stream could be safer");
            }
        }
    }
}

fn sent(attempt: &Attempt, clock: &Clock) -> Sent {
    let meaning = attempt.response().meaning(clock.now());
    let status = match attempt.response() {
        Response::Status { status, .. } => Some(status),
        Response::Failure(_) => None,
    };
    let problem = problem(attempt);
    Sent { meaning, status, problem, excerpt: String::new(), took: attempt.duration }
}

/// What went wrong, with its hint on one line.
pub(crate) fn problem(attempt: &Attempt) -> Option<String> {
    let failure = attempt.result.as_ref().err()?;
    let problem = &failure.found.problem;
    Some(match &failure.found.hint {
        Some(hint) => format!("{problem} ({hint})"),
        None => problem.clone(),
    })
}
