//! `[stream]`: scale-out mode. The keys are explained in [`super::DEFAULTS`].
#![expect(missing_docs, reason = "each key is explained once, in config/default.toml")]

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::settings::error::SettingsError;
use forward::destination::target::Target;
#[cfg(feature = "nats")]
use protocol::diagnostic::Hint;

/// The longest name of a stream, and the longest subject, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// `[stream]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSettings {
    pub url: SecretString,
    pub name: String,
    pub subject: String,
    pub role: StreamRole,
    pub credentials_file: PathBuf,
    pub tls_ca: PathBuf,
    pub tls_certificate: PathBuf,
    pub tls_key: PathBuf,
    pub replicas: usize,
    pub max_bytes: u64,
    pub keep_h: u64,
    pub monitor_url: String,
}

/// What a server does in scale-out mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamRole {
    /// It takes callbacks, and stores the stream's events.
    All,
    /// It takes callbacks, and has no store.
    Receiver,
    /// It stores the stream's events, and takes no callbacks.
    Writer,
}

impl StreamRole {
    /// Whether it takes callbacks.
    #[must_use]
    pub fn receives(self) -> bool {
        self != Self::Writer
    }

    /// Whether it has a store.
    #[must_use]
    pub fn stores(self) -> bool {
        self != Self::Receiver
    }

    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Receiver => "receiver",
            Self::Writer => "writer",
        }
    }
}

impl StreamSettings {
    /// How long stored events stay in the stream.
    #[must_use]
    pub fn keep(&self) -> Duration {
        Duration::from_hours(self.keep_h)
    }

    /// The servers as people are told of them, without user and password.
    #[must_use]
    pub fn shown(&self) -> String {
        Target::parse(self.url.expose_secret())
            .map_or_else(|_| "no URL".to_owned(), |target| target.to_string())
    }

    /// The servers, one URL each, without user and password.
    ///
    /// # Errors
    /// The URL is not one of NATS servers.
    #[cfg(feature = "nats")]
    pub fn servers(&self) -> Result<Vec<String>, SettingsError> {
        let servers = forward::nats::without_user(&self.targets()?).map_err(|_| not_nats())?;
        Ok(servers.iter().map(ToString::to_string).collect())
    }

    /// The user and password that the URL has.
    ///
    /// # Errors
    /// The URL is not one of NATS servers, or has several.
    #[cfg(feature = "nats")]
    pub fn user(&self) -> Result<Option<(String, SecretString)>, SettingsError> {
        forward::nats::user_of(&self.targets()?).map_err(|error| {
            let problem = format!("key `stream.url`: {error}");
            SettingsError::new(problem, error.hint().unwrap_or_default())
        })
    }

    #[cfg(feature = "nats")]
    fn targets(&self) -> Result<Vec<reqwest::Url>, SettingsError> {
        match Target::parse(self.url.expose_secret()) {
            Ok(Target::Nats(servers)) => Ok(servers),
            _ => Err(not_nats()),
        }
    }

    #[cfg(feature = "nats")]
    fn check_url(&self) -> Result<(), SettingsError> {
        self.servers()?;
        self.user().map(drop)
    }

    #[cfg(not(feature = "nats"))]
    #[expect(clippy::unused_self, reason = "the same call in every build")]
    fn check_url(&self) -> Result<(), SettingsError> {
        let hint = "leave it out, or build with the feature `nats`";
        Err(SettingsError::new("key `stream.url`: this build has no NATS", hint))
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.check_url()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(plain);
        if !is_name(&self.name) || self.name.len() > NAME_BYTES_MAX {
            let problem = format!("key `stream.name`: `{}` is not a stream's name", self.name);
            return Err(SettingsError::new(
                problem,
                "use letters, digits, `_` and `-`, at most 64",
            ));
        }
        if !self.subject.split('.').all(is_name) || self.subject.len() > NAME_BYTES_MAX {
            let problem = format!("key `stream.subject`: `{}` is no subject", self.subject);
            return Err(SettingsError::new(
                problem,
                "give words with dots between them, such as trtc.ingest, at most 64 letters",
            ));
        }
        for (key, value, least, most) in [
            ("stream.replicas", self.replicas as u64, 1, 5),
            ("stream.max_bytes", self.max_bytes, 1 << 20, 1 << 50),
            ("stream.keep_h", self.keep_h, 1, 72),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("key `{key}`: {value} is out of its range");
                return Err(SettingsError::new(problem, format!("give {least} to {most}")));
            }
        }
        let [certificate, key] = [&self.tls_certificate, &self.tls_key];
        if certificate.as_os_str().is_empty() != key.as_os_str().is_empty() {
            let problem =
                "one of the keys `stream.tls_certificate` and `stream.tls_key` is not set";
            return Err(SettingsError::new(problem, "set both, or none"));
        }
        if !self.monitor_url.is_empty() && !self.monitor_url.starts_with("http") {
            let problem = "key `stream.monitor_url` is not an HTTP URL";
            return Err(SettingsError::new(problem, "give http://10.0.0.1:8222, for example"));
        }
        Ok(())
    }
}

#[cfg(feature = "nats")]
fn not_nats() -> SettingsError {
    let problem = "key `stream.url` is not the address of NATS servers";
    let hint = "give nats://10.0.0.1:4222, or several with commas between them";
    SettingsError::new(problem, hint)
}

#[cfg(feature = "nats")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::settings::tests::{env, error};

    const URL: (&str, &str) = ("TRTC_STREAM_URL", "nats://user:s3cret@10.0.0.1:4222,nats://b:4222");

    #[test]
    fn the_variables_switch_scale_out_mode_on() {
        let settings = Settings::load(&env(&[URL, ("TRTC_STREAM_ROLE", "receiver")])).unwrap();
        let stream = settings.stream().unwrap();
        assert_eq!(stream.role, StreamRole::Receiver);
        assert_eq!(stream.servers().unwrap(), ["nats://10.0.0.1:4222", "nats://b:4222"]);
        let (user, password) = stream.user().unwrap().unwrap();
        assert_eq!((user.as_str(), password.expose_secret()), ("user", "s3cret"));
        assert!(settings.receives() && !settings.stores());
        assert!(!stream.shown().contains("s3cret"), "{}", stream.shown());
        assert!(!format!("{settings:?}").contains("s3cret"));
        assert!(Settings::load(&env(&[])).unwrap().stream().is_none());
    }

    #[test]
    fn wrong_streams_are_refused_with_their_key() {
        for (variable, value, said) in [
            ("TRTC_STREAM__NAME", "a.b", "key `stream.name`"),
            ("TRTC_STREAM__SUBJECT", "a..b", "key `stream.subject`"),
            ("TRTC_STREAM__SUBJECT", "a.*", "key `stream.subject`"),
            ("TRTC_STREAM__REPLICAS", "6", "give 1 to 5"),
            ("TRTC_STREAM__KEEP_H", "73", "give 1 to 72"),
            ("TRTC_STREAM__TLS_KEY", "a.pem", "`stream.tls_certificate`"),
            ("TRTC_SPOOL__PATH", "", "receivers need a spool"),
            ("TRTC_STREAM__MONITOR_URL", "a:8222", "key `stream.monitor_url`"),
        ] {
            let found = error(&env(&[URL, (variable, value)]));
            assert!(found.contains(said), "{value}: {found}");
        }
        let found = error(&env(&[("TRTC_STREAM_ROLE", "writer")]));
        assert!(found.contains("there is no stream"), "{found}");
        let found = error(&env(&[("TRTC_STREAM_URL", "http://s3cret:s3cret@a/")]));
        assert!(found.contains("key `stream.url`") && !found.contains("s3cret"), "{found}");
        let found = error(&env(&[("TRTC_STREAM_URL", "nats://a:s3cret@a,nats://b:s3cret@b")]));
        assert!(found.contains("different users") && !found.contains("s3cret"), "{found}");
    }
}
