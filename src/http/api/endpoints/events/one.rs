//! An event as the API gives it.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::{ConditionKind, EventFilter, Position, StoredEvent, filter};
use protocol::recorded_request::Delivery;
use protocol::{AppId, UnixMillis};

filter! {
    /// What is given of each event.
    #[derive(Debug, Default)]
    pub(crate) struct PayloadQuery {
        /// Include the body of each event
        "payload" "" ConditionKind::Flag(["yes", "no"]) => payload: bool,
    }
}

/// The parameters of events, in a list and as they arrive.
pub(crate) type EventQuery = (EventFilter, PayloadQuery);

/// A stored event.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the table's columns")]
pub(crate) struct Event {
    /// Event id.
    id: Uuid,
    /// `SDKAppID`.
    #[schema(value_type = i64)]
    sdk_app_id: AppId,
    /// Family of the command.
    family: String,
    /// Canonical name of the command.
    command: String,
    /// The command as sent, if different.
    command_sent: Option<String>,
    /// Time of the event.
    event_time: UnixMillis,
    /// Time of arrival.
    received_at: UnixMillis,
    /// Call id.
    call_id: Option<String>,
    /// Room id.
    room_id: Option<String>,
    /// Acting account.
    operator: Option<String>,
    /// Client IP address, as sent.
    client_ip: Option<String>,
    /// Platform, as sent.
    platform: Option<String>,
    /// Request id of the vendor, for its support; null on most events.
    request_id: Option<String>,
    /// `unchecked` for an event of the RTC Engine whose app has no key; null where the signature was checked, and for other events.
    signature: Option<String>,
    /// Why the body could not be decoded; null if it was.
    decode_error: Option<String>,
    /// The body, if it is JSON and was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
    /// The body, if it is text other than JSON and was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_text: Option<String>,
    /// Any other body, in base64, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Position in the order of storing: in lists with `order=stored`, and in the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    position: Option<Position>,
}

impl Event {
    /// With its position.
    pub(crate) fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }

    /// With its body, or without.
    pub(crate) fn new(event: &StoredEvent, with_payload: bool) -> Self {
        let body = if with_payload { event.delivery() } else { Delivery::default() };
        Self {
            id: event.id,
            sdk_app_id: event.app,
            family: event.family.clone(),
            command: event.command.clone(),
            command_sent: event.command_sent.clone(),
            event_time: event.event_time,
            received_at: event.received_at,
            call_id: event.call_id.clone(),
            room_id: event.room_id.clone(),
            operator: event.operator.clone(),
            client_ip: event.client_ip.clone(),
            platform: event.platform.clone(),
            request_id: event.request_id.clone(),
            signature: event.signature.clone(),
            decode_error: event.decode_error.clone(),
            payload: body.body,
            body_text: body.body_text,
            body_base64: body.body_base64,
            position: None,
        }
    }
}
