//! What the vendor answers, and what of it may be shown.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::error::Failure;
use protocol::letters::is_unsafe;

/// The most characters of a text of the vendor's that are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// The envelope of every answer. Whatever may be missing from a failure is optional. Not `Debug`: it may hold a token.
#[derive(Deserialize)]
pub(crate) struct Answer {
    #[serde(rename = "ActionStatus")]
    status: Option<String>,
    #[serde(rename = "ErrorCode")]
    code: Option<i64>,
    #[serde(rename = "ErrorInfo", default)]
    info: Value,
    #[serde(rename = "RequestId", default)]
    request_id: Value,
    /// What was asked for.
    #[serde(rename = "Response", default)]
    pub(crate) response: Value,
    /// What `GetIPList` was asked for.
    #[serde(rename = "IPList", default)]
    pub(crate) ip_list: Value,
}

impl Answer {
    /// Reads a body; `None` where it is no such envelope.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let answer: Self = serde_json::from_slice(body).ok()?;
        (answer.status.is_some() || answer.code.is_some()).then_some(answer)
    }

    /// What the vendor says it did; success is said twice, and both must say so.
    pub(crate) fn verdict(&self, secrets: &Secrets<'_>) -> Result<(), Failure> {
        let ok = self.status.as_deref() == Some("OK");
        match self.code {
            Some(0) if ok => Ok(()),
            Some(0) => {
                Err(Failure::NotUnderstood("`ErrorCode` is 0, `ActionStatus` not `OK`".into()))
            }
            None => Err(Failure::NotUnderstood("it has no `ErrorCode`".into())),
            Some(code) => {
                let info = self.info.as_str().unwrap_or_default();
                Err(Failure::Refused { code, info: secrets.shown(info) })
            }
        }
    }

    /// The vendor's name for the request.
    pub(crate) fn request_id(&self, secrets: &Secrets<'_>) -> Option<String> {
        let id = self.request_id.as_str().filter(|id| !id.is_empty())?;
        Some(secrets.shown(id))
    }
}

/// Secrets that must not be shown, in whatever text they stand.
pub(crate) struct Secrets<'a>(pub(crate) Vec<&'a SecretString>);

impl Secrets<'_> {
    /// A text of somebody else's, short, on one line, and without a secret.
    pub(crate) fn shown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            let secret = secret.expose_secret();
            // As it is, and as it stands in JSON.
            let escaped = Value::from(secret).to_string();
            for form in [&escaped[1..escaped.len() - 1], secret] {
                if !form.is_empty() {
                    text = text.replace(form, "[secret]");
                }
            }
        }
        let plain = text.chars().map(|letter| if is_unsafe(letter) { ' ' } else { letter });
        plain.take(SHOWN_CHARS_MAX).collect::<String>().trim().to_owned()
    }
}
