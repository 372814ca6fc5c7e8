//! Invented people, each with a device and an address.

use crate::simulate::dice::Dice;

const NAMES: [&str; 40] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim",
    "leo", "mia", "noah", "olga", "pablo", "quinn", "rosa", "sam", "tara", "umar", "vera", "wei",
    "xenia", "yuki", "zoe", "amir", "bea", "chen", "dora", "emil", "fatou", "gus", "hana", "iris",
    "jonas", "kofi", "lin", "marta", "nils",
];
const HOSTS: [&str; 8] =
    ["luna.live", "dj_nova", "chef-tom", "miko", "coach.ray", "ada.builds", "stella", "oskar_tv"];
const PLATFORMS: [&str; 8] =
    ["iOS", "Android", "iOS", "Android", "Web", "Windows", "macOS", "iPad"];

/// Somebody who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) account: String,
    pub(crate) platform: &'static str,
    pub(crate) ip: String,
}

impl Person {
    /// The same number is always the same person.
    pub(crate) fn new(number: usize) -> Self {
        let name = NAMES[number % NAMES.len()];
        let account = match (number / NAMES.len(), number % 33) {
            // A few accounts are numbers beyond 2^53, which some clients send as such.
            (_, 32) => format!("1441152{:011}", number + 12_830_834_855),
            (0, _) => name.to_owned(),
            (round, _) => format!("{name}{}", round + 1),
        };
        Self::of(account, number)
    }

    /// Whose live room this is; see [`Person::new`].
    pub(crate) fn host(number: usize) -> Self {
        let name = HOSTS[number % HOSTS.len()];
        let account = match number / HOSTS.len() {
            0 => name.to_owned(),
            round => format!("{name}{}", round + 1),
        };
        Self::of(account, number + 7)
    }

    /// The app's own server, over the REST API.
    pub(crate) fn server() -> Self {
        Self { account: "admin".into(), platform: "RESTAPI", ip: "192.0.2.10".into() }
    }

    /// The vendor itself.
    pub(crate) fn vendor() -> Self {
        Self { account: "@TIM#SYSTEM".into(), platform: "Unknown", ip: "192.0.2.1".into() }
    }

    /// A robot of the RTC Engine, which is in the rooms like a user.
    pub(crate) fn robot(account: String) -> Self {
        Self { account, platform: "Linux", ip: "192.0.2.1".into() }
    }

    fn of(account: String, number: usize) -> Self {
        let platform = PLATFORMS[number % PLATFORMS.len()];
        // The ranges that are reserved for examples.
        let network = ["203.0.113", "198.51.100"][number % 2];
        Self { account, platform, ip: format!("{network}.{}", number % 254 + 1) }
    }

    /// The account as a client writes it: a number now and then, where it is one.
    pub(crate) fn sent(&self, dice: &mut Dice) -> serde_json::Value {
        match self.account.parse::<u64>() {
            Ok(number) if dice.chance(0.5) => number.into(),
            _ => self.account.as_str().into(),
        }
    }
}
