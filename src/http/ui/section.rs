//! The sections of the dashboard.

/// A page of the navigation. `pages::routes` has the handler of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Tail,
    Calls,
    Rooms,
    LiveSessions,
    RtcRooms,
    Recordings,
    RtcTasks,
    Events,
    Forwarding,
    Anomalies,
    Settings,
}

impl Section {
    /// All of them, in the order of the navigation.
    pub(crate) const ALL: [Self; 12] = [
        Self::Overview,
        Self::Tail,
        Self::Calls,
        Self::Rooms,
        Self::LiveSessions,
        Self::RtcRooms,
        Self::Recordings,
        Self::RtcTasks,
        Self::Events,
        Self::Forwarding,
        Self::Anomalies,
        Self::Settings,
    ];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Tail => "/tail",
            Self::Calls => "/calls",
            Self::Rooms => "/room-sessions",
            Self::LiveSessions => "/live-sessions",
            Self::RtcRooms => "/rtc-room-sessions",
            Self::Recordings => "/recordings",
            Self::RtcTasks => "/rtc-tasks",
            Self::Events => "/events",
            Self::Forwarding => "/forward",
            Self::Anomalies => "/anomalies",
            Self::Settings => "/settings",
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Tail => "Tail",
            Self::Calls => "Calls",
            Self::Rooms => "Rooms",
            Self::LiveSessions => "Live",
            Self::RtcRooms => "RTC rooms",
            Self::Recordings => "Recordings",
            Self::RtcTasks => "Tasks",
            Self::Events => "Events",
            Self::Forwarding => "Forwarding",
            Self::Anomalies => "Anomalies",
            Self::Settings => "Settings",
        }
    }

    /// The menu of the navigation that it is in; none where it stands there itself.
    pub(crate) fn menu(self) -> Option<&'static str> {
        match self {
            Self::RtcRooms | Self::Recordings | Self::RtcTasks => Some("Media"),
            _ => None,
        }
    }
}
