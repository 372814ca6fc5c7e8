//! The tables of the configuration, one struct each. Their keys are explained in [`super::DEFAULTS`].
#![expect(missing_docs, reason = "each key is explained once, in config/default.toml")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use crate::callback::answer::{NotStored, Rejected};
use crate::telemetry::LogFormat;

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    pub tls_certificate: PathBuf,
    pub tls_key: PathBuf,
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
    /// The PEM files of certificate and key; absent where plain HTTP is spoken.
    #[must_use]
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        let given = !self.tls_certificate.as_os_str().is_empty();
        given.then_some((&self.tls_certificate, &self.tls_key))
    }
}

/// `[ops]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsSettings {
    pub listen: SocketAddr,
    pub token: SecretString,
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
    pub source_addresses: Vec<String>,
    pub trusted_proxies: Vec<String>,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    pub url: SecretString,
    pub readers_max: u32,
    pub read_timeout_ms: u64,
    pub partitions_ahead: u32,
}

/// `[ingest]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestSettings {
    pub lanes: u32,
    pub batch_rows_max: usize,
    pub queue_events_max: usize,
    pub queue_bytes_max: usize,
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
}

/// `[gaps]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapsSettings {
    pub call_ringing_overdue_s: u64,
    pub call_active_overdue_s: u64,
    pub room_idle_overdue_s: u64,
    pub silence_after_s: u64,
    pub silence_events_min: u32,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    pub format: LogFormat,
    pub filter: String,
}
