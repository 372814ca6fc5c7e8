//! Which anomalies are counted.

/// Their kinds, the values of the label.
pub(super) const ANOMALIES: [&str; 17] = [
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
