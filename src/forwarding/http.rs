//! HTTP push: a signed POST for each event.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::warn;
use url::Url;

use crate::clock::Clock;
use crate::forwarding::sender::{Outgoing, Sender, Sent};
use crate::settings::proxy;
use forward::answer::{AttemptResult, Failure, Meaning, Response};
use forward::destination::Destination;
use forward::http::header::{HeaderMap, HeaderName, HeaderValue};
use forward::http::{
    Attempt, Client, ClientError, ClientSettings, FailureClass, Guard, Request, TlsFiles,
};
use forward::signature::Delivery;
use protocol::diagnostic::{Diagnostic, Hint};

/// How often TLS files are read again.
const RELOAD_EVERY: Duration = Duration::from_mins(1);

/// Sends to one URL.
pub(super) struct HttpSender {
    destination: Arc<Destination>,
    url: Url,
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
    pub(super) fn new(destination: Arc<Destination>, url: Url, guard: Guard, clock: Clock) -> Self {
        Self { destination, url, guard, clock, client: Mutex::new(None) }
    }

    /// The client. It is made when it is needed first, and again after it could not be made: its files may be there by then.
    async fn client(&self) -> Result<Client, ClientError> {
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
        let (settings, guard) = (self.client_settings(), self.guard.clone());
        let client = spawn_blocking(move || Client::new(settings, guard)).await;
        let client = client.map_err(|error| ClientError::Http(error.to_string()))??;
        *made = Some(Made { client: client.clone(), read_at: Instant::now() });
        Ok(client)
    }

    fn client_settings(&self) -> ClientSettings {
        let destination = &self.destination;
        let (certificate, key) = destination.tls.certificate.clone().unzip();
        ClientSettings {
            url: self.url.clone(),
            timeout: destination.timeout,
            connect_timeout: destination.connect_timeout,
            tls: TlsFiles { ca: destination.tls.ca.clone(), certificate, key },
            proxy: proxy(destination),
        }
    }

    fn headers(&self, outgoing: &Outgoing) -> Result<HeaderMap, String> {
        let destination = &self.destination;
        let delivery = Delivery {
            id: outgoing.event.id,
            destination: &destination.name,
            attempt: outgoing.attempt,
            replay: outgoing.replay,
            body: &outgoing.body,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in delivery.headers(&destination.secrets, self.clock.now()) {
            let value = HeaderValue::try_from(value);
            headers.insert(name, value.map_err(|_| format!("header `{name}` cannot be sent"))?);
        }
        for (name, value) in destination.headers.iter() {
            let wrong = || format!("header `{name}` cannot be sent");
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            let value = HeaderValue::try_from(value.expose_secret());
            let mut value = value.map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn unusable(&self, problem: String) -> Sent {
        Sent {
            meaning: Response::Failure(Failure::Unusable).meaning(self.clock.now()),
            status: None,
            problem: Some(problem),
            excerpt: String::new(),
            took: Duration::ZERO,
        }
    }
}

#[async_trait]
impl Sender for HttpSender {
    async fn send(&self, outgoing: Outgoing) -> Sent {
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return self.unusable(said(&error)),
        };
        let headers = match self.headers(&outgoing) {
            Ok(headers) => headers,
            Err(problem) => return self.unusable(problem),
        };
        let attempt = client.send(Request { headers, body: outgoing.body.into_bytes() }).await;
        let meaning = meaning(&attempt, &self.clock);
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

/// What an attempt means. A status counts, whatever came after it, but for one of success: the answer may have been cut by a
/// proxy whose service never saw the request.
fn meaning(attempt: &Attempt, clock: &Clock) -> Meaning {
    let is_taken = |status: u16| (200..300).contains(&status);
    let failure = attempt.failure.as_ref().map(|failure| failure.class);
    let response = match (attempt.status, failure) {
        (Some(status), failure) if failure.is_none() || !is_taken(status) => {
            Response::Status { status, retry_after: attempt.retry_after.as_deref() }
        }
        (_, Some(FailureClass::Timeout)) => Response::Failure(Failure::Timeout),
        (_, Some(FailureClass::Connect)) => Response::Failure(Failure::Connect),
        (_, Some(FailureClass::Tls)) => Response::Failure(Failure::Tls),
        (_, Some(FailureClass::BlockedAddress)) => Response::Failure(Failure::BlockedAddress),
        _ => Response::Failure(Failure::Reset),
    };
    let meaning = response.meaning(clock.now());
    match failure {
        // The head of an answer is too large, not the event.
        Some(FailureClass::TooLarge) => Meaning { result: AttemptResult::TooLarge, ..meaning },
        _ => meaning,
    }
}

/// What went wrong, without the answer itself.
fn problem(attempt: &Attempt, meaning: &Meaning) -> Option<String> {
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
