//! The layers of the settings: the defaults, a file, the environment, flags. Later wins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use config::{Config, File, FileFormat, Value, ValueKind};
use secrecy::SecretString;

use crate::access::{Scope, TOKEN_KEYS, TokenSettings};
use crate::settings::apps::AppSettings;
use crate::settings::error::SettingsError;
use crate::settings::forward::{self, FORWARD_KEYS};
use crate::settings::tree::Settings;
use crate::tencent_api::UnknownRegion;
use protocol::diagnostic::Hint;

/// The built-in layer: every key, commented.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The keys of an app's table, which the defaults show in a comment only.
const APP_KEYS: [&str; 12] = [
    "sdk_app_id",
    "callback_tokens",
    "rtc_keys",
    "secret_key",
    "secret_key_file",
    "identifier",
    "region",
    "host",
    "callbacks.url",
    "callbacks.call",
    "callbacks.room",
    "callbacks.live",
];

/// The keys that hold lists: in a variable, commas stand between the members.
const LISTS: [&str; 4] = [
    "server.callback_paths",
    "auth.source_addresses",
    "auth.trusted_proxies",
    "forwarding.allow_networks",
];

/// The variables that are no keys: what they set belongs to a single app, or to the destination `default`;
/// but for the first, for those of the stream, which are short names of keys, and for those of tokens, which make `[[ops.tokens]]`.
const SHORTCUTS: [&str; 14] = [
    "CONFIG",
    "SDK_APP_ID",
    "CALLBACK_TOKEN",
    "RTC_KEY",
    "SECRET_KEY",
    "REGION",
    "CALLBACK_URL",
    "FORWARD_URL",
    "FORWARD_SECRET",
    "STREAM_URL",
    "STREAM_ROLE",
    "OPS_METRICS_TOKEN",
    "OPS_READ_TOKEN",
    "OPS_EXPORT_TOKEN",
];

/// Where settings come from beside the built-in layer.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment; only `TRTC_…` counts.
    pub env: BTreeMap<String, String>,
    /// Keys that flags set, and their values.
    pub flags: Vec<(&'static str, String)>,
    /// `--sdk-app-id`
    pub sdk_app_ids: Vec<String>,
    /// The app that a command is about; it need not be configured. The variables of a single app are its own, unless
    /// they name another.
    pub app: Option<String>,
}

impl Sources {
    /// The variables of the environment that begin as ours do and are not ours: Kubernetes sets them for its services.
    #[must_use]
    pub fn foreign_variables(&self) -> Vec<&str> {
        let all = self.env.iter();
        all.filter(|(name, value)| is_kubernetes(name, value)).map(|(name, _)| &**name).collect()
    }
}

impl Settings {
    /// Lays the layers over each other and checks every value.
    ///
    /// # Errors
    /// When a file cannot be read, a key is not known, or a value is not of its kind or out of its range.
    pub fn load(sources: &Sources) -> Result<Self, SettingsError> {
        let settings = combine(sources)?;
        settings.check()?;
        Ok(settings)
    }
}

/// Lays the layers over each other. The values are of their kinds, but not yet checked.
fn combine(sources: &Sources) -> Result<Settings, SettingsError> {
    let mut env = Environment::read(&sources.env)?;
    let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(path) = &sources.file {
        if !path.is_file() {
            let problem = format!("there is no configuration file `{}`", path.display());
            let hint = "`trtc-callbacks default-config` prints one to begin with";
            return Err(SettingsError::new(problem, hint));
        }
        builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml));
    }
    let flags = sources.flags.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    for (key, value) in env.keys.iter().cloned().chain(flags) {
        let value: Value = if LISTS.contains(&key.as_str()) {
            // What is set to nothing has no members.
            let members = value.split(',').map(str::trim).filter(|_| !value.trim().is_empty());
            members.map(str::to_owned).collect::<Vec<_>>().into()
        } else {
            value.into()
        };
        builder = builder.set_override(key, value)?;
    }
    let layers = builder.build()?;
    refuse_unknown_keys(&layers)?;
    check_addresses(&layers)?;
    let mut settings: Settings = layers.try_deserialize()?;
    let (url, secret) = (env.forward_url.take(), env.forward_secret.take());
    forward::apply_variables(&mut settings.forward, url, secret)?;
    settings.ops.tokens.append(&mut env.ops_tokens);
    env.apply_to_apps(&mut settings.apps, sources)?;
    Ok(settings)
}

/// What the environment sets.
#[derive(Default)]
struct Environment {
    keys: Vec<(String, String)>,
    sdk_app_id: Option<String>,
    callback_token: Option<String>,
    rtc_key: Option<String>,
    secret_key: Option<String>,
    region: Option<String>,
    callback_url: Option<String>,
    forward_url: Option<String>,
    forward_secret: Option<String>,
    ops_tokens: Vec<TokenSettings>,
}

impl Environment {
    fn read(env: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let mut read = Self::default();
        let known = known_variables()?;
        for (variable, value) in env {
            let Some(name) = variable.strip_prefix("TRTC_") else { continue };
            if is_kubernetes(variable, value) {
                continue;
            }
            // Before the file of a secret is read, which may be none.
            refuse_unknown_variable(variable, &known)?;
            let bare = without_file(variable, &known).and_then(|bare| bare.strip_prefix("TRTC_"));
            let (name, value) = match bare {
                Some(bare) => (bare, read_secret(variable, value)?),
                None => (name, value.clone()),
            };
            match name {
                // The command line has read it.
                "CONFIG" => {}
                "SDK_APP_ID" => read.sdk_app_id = Some(value),
                "CALLBACK_TOKEN" => read.callback_token = Some(value),
                "RTC_KEY" => read.rtc_key = Some(value),
                "SECRET_KEY" => read.secret_key = Some(value),
                "REGION" => read.region = Some(value),
                "CALLBACK_URL" => read.callback_url = Some(value),
                "FORWARD_URL" => read.forward_url = Some(value),
                "FORWARD_SECRET" => read.forward_secret = Some(value),
                "OPS_METRICS_TOKEN" => read.add_token(Scope::Metrics, value),
                "OPS_READ_TOKEN" => read.add_token(Scope::Read, value),
                "OPS_EXPORT_TOKEN" => read.add_token(Scope::Export, value),
                "STREAM_URL" => read.keys.push(("stream.url".to_owned(), value)),
                "STREAM_ROLE" => read.keys.push(("stream.role".to_owned(), value)),
                _ => read.keys.push((name.to_lowercase().replace("__", "."), value)),
            }
        }
        Ok(read)
    }

    fn add_token(&mut self, scope: Scope, token: String) {
        self.ops_tokens.push(TokenSettings::of_variable(scope, token));
    }

    /// Adds the apps of the shortcuts, and gives their app what else they hold.
    fn apply_to_apps(
        self,
        apps: &mut Vec<AppSettings>,
        sources: &Sources,
    ) -> Result<(), SettingsError> {
        for id in self.sdk_app_id.iter().chain(&sources.sdk_app_ids).chain(&sources.app) {
            if apps.iter().all(|app| app.sdk_app_id != *id) {
                apps.push(AppSettings::new(id));
            }
        }
        let Self { callback_token, rtc_key, secret_key, region, callback_url, sdk_app_id, .. } =
            self;
        let set = [&callback_token, &rtc_key, &secret_key, &region, &callback_url];
        // Commands that are about no app run in the environment of the server, too.
        if apps.is_empty() || set.into_iter().all(Option::is_none) {
            return Ok(());
        }
        let count = apps.len();
        let named = sources.app.as_ref().map(|app| sdk_app_id.as_ref().unwrap_or(app));
        let mut candidates =
            apps.iter_mut().filter(|app| named.is_none_or(|named| app.sdk_app_id == *named));
        let (Some(app), None) = (candidates.next(), candidates.next()) else {
            let problem = format!(
                "TRTC_CALLBACK_TOKEN, TRTC_RTC_KEY, TRTC_SECRET_KEY, TRTC_REGION and TRTC_CALLBACK_URL belong to a single \
                 app, and there are {count}"
            );
            let hint = "name one app with TRTC_SDK_APP_ID, or put each app's own into its `[[apps]]` table";
            return Err(SettingsError::new(problem, hint));
        };
        // One a line, so that a file can hold the old and the new one.
        for (variable, value, secrets) in [
            ("TRTC_CALLBACK_TOKEN", callback_token, &mut app.callback_tokens),
            ("TRTC_RTC_KEY", rtc_key, &mut app.rtc_keys),
        ] {
            let Some(value) = value else { continue };
            *secrets = value.lines().map(SecretString::from).collect();
            if secrets.is_empty() {
                let hint = "unset it to take requests unsigned";
                return Err(SettingsError::new(format!("{variable} is empty"), hint));
            }
        }
        if let Some(key) = secret_key {
            (app.secret_key, app.secret_key_file) = (Some(key.into()), None);
        }
        if let Some(region) = region {
            let parsed = region.parse();
            app.region =
                Some(parsed.map_err(|error: UnknownRegion| {
                    error.diagnostic().prefixed("TRTC_REGION: ")
                })?);
        }
        if callback_url.is_some() {
            app.callbacks.url = callback_url;
        }
        Ok(())
    }
}

/// Whether Kubernetes set the variable, beside a service that is called `trtc` or whose name begins with `trtc-`: it sets
/// `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_PORT` and `…_PORT_5432_TCP_ADDR`. Ours have two underscores between section and
/// key.
fn is_kubernetes(variable: &str, value: &str) -> bool {
    let Some(name) = variable.strip_prefix("TRTC").filter(|name| !name.contains("__")) else {
        return false;
    };
    // A number there would be meant for us.
    let port = name.ends_with("_PORT") && (name != "_PORT" || value.contains("://"));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || port
        || name.contains("_PORT_")
}

/// The names of all variables, without `_FILE` behind them.
fn known_variables() -> Result<Vec<String>, SettingsError> {
    let keys = known_keys()?;
    let of_key = |key: &String| format!("TRTC_{}", key.to_uppercase().replace('.', "__"));
    let shortcuts = SHORTCUTS.iter().map(|name| format!("TRTC_{name}"));
    Ok(keys.iter().map(of_key).chain(shortcuts).collect())
}

/// A variable without the `_FILE` behind it, which says that a file holds its value. None where there is no such ending, or where
/// it is the key's own, as that of `stream.credentials_file`.
fn without_file<'a>(variable: &'a str, known: &[String]) -> Option<&'a str> {
    let bare = variable.strip_suffix("_FILE")?;
    let own = squeezed(variable);
    (!known.iter().any(|known| squeezed(known) == own)).then_some(bare)
}

/// Most often there is one underscore where there should be two, or the other way round.
fn squeezed(name: &str) -> String {
    name.to_uppercase().replace('_', "")
}

/// A mistyped variable is answered with the name of the one that was meant, not with its key.
fn refuse_unknown_variable(variable: &str, known: &[String]) -> Result<(), SettingsError> {
    let upper = variable.to_uppercase();
    let (name, ending) = match without_file(&upper, known) {
        Some(name) => (name, "_FILE"),
        None => (&*upper, ""),
    };
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    let same = known.iter().find(|known| squeezed(known) == squeezed(name));
    let score = |candidate: &&String| strsim::jaro_winkler(name, candidate);
    let alike = || known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    let meant = same.or_else(|| alike().filter(|candidate| score(candidate) > 0.9));
    let problem = format!("there is no setting for the variable {variable}");
    Err(match meant {
        Some(meant) => SettingsError::new(problem, format!("did you mean {meant}{ending}?")),
        None => SettingsError::new(
            problem,
            "`trtc-callbacks default-config` lists every key; the key `store.url` is TRTC_STORE__URL",
        ),
    })
}

/// An address needs its port, and no name; the parser does not say so.
fn check_addresses(layers: &Config) -> Result<(), SettingsError> {
    for (key, usual) in [("server.listen", 8080), ("ops.listen", 9090)] {
        let Ok(given) = layers.get_string(key) else { continue };
        if given.parse::<SocketAddr>().is_err() {
            let port = given.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
            let port = port.unwrap_or(usual);
            let problem = format!("key `{key}`: no IP address with a port");
            let hint = format!(
                "give 0.0.0.0:{port} for every address of this machine, or 127.0.0.1:{port} for itself alone"
            );
            return Err(SettingsError::new(problem, hint));
        }
    }
    Ok(())
}

fn read_secret(variable: &str, path: &str) -> Result<String, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let path = super::secrets::shown_path(path.as_ref());
        let problem = format!("read {path}, which {variable} names: {error}");
        SettingsError::new(problem, "see that the file is there and readable")
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A mistyped key would silently leave its default in force: name it, and the one that was meant.
fn refuse_unknown_keys(layers: &Config) -> Result<(), SettingsError> {
    let mut known = known_keys()?;
    known.extend(APP_KEYS.map(|key| format!("apps.{key}")));
    known.extend(TOKEN_KEYS.map(|key| format!("ops.tokens.{key}")));
    known.extend(FORWARD_KEYS.map(|key| format!("forward.{key}")));
    let mut given = Vec::new();
    leaves("", &layers.cache, &mut given);
    // Below it stand the names of headers.
    given.retain(|key| !key.starts_with("forward.headers."));
    if let Some(key) = given.iter().find(|key| !known.contains(key)) {
        let score = |candidate: &&String| strsim::jaro_winkler(key, candidate);
        let nearest = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        let problem = format!("there is no key `{key}`");
        return Err(match nearest.filter(|candidate| score(candidate) > 0.8) {
            Some(meant) => SettingsError::new(problem, format!("did you mean `{meant}`?")),
            None => SettingsError::new(problem, "`trtc-callbacks default-config` lists every key"),
        });
    }
    Ok(())
}

/// Every key, but those of the tables of apps and destinations.
fn known_keys() -> Result<Vec<String>, SettingsError> {
    let defaults =
        Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml)).build()?;
    let mut known = Vec::new();
    leaves("", &defaults.cache, &mut known);
    Ok(known)
}

fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
    match &value.kind {
        ValueKind::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, found);
            }
        }
        ValueKind::Array(elements) if ["apps", "forward", "ops.tokens"].contains(&path) => {
            for app in elements {
                leaves(path, app, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::settings::tests::{env, error, file};

    #[test]
    fn each_layer_overrides_the_one_before() {
        let (_file, mut sources) = file("[ingest]\nlanes = 3\nbatch_rows_max = 30");
        assert_eq!(Settings::load(&sources).unwrap().ingest.lanes, 3);
        sources.env.insert("TRTC_INGEST__LANES".into(), "4".into());
        assert_eq!(Settings::load(&sources).unwrap().ingest.lanes, 4);
        sources.flags.push(("ingest.lanes", "5".into()));
        let settings = Settings::load(&sources).unwrap();
        assert_eq!(settings.ingest.lanes, 5);
        assert_eq!(settings.ingest.batch_rows_max, 30);
    }

    #[test]
    fn an_unknown_key_suggests_the_closest() {
        let (_file, sources) = file("[server]\nlisen = \"0.0.0.0:1\"");
        assert_eq!(
            error(&sources),
            "there is no key `server.lisen`\nhint: did you mean `server.listen`?"
        );
        let (_file, sources) = file("[[apps]]\nsdk_appid = 1");
        assert!(error(&sources).contains("did you mean `apps.sdk_app_id`?"));
    }

    #[test]
    fn an_unknown_variable_suggests_the_closest() {
        for (given, meant) in [
            ("TRTC_STORE_URL", "TRTC_STORE__URL"),
            ("TRTC_STORE_URL_FILE", "TRTC_STORE__URL_FILE"),
            ("TRTC_SPOOL_BYTES_MAX", "TRTC_SPOOL__BYTES_MAX"),
            ("TRTC_OPS___TOKEN", "TRTC_OPS__TOKEN"),
            ("TRTC_STORE__URI", "TRTC_STORE__URL"),
            ("TRTC_SDKAPPID", "TRTC_SDK_APP_ID"),
            ("TRTC_SDK__APP_ID", "TRTC_SDK_APP_ID"),
            ("TRTC_SERVER_LISTEN", "TRTC_SERVER__LISTEN"),
        ] {
            let said = error(&env(&[(given, "s3cret")]));
            let expected = format!(
                "there is no setting for the variable {given}\nhint: did you mean {meant}?"
            );
            assert_eq!(said, expected);
        }
        let said = error(&env(&[("TRTC_PORT", "8080")]));
        assert!(said.contains("variable TRTC_PORT\nhint: "), "{said}");
    }

    #[test]
    fn the_shortcuts_make_one_app() {
        let mut sources =
            env(&[("TRTC_SDK_APP_ID", "1400000001"), ("TRTC_CALLBACK_TOKEN", "new\nold")]);
        sources.sdk_app_ids.push("1400000001".into());
        let settings = Settings::load(&sources).unwrap();
        assert_eq!(settings.apps.len(), 1);
        assert_eq!(settings.apps[0].callback_tokens.len(), 2);
        sources.sdk_app_ids.push("1400000002".into());
        assert!(error(&sources).contains("there are 2"));
        let without_app = Settings::load(&env(&[("TRTC_CALLBACK_TOKEN", "t")])).unwrap();
        assert!(without_app.apps_to_serve().is_err());
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let (secret, _) = file("s3cret\n");
        let path = secret.path().to_str().unwrap();
        let settings = Settings::load(&env(&[
            ("TRTC_SDK_APP_ID", "1"),
            ("TRTC_CALLBACK_TOKEN_FILE", path),
            ("TRTC_OPS__TOKEN_FILE", path),
        ]))
        .unwrap();
        assert_eq!(settings.apps[0].callback_tokens[0].expose_secret(), "s3cret");
        assert_eq!(settings.ops.token.expose_secret(), "s3cret");
        assert!(!format!("{settings:?}").contains("s3cret"));
        let message = error(&env(&[("TRTC_SECRET_KEY_FILE", "/nowhere/key")]));
        assert!(message.contains("`/nowhere/key`, which TRTC_SECRET_KEY_FILE names"), "{message}");
        // The secret itself in the place of its path.
        let secret = "0123456789abcdef0123456789abcdef";
        let message = error(&env(&[("TRTC_SECRET_KEY_FILE", secret)]));
        assert!(!message.contains(secret), "{message}");
    }

    #[test]
    fn a_key_that_ends_in_file_is_set_by_its_variable() {
        let variable = "TRTC_STREAM__CREDENTIALS_FILE";
        let settings = Settings::load(&env(&[(variable, "/run/nats.creds")])).unwrap();
        assert_eq!(settings.stream.credentials_file.to_str(), Some("/run/nats.creds"));
        let said = error(&env(&[("TRTC_STREAM_CREDENTIALS_FILE", "/run/nats.creds")]));
        assert!(said.ends_with("did you mean TRTC_STREAM__CREDENTIALS_FILE?"), "{said}");
    }

    #[test]
    fn the_variables_of_a_kubernetes_service_are_not_ours() {
        let sources = env(&[
            ("TRTC_CALLBACKS_SERVICE_HOST", "10.0.0.1"),
            ("TRTC_DB_SERVICE_PORT", "5432"),
            ("TRTC_DB_PORT", "tcp://10.0.0.1:5432"),
            ("TRTC_DB_PORT_5432_TCP_ADDR", "10.0.0.1"),
            ("TRTC_SERVICE_HOST", "10.0.0.1"),
            ("TRTC_SERVICE_PORT", "80"),
            ("TRTC_SERVICE_PORT_HTTP", "80"),
            ("TRTC_PORT", "tcp://10.0.0.1:80"),
            ("TRTC_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("TRTC_PORT_80_TCP_PROTO", "tcp"),
            ("PATH", "/bin"),
        ]);
        assert!(Settings::load(&sources).is_ok());
        assert_eq!(sources.foreign_variables().len(), sources.env.len() - 1);
    }
}
