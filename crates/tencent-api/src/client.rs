//! One call after the other to the vendor's REST API: signed, paced, bounded, tried again where that may help.

use std::fmt;
use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};
use rustls::crypto::ring;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep, timeout_at};

use crate::answer::{Answer, Secrets};
use crate::error::{Action, Failure, VendorError};
use crate::pace::Pace;
use crate::region::Endpoint;
use crate::registration::product::Product;
use crate::retry::Limits;
use crate::signer::Signer;
use protocol::AppId;
use protocol::diagnostic::Hint;

/// The beginning of every HTTP client here.
///
/// The HTTP client library is built without a TLS provider, since the one it prefers is a large C library; it uses the process's,
/// and panics where there is none. One that was installed before stays.
pub fn http_client() -> reqwest::ClientBuilder {
    // An error says that there is one already.
    let _ = ring::default_provider().install_default();
    // Another crate of the program builds the library with HTTP/2, which single calls gain nothing by.
    reqwest::Client::builder().http1_only()
}

/// Calls the vendor's API for one app, as one of its admins. Clones share connections and pace.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
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
        let http = http_client()
            .connect_timeout(limits.connect)
            .timeout(limits.one_try)
            // A redirect would hand the signature to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        // A proxy cannot reach this machine's own ports.
        let http = if endpoint.is_near() { http.no_proxy() } else { http };
        // Without this, a machine without certificates of any CA could not even call a stand-in.
        let http = if endpoint.is_plain() { http.tls_certs_only(std::iter::empty()) } else { http };
        let http = http.build().map_err(|error| ClientError(reason(&error.without_url())))?;
        Ok(Self(Arc::new(Inner { http, endpoint, signer, limits, pace: Pace::new() })))
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
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Attempt::failed(self.broken(error, &secrets)),
        };
        let status = response.status();
        match self.body(response, &secrets).await {
            Ok(body) => judge(status, &body, &secrets),
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

    /// Reads the body as far as it may go.
    async fn body(
        &self,
        mut response: Response,
        secrets: &Secrets<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let most = self.0.limits.answer_bytes_max;
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(body),
                Ok(Some(chunk)) if body.len() + chunk.len() > most => {
                    return Err(Failure::TooLarge(most));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Err(error) => return Err(self.broken(error, secrets)),
            }
        }
    }

    fn broken(&self, error: reqwest::Error, secrets: &Secrets<'_>) -> Failure {
        if error.is_timeout() {
            let limits = &self.0.limits;
            return Failure::TimedOut(if error.is_connect() {
                limits.connect
            } else {
                limits.one_try
            });
        }
        Failure::Unreachable(secrets.shown(&reason(&error.without_url())))
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

/// No HTTP client can be made on this machine.
#[derive(Debug, Clone, thiserror::Error)]
#[error("prepare the HTTP client: {0}")]
pub struct ClientError(String);

impl Hint for ClientError {
    fn hint(&self) -> Option<String> {
        let hint = "does the machine have certificates of public CAs, the package `ca-certificates` for example?";
        Some(hint.to_owned())
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

/// An error and its causes on one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
