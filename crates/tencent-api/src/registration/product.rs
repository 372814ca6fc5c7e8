//! The vendor's products that have a callback configuration of their own, and the command words each of them takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use protocol::diagnostic::Hint;
use protocol::{Command, Family};

/// A product of the vendor. An app has one callback configuration, one URL and one list of commands, for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// `TUICallKit`, `Call.*`.
    Call,
    /// `TUIRoomKit`, `Room.*` and its seats, `Mic.*`.
    Room,
    /// `TUILiveKit`, `Live.*` and its seats, `Mic.*`.
    Live,
}

impl Product {
    /// Every product.
    pub const ALL: [Self; 3] = [Self::Call, Self::Room, Self::Live];

    /// `call`, `room` or `live`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Room => "room",
            Self::Live => "live",
        }
    }

    /// The part of the API's path that names the product.
    #[must_use]
    pub fn service(self) -> &'static str {
        match self {
            Self::Call => "call_config",
            Self::Room => "room_config",
            Self::Live => "live_config",
        }
    }

    /// Whether what exists is changed by `update_callback`, and `set_callback` only makes what does not exist.
    /// Otherwise `set_callback` does both, and there is no other (trtc.io/document/68938).
    #[must_use]
    pub fn has_update(self) -> bool {
        self != Self::Call
    }

    /// Whether its callbacks can be signed with a token that is set through the API.
    #[must_use]
    pub fn has_token(self) -> bool {
        self == Self::Live
    }

    /// The command words that may stand in its configuration, in the order of the vendor's pages.
    pub fn words(self) -> impl Iterator<Item = Word> {
        let switch = Word { name: GIFTS_DO_NOT_WAIT, standing: CommandSupport::Switch };
        let switch = (self == Self::Live).then_some(switch);
        Command::all().filter_map(move |command| self.word(command)).chain(switch)
    }

    /// The commands to register where nobody says which: all that the vendor lists for the product alone, and for gifts
    /// that they do not wait for us where we do not answer.
    pub fn usual_commands(self) -> impl Iterator<Item = &'static str> {
        let usual =
            |word: &Word| matches!(word.standing, CommandSupport::Listed | CommandSupport::Switch);
        self.words().filter(usual).map(|word| word.name)
    }

    /// What the registry's command is to this product; `None` where it is not of it.
    fn word(self, command: &'static Command) -> Option<Word> {
        let social = ["Group.CallbackBeforeSendMsg", "Group.CallbackAfterSendMsg"];
        let standing = match (self, command.family) {
            (Self::Live, Family::Follow) => CommandSupport::Chat,
            (Self::Live, Family::Group) if social.contains(&command.name) => CommandSupport::Chat,
            (Self::Call, Family::Call)
            | (Self::Room, Family::Room | Family::Mic)
            | (Self::Live, Family::Live | Family::Mic) => {
                let unlisted = UNLISTED.contains(&command.name);
                if unlisted { CommandSupport::Unlisted } else { CommandSupport::Listed }
            }
            _ => return None,
        };
        Some(Word { name: command.name, standing })
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Product {
    type Err = UnknownProduct;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|product| product.as_str() == text);
        found.ok_or_else(|| UnknownProduct(text.to_owned()))
    }
}

/// There is no product of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a product")]
pub struct UnknownProduct(pub String);

impl Hint for UnknownProduct {
    fn hint(&self) -> Option<String> {
        Some("give `call`, `room` or `live`".to_owned())
    }
}

/// A word in a product's list of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Its canonical name.
    pub name: &'static str,
    /// How it stands with the product.
    pub standing: CommandSupport,
}

/// How a command word stands with a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandSupport {
    /// In the vendor's list of the product's commands.
    Listed,
    /// The vendor has a page of it, and does not list it with the others: it may be refused.
    Unlisted,
    /// In the product's list, while the vendor's console has its URL and its switch with Chat's: it may be refused or
    /// without effect.
    Chat,
    /// No command, but a switch that stands among them; never delivered.
    Switch,
}

/// Lets gifts go on when `Live.CallbackBeforeSendGift` is not answered in time; without it they are blocked.
pub(crate) const GIFTS_DO_NOT_WAIT: &str = "Live.CallbackBeforeCallBackNotBlock";
/// The command that [`GIFTS_DO_NOT_WAIT`] is about.
pub(crate) const GIFT: &str = "Live.CallbackBeforeSendGift";

/// Commands with a page of their own that do not stand in the lists of 68934 and 64413.
const UNLISTED: [&str; 2] =
    ["Call.CallbackAfterRecordChanged", "Live.CallbackAfterCloudRecordingChanged"];
