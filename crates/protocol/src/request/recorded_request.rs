//! One request as a text: what fixtures, the `replay` command and the last-resort log line hold.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::command::description::Command;
use crate::dialect::Dialect;
use crate::event::{Event, Payload};
use crate::event_query::query;
use crate::request::query::Query;
use crate::request::verify::{AppId, Apps};
use crate::time::UnixMillis;

/// The header in which an event of the RTC Engine names its app, `SdkAppId`, as [`Delivery::headers`] has it.
pub const APP_HEADER: &str = "sdkappid";
/// The header in which it has its signature, `Sign`; see [`crate::rtc::sign`].
pub const SIGN_HEADER: &str = "sign";

/// A request of the vendor: its query, and its body in the one form of three that holds it.
///
/// Other members beside these are ignored on reading, so that a fixture or a log line can say more.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Delivery {
    /// The dialect it speaks; that of Chat where it is absent.
    #[serde(default, skip_serializing_if = "Dialect::is_default")]
    pub dialect: Dialect,
    /// Headers without which it would not be taken again, by their names in lower case: [`APP_HEADER`] and [`SIGN_HEADER`] of the RTC
    /// Engine. The dialect of Chat needs none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The query string, as it stands behind `?`.
    #[serde(default)]
    pub query: String,
    /// A JSON body; its text is sent exactly as it stands here.
    #[serde(default, alias = "payload", skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// A body that is text but not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_text: Option<String>,
    /// Any other body, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

impl Delivery {
    /// Reads one delivery from JSON.
    ///
    /// # Errors
    /// When the text is not JSON, its dialect is not known, or none or several of the three kinds of body are given.
    pub fn parse(json: &str) -> Result<Self, String> {
        let delivery: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        delivery.bytes().map(|_| delivery)
    }

    /// The body's bytes.
    ///
    /// # Errors
    /// When none or several of the three kinds of body are given, or the base64 is broken.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.body, &self.body_text, &self.body_base64) {
            (Some(json), None, None) => Ok(json.get().into()),
            (None, Some(text), None) => Ok(text.clone().into()),
            (None, None, Some(coded)) => {
                STANDARD.decode(coded).map_err(|error| format!("body_base64: {error}"))
            }
            _ => Err("expected one of `body`, `body_text` and `body_base64`".to_owned()),
        }
    }

    /// One line of JSON, as [`Delivery::parse`] reads it.
    #[must_use]
    pub fn to_line(&self) -> String {
        let delivery = match &self.body {
            Some(json) if json.get().contains(['\n', '\r']) => {
                let text = Some(json.get().to_owned());
                &Self { body: None, body_text: text, ..self.clone() }
            }
            _ => self,
        };
        // Strings and JSON texts always serialize, so nothing is ever replaced by the empty text.
        serde_json::to_string(delivery).unwrap_or_default()
    }

    /// The app it names, in its query or in its headers.
    #[must_use]
    pub fn app(&self) -> Option<AppId> {
        let query = || Query::parse(&self.query).sdk_app_id;
        let text = match self.dialect {
            Dialect::Im => query(),
            Dialect::RtcEngine => self.headers.get(APP_HEADER).cloned().or_else(query),
        };
        AppId::parse(text?.trim())
    }

    /// The event that it becomes when it arrives at `now`, whatever its signature. `None` where it names no app or has no body.
    #[must_use]
    pub fn event(&self, now: UnixMillis) -> Option<Event> {
        let (app, body) = (self.app()?, self.bytes().ok()?);
        // Without tokens and keys everything is taken.
        let apps = Apps::new().with(app, Vec::new());
        let query = Query::parse(&self.query);
        let verified = match self.dialect {
            Dialect::Im => apps.verify(query, now),
            Dialect::RtcEngine => apps.verify_rtc(app, [], &body, query),
        };
        Some(Event::decode(&verified.ok()?, &body, now))
    }

    /// A made-up delivery of `command`: the documented shape where one is known, else the members that all share.
    #[must_use]
    pub fn sample(command: &Command, app: AppId) -> Self {
        let mut delivery =
            command.sample.and_then(|json| Self::parse(json).ok()).unwrap_or_else(|| {
                let body = serde_json::json!({
                    "CallbackCommand": command.name,
                    "GroupId": "sample-group",
                    "From_Account": "alice",
                    "EventTime": 1_740_464_128_807_i64,
                });
                Self { body: RawValue::from_string(body.to_string()).ok(), ..Self::default() }
            });
        match delivery.dialect {
            Dialect::Im => {
                delivery.query = query(app, command.name, Some("127.0.0.1"), Some("Web"), None);
            }
            Dialect::RtcEngine => {
                delivery.headers = BTreeMap::from([(APP_HEADER.to_owned(), app.to_string())]);
            }
        }
        delivery
    }

    /// The request an event came from. Not in it: the signature, which would be stale, and query keys that are not the vendor's:
    /// it may stand in a log.
    #[must_use]
    pub fn of_event(event: &Event) -> Self {
        if event.family.dialect() == Dialect::RtcEngine {
            let query = event.query.clone().unwrap_or_default();
            return Self::of_rtc(event.app, query, &event.payload);
        }
        let command = event.command_sent.as_deref().unwrap_or(&event.command);
        let query = query(
            event.app,
            command,
            event.client_ip.as_deref(),
            event.platform.as_deref(),
            event.request_id.as_deref(),
        );
        Self::of_payload(query, &event.payload)
    }

    /// An event of the RTC Engine with this app, query and body. Its signature is made anew by who sends it.
    #[must_use]
    pub fn of_rtc(app: AppId, query: String, payload: &Payload) -> Self {
        Self {
            dialect: Dialect::RtcEngine,
            headers: BTreeMap::from([(APP_HEADER.to_owned(), app.to_string())]),
            ..Self::of_payload(query, payload)
        }
    }

    /// A request of the dialect of Chat with this query and body.
    #[must_use]
    pub fn of_payload(query: String, payload: &Payload) -> Self {
        let mut delivery = Self { query, ..Self::default() };
        match payload {
            // A line of JSON cannot hold a body that itself spans lines, and a member that is `null` counts as absent.
            Payload::Json(json) if !json.contains(['\n', '\r']) && json.trim() != "null" => {
                delivery.body = RawValue::from_string(json.clone()).ok();
                if delivery.body.as_ref().is_none_or(|body| body.get() != json) {
                    delivery.body = None;
                    delivery.body_text = Some(json.clone());
                }
            }
            Payload::Json(json) => delivery.body_text = Some(json.clone()),
            Payload::Raw(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => delivery.body_text = Some(text.to_owned()),
                Err(_) => delivery.body_base64 = Some(STANDARD.encode(bytes)),
            },
        }
        delivery
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_body_round_trips_on_one_line() {
        for body in ["{\"A\": 1.0}", " {} ", "{\n}", "null", "\"x\"", "", "text", "a\u{0}b"] {
            for payload in [Payload::Json(body.into()), Payload::Raw(body.into())] {
                let not_json = serde_json::from_str::<&RawValue>(body).is_err();
                if not_json && matches!(payload, Payload::Json(_)) {
                    continue;
                }
                let line = Delivery::of_payload("q".into(), &payload).to_line();
                assert!(!line.contains('\n'), "{line}");
                assert_eq!(Delivery::parse(&line).unwrap().bytes().unwrap(), body.as_bytes());
            }
        }
        let payload = Payload::Raw(vec![0xff, 0, 0xfe]);
        let line = Delivery::of_payload("q".into(), &payload).to_line();
        assert_eq!(Delivery::parse(&line).unwrap().bytes().unwrap(), payload.as_bytes());
    }

    #[test]
    fn a_multi_line_body_is_written_on_one_line() {
        let read = Delivery::parse("{\"query\":\"q\",\"body\":{\n\"A\":\r1}}").unwrap();
        let line = read.to_line();
        assert!(!line.contains(['\n', '\r']), "{line}");
        let again = Delivery::parse(&line).unwrap();
        assert_eq!((again.query.as_str(), again.bytes()), ("q", read.bytes()));
    }

    #[test]
    fn dialect_and_headers_round_trip_on_the_line() {
        let json = r#"{"dialect":"im","headers":{"sign":"c2ln"},"query":"q","body":{"A":1}}"#;
        let read = Delivery::parse(json).unwrap();
        assert_eq!(read.headers["sign"], "c2ln");
        let line = read.to_line();
        assert_eq!(line, r#"{"headers":{"sign":"c2ln"},"query":"q","body":{"A":1}}"#);
        assert_eq!(Delivery::parse(&line).unwrap().headers, read.headers);
        let over_lines = Delivery::parse(&json.replace("{\"A\"", "{\n\"A\"")).unwrap();
        assert_eq!(Delivery::parse(&over_lines.to_line()).unwrap().headers, read.headers);
    }

    #[test]
    fn a_dialect_that_is_not_known_is_refused() {
        let error = Delivery::parse(r#"{"dialect":"morse","query":"q","body":{}}"#).unwrap_err();
        assert!(
            error.contains("unknown variant `morse`, expected `im` or `rtc_engine`"),
            "{error}"
        );
    }

    #[test]
    fn a_delivery_has_exactly_one_body() {
        for json in [r#"{"query":"q"}"#, r#"{"body":{},"body_text":"x"}"#, r#"{"body_base64":"?"}"#]
        {
            assert!(Delivery::parse(json).is_err(), "{json}");
        }
    }
}
