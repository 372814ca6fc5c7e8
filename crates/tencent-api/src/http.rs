//! One exchange with the vendor over HTTP: bounded in time and size, without redirects.

use reqwest::{RequestBuilder, Response, StatusCode};
use rustls::crypto::ring;

use crate::answer::Secrets;
use crate::error::Failure;
use crate::region::Endpoint;
use crate::retry::Limits;
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

/// Posts to one endpoint.
pub(crate) struct Http {
    client: reqwest::Client,
    limits: Limits,
}

impl Http {
    pub(crate) fn new(endpoint: &Endpoint, limits: Limits) -> Result<Self, ClientError> {
        let client = http_client()
            .connect_timeout(limits.connect)
            .timeout(limits.one_try)
            // A redirect would hand the signature to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        // A proxy cannot reach this machine's own ports.
        let client = if endpoint.is_near() { client.no_proxy() } else { client };
        // Without this, a machine without certificates of any CA could not even call a stand-in.
        let client =
            if endpoint.is_plain() { client.tls_certs_only(std::iter::empty()) } else { client };
        let client = client.build().map_err(|error| ClientError(reason(&error.without_url())))?;
        Ok(Self { client, limits })
    }

    pub(crate) fn post(&self, url: String) -> RequestBuilder {
        self.client.post(url)
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn exchange(
        &self,
        request: RequestBuilder,
        secrets: &Secrets<'_>,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let response = request.send().await.map_err(|error| self.broken(error, secrets))?;
        let status = response.status();
        Ok((status, self.body(response, secrets).await?))
    }

    /// Reads the body as far as it may go.
    async fn body(
        &self,
        mut response: Response,
        secrets: &Secrets<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let most = self.limits.answer_bytes_max;
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
            let Limits { connect, one_try, .. } = self.limits;
            return Failure::TimedOut(if error.is_connect() { connect } else { one_try });
        }
        Failure::Unreachable(secrets.shown(&reason(&error.without_url())))
    }
}

/// No HTTP client can be made on this machine.
#[derive(Debug, Clone, thiserror::Error)]
#[error("prepare the HTTP client: {0}")]
pub struct ClientError(String);

impl ClientError {
    pub(crate) fn new(problem: &str) -> Self {
        Self(problem.to_owned())
    }
}

impl Hint for ClientError {
    fn hint(&self) -> Option<String> {
        let hint = "does the machine have certificates of public CAs, the package `ca-certificates` for example?";
        Some(hint.to_owned())
    }
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
