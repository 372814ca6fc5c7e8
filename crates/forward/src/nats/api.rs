//! What is asked of `JetStream` about streams: JSON by request.

use async_nats::client::RequestErrorKind;
use async_nats::{Client, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

use crate::nats::attempt::ApiError;
use protocol::diagnostic::Diagnostic;

/// The most streams that are looked at.
pub(crate) const STREAMS_MAX: usize = 8;
/// How long events are kept by a stream that is created here.
const AGE_MAX: Duration = Duration::from_hours(7 * 24);
/// For how long an id is remembered.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// There is no stream of this name.
pub(crate) const STREAM_NOT_FOUND: u64 = 10_059;
const NOT_ENABLED: u64 = 10_076;
const NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
const ENABLE_HINT: &str =
    "start nats-server with JetStream (`-js`), and enable it for the account; is a disk full?";
/// Errors that say that there are not three servers for it: not a cluster, or too few peers.
const NO_PEERS: [u64; 2] = [10_074, 10_005];

/// Asks one of the servers.
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) timeout: Duration,
}

/// What is known of a stream. What is absent has the server's default.
#[derive(Debug, Deserialize)]
pub(crate) struct Stream {
    pub(crate) config: Config,
    pub(crate) cluster: Option<Cluster>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    #[serde(default)]
    pub(crate) storage: String,
    #[serde(default)]
    pub(crate) num_replicas: u64,
    #[serde(default)]
    pub(crate) no_ack: bool,
    #[serde(default)]
    pub(crate) max_msg_size: i64,
    /// In nanoseconds.
    #[serde(default)]
    pub(crate) duplicate_window: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Cluster {
    /// Absent where the server is alone.
    pub(crate) name: Option<String>,
    pub(crate) leader: Option<String>,
}

#[derive(Deserialize)]
struct Reply {
    error: Option<ApiError>,
    #[serde(flatten)]
    rest: Value,
}

#[derive(Deserialize)]
struct Names {
    streams: Option<Vec<String>>,
}

/// Why there is no answer to use.
pub(crate) enum AskError {
    Refused(ApiError),
    None(Diagnostic),
}

impl Api {
    /// The streams that take some of these subjects.
    pub(crate) async fn streams_of(&self, subjects: &str) -> Result<Vec<String>, AskError> {
        let names: Names = self.ask("STREAM.NAMES", &json!({ "subject": subjects })).await?;
        let mut names = names.streams.unwrap_or_default();
        names.truncate(STREAMS_MAX);
        Ok(names)
    }

    /// A stream; `None` where there is none of this name.
    pub(crate) async fn stream(&self, name: &str) -> Result<Option<Stream>, AskError> {
        match self.ask(&format!("STREAM.INFO.{name}"), &json!({})).await {
            Ok(stream) => Ok(Some(stream)),
            Err(AskError::Refused(error)) if error.err_code == STREAM_NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a stream, with three replicas where there are servers for them.
    pub(crate) async fn create(&self, name: &str, subjects: &str) -> Result<Stream, AskError> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let config = |replicas: u32| {
            json!({
                "name": name,
                "subjects": [subjects],
                "retention": "limits",
                "storage": "file",
                "discard": "old",
                "num_replicas": replicas,
                "max_age": nanos(AGE_MAX),
                "duplicate_window": nanos(DUPLICATE_WINDOW),
                "max_msgs": -1,
                "max_bytes": -1,
                "max_msg_size": -1,
                "max_consumers": -1,
            })
        };
        let subject = format!("STREAM.CREATE.{name}");
        match self.ask(&subject, &config(3)).await {
            Err(AskError::Refused(error)) if NO_PEERS.contains(&error.err_code) => {
                self.ask(&subject, &config(1)).await
            }
            other => other,
        }
    }

    async fn ask<T: DeserializeOwned>(&self, what: &str, body: &Value) -> Result<T, AskError> {
        let request = Request::new().payload(body.to_string().into()).timeout(Some(self.timeout));
        let answer = self.client.send_request(format!("$JS.API.{what}"), request).await;
        let answer = answer.map_err(|error| {
            AskError::None(match error.kind() {
                RequestErrorKind::NoResponders => {
                    Diagnostic::new("JetStream does not answer", ENABLE_HINT)
                }
                _ => Diagnostic::new(
                    format!("ask JetStream for {what}: {error}"),
                    "is a disk full, or may this user not publish to `$JS.API.STREAM.>` or subscribe to `_INBOX.>`?",
                ),
            })
        })?;
        let strange = |error: serde_json::Error| {
            AskError::None(Diagnostic::from(format!("JetStream's answer to {what}: {error}")))
        };
        let reply: Reply = serde_json::from_slice(&answer.payload).map_err(strange)?;
        match reply.error {
            Some(error) => Err(AskError::Refused(error)),
            None => serde_json::from_value(reply.rest).map_err(strange),
        }
    }
}

impl From<AskError> for Diagnostic {
    fn from(error: AskError) -> Self {
        match error {
            AskError::None(found) => found,
            AskError::Refused(ApiError { err_code, description, .. }) => {
                let problem = format!("JetStream error {err_code}: {description}");
                match err_code {
                    NOT_ENABLED | NOT_ENABLED_FOR_ACCOUNT => Self::new(problem, ENABLE_HINT),
                    _ => problem.into(),
                }
            }
        }
    }
}
