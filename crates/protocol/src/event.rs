//! From a verified request to an event: named, typed, timed and with an id.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use uuid::Uuid;

use super::verify::{AppId, Verified};
use crate::body::decoded::Body;
use crate::command::description::{Command, Family, Kind};
use crate::dialect::Dialect;
use crate::event_fields::{Fields, storable};
pub use crate::event_fields::{clipped, is_sensible};
use crate::event_id;
use crate::event_name::Name;
use crate::event_query;
use crate::json::escapes;
use crate::json::raw;
use crate::json::raw::Object;
use crate::rtc::identity;
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
    /// Whether `event_time` is the event's own, which a repeat has too. An event of the RTC Engine without one has the time of the
    /// try, where that makes sense.
    pub timed: bool,
    /// Whether it is of the RTC Engine and was taken without a signature, since its app has no key.
    pub unchecked: bool,
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

/// What stands as the reason where reading panicked. What the panic said may hold parts of the body.
const PANICKED: &str = "reading it panicked, which is a mistake of this program";

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
        let fields = object.map(|object| Fields::of(verified.dialect(), object));
        let fields = fields.as_ref();

        let name = Name::of_request(verified, fields.map(|fields| &fields.body));
        let row = name.row;
        let (body, decode_error) = match (&text, fields) {
            (Err(reason), _) => (Body::Undecoded, Some(reason.clone())),
            (Ok(_), None) => (Body::Undecoded, Some("expected an object".to_owned())),
            (Ok(json), Some(fields)) => match row.decode.map(|decode| decode(json)) {
                None => (Body::Untyped, fields.misfit()),
                Some(Ok(decoded)) => (decoded.body, decoded.misfits.or_else(|| fields.misfit())),
                Some(Err(reason)) => (Body::Undecoded, Some(reason)),
            },
        };

        let own_time = fields.and_then(|fields| fields.time(row.time, received_at));
        let sent_at = || fields.and_then(|fields| fields.sent_at(received_at));
        let event_time = own_time.or_else(sent_at).unwrap_or(received_at);
        let app = verified.app();
        let request_id = query.request_id.as_deref().map(clipped);
        let identified = text.as_ref().map_or(bytes, |json| json.as_bytes());
        let id = match (verified.dialect(), row.kind, own_time, &request_id) {
            (Dialect::RtcEngine, ..) => {
                let info = fields.and_then(|fields| fields.info.as_ref());
                let info = info.filter(|_| own_time.is_some());
                let identity = match (&text, fields) {
                    (Ok(json), Some(fields)) => identity::digest(json, &fields.body, info),
                    _ => identity::digest_of_bytes(identified),
                };
                event_id::of_identity(event_time, app, &identity)
            }
            (Dialect::Im, Kind::After, Some(time), _) => {
                event_id::repeatable(time, app, &name.command, identified)
            }
            (Dialect::Im, Kind::After, None, Some(request_id)) => {
                event_id::of_request(received_at, app, &name.command, request_id, identified)
            }
            (Dialect::Im, ..) => event_id::unique(event_time),
        };
        let subject = |paths| fields.and_then(|fields| fields.first_id(paths));

        let event = Self {
            id,
            app: verified.app(),
            family: row.family,
            command: name.command,
            command_sent: name.sent,
            kind: row.kind,
            event_time,
            timed: own_time.is_some(),
            unchecked: is_unchecked(verified),
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
        if self.family.dialect() == Dialect::RtcEngine {
            // The vendor adds none to the URL that is configured.
            return event_query::kept(sent).filter(|query| !query.is_empty());
        }
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
        let decode = Command::of_stored(self.family.as_str(), &self.command).decode;
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
        if verified.dialect() == Dialect::RtcEngine {
            let identity = identity::digest_of_bytes(bytes);
            event.id = event_id::of_identity(received_at, event.app, &identity);
        } else if let (Kind::After, Some(request)) = (event.kind, &event.request_id) {
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
        let name = contained(|| Name::of_request(verified, None));
        let name = name.unwrap_or_else(|| Name::unknown(verified.dialect()));
        Self {
            id: event_id::unique(received_at),
            app: verified.app(),
            family: name.row.family,
            command: name.command,
            command_sent: name.sent,
            kind: name.row.kind,
            event_time: received_at,
            timed: false,
            unchecked: is_unchecked(verified),
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

fn is_unchecked(verified: &Verified) -> bool {
    verified.dialect() == Dialect::RtcEngine && !verified.is_checked()
}

/// What `step` gives; `None` where it panics. The panic's text is dropped: it may hold parts of a body.
pub fn contained<T>(step: impl FnOnce() -> T) -> Option<T> {
    // Nothing that a step had half done outlives it: it reads, and gives a value.
    catch_unwind(AssertUnwindSafe(step)).ok()
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
