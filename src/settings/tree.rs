//! All settings, and what they mean to the rest of the program.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::access::{self, AccessTokens, Scope, TokenSource};
use crate::settings::apps::AppSettings;
use crate::settings::error::SettingsError;
use crate::settings::secrets::read_secret;
use crate::settings::sections::{
    AnswerSettings, AuthSettings, GapsSettings, IngestSettings, LogSettings, OpsSettings,
    RegistrationSettings, RetentionSettings, RtcRepairSettings, ServerSettings, SettleSettings,
    SpoolSettings, StoreSettings,
};
use crate::settings::stream::StreamSettings;
use crate::store::StoreOptions;
use forward::destination::DestinationSettings;
use forward::destination::settings::ForwardingSettings;
use protocol::diagnostic::Hint;
use protocol::source_filter::{Networks, VendorNetworks};
use protocol::{Admission, AppId, Apps};

/// The least length of a token where others reach the operations listener.
const OPS_TOKEN_BYTES_MIN: usize = 16;

/// Everything that can be set. The keys are explained in [`DEFAULTS`](crate::settings::DEFAULTS).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained once, in config/default.toml")]
pub struct Settings {
    pub server: ServerSettings,
    pub ops: OpsSettings,
    pub answer: AnswerSettings,
    pub auth: AuthSettings,
    pub store: StoreSettings,
    pub ingest: IngestSettings,
    pub spool: SpoolSettings,
    pub retention: RetentionSettings,
    pub gaps: GapsSettings,
    pub settle: SettleSettings,
    pub registration: RegistrationSettings,
    pub rtc_repair: RtcRepairSettings,
    pub forwarding: ForwardingSettings,
    pub stream: StreamSettings,
    pub log: LogSettings,
    #[serde(default)]
    pub apps: Vec<AppSettings>,
    #[serde(default)]
    pub forward: Vec<DestinationSettings>,
}

impl Settings {
    /// The apps whose callbacks are taken; may be none.
    ///
    /// # Errors
    /// When an app's id is no id or stands twice, or a token is empty.
    pub fn apps(&self) -> Result<Apps, SettingsError> {
        let window = Duration::from_secs(self.auth.request_time_window_s);
        let mut apps = Apps::new().with_request_time_window(window);
        for app in &self.apps {
            let sent = &app.sdk_app_id;
            let Some(id) = AppId::parse(sent) else {
                let problem = format!("key `apps.sdk_app_id`: `{sent}` is not a valid SDKAppID");
                return Err(SettingsError::new(problem, "give a number such as 1400000001"));
            };
            if apps.ids().any(|known| known == id) {
                let problem = format!("key `apps.sdk_app_id`: {id} stands twice");
                return Err(SettingsError::new(problem, "put all its tokens into one table"));
            }
            let is_empty = |secret: &SecretString| secret.expose_secret().is_empty();
            for (key, secrets) in
                [("callback_tokens", &app.callback_tokens), ("rtc_keys", &app.rtc_keys)]
            {
                if secrets.iter().any(is_empty) {
                    let problem = format!("key `apps.{key}` of app {id}: one is empty");
                    let hint = "remove it; without any, requests are taken unsigned";
                    return Err(SettingsError::new(problem, hint));
                }
            }
            apps =
                apps.with(id, app.callback_tokens.clone()).with_rtc_keys(id, app.rtc_keys.clone());
        }
        self.check_rtc_keys()?;
        Ok(apps)
    }

    /// Checks that no two apps share a key of the RTC Engine: the app's id is not signed, so an event of one could be sent as the
    /// other's.
    fn check_rtc_keys(&self) -> Result<(), SettingsError> {
        for (place, app) in self.apps.iter().enumerate() {
            let has = |key: &SecretString| {
                app.rtc_keys.iter().any(|known| known.expose_secret() == key.expose_secret())
            };
            let shares = |other: &&AppSettings| other.rtc_keys.iter().any(has);
            if let Some(other) = self.apps[..place].iter().find(shares) {
                let (one, two) = (&other.sdk_app_id, &app.sdk_app_id);
                let problem =
                    format!("key `apps.rtc_keys`: apps {one} and {two} have the same key");
                let hint = "give each app a callback key of its own in the console: the signature does not cover the app";
                return Err(SettingsError::new(problem, hint));
            }
        }
        Ok(())
    }

    /// The apps, of which there must be one.
    ///
    /// # Errors
    /// As [`Settings::apps`], and when there is none, or the vendor's API is to be called and nobody can.
    pub fn apps_to_serve(&self) -> Result<Apps, SettingsError> {
        if self.apps.is_empty() {
            return Err(SettingsError::new(
                "no app is configured, so every callback would be rejected",
                "give `--sdk-app-id 1400000001`, set TRTC_SDK_APP_ID, or add an `[[apps]]` table to the file",
            ));
        }
        self.check_guard()?;
        self.apps()
    }

    /// From which addresses callbacks are taken.
    ///
    /// # Errors
    /// When one is no address and no range of them, or everybody is a trusted proxy.
    pub fn admission(&self) -> Result<Admission, SettingsError> {
        let auth = &self.auth;
        let sources = Networks::parse(auth.given_addresses())
            .map_err(|word| no_address("auth.source_addresses", word))?;
        let proxies = self.trusted_proxies()?;
        let admission = Admission::new(sources, proxies);
        Ok(if auth.takes_vendors_list() {
            admission.with_vendor(VendorNetworks::default())
        } else {
            admission
        })
    }

    /// The proxies that stand for others.
    ///
    /// # Errors
    /// When one is no address and no range of them, or everybody is one.
    pub fn trusted_proxies(&self) -> Result<Networks, SettingsError> {
        let proxies = Networks::parse(self.auth.trusted_proxies.iter().map(String::as_str))
            .map_err(|word| no_address("auth.trusted_proxies", word))?;
        if proxies.holds_everybody() {
            let problem =
                "key `auth.trusted_proxies`: a range of every address trusts whoever asks";
            return Err(SettingsError::new(problem, "name the addresses of your own proxies"));
        }
        Ok(proxies)
    }

    /// The tokens of the operations listener, with those in files.
    ///
    /// # Errors
    /// When a file cannot be read, or what stands in it is no token.
    pub(crate) fn access_tokens(&self) -> Result<AccessTokens, SettingsError> {
        let read = |path: &Path| read_secret(path).map_err(|error| error.diagnostic());
        Ok(AccessTokens::load(self.token_sources()?, self.token_bytes_min(), read)?)
    }

    /// The tokens as they are configured. Files are read by those who need what is in them.
    pub(crate) fn token_sources(&self) -> Result<Vec<TokenSource>, SettingsError> {
        let ops = &self.ops;
        Ok(access::check_together(&ops.token, &ops.tokens, self.token_bytes_min())?)
    }

    /// The least length of a token: where others reach the listener, wrong ones are answered as fast as they come.
    fn token_bytes_min(&self) -> usize {
        if self.ops.listen.ip().is_loopback() { 0 } else { OPS_TOKEN_BYTES_MIN }
    }

    /// The token with which a command asks an operations listener for what needs this scope: `ops.token`, or else the
    /// first of `ops.tokens` that allows it; empty where there is none.
    pub(crate) fn token_for(&self, scope: Scope) -> Result<SecretString, SettingsError> {
        let sources = self.token_sources()?;
        let Some(source) = sources.iter().find(|source| source.scope >= scope) else {
            return Ok(SecretString::default());
        };
        Ok(source.first(|path| read_secret(path).map_err(|error| error.diagnostic()))?)
    }

    /// Scale-out mode, where it is on.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamSettings> {
        (!self.stream.url.expose_secret().is_empty()).then_some(&self.stream)
    }

    /// Whether this server takes callbacks.
    #[must_use]
    pub fn receives(&self) -> bool {
        self.stream().is_none_or(|stream| stream.role.receives())
    }

    /// Whether this server has a store.
    #[must_use]
    pub fn stores(&self) -> bool {
        self.stream().is_none_or(|stream| stream.role.stores())
    }

    /// The paths on which it takes them: none on a writer.
    #[must_use]
    pub fn served_paths(&self) -> &[String] {
        if self.receives() { &self.server.callback_paths } else { &[] }
    }

    /// How to open the store.
    #[must_use]
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions {
            url: self.store.url.clone(),
            direct_url: self.store.direct_url().cloned(),
            writers: self.ingest.lanes,
            readers: self.store.readers_max,
            // As long as anybody waits for what is stored.
            timeout: Duration::from_millis(self.ingest.answer_deadline_ms),
            read_timeout: Some(Duration::from_millis(self.store.read_timeout_ms)),
            partition_span: self.store.partition_span,
            partitions_ahead: self.store.partitions_ahead,
            keep: self.retention.keep(),
            create: true,
        }
    }
}

fn no_address(key: &str, word: &str) -> SettingsError {
    let problem = format!("key `{key}`: `{word}` is not an address or a range of addresses");
    let hint = "give addresses such as 203.0.113.7, or ranges such as 203.0.113.0/24";
    SettingsError::new(problem, hint)
}
