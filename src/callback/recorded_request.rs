//! One request as a text: what fixtures, the `replay` command and the last-resort log line hold.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::callback::command::description::Command;
use crate::callback::event::{Event, Payload};
use crate::callback::verify::AppId;

/// A request of the vendor: its query, and its body in the one form of three that holds it.
///
/// Other members beside these are ignored on reading, so that a fixture or a log line can say more.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Delivery {
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
    /// When the text is not JSON, or none or several of the three kinds of body are given.
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
                &Self { query: self.query.clone(), body_text: text, ..Self::default() }
            }
            _ => self,
        };
        // Strings and JSON texts always serialize, so nothing is ever replaced by the empty text.
        serde_json::to_string(delivery).unwrap_or_default()
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
        delivery.query = query(app, command.name, Some("127.0.0.1"), Some("Web"), None);
        delivery
    }

    /// The request an event came from. Not in it: the signature, which would be stale, and query keys that are not the vendor's:
    /// it may stand in a log.
    #[must_use]
    pub fn of_event(event: &Event) -> Self {
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

    /// A request with this query and body.
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

/// The query the vendor would send, its signature left out.
#[must_use]
pub fn query(
    app: AppId,
    command: &str,
    client_ip: Option<&str>,
    platform: Option<&str>,
    request_id: Option<&str>,
) -> String {
    let app = app.to_string();
    let pairs = pairs(&app, command, client_ip, platform, request_id);
    let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// What the vendor's query says. Only what stands last may be absent.
fn pairs<'a>(
    app: &'a str,
    command: &'a str,
    client_ip: Option<&'a str>,
    platform: Option<&'a str>,
    request_id: Option<&'a str>,
) -> [(&'static str, Option<&'a str>); 6] {
    [
        ("SdkAppid", Some(app)),
        ("CallbackCommand", Some(command)),
        ("contenttype", Some("json")),
        ("ClientIP", client_ip),
        ("OptPlatform", platform),
        ("RequestId", request_id),
    ]
}

/// How long a query may be that is kept, in bytes. A longer one is shown by what its columns say.
const QUERY_BYTES_MAX: usize = 4096;

/// The query of an event as received, its signature left out, where its columns do not say the same: where it has keys or
/// spellings of its own. Of which key comes first nothing is kept. `None` for nearly all events, which costs no memory.
pub(crate) fn unusual(sent: &str, event: &Event) -> Option<String> {
    let app = event.app.to_string();
    let command = event.command_sent.as_deref().unwrap_or(&event.command);
    let columns = [&event.client_ip, &event.platform, &event.request_id].map(Option::as_deref);
    let [client_ip, platform, request_id] = columns;
    let usual = pairs(&app, command, client_ip, platform, request_id);
    if says(sent, &usual) {
        return None;
    }
    Some(without_signature(sent)).filter(|query| query.len() <= QUERY_BYTES_MAX)
}

/// Whether a query has exactly these pairs, in any order, as they are written usually; and a signature or none.
fn says(sent: &str, usual: &[(&str, Option<&str>)]) -> bool {
    let is_pair = |part: &str, key: &str, value: &str| {
        let rest = part.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
        let rest = rest.and_then(|rest| {
            form_urlencoded::byte_serialize(value.as_bytes())
                .try_fold(rest, |rest, piece| rest.strip_prefix(piece))
        });
        rest.is_some_and(str::is_empty)
    };
    let mut found = [false; 8];
    for part in sent.split('&') {
        let place = usual
            .iter()
            .position(|(key, value)| value.is_some_and(|value| is_pair(part, key, value)));
        match place.and_then(|place| found.get_mut(place)) {
            Some(found) if !*found => *found = true,
            None if is_signature(part) => {}
            _ => return false,
        }
    }
    usual.iter().zip(found).all(|((_, value), found)| value.is_some() == found)
}

/// Whether one part of a query is of the signature, in whatever spelling it is read.
fn is_signature(part: &str) -> bool {
    let key = part.split('=').next().unwrap_or_default();
    let decoded = form_urlencoded::parse(key.as_bytes()).next();
    decoded.is_some_and(|(key, _)| {
        let key = key.trim().trim_start_matches("amp;");
        ["sign", "requesttime"].iter().any(|name| key.eq_ignore_ascii_case(name))
    })
}

fn without_signature(sent: &str) -> String {
    let ends = ['&', '?'];
    let parts = sent.split_inclusive(ends);
    let kept: String = parts.filter(|part| !is_signature(part.trim_end_matches(ends))).collect();
    kept.trim_end_matches(ends).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_body_stands_on_one_line_and_comes_back() {
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
    fn a_body_that_was_read_over_several_lines_is_written_on_one() {
        let read = Delivery::parse("{\"query\":\"q\",\"body\":{\n\"A\":\r1}}").unwrap();
        let line = read.to_line();
        assert!(!line.contains(['\n', '\r']), "{line}");
        let again = Delivery::parse(&line).unwrap();
        assert_eq!((again.query.as_str(), again.bytes()), ("q", read.bytes()));
    }

    #[test]
    fn a_query_says_the_same_in_any_order_and_with_a_signature() {
        let usual = pairs("1", "Call.X", Some("2001:db8::1"), None, Some("Id 7"));
        for (sent, same) in [
            (
                "SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1&RequestId=Id+7",
                true,
            ),
            (
                "CallbackCommand=Call.X&ClientIP=2001%3Adb8%3A%3A1&RequestId=Id+7&RequestTime=5&SdkAppid=1&Sign=ab&contenttype=json",
                true,
            ),
            (
                "SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001:db8::1&RequestId=Id+7",
                false,
            ),
            (
                "SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1",
                false,
            ),
            (
                "SdkAppid=1&SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1",
                false,
            ),
            (
                "SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1&RequestId=Id+7&tenant=7",
                false,
            ),
            (
                "sdkappid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1&RequestId=Id+7",
                false,
            ),
            ("", false),
        ] {
            assert_eq!(says(sent, &usual), same, "{sent}");
        }
    }

    #[test]
    fn a_signature_is_left_out_wherever_it_stands() {
        for (sent, kept) in [
            ("Sign=ab&tenant=7&RequestTime=5", "tenant=7"),
            ("tenant=7?SdkAppid=1&S%69gn=ab&requestTIME=5", "tenant=7?SdkAppid=1"),
            ("tenant=7?sign=ab", "tenant=7"),
            ("design=x&Signed=y&a=Sign", "design=x&Signed=y&a=Sign"),
            ("a=1&amp;Sign=ab&b=%26Sign%3Dab", "a=1&b=%26Sign%3Dab"),
            ("", ""),
        ] {
            assert_eq!(without_signature(sent), kept, "{sent}");
        }
    }

    #[test]
    fn a_delivery_has_exactly_one_body() {
        for json in [r#"{"query":"q"}"#, r#"{"body":{},"body_text":"x"}"#, r#"{"body_base64":"?"}"#]
        {
            assert!(Delivery::parse(json).is_err(), "{json}");
        }
    }
}
