//! The service on the developer's machine.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

use crate::cli::listen::report::{Form, Outcome, Tried};
use crate::clock::Clock;
use forward::answer::Response;
use forward::destination::headers::Headers;
use forward::destination::secret::SigningSecret;
use forward::envelope::{ClientIp, envelope};
use forward::event_columns::EventColumns;
use forward::http::{Attempt, Client, Failure, FailureClass, Request};
use forward::signature::Delivery;
use protocol::diagnostic::{Diagnostic, Hint};

/// The value of `trtc-destination`.
const DESTINATION: &str = "listen";
/// How long to wait before a receiver that is away is tried again: at first, and at most.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often an event is sent whose connection breaks before an answer: a service that is started anew takes it then, and one
/// that ends by it would do so for ever.
const BROKEN_MAX: u32 = 3;

const HINT_AWAY: &str = "start the service: the event is sent again until it is answered";
const HINT_TIMEOUT: &str =
    "answer before the work is done; the event is not sent again, but by `listen --event ID`";
const HINT_REDIRECT: &str = "give the URL that it leads to";
const HINT_TLS: &str =
    "for a service on this machine write `http://`, or have its CA among those of the system";

/// Sends one event after the other, and shows what is answered.
pub(super) struct Receiver {
    pub(super) client: Client,
    pub(super) secret: SigningSecret,
    pub(super) clock: Clock,
    pub(super) form: Form,
}

/// What is next after a try.
enum Next {
    Settled(Outcome),
    /// It was not reached.
    Away,
    /// The connection broke before the answer.
    Broken,
    /// No try will ever reach it.
    Unusable(Diagnostic),
}

impl Receiver {
    /// Sends an event until it is answered, or sending it again is of no use; a receiver that is away is waited for.
    ///
    /// # Errors
    /// It can never be sent there.
    pub(super) async fn deliver(&self, event: &EventColumns, replay: bool) -> Result<Outcome> {
        let origin = self.client.origin();
        let body = envelope(event, ClientIp::Omitted);
        self.form.sending(event, replay)?;
        let (mut number, mut away_since, mut backoff) = (1, None::<Instant>, BACKOFF_MIN);
        loop {
            let attempt = self.send(event, (number, replay), &body).await?;
            let next = next(&attempt, number);
            let show = |outcome, hint, away_s| {
                let attempt = &attempt;
                let tried = Tried { event, replay, number, attempt, outcome, hint, away_s };
                self.form.tried(&tried, &origin)
            };
            match next {
                Next::Settled(outcome) => {
                    let away = away_since.map(|since| since.elapsed().as_secs());
                    let away = away.and_then(|seconds| i64::try_from(seconds).ok());
                    show(outcome, hint(attempt.failure.as_ref()), away)?;
                    return Ok(outcome);
                }
                Next::Away => {
                    // Once, however long it takes.
                    if away_since.is_none() {
                        show(Outcome::Waiting, Some(HINT_AWAY), None)?;
                        away_since = Some(Instant::now());
                    }
                }
                Next::Broken => {
                    show(Outcome::Waiting, None, None)?;
                    number += 1;
                }
                Next::Unusable(diagnostic) => return Err(anyhow!(diagnostic)),
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn send(
        &self,
        event: &EventColumns,
        (attempt, replay): (u32, bool),
        body: &str,
    ) -> Result<Attempt> {
        let delivery = Delivery { id: event.id, destination: DESTINATION, attempt, replay, body };
        // Signed for each try: its time is part of it.
        let headers = delivery.headers(std::slice::from_ref(&self.secret), self.clock.now());
        let request = Request::new(headers, &Headers::default(), body)?;
        Ok(self.client.send(request).await)
    }
}

fn next(attempt: &Attempt, number: u32) -> Next {
    match (attempt.status, &attempt.failure) {
        (_, Some(failure)) if failure.class == FailureClass::BlockedAddress => {
            Next::Unusable(failure.diagnostic())
        }
        (_, Some(failure)) if failure.class == FailureClass::Tls => {
            Next::Unusable(Diagnostic::new(failure.to_string(), HINT_TLS))
        }
        (None, Some(failure)) if failure.is_unsent() => Next::Away,
        (None, Some(failure)) if failure.class == FailureClass::Reset && number < BROKEN_MAX => {
            Next::Broken
        }
        _ => Next::Settled(match attempt.response() {
            Response::Status { status: 200..=299, .. } => Outcome::Taken,
            Response::Status { .. } => Outcome::Rejected,
            Response::Failure(_) => Outcome::Unanswered,
        }),
    }
}

fn hint(failure: Option<&Failure>) -> Option<&'static str> {
    match failure?.class {
        FailureClass::Timeout => Some(HINT_TIMEOUT),
        FailureClass::Redirect => Some(HINT_REDIRECT),
        _ => None,
    }
}
