//! Why the vendor's robot left a room.

/// A `LeaveCode` in a word. Source: trtc.io/document/54914 and, for 98, 66149.
pub(crate) fn leave_reason(code: i64) -> &'static str {
    match code {
        0 => "stop_api",
        1 => "robot_removed_by_app",
        2 => "room_dismissed_by_app",
        3 => "robot_removed_by_server",
        4 => "room_dismissed_by_server",
        98 => "internal_error",
        99 => "room_empty",
        100 => "room_timeout",
        101 => "robot_id_taken",
        _ => "unknown",
    }
}
