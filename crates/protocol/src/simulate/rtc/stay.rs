//! One user's time in a room.

use serde_json::{Value, json};

use crate::simulate::people::Person;
use crate::time::UnixMillis;

/// What a user may do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// May publish; everybody in a call.
    Anchor = 20,
    /// Watches.
    Audience = 21,
}

/// How somebody goes: the vendor's numbers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Left = 1,
    /// Lost: the media server notices it much later.
    Lost = 2,
    Removed = 3,
    /// The link to the own room is over.
    Unlinked = 4,
}

/// When and how a stay ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone {
    /// When the user was there last.
    pub(crate) real: UnixMillis,
    /// When the media server knew.
    pub(crate) told: UnixMillis,
    pub(crate) exit: Exit,
}

/// Something that a user does, or that happens to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) at: UnixMillis,
    /// `EventType`.
    pub(crate) number: u16,
    /// `Reason`, where the type has one.
    pub(crate) reason: u8,
    /// It only happens where the stay is longer than this: what belongs together happens as a whole.
    pub(crate) until: UnixMillis,
}

/// One user's time in a room.
#[derive(Debug, Clone)]
pub(crate) struct Stay {
    pub(crate) person: Person,
    pub(crate) role: Role,
    /// When the last event of this stay was that does not depend on its end.
    pub(crate) last: UnixMillis,
    /// What the user is going to do, if still there by then.
    pub(crate) deeds: Vec<Deed>,
    pub(crate) gone: Option<Gone>,
}

impl Stay {
    /// Whether the media server takes the user to be there at `at`.
    pub(crate) fn holds_at(&self, at: UnixMillis) -> bool {
        self.gone.is_none_or(|gone| gone.told > at)
    }

    /// Whether the user publishes at `at` what `start` begins to.
    pub(crate) fn is_on(&self, start: u16, at: UnixMillis) -> bool {
        let done = self.deeds.iter().filter(|deed| deed.at < at);
        let of_kind = done.filter(|deed| [start, start + 1].contains(&deed.number));
        of_kind.max_by_key(|deed| deed.at).is_some_and(|deed| deed.number == start)
    }

    /// What `EventInfo` has of the user, in an event of this type.
    pub(crate) fn info(&self, number: u16, reason: u8) -> Value {
        let account = &self.person.account;
        let role = self.role as u8;
        match number {
            103 => {
                let (terminal, user) = client(self.person.platform);
                json!({
                    "UserId": account,
                    "Role": role,
                    "TerminalType": terminal,
                    "UserType": user,
                    "Reason": reason,
                })
            }
            104 => json!({ "UserId": account, "Role": role, "Reason": reason }),
            105 => json!({ "UserId": account, "Role": role }),
            202 | 204 | 206 => json!({ "UserId": account, "Reason": 0 }),
            _ => json!({ "UserId": account }),
        }
    }
}

/// `TerminalType` and `UserType` of a client.
fn client(platform: &str) -> (u8, u8) {
    match platform {
        "Windows" => (1, 3),
        "Android" => (2, 3),
        "iOS" | "iPad" => (3, 3),
        "Linux" => (4, 3),
        // Neither has a number of its own.
        "Web" => (100, 1),
        _ => (100, 3),
    }
}
