//! The stored event, as both stores read it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::from_row::from_row;
use protocol::UnixMillis;
use protocol::event::Payload;
use protocol::event_query::query;
use protocol::recorded_request::Delivery;
use protocol::{AppId, Body, Command, Dialect, Event};

/// What the column `signature` says of an event of the RTC Engine that was taken without one, since its app has no key.
pub(crate) const UNCHECKED: &str = "unchecked";

/// One row of `events`. Its fields are the table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table's columns; see `callback::Event`")]
pub struct StoredEvent {
    pub id: Uuid,
    pub app: AppId,
    pub family: String,
    pub command: String,
    pub command_sent: Option<String>,
    pub event_time: UnixMillis,
    pub received_at: UnixMillis,
    pub call_id: Option<String>,
    pub room_id: Option<String>,
    pub operator: Option<String>,
    pub client_ip: Option<String>,
    pub platform: Option<String>,
    pub request_id: Option<String>,
    pub query: Option<String>,
    pub signature: Option<String>,
    pub payload: Payload,
    pub decode_error: Option<String>,
}

impl StoredEvent {
    /// The recorded request, without its signature.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        if self.dialect() == Dialect::RtcEngine {
            let query = self.query.clone().unwrap_or_default();
            return Delivery::of_rtc(self.app, query, &self.payload);
        }
        Delivery::of_payload(self.query_sent(), &self.payload)
    }

    /// The dialect in which it came.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        Command::of_stored(&self.family, &self.command).family.dialect()
    }

    /// The query as received, without its signature; in the usual order of keys where only that was stored.
    fn query_sent(&self) -> String {
        let command = self.command_sent.as_deref().unwrap_or(&self.command);
        let columns = [&self.client_ip, &self.platform, &self.request_id].map(Option::as_deref);
        let [client_ip, platform, request_id] = columns;
        let usual = || query(self.app, command, client_ip, platform, request_id);
        self.query.clone().unwrap_or_else(usual)
    }

    /// The original event, its body decoded again. Whether its body had a time is not stored: it counts as timed
    /// where its time differs from its arrival. One of the RTC Engine may have the time at which it was sent, so its body is asked.
    #[must_use]
    pub fn into_event(self) -> Event {
        let row = Command::of_stored(&self.family, &self.command);
        let timed = match row.family.dialect() {
            Dialect::Im => self.event_time != self.received_at,
            Dialect::RtcEngine => {
                self.delivery().event(self.received_at).is_some_and(|event| event.timed)
            }
        };
        let mut event = Event {
            id: self.id,
            app: self.app,
            family: row.family,
            command: self.command.into(),
            command_sent: self.command_sent,
            kind: row.kind,
            event_time: self.event_time,
            timed,
            unchecked: self.signature.is_some(),
            received_at: self.received_at,
            call_id: self.call_id,
            room_id: self.room_id,
            operator: self.operator,
            client_ip: self.client_ip,
            platform: self.platform,
            request_id: self.request_id,
            query: self.query,
            payload: self.payload,
            body: Body::Untyped,
            decode_error: self.decode_error,
            decode_panicked: false,
        };
        event.restore_body();
        event
    }
}

/// A JSON object that `replay` accepts: the columns, times in RFC 3339, the query, and the one of `payload`,
/// `body_text` and `body_base64` that holds the body.
impl Serialize for StoredEvent {
    fn serialize<S: serde::Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Columns<'a> {
            id: Uuid,
            query: String,
            sdk_app_id: AppId,
            family: &'a str,
            command: &'a str,
            command_sent: Option<&'a str>,
            event_time: String,
            received_at: String,
            call_id: Option<&'a str>,
            room_id: Option<&'a str>,
            operator: Option<&'a str>,
            client_ip: Option<&'a str>,
            platform: Option<&'a str>,
            request_id: Option<&'a str>,
            decode_error: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            signature: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            dialect: Option<Dialect>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            headers: BTreeMap<String, String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            payload: Option<Box<RawValue>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            body_text: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            body_base64: Option<String>,
        }
        let body = self.delivery();
        Columns {
            id: self.id,
            query: body.query,
            sdk_app_id: self.app,
            family: &self.family,
            command: &self.command,
            command_sent: self.command_sent.as_deref(),
            event_time: self.event_time.to_string(),
            received_at: self.received_at.to_string(),
            call_id: self.call_id.as_deref(),
            room_id: self.room_id.as_deref(),
            operator: self.operator.as_deref(),
            client_ip: self.client_ip.as_deref(),
            platform: self.platform.as_deref(),
            request_id: self.request_id.as_deref(),
            decode_error: self.decode_error.as_deref(),
            signature: self.signature.as_deref(),
            dialect: Some(body.dialect).filter(|dialect| *dialect != Dialect::default()),
            headers: body.headers,
            payload: body.body,
            body_text: body.body_text,
            body_base64: body.body_base64,
        }
        .serialize(output)
    }
}

/// A row as both databases return it: ids as text, times in ms.
pub(crate) struct Row {
    id: String,
    sdk_app_id: i64,
    family: String,
    command: String,
    command_sent: Option<String>,
    event_time: i64,
    received_at: i64,
    call_id: Option<String>,
    room_id: Option<String>,
    operator: Option<String>,
    client_ip: Option<String>,
    platform: Option<String>,
    request_id: Option<String>,
    query: Option<String>,
    signature: Option<String>,
    payload: Option<String>,
    raw: Option<Vec<u8>>,
    decode_error: Option<String>,
}

from_row! {
    Row: id, sdk_app_id, family, command, command_sent, event_time, received_at, call_id, room_id, operator, client_ip,
        platform, request_id, query, signature, payload, raw, decode_error;
}

impl Row {
    /// The size of its body, in bytes.
    pub(crate) fn body_bytes(&self) -> usize {
        let (json, raw) = (self.payload.as_ref().map(String::len), self.raw.as_ref().map(Vec::len));
        json.unwrap_or(0) + raw.unwrap_or(0)
    }
}

impl TryFrom<Row> for StoredEvent {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let broken = |what: &str| {
            let text = format!("event {}: {what}", row.id);
            StoreError::Refused(sqlx::Error::Decode(text.into()))
        };
        Ok(Self {
            id: row.id.parse().map_err(|_| broken("its id is no UUID"))?,
            app: AppId::parse(&row.sdk_app_id.to_string())
                .ok_or_else(|| broken("its app is no id"))?,
            event_time: UnixMillis(row.event_time),
            received_at: UnixMillis(row.received_at),
            payload: Payload::of_columns(row.payload, row.raw)
                .ok_or_else(|| broken("it has no body"))?,
            family: row.family,
            command: row.command,
            command_sent: row.command_sent,
            call_id: row.call_id,
            room_id: row.room_id,
            operator: row.operator,
            client_ip: row.client_ip,
            platform: row.platform,
            request_id: row.request_id,
            query: row.query,
            signature: row.signature,
            decode_error: row.decode_error,
        })
    }
}
