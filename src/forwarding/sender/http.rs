//! HTTP push: a signed POST for each event.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::warn;

use crate::clock::Clock;
use forward::answer::{AttemptResult, Failure, Meaning, Response};
use forward::destination::Destination;
use forward::http::{
    Attempt, Client, ClientSettings, FailureClass, Guard, HttpClientError, Request,
};
use forward::sender::{Outgoing, Sender, Sent};
use forward::signature::Delivery;
use protocol::diagnostic::{Diagnostic, Hint};

/// How often TLS files are read again.
const RELOAD_EVERY: Duration = Duration::from_mins(1);

/// Sends to one URL.
pub(crate) struct HttpSender {
    destination: Arc<Destination>,
    guard: Guard,
    clock: Clock,
    client: Mutex<Option<Made>>,
}

/// A client, and when its TLS files were read.
struct Made {
    client: Client,
    read_at: Instant,
}

impl HttpSender {
    pub(crate) fn new(destination: Arc<Destination>, guard: Guard, clock: Clock) -> Self {
        Self { destination, guard, clock, client: Mutex::new(None) }
    }

    /// The client. It is made when it is needed first, and again after it could not be made: its files may be there by then.
    async fn client(&self) -> Result<Client, HttpClientError> {
        let mut made = self.client.lock().await;
        if let Some(made) = made.as_mut() {
            let tls = &self.destination.tls;
            let has_files = tls.ca.is_some() || tls.certificate.is_some();
            if has_files && made.read_at.elapsed() >= RELOAD_EVERY {
                made.read_at = Instant::now();
                if let Err(error) = made.client.reload().await {
                    let Diagnostic { problem: reason, hint } = error.diagnostic();
                    let destination = self.destination.name.as_str();
                    warn!(
                        destination,
                        reason, hint, "changed TLS files cannot be used; the ones before are"
                    );
                }
            }
            return Ok(made.client.clone());
        }
        let (settings, guard) = (ClientSettings::of(&self.destination)?, self.guard.clone());
        let client = spawn_blocking(move || Client::new(settings, guard)).await;
        let client = client.map_err(|error| HttpClientError::Http(error.to_string()))??;
        *made = Some(Made { client: client.clone(), read_at: Instant::now() });
        Ok(client)
    }

    /// Sends once, and says what the answer means. Fails where nothing could be sent at all.
    pub(crate) async fn attempt(
        &self,
        outgoing: Outgoing,
    ) -> Result<(Attempt, Meaning), HttpClientError> {
        let client = self.client().await?;
        let request = self.request(outgoing)?;
        let attempt = client.send(request).await;
        let meaning = meaning(&attempt, &self.clock);
        Ok((attempt, meaning))
    }

    fn request(&self, outgoing: Outgoing) -> Result<Request, HttpClientError> {
        let destination = &self.destination;
        let delivery = Delivery {
            id: outgoing.event.id,
            destination: &destination.name,
            attempt: outgoing.attempt,
            replay: outgoing.replay,
            body: &outgoing.body,
        };
        let headers = delivery.headers(&destination.secrets, self.clock.now());
        Request::new(headers, &destination.headers, outgoing.body)
    }

    fn unusable(&self, error: &HttpClientError) -> Sent {
        Sent {
            meaning: Response::Failure(Failure::Unusable).meaning(self.clock.now()),
            status: None,
            problem: Some(said(error)),
            excerpt: String::new(),
            took: Duration::ZERO,
        }
    }
}

#[async_trait]
impl Sender for HttpSender {
    async fn send(&self, outgoing: Outgoing) -> Sent {
        let (attempt, meaning) = match self.attempt(outgoing).await {
            Ok(done) => done,
            Err(error) => return self.unusable(&error),
        };
        let problem = problem(&attempt, &meaning);
        Sent {
            meaning,
            status: attempt.status,
            problem,
            excerpt: attempt.excerpt,
            took: attempt.duration,
        }
    }
}

fn meaning(attempt: &Attempt, clock: &Clock) -> Meaning {
    let meaning = attempt.response().meaning(clock.now());
    match &attempt.failure {
        // The head of an answer is too large, not the event.
        Some(failure) if failure.class == FailureClass::TooLarge => {
            Meaning { result: AttemptResult::TooLarge, ..meaning }
        }
        _ => meaning,
    }
}

/// What went wrong, without the answer itself.
pub(crate) fn problem(attempt: &Attempt, meaning: &Meaning) -> Option<String> {
    if meaning.result == AttemptResult::Ok {
        return None;
    }
    let status = attempt.status.map(|status| format!("answered {status}"));
    let failure = attempt.failure.as_ref().map(said);
    let note = meaning.note.filter(|_| failure.is_none()).map(str::to_owned);
    let parts: Vec<String> = [status, failure, note].into_iter().flatten().collect();
    Some(parts.join(": "))
}

/// An error with its hint on one line.
fn said<E: Hint + std::fmt::Display>(error: &E) -> String {
    match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}
