//! The tables `[[forward]]` and `[forwarding]`, as they are written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::schedule::STANDARD_S;

/// One of `[[forward]]`: a destination.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationSettings {
    /// Its identity in the store: under another name it is another destination, which begins at "now".
    pub name: String,
    /// `https://`, `http://`, or `nats://` and `tls://` with commas between servers. A secret, since paths often hold one.
    pub url: SecretString,
    /// What deliveries are signed with, the newest first.
    #[serde(default)]
    pub secrets: Vec<SecretString>,
    /// A file with one of them on each line.
    #[serde(default)]
    pub secrets_file: Option<PathBuf>,
    /// Whether deliveries are not signed.
    #[serde(default)]
    pub unsigned: bool,
    /// Only events of these apps.
    #[serde(default, deserialize_with = "words")]
    pub apps: Vec<String>,
    /// Only events of these families.
    #[serde(default, deserialize_with = "words")]
    pub families: Vec<String>,
    /// Only events of these commands.
    #[serde(default, deserialize_with = "words")]
    pub commands: Vec<String>,
    /// Only events of these rooms.
    #[serde(default, deserialize_with = "words")]
    pub rooms: Vec<String>,
    /// Only events of these calls.
    #[serde(default, deserialize_with = "words")]
    pub calls: Vec<String>,
    /// Headers beside those of the envelope.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretString>,
    /// How many requests are under way at once.
    #[serde(default = "in_flight_max")]
    pub in_flight_max: u32,
    /// How many events are sent per second; 0 for any number.
    #[serde(default)]
    pub rate_max: u32,
    /// How long a try may take, the answer's body included.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u32,
    /// How long making a connection may take.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u32,
    /// What is sent in order.
    #[serde(default)]
    pub order: OrderRule,
    /// How long an event that fails may hold back later ones of its call or room.
    #[serde(default = "order_wait_s")]
    pub order_wait_s: u32,
    /// The pauses between attempts of an event that fails alone.
    #[serde(default = "retry_schedule_s")]
    pub retry_schedule_s: Vec<u32>,
    /// Whether the address of the user's device is sent.
    #[serde(default)]
    pub include_client_ip: bool,
    /// The authorities that are trusted instead of the system's.
    #[serde(default)]
    pub tls_ca: Option<PathBuf>,
    /// The certificate that is shown to the destination.
    #[serde(default)]
    pub tls_certificate: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
    /// The proxy to go through. Proxies of the environment are never used.
    #[serde(default)]
    pub proxy: Option<SecretString>,
    /// The stream that must take the subjects.
    #[serde(default)]
    pub stream: Option<String>,
    /// What subjects begin with; `trtc.events` where it is not set.
    #[serde(default)]
    pub subject_prefix: Option<String>,
    /// The file that authenticates us to NATS.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// Whether the stream is created where there is none.
    #[serde(default)]
    pub create_stream: bool,
}

/// What is sent in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderRule {
    /// Events of one call, else of one room, one after the other.
    #[default]
    Subject,
    /// Nothing.
    None,
}

/// `[forwarding]`: what all destinations have in common.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardingSettings {
    /// Private networks in which names of destinations may have their addresses.
    pub allow_networks: Vec<String>,
    /// How many events may wait for a destination before the oldest are skipped.
    pub backlog_events_max: u64,
    /// How often events that other servers stored are looked for.
    pub number_interval_ms: u32,
}

impl ForwardingSettings {
    /// The same as a time: how often stored events get positions, and those that others stored are looked for.
    #[must_use]
    pub fn number_interval(&self) -> Duration {
        Duration::from_millis(self.number_interval_ms.into())
    }
}

impl Default for ForwardingSettings {
    fn default() -> Self {
        Self { allow_networks: Vec::new(), backlog_events_max: 10_000_000, number_interval_ms: 100 }
    }
}

impl DestinationSettings {
    /// A destination of which all but name and URL is as usual.
    #[must_use]
    pub fn new(name: impl Into<String>, url: impl Into<SecretString>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            secrets: Vec::new(),
            secrets_file: None,
            unsigned: false,
            apps: Vec::new(),
            families: Vec::new(),
            commands: Vec::new(),
            rooms: Vec::new(),
            calls: Vec::new(),
            headers: BTreeMap::new(),
            in_flight_max: in_flight_max(),
            rate_max: 0,
            timeout_ms: timeout_ms(),
            connect_timeout_ms: connect_timeout_ms(),
            order: OrderRule::Subject,
            order_wait_s: order_wait_s(),
            retry_schedule_s: retry_schedule_s(),
            include_client_ip: false,
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
            proxy: None,
            stream: None,
            subject_prefix: None,
            credentials_file: None,
            create_stream: false,
        }
    }
}

fn in_flight_max() -> u32 {
    8
}

fn timeout_ms() -> u32 {
    15_000
}

fn connect_timeout_ms() -> u32 {
    5_000
}

fn order_wait_s() -> u32 {
    60
}

fn retry_schedule_s() -> Vec<u32> {
    STANDARD_S.to_vec()
}

/// A list of words, of which some may be written as numbers: apps, and rooms too.
fn words<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    struct Word(String);

    impl<'de> Deserialize<'de> for Word {
        fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
            struct Text;

            impl Visitor<'_> for Text {
                type Value = Word;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a text or a whole number")
                }

                fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                    Ok(Word(text.to_owned()))
                }

                fn visit_i64<E>(self, number: i64) -> Result<Word, E> {
                    Ok(Word(number.to_string()))
                }

                fn visit_u64<E>(self, number: u64) -> Result<Word, E> {
                    Ok(Word(number.to_string()))
                }
            }

            input.deserialize_any(Text)
        }
    }

    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of words")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut words = Vec::new();
            while let Some(Word(word)) = list.next_element()? {
                words.push(word);
            }
            Ok(words)
        }
    }

    input.deserialize_seq(List)
}
