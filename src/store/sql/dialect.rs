//! What the two databases write differently.

/// What the two databases write differently of an event.
pub(crate) struct Dialect {
    /// `select … from events`, with the columns of [`Row`].
    pub(crate) select: &'static str,
}

pub(crate) const POSTGRES: Dialect = Dialect {
    select: "select id::text as id, sdk_app_id, family, command, command_sent, \
             (extract(epoch from event_time) * 1000)::bigint as event_time, \
             (extract(epoch from received_at) * 1000)::bigint as received_at, \
             call_id, room_id, operator, client_ip, platform, payload::text as payload, raw, decode_error, \
             request_id, query \
             from events",
};

pub(crate) const SQLITE: Dialect = Dialect {
    select: "select id, sdk_app_id, family, command, command_sent, event_time, received_at, \
             call_id, room_id, operator, client_ip, platform, payload, raw, decode_error, request_id, query \
             from events",
};
