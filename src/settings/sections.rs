//! The tables of the configuration, one struct each. Their keys are explained in [`super::DEFAULTS`].
#![expect(missing_docs, reason = "each key is explained once, in config/default.toml")]

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::access::TokenSettings;
use crate::store::PartitionSpan;
use crate::telemetry::LogFormat;
use protocol::response::{NotStored, Rejected};

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    pub hand_over: PathBuf,
    pub tls_certificate: PathBuf,
    pub tls_key: PathBuf,
    pub proxy_protocol: ProxyProtocol,
    pub callback_paths: Vec<String>,
    pub body_bytes_max: usize,
    pub body_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub header_bytes_max: usize,
    pub idle_timeout_ms: u64,
    pub write_timeout_ms: u64,
    pub connections_max: usize,
    pub drain_ms: u64,
    pub shutdown_timeout_ms: u64,
}

impl ServerSettings {
    /// The paths that anybody would try, and so may be told to everybody.
    pub fn plain_paths(&self) -> impl Iterator<Item = &String> {
        self.callback_paths.iter().filter(|path| matches!(path.as_str(), "/" | "/callback"))
    }

    /// The PEM files of certificate and key; absent where plain HTTP is spoken.
    #[must_use]
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        let given = !self.tls_certificate.as_os_str().is_empty();
        given.then_some((&self.tls_certificate, &self.tls_key))
    }

    /// One of the callback paths that anybody would try.
    #[must_use]
    pub fn guessable_path(&self) -> Option<&str> {
        let guessable = |path: &&str| matches!(*path, "/" | "/callback");
        self.callback_paths.iter().map(String::as_str).find(guessable)
    }
}

/// Whether load balancers begin each connection with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    Off,
    Required,
}

/// `[ops]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsSettings {
    pub listen: SocketAddr,
    pub token: SecretString,
    #[serde(default)]
    pub tokens: Vec<TokenSettings>,
}

/// `[answer]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerSettings {
    pub rejected: Rejected,
    pub when_not_stored: NotStored,
}

/// `[auth]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    pub request_time_window_s: u64,
    #[serde(deserialize_with = "words")]
    pub source_addresses: Vec<String>,
    pub source_refresh_s: u64,
    pub trusted_proxies: Vec<String>,
}

/// Stands in `auth.source_addresses` for the list that the vendor keeps.
const VENDOR: &str = "vendor";

impl AuthSettings {
    /// Whether callbacks are taken from the addresses that the vendor lists.
    #[must_use]
    pub fn takes_vendors_list(&self) -> bool {
        self.source_addresses.iter().any(|word| word.trim() == VENDOR)
    }

    /// The addresses that are given themselves.
    pub fn given_addresses(&self) -> impl Iterator<Item = &str> {
        self.source_addresses.iter().map(|word| word.trim()).filter(|word| *word != VENDOR)
    }

    /// How often the vendor's list is asked for.
    #[must_use]
    pub fn source_refresh(&self) -> Duration {
        Duration::from_secs(self.source_refresh_s)
    }
}

/// A list of words, or one word alone.
fn words<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    struct Words;
    impl<'de> Visitor<'de> for Words {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of addresses, or \"vendor\"")
        }

        fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Self::Value, E> {
            Ok(vec![word.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    input.deserialize_any(Words)
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    pub url: SecretString,
    pub direct_url: SecretString,
    pub readers_max: u32,
    pub read_timeout_ms: u64,
    pub partition_span: PartitionSpan,
    pub partitions_ahead: u32,
}

impl StoreSettings {
    /// The address for what needs a session of its own, where it is another.
    #[must_use]
    pub fn direct_url(&self) -> Option<&SecretString> {
        Some(&self.direct_url).filter(|url| !url.expose_secret().is_empty())
    }
}

/// `[ingest]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestSettings {
    pub lanes: u32,
    pub batch_rows_max: usize,
    pub queue_events_max: usize,
    pub queue_bytes_max: usize,
    pub answer_deadline_ms: u64,
    pub ack_deadline_ms: u64,
    pub read_models: bool,
}

/// `[spool]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolSettings {
    pub path: PathBuf,
    pub bytes_max: u64,
}

/// `[retention]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    pub events_days: u32,
}

impl RetentionSettings {
    /// How long events are kept; `None` for good.
    #[must_use]
    pub fn keep(&self) -> Option<Duration> {
        (self.events_days > 0).then(|| Duration::from_hours(24 * u64::from(self.events_days)))
    }

    /// From which age on events that wait for a destination are about to be deleted before they are sent.
    #[must_use]
    pub(crate) fn backlog_age_max(&self) -> Option<Duration> {
        self.keep().map(|keep| keep / 5 * 4)
    }
}

/// A setting in seconds, where 0 means none.
pub(crate) fn seconds(setting: u64) -> Option<Duration> {
    (setting > 0).then(|| Duration::from_secs(setting))
}

/// `[gaps]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapsSettings {
    pub call_ringing_overdue_s: u64,
    pub call_active_overdue_s: u64,
    pub room_idle_overdue_s: u64,
    pub task_idle_overdue_s: u64,
    pub forwarding_failing_after_s: u64,
    pub silence_after_s: u64,
    pub silence_events_min: u32,
}

/// `[settle]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleSettings {
    pub session_bytes_max: usize,
    pub boundaries_per_day_max: u32,
}

/// `[registration]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationSettings {
    pub check_interval_s: u64,
    pub repair: bool,
}

impl RegistrationSettings {
    /// How often what is registered is compared with what is wanted; `None` never.
    #[must_use]
    pub fn check_interval(&self) -> Option<Duration> {
        (self.check_interval_s > 0).then(|| Duration::from_secs(self.check_interval_s))
    }
}

/// `[rtc_repair]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RtcRepairSettings {
    pub secret_id: SecretString,
    pub secret_key: SecretString,
    pub host: String,
    pub region: String,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    pub format: LogFormat,
    pub filter: String,
}
