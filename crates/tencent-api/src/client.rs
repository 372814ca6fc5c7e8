//! One call after the other to the vendor's REST API: signed, paced, bounded, tried again where that may help.

use std::fmt;
use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep, timeout_at};

use crate::answer::{Answer, Secrets};
use crate::error::{Action, Failure, VendorError};
use crate::http::{ClientError, Http};
use crate::pace::{Pace, SPACING};
use crate::region::Endpoint;
use crate::registration::product::Product;
use crate::retry::Limits;
use crate::signer::Signer;
use protocol::AppId;

/// Calls the vendor's API for one app, as one of its admins. Clones share connections and pace.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: Http,
    endpoint: Endpoint,
    signer: Signer,
    limits: Limits,
    pace: Pace,
}

/// One call: which, its path and further query, its body, and what of it is secret.
pub(crate) struct Call<'a> {
    pub(crate) action: Action,
    pub(crate) service: &'static str,
    /// Behind the query that every call has: empty, or from its `&` on.
    pub(crate) query: &'static str,
    pub(crate) body: serde_json::Value,
    pub(crate) secret: Option<&'a SecretString>,
}

impl Call<'_> {
    /// A call about a product's configuration.
    pub(crate) fn of(product: Product, name: &'static str, body: serde_json::Value) -> Self {
        let action = Action { product: Some(product), name };
        Self { action, service: product.service(), query: "", body, secret: None }
    }
}

/// What the vendor said of a call that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The vendor's name for the call; absent where the answer had none.
    pub request_id: Option<String>,
    /// How often it was tried.
    pub tries: u32,
}

impl Client {
    /// A client that calls `endpoint`, a [`Region`](crate::Region) or a host given by name.
    ///
    /// # Errors
    /// The HTTP client cannot be made, for example where the machine has no certificates of any CA.
    pub fn new(
        endpoint: impl Into<Endpoint>,
        signer: Signer,
        limits: Limits,
    ) -> Result<Self, ClientError> {
        let endpoint = endpoint.into();
        let http = Http::new(&endpoint, limits)?;
        Ok(Self(Arc::new(Inner { http, endpoint, signer, limits, pace: Pace::new(SPACING) })))
    }

    /// The app that it calls for.
    #[must_use]
    pub fn app(&self) -> AppId {
        self.0.signer.app()
    }

    /// The host that it calls.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.endpoint.host()
    }

    /// Calls until it goes well, there is no sense in another try, or the limits are reached.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<(Answer, Receipt), VendorError> {
        let limits = &self.0.limits;
        let deadline = Instant::now() + limits.all_tries;
        let mut tries = 0;
        loop {
            tries += 1;
            // The HTTP client has the time of one try, which begins when it is its turn.
            let outcome = timeout_at(deadline, self.try_once(call, tries)).await;
            let Attempt { result, request_id } =
                outcome.unwrap_or_else(|_| Attempt::failed(Failure::TimedOut(limits.all_tries)));
            let failure = match result {
                Ok(answer) => return Ok((answer, Receipt { request_id, tries })),
                Err(failure) => failure,
            };
            let pause = limits.pause_after(&failure, tries);
            match pause.filter(|pause| Instant::now() + *pause < deadline) {
                Some(pause) if tries < limits.tries_max => sleep(pause).await,
                _ => {
                    return Err(VendorError {
                        tries,
                        request_id,
                        ..self.error(call.action, failure)
                    });
                }
            }
        }
    }

    /// A failure of a call that was not made.
    pub(crate) fn error(&self, action: Action, failure: Failure) -> VendorError {
        let host = self.host().to_owned();
        VendorError { action, host, tries: 0, request_id: None, failure }
    }

    async fn try_once(&self, call: &Call<'_>, nth: u32) -> Attempt {
        let inner = &self.0;
        inner.pace.turn().await;
        let signed = if nth == 1 { inner.signer.sign() } else { inner.signer.sign_anew() };
        let usersig = match signed {
            Ok(usersig) => usersig,
            Err(error) => return Attempt::failed(Failure::Unsigned(error)),
        };
        let secrets = [&usersig, inner.signer.key()].into_iter().chain(call.secret);
        let secrets = Secrets(secrets.collect());
        let request = inner
            .http
            .post(self.url(call, &usersig))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(call.body.to_string());
        match inner.http.exchange(request, &secrets).await {
            Ok((status, body)) => judge(status, &body, &secrets),
            Err(failure) => Attempt::failed(failure),
        }
    }

    /// The whole URL of one try. It holds what lets its reader call as the admin: it is never shown.
    fn url(&self, call: &Call<'_>, usersig: &SecretString) -> String {
        let signer = &self.0.signer;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("sdkappid", &signer.app().to_string())
            .append_pair("identifier", signer.identifier())
            .append_pair("usersig", usersig.expose_secret())
            .append_pair("random", &fastrand::u32(..).to_string())
            .append_pair("contenttype", "json")
            .finish();
        let (origin, service) = (self.0.endpoint.origin(), call.service);
        format!("{origin}/v4/{service}/{}?{query}{}", call.action.name, call.query)
    }
}

/// Without key and signature.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { endpoint, signer, limits, .. } = &*self.0;
        f.debug_struct("Client")
            .field("host", &endpoint.host())
            .field("signer", signer)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

/// One attempt of a call, and its result.
struct Attempt {
    result: Result<Answer, Failure>,
    request_id: Option<String>,
}

impl Attempt {
    fn failed(failure: Failure) -> Self {
        Self { result: Err(failure), request_id: None }
    }
}

/// What a whole answer says.
fn judge(status: StatusCode, body: &[u8], secrets: &Secrets<'_>) -> Attempt {
    let Some(answer) = Answer::read(body) else {
        return Attempt::failed(match status {
            StatusCode::OK => {
                Failure::NotUnderstood("it is not JSON of the documented form".into())
            }
            _ => Failure::Status(status.as_u16()),
        });
    };
    let request_id = answer.request_id(secrets);
    let result = match answer.verdict(secrets) {
        Ok(()) if status == StatusCode::OK => Ok(answer),
        Ok(()) | Err(Failure::NotUnderstood(_)) if status != StatusCode::OK => {
            Err(Failure::Status(status.as_u16()))
        }
        verdict => verdict.map(|()| answer),
    };
    Attempt { result, request_id }
}
