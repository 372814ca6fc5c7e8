//! One call after the other to the vendor's cloud API: signed, paced, bounded, tried again where that may help.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::answer::Secrets;
use crate::cloud::error::{CloudError, CloudFailure};
use crate::cloud::key::CloudKey;
use crate::cloud::tc3::{self, Signed};
use crate::error::Failure;
use crate::http::{ClientError, Http};
use crate::pace::Pace;
use crate::region::Endpoint;
use crate::retry::Limits;
use protocol::UnixMillis;

const SERVICE: &str = "trtc";
const VERSION: &str = "2019-07-22";
/// The vendor takes 20 calls a second of one kind. That is one every 50 ms; a little more, since calls are delayed unequally on
/// their way.
const SPACING: Duration = Duration::from_millis(55);

/// Calls the vendor's cloud API with the key of one account. Clones share connections and pace.
#[derive(Clone)]
pub struct CloudClient(Arc<Inner>);

struct Inner {
    http: Http,
    endpoint: Endpoint,
    region: HeaderValue,
    key: CloudKey,
    limits: Limits,
    pace: Pace,
    requests: AtomicU64,
    now: Box<dyn Fn() -> UnixMillis + Send + Sync>,
}

/// The envelope of every answer.
#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(rename = "Response")]
    response: T,
}

/// What every answer has.
#[derive(Deserialize)]
struct Verdict {
    #[serde(rename = "Error", default)]
    error: Option<Refusal>,
    #[serde(rename = "RequestId", default)]
    request_id: Value,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "Code")]
    code: String,
    #[serde(rename = "Message", default)]
    message: Value,
}

/// One try: what it gave, and the vendor's name for it.
struct Attempt {
    result: Result<Vec<u8>, CloudFailure>,
    request_id: Option<String>,
}

impl Attempt {
    fn failed(failure: Failure) -> Self {
        Self { result: Err(CloudFailure::Failed(failure)), request_id: None }
    }
}

impl CloudClient {
    /// A client that calls `endpoint` for `region`, `ap-guangzhou` for example, with the key of an account. `now` gives the present
    /// moment each time it is called.
    ///
    /// # Errors
    /// The HTTP client cannot be made, or the region is no name.
    pub fn new(
        endpoint: Endpoint,
        region: &str,
        key: CloudKey,
        limits: Limits,
        now: impl Fn() -> UnixMillis + Send + Sync + 'static,
    ) -> Result<Self, ClientError> {
        let http = Http::new(&endpoint, limits)?;
        let region = HeaderValue::from_str(region)
            .map_err(|_| ClientError::new("the region's name cannot be sent"))?;
        Ok(Self(Arc::new(Inner {
            http,
            endpoint,
            region,
            key,
            limits,
            pace: Pace::new(SPACING),
            requests: AtomicU64::new(0),
            now: Box::new(now),
        })))
    }

    /// The host that it calls.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.endpoint.host()
    }

    /// How many requests were sent so far, those that failed included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Calls until it goes well, there is no sense in another try, or the limits are reached.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        action: &'static str,
        body: &Value,
    ) -> Result<T, CloudError> {
        let limits = &self.0.limits;
        let deadline = Instant::now() + limits.all_tries;
        let body = body.to_string();
        let mut tries = 0;
        loop {
            tries += 1;
            let outcome = timeout_at(deadline, self.try_once(action, &body)).await;
            let Attempt { result, request_id } =
                outcome.unwrap_or_else(|_| Attempt::failed(Failure::TimedOut(limits.all_tries)));
            let failure = match result.and_then(|body| self.read(&body)) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let pause = limits.pause_of(failure.retry(), tries);
            match pause.filter(|pause| Instant::now() + *pause < deadline) {
                Some(pause) if tries < limits.tries_max => sleep(pause).await,
                _ => {
                    let host = self.host().to_owned();
                    return Err(CloudError { action, host, tries, request_id, failure });
                }
            }
        }
    }

    async fn try_once(&self, action: &'static str, body: &str) -> Attempt {
        let inner = &self.0;
        inner.pace.turn().await;
        let time_s = (inner.now)().as_secs();
        let signed = Signed { service: SERVICE, host: self.host(), action, time_s, body };
        let authorization = signed.authorization(&inner.key);
        let Ok(mut header) = HeaderValue::from_str(authorization.expose_secret()) else {
            let problem = "the signature cannot be sent".to_owned();
            return Attempt::failed(Failure::Unreachable(problem));
        };
        header.set_sensitive(true);
        let request = inner
            .http
            .post(format!("{}/", inner.endpoint.origin()))
            .header(CONTENT_TYPE, HeaderValue::from_static(tc3::CONTENT_TYPE))
            .header(AUTHORIZATION, header)
            .header("X-TC-Action", action)
            .header("X-TC-Version", VERSION)
            .header("X-TC-Region", inner.region.clone())
            .header("X-TC-Timestamp", time_s)
            .header("X-TC-Language", "en-US")
            .body(body.to_owned());
        inner.requests.fetch_add(1, Ordering::Relaxed);
        let secrets = Secrets(vec![&authorization, &inner.key.key, &inner.key.id]);
        match inner.http.exchange(request, &secrets).await {
            Ok((status, body)) => judge(status, body, &secrets),
            Err(failure) => Attempt::failed(failure),
        }
    }

    /// Reads what a call that went well gave.
    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CloudFailure> {
        let read: Result<Envelope<T>, _> = serde_json::from_slice(body);
        read.map(|envelope| envelope.response).map_err(|error| {
            // The error may quote the answer.
            let secrets = Secrets(vec![&self.0.key.key, &self.0.key.id]);
            CloudFailure::Failed(Failure::NotUnderstood(secrets.shown(&error.to_string())))
        })
    }
}

/// Without key and signature.
impl fmt::Debug for CloudClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { endpoint, region, limits, .. } = &*self.0;
        f.debug_struct("CloudClient")
            .field("host", &endpoint.host())
            .field("region", region)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

/// What a whole answer says.
fn judge(status: StatusCode, body: Vec<u8>, secrets: &Secrets<'_>) -> Attempt {
    let Ok(Envelope { response }) = serde_json::from_slice::<Envelope<Verdict>>(&body) else {
        return Attempt::failed(match status {
            StatusCode::OK => {
                Failure::NotUnderstood("it is not JSON of the documented form".to_owned())
            }
            _ => Failure::Status(status.as_u16()),
        });
    };
    let Verdict { error, request_id } = response;
    let request_id = request_id.as_str().filter(|id| !id.is_empty()).map(|id| secrets.shown(id));
    let result = match error {
        Some(Refusal { code, message }) => {
            let message = secrets.shown(message.as_str().unwrap_or_default());
            Err(CloudFailure::Refused { code: secrets.shown(&code), message })
        }
        None if status != StatusCode::OK => {
            Err(CloudFailure::Failed(Failure::Status(status.as_u16())))
        }
        None => Ok(body),
    };
    Attempt { result, request_id }
}
