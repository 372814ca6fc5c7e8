//! One event as a request.

use std::fmt;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::error::HttpClientError;
use crate::destination::headers::Headers;

/// One event, ready to be sent.
#[derive(Clone)]
pub struct Request {
    /// All headers but those of the connection. A value marked as sensitive is never shown.
    pub headers: HeaderMap,
    /// The signed body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request with the headers of one try, and those that are configured, which are never shown.
    ///
    /// # Errors
    /// The value of a header is nothing that HTTP can carry.
    pub fn new(
        headers: impl IntoIterator<Item = (&'static str, String)>,
        configured: &Headers,
        body: impl Into<Vec<u8>>,
    ) -> Result<Self, HttpClientError> {
        let configured = configured.iter().map(|(name, value)| (name, value.expose_secret(), true));
        let headers: Vec<_> = headers.into_iter().collect();
        let headers = headers.iter().map(|(name, value)| {
            let is_secret = *name == "webhook-signature";
            (*name, value.as_str(), is_secret)
        });
        let mut map = HeaderMap::new();
        for (name, value, is_secret) in configured.chain(headers) {
            let wrong = || HttpClientError::Header(name.to_owned());
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(is_secret);
            map.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
        }
        Ok(Self { headers: map, body: body.into() })
    }
}

/// Without the values of headers, and without the body.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("headers", &self.headers.keys())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}
