//! Events of a server elsewhere, by its API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::cli::listen::source::{Arrivals, Bodies, PAGE_EVENTS, Page, Source, SourceError};
use crate::store::Position;
use forward::event_columns::{Content, EventColumns};
use protocol::diagnostic::Diagnostic;
use protocol::event::Payload;
use protocol::{AppId, UnixMillis};

/// How long an answer may take beside the time it is asked to wait for an event.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The longest answer: a page has 8 MiB of bodies, which escapes may make six times as long.
const ANSWER_BYTES_MAX: usize = 64 << 20;

pub(super) struct ApiSource {
    client: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    /// Scheme, host and port.
    origin: String,
    token: SecretString,
    /// What the server leaves out by itself.
    filter: Vec<(&'static str, String)>,
}

/// An event, as the API gives it.
#[derive(Deserialize)]
struct ApiEvent {
    id: Uuid,
    #[serde(deserialize_with = "app_id")]
    sdk_app_id: AppId,
    family: String,
    command: String,
    command_sent: Option<String>,
    event_time: UnixMillis,
    received_at: UnixMillis,
    call_id: Option<String>,
    room_id: Option<String>,
    operator: Option<String>,
    client_ip: Option<String>,
    platform: Option<String>,
    decode_error: Option<String>,
    payload: Option<Box<RawValue>>,
    body_text: Option<String>,
    body_base64: Option<String>,
    position: Option<i64>,
}

fn app_id<'de, D: Deserializer<'de>>(input: D) -> Result<AppId, D::Error> {
    let number = i64::deserialize(input)?;
    AppId::parse(&number.to_string()).ok_or_else(|| D::Error::custom("not an SDKAppID"))
}

#[derive(Deserialize)]
struct Items {
    items: Vec<ApiEvent>,
    next: Option<String>,
}

/// Why a request was not answered as wanted.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ProblemDetails {
    detail: Option<String>,
    hint: Option<String>,
}

impl From<ApiEvent> for EventColumns {
    fn from(event: ApiEvent) -> Self {
        let bytes = match (event.payload, event.body_text, event.body_base64) {
            (Some(json), _, _) => json.get().as_bytes().to_vec(),
            (None, Some(text), _) => text.into_bytes(),
            (None, None, base64) => {
                base64.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default()
            }
        };
        // JSON of several lines is given as text.
        let payload = match String::from_utf8(bytes) {
            Ok(text) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => Payload::Json(text),
            Ok(text) => Payload::Raw(text.into_bytes()),
            Err(no_text) => Payload::Raw(no_text.into_bytes()),
        };
        Self {
            id: event.id,
            position: event.position.unwrap_or_default(),
            app: event.sdk_app_id,
            family: event.family,
            command: event.command,
            command_sent: event.command_sent,
            event_time: event.event_time,
            received_at: event.received_at,
            call_id: event.call_id,
            room_id: event.room_id,
            operator: event.operator,
            client_ip: event.client_ip,
            platform: event.platform,
            decode_error: event.decode_error,
            content: Content::Vendor(payload),
        }
    }
}

impl ApiSource {
    pub(super) fn new(
        url: &str,
        token: SecretString,
        filter: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let parsed = reqwest::Url::parse(url).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none()
        });
        let Some(parsed) = parsed else {
            bail!(Diagnostic::new(
                format!("`--from {url}` is not the URL of a server"),
                "give that of its operations listener, such as http://127.0.0.1:9090"
            ));
        };
        let client = crate::tencent_api::http_client()
            .connect_timeout(CONNECT_MAX)
            // A redirect would hand the token to somebody else.
            .redirect(reqwest::redirect::Policy::none());
        // A proxy is for elsewhere, and cannot reach this machine's own ports.
        let host = parsed.host_str().unwrap_or_default();
        let is_near = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        let client = if is_near { client.no_proxy() } else { client };
        // Plain HTTP needs no CA, and a machine may have none.
        let is_plain = parsed.scheme() == "http";
        let client = if is_plain { client.tls_certs_only(std::iter::empty()) } else { client };
        Ok(Self {
            client: client.build().context("prepare the HTTP client")?,
            base: url.trim_end_matches('/').to_owned(),
            origin: parsed.origin().ascii_serialization(),
            token,
            filter,
        })
    }

    /// `None` where there is no such thing.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        wait: Duration,
    ) -> Result<Option<T>, SourceError> {
        let url = format!("{}/api/v1/{path}?{}", self.base, encoded(query));
        let request = self.client.get(url).timeout(wait + ANSWER_MAX);
        let token = self.token.expose_secret();
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let answer = request.send().await.map_err(|error| self.unreached(&error))?;
        let status = answer.status();
        let body = self.body(answer).await?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map(Some).map_err(|_| {
                SourceError::Away(format!(
                    "{} answers with something else than events",
                    self.origin
                ))
            }),
            StatusCode::NOT_FOUND if is_of_api(&body) => Ok(None),
            _ => Err(self.refused(status, &body)),
        }
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, SourceError> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreached(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                let problem = format!("{} answers with more than it was asked for", self.origin);
                return Err(SourceError::Away(problem));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreached(&self, error: &reqwest::Error) -> SourceError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let cause = if error.is_timeout() { "no answer in time".into() } else { cause.to_string() };
        SourceError::Away(format!("{} cannot be reached: {cause}", self.origin))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> SourceError {
        let origin = &self.origin;
        let problem: ProblemDetails = serde_json::from_slice(body).unwrap_or_default();
        let said = problem.detail.map_or_else(String::new, |detail| format!(": {detail}"));
        let text = format!("{origin} answers {}{said}", status.as_u16());
        match status {
            StatusCode::UNAUTHORIZED if self.token.expose_secret().is_empty() => {
                SourceError::Final(Diagnostic::new(
                    format!("{origin} asks for a token"),
                    "set TRTC_OPS__TOKEN to one of its tokens with the scope `read`",
                ))
            }
            StatusCode::UNAUTHORIZED => SourceError::Final(Diagnostic::new(
                format!("{origin} refuses the token"),
                "set TRTC_OPS__TOKEN, or `ops.token` of the configuration, to one of its tokens with the scope `read`",
            )),
            StatusCode::GONE => SourceError::Outside(text),
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => {
                let hint = problem.hint.unwrap_or_else(|| {
                    "is it a server of the same version as this command?".to_owned()
                });
                SourceError::Final(Diagnostic::new(text, hint))
            }
            _ => SourceError::Away(text),
        }
    }

    async fn events(
        &self,
        query: &[(&str, &str)],
        (wait, limit): (Duration, u32),
    ) -> Result<Items, SourceError> {
        let limit = limit.to_string();
        let mut all: Vec<(&str, &str)> = vec![("limit", &limit)];
        all.extend_from_slice(query);
        all.extend(self.filter.iter().map(|(name, value)| (*name, value.as_str())));
        let items = self.get("events", &all, wait).await?;
        items.ok_or_else(|| SourceError::Away(format!("{} has no list of events", self.origin)))
    }

    fn position(&self, items: &Items) -> Result<Position, SourceError> {
        let position = items.next.as_deref().and_then(|next| next.parse().ok());
        position.ok_or_else(|| {
            SourceError::Away(format!("{} does not say after which position to go on", self.origin))
        })
    }
}

fn encoded(query: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish()
}

/// Whether it is said by the API, not by whatever else listens there.
fn is_of_api(body: &[u8]) -> bool {
    serde_json::from_slice::<ProblemDetails>(body).is_ok_and(|problem| problem.detail.is_some())
}

#[async_trait]
impl Source for ApiSource {
    fn name(&self) -> &str {
        &self.origin
    }

    fn hint(&self) -> &'static str {
        "is the server up, and is this the URL of its operations listener (`ops.listen`)?"
    }

    async fn end(&self) -> Result<Position, SourceError> {
        let query = [("order", "stored"), ("after", "now")];
        let items = self.events(&query, (Duration::ZERO, 1)).await?;
        self.position(&items)
    }

    async fn page(
        &self,
        after: Position,
        wait: Duration,
        bodies: Bodies,
    ) -> Result<Page, SourceError> {
        let payload = if bodies == Bodies::Included { "true" } else { "false" };
        let (place, seconds) = (after.to_string(), wait.as_secs().to_string());
        let query =
            [("order", "stored"), ("after", &place), ("wait", &seconds), ("payload", payload)];
        let items = self.events(&query, (wait, PAGE_EVENTS)).await?;
        let next = self.position(&items)?;
        let is_end = items.items.is_empty() && next == after;
        let events = items.items.into_iter().map(EventColumns::from).collect();
        Ok(Page { events, next, is_end })
    }

    async fn arrivals(
        &self,
        since: UnixMillis,
        place: Option<&str>,
    ) -> Result<Arrivals, SourceError> {
        let since = since.to_string();
        let mut query =
            vec![("order", "arrived"), ("received_since", since.as_str()), ("payload", "true")];
        query.extend(place.map(|place| ("cursor", place)));
        let items = self.events(&query, (Duration::ZERO, PAGE_EVENTS)).await?;
        let events = items.items.into_iter().map(EventColumns::from).collect();
        Ok(Arrivals { events, next: items.next })
    }

    async fn event(&self, id: Uuid) -> Result<Option<EventColumns>, SourceError> {
        let event = self.get::<ApiEvent>(&format!("events/{id}"), &[], Duration::ZERO).await?;
        Ok(event.map(EventColumns::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(body: &str) -> Payload {
        let text = format!(
            r#"{{"id":"0198f300-0000-8000-8000-000000000001","sdk_app_id":1,"family":"call","command":"a","command_sent":null,
            "event_time":"2026-11-29T09:07:39.235Z","received_at":"2026-11-29T09:07:39.235Z","call_id":null,"room_id":null,
            "operator":null,"client_ip":null,"platform":null,"decode_error":null{body}}}"#
        );
        let content = EventColumns::from(serde_json::from_str::<ApiEvent>(&text).unwrap()).content;
        let Content::Vendor(payload) = content else { panic!("not of the vendor: {content:?}") };
        payload
    }

    #[test]
    fn a_body_is_read_in_each_form_byte_for_byte() {
        let json = |text: &str| Payload::Json(text.to_owned());
        let long = r#"{ "a":9007199254740993123, "a":1 }"#;
        assert_eq!(payload(&format!(r#","payload":{long}"#)), json(long));
        assert_eq!(payload(r#","body_text":"{\n}""#), json("{\n}"));
        assert_eq!(payload(r#","body_text":"no json""#), Payload::Raw(b"no json".to_vec()));
        assert_eq!(payload(r#","body_base64":"/wA=""#), Payload::Raw(vec![255, 0]));
        assert_eq!(payload(""), Payload::Raw(Vec::new()));
    }
}
