//! From a verified request to an event: named, typed, timed and with an id.

use std::borrow::Cow;
use std::time::Duration;

use uuid::Uuid;

use super::body::Body;
use super::command::{Command, Family, Kind};
use super::identity;
use super::json::{self, Object};
use super::scalar::Scalar;
use super::verify::{AppId, Verified};
use crate::clock::UnixMillis;

/// One event of the vendor, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its identity; see [`identity`].
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
    /// The body, exactly as received.
    pub payload: Payload,
    /// The body's content.
    pub body: Body,
    /// Why `body` is [`Body::Undecoded`]: path and reason.
    pub decode_error: Option<String>,
}

/// A body's bytes, told apart by what a store's JSON column takes.
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
}

/// Times before 2015 are taken for mistakes.
const EARLIEST: UnixMillis = UnixMillis(1_420_070_400_000);
/// So are times more than a day ahead.
const AHEAD_MAX: Duration = Duration::from_hours(24);
/// How many characters of a name or an id go into its column, so that every store can index it. The payload has all.
const COLUMN_CHARS_MAX: usize = 255;

impl Event {
    /// Decodes one request. Never fails: what cannot be read is kept with its bytes and the reason.
    #[must_use]
    pub fn decode(verified: &Verified, bytes: &[u8], received_at: UnixMillis) -> Self {
        let query = verified.query();
        let text = json::text(bytes);
        let object = text.as_ref().ok().and_then(|json| Object::parse(json));
        let fields = object.as_ref();

        let name = Name::of(fields, query.command.as_deref());
        let row = name.row;
        let (body, decode_error) = match (&text, fields) {
            (Err(reason), _) => (Body::Undecoded, Some(reason.clone())),
            (Ok(_), None) => (Body::Undecoded, Some("expected an object".to_owned())),
            (Ok(json), Some(_)) => match row.decode.map(|decode| decode(json)) {
                None => (Body::Untyped, None),
                Some(Ok(body)) => (body, None),
                Some(Err(reason)) => (Body::Undecoded, Some(reason)),
            },
        };

        let body_time = fields.and_then(|fields| time(fields, row.time, received_at));
        let event_time = body_time.unwrap_or(received_at);
        let id = if row.kind == Kind::After && body_time.is_some() {
            identity::repeatable(event_time, verified.app(), &name.command, bytes)
        } else {
            identity::unique(event_time)
        };
        let subject = |paths| fields.and_then(|fields| first_id(fields, paths));

        Self {
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
            payload: match text {
                Ok(json) => Payload::Json(json.to_owned()),
                Err(_) => Payload::Raw(bytes.to_owned()),
            },
            body,
            decode_error: decode_error.as_deref().map(storable),
        }
    }
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
        let Some(sent) = in_body.as_deref().or(query) else {
            let row = Command::unknown("");
            return Self { command: "unknown".into(), sent: None, row };
        };
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
}

/// The first time at one of `paths` that makes sense, read as ms or else as s: some bodies have the other unit.
fn time(fields: &Object<'_>, paths: &[&str], received_at: UnixMillis) -> Option<UnixMillis> {
    let latest = received_at.plus(AHEAD_MAX);
    let sensible = |time: &UnixMillis| (EARLIEST..=latest).contains(time);
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

/// As [`storable`], and short enough for an index.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(COLUMN_CHARS_MAX) {
        Some((end, _)) => storable(&text[..end]),
        None => storable(text),
    }
}
