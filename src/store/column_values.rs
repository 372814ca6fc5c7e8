//! The words that columns of the read models hold, and that conditions on them take.

/// States of a call.
pub const CALL_STATES: &[&str] = &["ringing", "active", "ended", "overdue"];
/// How calls end.
pub const CALL_RESULTS: &[&str] =
    &["normal_end", "not_answer", "reject", "cancel", "call_busy", "interrupt", "offline"];
/// What a call is made of.
pub const CALL_MEDIA: &[&str] = &["audio", "video"];
/// Which way a call went, for an account.
pub const CALL_DIRECTIONS: &[&str] = &["incoming", "outgoing"];
/// How a call ended for an account.
pub const CALL_OUTCOMES: &[&str] =
    &["answered", "missed", "rejected", "cancelled", "busy", "dropped", "hung_up"];
/// States of one session of a room.
pub const ROOM_STATES: &[&str] = &["open", "ended", "overdue"];
/// What a room is: a conference or a live room.
pub const ROOM_FAMILIES: &[&str] = &["room", "live"];
/// Kinds of anomalies.
pub const ANOMALY_KINDS: &[&str] = &[
    "call_without_end",
    "call_without_start",
    "room_without_destroy",
    "room_without_create",
    "leaves_missing",
    "enters_missing",
    "silence",
    "registration_drift",
];
