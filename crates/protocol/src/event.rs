//! From a verified request to an event: named, typed, timed and with an id.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use uuid::Uuid;

use super::verify::{AppId, Verified};
use crate::body::decoded::Body;
use crate::command::description::{Command, Family, Kind};
use crate::event_id;
use crate::event_query;
use crate::json::escapes;
use crate::json::raw;
use crate::json::raw::Object;
use crate::json::scalar::Scalar;
use crate::time::UnixMillis;

/// One event of the vendor, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its identity; see [`event_id`](mod@super::event_id).
    pub id: Uuid,
    /// The app it belongs to.
    pub app: AppId,
    /// The family, by the command's prefix.
    pub family: Family,
    /// The canonical name of the command; `unknown` where neither body nor query names one.
    pub command: Cow<'static, str>,
    /// The wire's spelling, or the query's command, where it differs from `command`.
    pub command_sent: Option<String>,
    /// Whether the vendor asked or told.
    pub kind: Kind,
    /// When it happened, from the body; `received_at` where the body has no time or an absurd one.
    pub event_time: UnixMillis,
    /// Whether `event_time` is from the body.
    pub timed: bool,
    /// When the request arrived.
    pub received_at: UnixMillis,
    /// The call it is about.
    pub call_id: Option<String>,
    /// The room it is about.
    pub room_id: Option<String>,
    /// The account that acted.
    pub operator: Option<String>,
    /// `ClientIP` of the query, as sent.
    pub client_ip: Option<String>,
    /// `OptPlatform` of the query, as sent.
    pub platform: Option<String>,
    /// `RequestId` of the query: the vendor's own name for the request, which its support can look for.
    pub request_id: Option<String>,
    /// The query as received, its signature left out, where the columns do not say the same.
    pub query: Option<String>,
    /// The body, exactly as received but for a byte order mark before JSON.
    pub payload: Payload,
    /// The body's content.
    pub body: Body,
    /// What of the body did not fit its command's type and is absent from `body`: path and reason of each of the first
    /// such fields. Or why nothing did, where `body` is [`Body::Undecoded`].
    pub decode_error: Option<String>,
    /// Whether reading it panicked, which is a mistake of ours: its bytes are kept, and of the rest what the query says.
    pub decode_panicked: bool,
}

/// A body's bytes as received, told apart by what a store's JSON column takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// It is JSON, at most 1000 levels deep.
    Json(String),
    /// It is not.
    Raw(Vec<u8>),
}

impl Payload {
    /// The bytes as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.as_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }

    /// What the columns `payload` and `raw` hold of it. Both where the JSON has an escape that a database's JSON functions
    /// refuse: then `payload` is what they can read, and `raw` what came.
    #[must_use]
    pub fn columns(&self) -> (Option<Cow<'_, str>>, Option<&[u8]>) {
        match self {
            Self::Json(text) => {
                let readable = escapes::readable(text);
                let raw = matches!(readable, Cow::Owned(_)).then_some(text.as_bytes());
                (Some(readable), raw)
            }
            Self::Raw(bytes) => (None, Some(bytes)),
        }
    }

    /// The body that these columns hold; `None` where both are empty.
    pub fn of_columns(payload: Option<String>, raw: Option<Vec<u8>>) -> Option<Self> {
        match (payload, raw) {
            (Some(json), None) => Some(Self::Json(json)),
            // What came, with its escapes, so that anything else is shown as what it is.
            (Some(_), Some(bytes)) => Some(
                String::from_utf8(bytes).map_or_else(|no| Self::Raw(no.into_bytes()), Self::Json),
            ),
            (None, raw) => raw.map(Self::Raw),
        }
    }
}

/// Times before 2015 are taken for mistakes.
const EARLIEST: UnixMillis = UnixMillis(1_420_070_400_000);
/// So are times more than a day ahead.
const AHEAD_MAX: Duration = Duration::from_hours(24);
/// What stands as the reason where reading panicked. What the panic said may hold parts of the body.
const PANICKED: &str = "reading it panicked, which is a mistake of this program";
/// How many characters of a name or an id go into its column, so that every store can index it. The payload has all.
const COLUMN_CHARS_MAX: usize = 255;

impl Event {
    /// Decodes one request. Never fails: what cannot be read is kept with its bytes and the reason. Nor does it panic:
    /// see [`Event::decode_panicked`].
    #[must_use]
    pub fn decode(verified: &Verified, bytes: &[u8], received_at: UnixMillis) -> Self {
        Self::decode_with(Self::read, verified, bytes, received_at)
    }

    /// Decodes with `read`, and keeps the event where that panics.
    fn decode_with(
        read: fn(&Verified, &[u8], UnixMillis) -> Self,
        verified: &Verified,
        bytes: &[u8],
        received_at: UnixMillis,
    ) -> Self {
        contained(|| read(verified, bytes, received_at))
            .unwrap_or_else(|| Self::unread(verified, bytes, received_at))
    }

    fn read(verified: &Verified, bytes: &[u8], received_at: UnixMillis) -> Self {
        let query = verified.query();
        let (text, object) = match raw::read(bytes) {
            Ok((json, object)) => (Ok(json), object),
            Err(reason) => (Err(reason), None),
        };
        let fields = object.as_ref();

        let name = Name::of(fields, query.command.as_deref());
        let row = name.row;
        let (body, decode_error) = match (&text, fields) {
            (Err(reason), _) => (Body::Undecoded, Some(reason.clone())),
            (Ok(_), None) => (Body::Undecoded, Some("expected an object".to_owned())),
            (Ok(json), Some(_)) => match row.decode.map(|decode| decode(json)) {
                None => (Body::Untyped, None),
                Some(Ok(decoded)) => (decoded.body, decoded.misfits),
                Some(Err(reason)) => (Body::Undecoded, Some(reason)),
            },
        };

        let body_time = fields.and_then(|fields| time(fields, row.time, received_at));
        let event_time = body_time.unwrap_or(received_at);
        let app = verified.app();
        let request_id = query.request_id.as_deref().map(clipped);
        let identified = text.as_ref().map_or(bytes, |json| json.as_bytes());
        let id = match (row.kind, body_time, &request_id) {
            (Kind::After, Some(time), _) => {
                event_id::repeatable(time, app, &name.command, identified)
            }
            (Kind::After, None, Some(request_id)) => {
                event_id::of_request(received_at, app, &name.command, request_id, identified)
            }
            _ => event_id::unique(event_time),
        };
        let subject = |paths| fields.and_then(|fields| first_id(fields, paths));

        let event = Self {
            id,
            app: verified.app(),
            family: row.family,
            command: name.command,
            command_sent: name.sent,
            kind: row.kind,
            event_time,
            timed: body_time.is_some(),
            received_at,
            call_id: subject(row.call_id),
            room_id: subject(row.room_id),
            operator: subject(row.operator),
            client_ip: query.client_ip.as_deref().map(storable),
            platform: query.platform.as_deref().map(storable),
            request_id,
            query: None,
            payload: match text {
                Ok(json) => Payload::Json(json.to_owned()),
                Err(_) => Payload::Raw(bytes.to_owned()),
            },
            body,
            decode_error: decode_error.as_deref().map(storable),
            decode_panicked: false,
        };
        Self { query: event.unusual_query(&query.text), ..event }
    }

    /// The query as received, where the columns do not say the same.
    fn unusual_query(&self, sent: &str) -> Option<String> {
        let command = self.command_sent.as_deref().unwrap_or(&self.command);
        let columns = [&self.client_ip, &self.platform, &self.request_id].map(Option::as_deref);
        event_query::unusual(sent, self.app, command, columns)
    }

    /// What tells a repeat of an event that has no time of its own, but a request's id: the [`event_id::content`] of its id.
    /// Absent for all others.
    #[must_use]
    pub fn request_key(&self) -> Option<Uuid> {
        let is_repeatable = self.id.get_version_num() == 8;
        (is_repeatable && !self.timed).then(|| event_id::content(self.id))
    }

    /// Decodes the body again where it was dropped: from the payload, by the command. Where that panics it counts as not
    /// decoded.
    pub fn restore_body(&mut self) {
        let decode = Command::find(&self.command).and_then(|row| row.decode);
        self.body = match (&self.payload, decode) {
            (Payload::Json(json), Some(decode)) if Object::parse(json).is_some() => {
                let decoded = contained(|| decode(json).ok()).flatten();
                decoded.map_or(Body::Undecoded, |decoded| decoded.body)
            }
            (Payload::Json(json), None) if Object::parse(json).is_some() => Body::Untyped,
            (Payload::Json(_) | Payload::Raw(_), _) => Body::Undecoded,
        };
    }

    /// An event whose body nobody can read, for this reason: it is kept as it came, with what the query says.
    #[must_use]
    pub fn unreadable(
        verified: &Verified,
        bytes: &[u8],
        reason: &str,
        received_at: UnixMillis,
    ) -> Self {
        let mut event =
            Self::of_query(verified, Payload::Raw(bytes.to_owned()), reason, received_at);
        if let (Kind::After, Some(request)) = (event.kind, &event.request_id) {
            event.id = event_id::of_request(received_at, event.app, &event.command, request, bytes);
        }
        event.query = event.unusual_query(&verified.query().text);
        event
    }

    /// An event that could not be read because reading panicked.
    fn unread(verified: &Verified, bytes: &[u8], received_at: UnixMillis) -> Self {
        let json = contained(|| raw::text(bytes).ok()).flatten();
        let payload = match json {
            Some(json) => Payload::Json(json.to_owned()),
            None => Payload::Raw(bytes.to_owned()),
        };
        let event = Self::of_query(verified, payload, PANICKED, received_at);
        Self { decode_panicked: true, ..event }
    }

    /// An event of which only the query is known. Its id is random, as where the body has no time.
    fn of_query(
        verified: &Verified,
        payload: Payload,
        reason: &str,
        received_at: UnixMillis,
    ) -> Self {
        let query = verified.query();
        // Either may be what panicked.
        let name = contained(|| Name::of(None, query.command.as_deref()));
        let name = name.unwrap_or_else(Name::unknown);
        Self {
            id: event_id::unique(received_at),
            app: verified.app(),
            family: name.row.family,
            command: name.command,
            command_sent: name.sent,
            kind: name.row.kind,
            event_time: received_at,
            timed: false,
            received_at,
            call_id: None,
            room_id: None,
            operator: None,
            client_ip: query.client_ip.as_deref().map(storable),
            platform: query.platform.as_deref().map(storable),
            request_id: query.request_id.as_deref().map(clipped),
            query: None,
            payload,
            body: Body::Undecoded,
            decode_error: Some(storable(reason)),
            decode_panicked: false,
        }
    }
}

/// What `step` gives; `None` where it panics. The panic's text is dropped: it may hold parts of a body.
pub fn contained<T>(step: impl FnOnce() -> T) -> Option<T> {
    // Nothing that a step had half done outlives it: it reads, and gives a value.
    catch_unwind(AssertUnwindSafe(step)).ok()
}

/// What a request calls itself.
struct Name {
    command: Cow<'static, str>,
    sent: Option<String>,
    row: Command,
}

impl Name {
    /// The body's command counts, the query's where the body has none. Where they disagree both are kept.
    fn of(fields: Option<&Object<'_>>, query: Option<&str>) -> Self {
        let in_body = fields.and_then(|fields| match fields.at("CallbackCommand")? {
            Scalar::Text(name) if !name.is_empty() => Some(name),
            _ => None,
        });
        let Some(sent) = in_body.as_deref().or(query) else { return Self::unknown() };
        let command: Cow<'static, str> = match Command::find(sent) {
            Some(row) => row.name.into(),
            None => clipped(sent).into(),
        };
        let folded = |name| Command::find(name).map_or(name, |row| row.name);
        let disagreeing = query.filter(|name| folded(name) != folded(sent));
        Self {
            sent: disagreeing.or((sent != command).then_some(sent)).map(storable),
            row: Command::find(sent).copied().unwrap_or_else(|| Command::unknown(sent)),
            command,
        }
    }

    fn unknown() -> Self {
        Self { command: "unknown".into(), sent: None, row: Command::unknown("") }
    }
}

/// Whether a time that a body names makes sense: from 2015 to a day after it arrived.
#[must_use]
pub fn is_sensible(time: UnixMillis, received_at: UnixMillis) -> bool {
    (EARLIEST..=received_at.plus(AHEAD_MAX)).contains(&time)
}

/// The first time at one of `paths` that makes sense, read as ms or else as s: some bodies have the other unit.
fn time(fields: &Object<'_>, paths: &[&str], received_at: UnixMillis) -> Option<UnixMillis> {
    let sensible = |time: &UnixMillis| is_sensible(*time, received_at);
    paths.iter().find_map(|path| {
        let number = fields.at(path)?.into_integer()?;
        let millis = Some(UnixMillis(number)).filter(sensible);
        millis.or_else(|| number.checked_mul(1000).map(UnixMillis).filter(sensible))
    })
}

/// The first id at one of `paths` that is not empty.
fn first_id(fields: &Object<'_>, paths: &[&str]) -> Option<String> {
    let ids = paths.iter().filter_map(|path| fields.at(path)?.into_id());
    ids.map(|id| clipped(&id)).find(|id| !id.is_empty())
}

/// `text` without NUL, which PostgreSQL refuses in text: U+FFFD stands in its place in both stores.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// `text` as a column of both stores holds it: short enough for an index, with U+FFFD for NUL, which PostgreSQL refuses.
#[must_use]
pub fn clipped(text: &str) -> String {
    match text.char_indices().nth(COLUMN_CHARS_MAX) {
        Some((end, _)) => storable(&text[..end]),
        None => storable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Apps, Query};
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_793_534_400_000);
    const BODY: &str = r#"{"CallbackCommand":"Room.CallbackAfterDestroyRoom","RoomId":"r","EventTime":1793534399000}"#;

    fn verified(query: &str) -> Verified {
        let app = AppId::parse("1400000001").unwrap();
        let query = Query::parse(&format!("SdkAppid=1400000001{query}"));
        Apps::new().with(app, Vec::new()).verify(query, NOW).unwrap()
    }

    fn panics(_: &Verified, bytes: &[u8], _: UnixMillis) -> Event {
        panic!("the body is {}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn an_event_that_panics_the_decoder_keeps_its_bytes_and_query() {
        let verified =
            verified("&CallbackCommand=Room.CallbackAfterDestroyRoom&ClientIP=::1&OptPlatform=Web");
        for body in [BODY.as_bytes(), b"{", b"\xff"] {
            let event = Event::decode_with(panics, &verified, body, NOW);
            assert!(event.decode_panicked);
            assert_eq!(event.payload.as_bytes(), body);
            assert_eq!(matches!(event.payload, Payload::Json(_)), body == BODY.as_bytes());
            assert_eq!(event.body, Body::Undecoded);
            assert_eq!(event.decode_error.as_deref(), Some(PANICKED));
            assert_eq!(event.command, "Room.CallbackAfterDestroyRoom");
            assert_eq!((event.family, event.kind), (Family::Room, Kind::After));
            assert_eq!(event.client_ip.as_deref(), Some("::1"));
            assert_eq!(event.platform.as_deref(), Some("Web"));
            assert_eq!((event.event_time, event.timed), (NOW, false));
        }
    }

    #[test]
    fn two_events_that_panic_the_decoder_have_two_ids() {
        let verified = verified("");
        let one = Event::decode_with(panics, &verified, BODY.as_bytes(), NOW);
        let two = Event::decode_with(panics, &verified, BODY.as_bytes(), NOW);
        assert_ne!(one.id, two.id);
        assert_eq!(one.id.get_version_num(), 7);
        assert_eq!(one.command, "unknown");
    }

    #[test]
    fn a_decoded_event_is_not_marked_as_panicked() {
        let event = Event::decode(&verified(""), BODY.as_bytes(), NOW);
        assert!(!event.decode_panicked);
        assert_eq!(event.decode_error, None);
    }
}
