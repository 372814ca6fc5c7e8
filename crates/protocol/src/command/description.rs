//! What is known of one command: a row of the registry, and the words in it.

use std::fmt;

use serde::Serialize;

use std::borrow::Cow;

use crate::body::decoded::Body;
use crate::dialect::Dialect;

/// What is known of one command.
///
/// Subject and time are found by paths, tried in order: member names between dots; behind the name of an array `[0]`
/// picks an element and `[Key=value]` the first object with that member.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// The canonical name.
    pub name: &'static str,
    /// Other names that pages or samples print for it; folded into [`Command::name`].
    pub aliases: &'static [&'static str],
    /// Whose command it is.
    pub family: Family,
    /// Whether the vendor asks or tells.
    pub kind: Kind,
    /// Where the call's id stands.
    pub call_id: &'static [&'static str],
    /// Where the room's id stands.
    pub room_id: &'static [&'static str],
    /// Where the account stands that acted.
    pub operator: &'static [&'static str],
    /// Where the event's time stands: ms or s since 1970, told apart by their size.
    pub time: &'static [&'static str],
    /// The `EventType` of the RTC Engine; `None` for the commands of the other dialect.
    pub event_type: Option<u16>,
    /// The vendor's page. Numbers are of `trtc.io/document/…` and `tencentcloud.com/document/product/647/…`; those of 269,
    /// which are in Chinese, of `cloud.tencent.com/document/product/269/…`.
    pub page: &'static str,
    /// Reads the body into its type; `None` for commands that are kept untyped.
    pub(crate) decode: Option<Decode>,
    /// A delivery with made-up values in the documented shape; `None` where the body's shape is not documented here.
    pub(crate) sample: Option<&'static str>,
}

/// Reads a JSON body, or says why it cannot be: it is no object.
pub(crate) type Decode = fn(&str) -> Result<Decoded, String>;

/// What a body says.
pub(crate) struct Decoded {
    /// All of it that fits.
    pub(crate) body: Body,
    /// Path and reason of each of the first fields that do not fit; `None` where all do.
    pub(crate) misfits: Option<String>,
}

impl Command {
    /// Whether its body is decoded into a type.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        self.decode.is_some()
    }

    /// What a JSON body says that is of this command, without the fields that do not fit its type; [`Body::Untyped`]
    /// where it has no type here.
    ///
    /// # Errors
    /// The reason, where it is no object.
    pub fn body(&self, json: &str) -> Result<Body, String> {
        self.decode.map_or(Ok(Body::Untyped), |decode| decode(json).map(|decoded| decoded.body))
    }

    /// A row for a command that is kept untyped, with the usual places for subject and time.
    pub(crate) const fn untyped(name: &'static str, family: Family, kind: Kind) -> Self {
        Self {
            name,
            aliases: &[],
            family,
            kind,
            call_id: &["CallId"],
            room_id: &["RoomId", "RoomInfo.RoomId"],
            operator: &["Operator_Account", "From_Account"],
            time: &["EventTime"],
            event_type: None,
            page: "",
            decode: None,
            sample: None,
        }
    }

    /// How a command that no row names is read.
    #[must_use]
    pub fn unknown(name: &str) -> Self {
        let asks = name.contains("Before") || name.contains("Prev");
        let kind = if asks { Kind::Before } else { Kind::After };
        let family = Family::of(name);
        let command = Self::untyped("", family, kind);
        if family.is_of_chat() {
            // A live room is a group at the vendor, so the group's id is where to look a room up.
            return Self { room_id: &["GroupId", "RoomId", "RoomInfo.RoomId"], ..command };
        }
        command
    }
}

/// How many commands are named to somebody who named one that is none.
const NEAR_MAX: usize = 3;

impl Command {
    /// The stored name of the command that a reader asks for, by its name or an alias. One that no row names may be newer
    /// than this program: it passes where it has the form of one and is not nearly one that is known.
    ///
    /// # Errors
    /// What to give instead.
    pub fn meant(name: &str) -> Result<Cow<'static, str>, String> {
        if let Some(command) = Self::find(name) {
            return Ok(command.name.into());
        }
        let given = name.to_ascii_lowercase();
        let behind = |known: &str| {
            known.rsplit_once("Callback").map_or("", |(_, end)| end).to_ascii_lowercase()
        };
        let is_near = |known: &str| strsim::osa_distance(&known.to_ascii_lowercase(), &given) <= 2;
        let has_form = name
            .split_once('.')
            .is_some_and(|(family, rest)| !family.is_empty() && !rest.is_empty())
            || name.starts_with("EVENT_TYPE_")
            || name == Family::Unknown.as_str();
        let part = given.trim_start_matches("callback");
        let holds = |known: &str| part.len() > 2 && behind(known).contains(part);
        let near: Vec<&str> = Self::all()
            .map(|command| command.name)
            .filter(|known| is_near(known) || !has_form && holds(known))
            .take(NEAR_MAX)
            .collect();
        match near.as_slice() {
            [] if has_form => Ok(name.to_owned().into()),
            [] => Err("give a whole name, such as Call.CallbackAfterEndCall; `trtc-callbacks commands` lists all".into()),
            near => Err(format!("did you mean {}? `trtc-callbacks commands` lists all", near.join(", "))),
        }
    }
}

/// Whether the vendor asks before something happens, or tells after it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It waits for the answer; never repeated, so two equal requests are two events.
    Before,
    /// It tells what happened; may be repeated when the answer came late.
    After,
}

impl Kind {
    /// `before` or `after`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

macro_rules! families {
    ($($(#[$doc:meta])* $family:ident = $name:literal, $prefix:literal;)*) => {
        /// Which part of the vendor's services a command belongs to: told by what stands before its first dot, or, of the RTC
        /// Engine, by the event's group.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Family { $($(#[$doc])* $family,)* }

        impl Family {
            /// Every family.
            pub const ALL: &'static [Self] = &[$(Self::$family,)*];

            /// The names of all, as they are stored.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// The family's name as it is stored.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$family => $name,)* }
            }

            /// The family of any command's name that has a dot; those of the RTC Engine have none.
            #[must_use]
            pub fn of(command: &str) -> Self {
                match command.split_once('.').map_or("", |(prefix, _)| prefix) {
                    $($prefix => Self::$family,)*
                    _ => Self::Unknown,
                }
            }
        }
    };
}

families! {
    /// `TUICallKit`.
    Call = "call", "Call";
    /// `TUIRoomKit`.
    Room = "room", "Room";
    /// Seats, of `TUIRoomKit` and `TUILiveKit` alike.
    Mic = "mic", "Mic";
    /// `TUILiveKit`.
    Live = "live", "Live";
    /// Followers.
    Follow = "follow", "Follow";
    /// Chat groups, live rooms' messages among them.
    Group = "group", "Group";
    /// Chat between two.
    C2c = "c2c", "C2C";
    /// Who is online.
    State = "state", "State";
    /// Users' profiles.
    Profile = "profile", "Profile";
    /// Friends and blocklists.
    Sns = "sns", "Sns";
    /// The vendor's warnings.
    Alert = "alert", "Alert";
    /// Bots.
    Bot = "bot", "Bot";
    /// Chatbots.
    Chatbot = "chatbot", "Chatbot";
    /// Content moderation.
    Content = "content", "ContentCallback";
    /// Official accounts.
    OfficialAccount = "official_account", "OfficialAccount";
    /// Push notifications.
    Push = "push", "Push";
    /// Users who enter and leave rooms of the RTC Engine (group 1).
    RtcRoom = "rtc_room", "?1";
    /// Cameras, microphones and screens that are published (group 2).
    RtcMedia = "rtc_media", "?2";
    /// Cloud recording (group 3).
    RtcRecording = "rtc_recording", "?3";
    /// Streams relayed to a CDN (group 4).
    RtcRelay = "rtc_relay", "?4";
    /// Screenshots that were uploaded (group 6).
    RtcScreenshot = "rtc_screenshot", "?6";
    /// Online media streams that enter a room (group 7).
    RtcIngest = "rtc_ingest", "?7";
    /// Recorded web pages (group 8).
    RtcWebRecording = "rtc_web_recording", "?8";
    /// AI conversation and speech to text, version 1 (group 9).
    RtcAi = "rtc_ai", "?9";
    /// Slicing of streams into pictures and sounds (group 10).
    RtcSlicing = "rtc_slicing", "?10";
    /// Moderation of streams (group 11).
    RtcModeration = "rtc_moderation", "?11";
    /// AI transcription and translation, version 2 (group 14).
    RtcTranscription = "rtc_transcription", "?14";
    /// AI conversation, version 2 (group 15).
    RtcAiConversation = "rtc_ai_conversation", "?15";
    /// The RTC Engine's events of a group that is not known here.
    RtcUnknown = "rtc_unknown", "?0";
    /// Everything else.
    Unknown = "unknown", "?";
}

impl Family {
    /// Whether its commands are those of Chat, whose bodies are about groups.
    fn is_of_chat(self) -> bool {
        matches!(
            self,
            Self::Group
                | Self::C2c
                | Self::State
                | Self::Profile
                | Self::Sns
                | Self::Alert
                | Self::Bot
                | Self::Chatbot
                | Self::Content
                | Self::OfficialAccount
                | Self::Push
        )
    }

    /// The dialect in which its events come.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        match self {
            Self::RtcRoom
            | Self::RtcMedia
            | Self::RtcRecording
            | Self::RtcRelay
            | Self::RtcScreenshot
            | Self::RtcIngest
            | Self::RtcWebRecording
            | Self::RtcAi
            | Self::RtcSlicing
            | Self::RtcModeration
            | Self::RtcTranscription
            | Self::RtcAiConversation
            | Self::RtcUnknown => Dialect::RtcEngine,
            _ => Dialect::Im,
        }
    }

    /// The family of an `EventGroupId` of the RTC Engine.
    #[must_use]
    pub fn of_group(group: i64) -> Self {
        match group {
            1 => Self::RtcRoom,
            2 => Self::RtcMedia,
            3 => Self::RtcRecording,
            4 => Self::RtcRelay,
            6 => Self::RtcScreenshot,
            7 => Self::RtcIngest,
            8 => Self::RtcWebRecording,
            9 => Self::RtcAi,
            10 => Self::RtcSlicing,
            11 => Self::RtcModeration,
            14 => Self::RtcTranscription,
            15 => Self::RtcAiConversation,
            _ => Self::RtcUnknown,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use crate::command::description::*;

    #[test]
    fn an_unknown_command_may_be_new_or_a_typo() {
        let meant = |name| Command::meant(name).map(Cow::into_owned);
        assert_eq!(meant("Call.CallbackAfterEndCall").unwrap(), "Call.CallbackAfterEndCall");
        assert_eq!(
            meant("Room.CallbackUpdateRoomInfo").unwrap(),
            "Room.CallbackAfterUpdateRoomInfo"
        );
        for new in ["Live.CallbackAfterSomethingNew", "EVENT_TYPE_99", "unknown"] {
            assert_eq!(meant(new).unwrap(), new);
        }
        for wrong in [
            "EndCall",
            "callbackAfterEndCall",
            "call.callbackafterendcall",
            "Call.CallbackAfterEndCal",
        ] {
            let hint = meant(wrong).unwrap_err();
            assert!(hint.starts_with("did you mean Call.CallbackAfterEndCall"), "{wrong}: {hint}");
        }
        for wrong in ["", "x", "Call.", ".x"] {
            assert!(meant(wrong).unwrap_err().starts_with("give a whole name"), "{wrong}");
        }
    }
}
