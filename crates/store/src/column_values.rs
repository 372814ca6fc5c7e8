//! The values of columns of the read models that filters accept.

/// States of a call.
pub const CALL_STATES: &[&str] = &["ringing", "active", "ended", "overdue"];
/// Results of a call.
pub const CALL_RESULTS: &[&str] =
    &["normal_end", "not_answer", "reject", "cancel", "call_busy", "interrupt", "offline"];
/// Media of a call.
pub const CALL_MEDIA: &[&str] = &["audio", "video"];
/// Directions of a call, as seen by an account.
pub const CALL_DIRECTIONS: &[&str] = &["incoming", "outgoing"];
/// Outcomes of a call for an account.
pub const CALL_OUTCOMES: &[&str] =
    &["answered", "missed", "rejected", "cancelled", "busy", "dropped", "hung_up"];
/// States of a room session.
pub const ROOM_STATES: &[&str] = &["open", "ended", "overdue"];
/// Families of rooms: conferences and live rooms.
pub const ROOM_FAMILIES: &[&str] = &["room", "live"];
/// States of a session of a room of the RTC Engine.
pub const RTC_ROOM_STATES: &[&str] = &["open", "ended"];
/// Kinds of room ids of the RTC Engine.
pub const RTC_ROOM_ID_KINDS: &[&str] = &["numeric", "string"];
/// What an account publishes in a room of the RTC Engine.
pub const RTC_TRACKS: &[&str] = &["camera", "audio", "screen"];
/// States of a recording.
pub const RECORDING_STATES: &[&str] =
    &["started", "recording", "stopped", "uploading", "finished", "failed"];
/// Kinds of cloud tasks of the RTC Engine.
pub const RTC_TASK_KINDS: &[&str] =
    &["relay", "ingest", "ai", "slicing", "moderation", "transcription", "ai_conversation"];
/// States of a cloud task.
pub const RTC_TASK_STATES: &[&str] =
    &["started", "running", "retrying", "ready", "stopped", "failed"];
/// States of an exception of a destination.
pub const DELIVERY_STATES: &[&str] = &["waiting", "dead", "replay"];
/// Kinds of anomalies.
pub const ANOMALY_KINDS: &[&str] = &[
    "call_without_end",
    "call_without_start",
    "room_without_destroy",
    "room_without_create",
    "leaves_missing",
    "enters_missing",
    "rtc_room_without_create",
    "rtc_room_without_dismiss",
    "rtc_exits_missing",
    "rtc_stops_missing",
    "rtc_dismiss_unattached",
    "recording_without_end",
    "recording_file_left",
    "rtc_task_without_end",
    "silence",
    "registration_drift",
    "forwarding_failing",
];
