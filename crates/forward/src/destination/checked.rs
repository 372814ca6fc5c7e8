//! A destination of which every key has been checked.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use protocol::Family;
use protocol::diagnostic::{Diagnostic, Hint};

use crate::derived::{DerivedType, PREFIX};
use crate::destination::error::DestinationError;
use crate::destination::headers::Headers;
use crate::destination::secret::SigningSecret;
use crate::destination::settings::{DestinationSettings, OrderRule};
use crate::destination::target::{Target, TargetKind};
use crate::envelope::ClientIp;
use crate::filter::{Filter, Words};
use crate::schedule::Schedule;

/// The most destinations of one configuration: each has a task, a client and connections of its own.
pub const DESTINATIONS_MAX: usize = 16;
/// The most bytes of a name.
pub const NAME_BYTES_MAX: usize = 32;
/// The most secrets: one in use, one to come, and one for the time in between.
pub const SECRETS_MAX: usize = 3;

/// A destination whose every key has been checked.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its identity in the store.
    pub name: String,
    /// Where events are sent.
    pub target: Target,
    /// What deliveries are signed with, the newest first; none where they are not signed.
    pub secrets: Vec<SigningSecret>,
    /// Which events it gets.
    pub filter: Filter,
    /// Headers beside those of the envelope.
    pub headers: Headers,
    /// How many requests are under way at once.
    pub in_flight_max: u32,
    /// How many events are sent per second; 0 for any number.
    pub rate_max: u32,
    /// How long a try may take, the answer's body included.
    pub timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// What is sent in order.
    pub order: OrderRule,
    /// How long an event that fails may hold back later ones of its call or room.
    pub order_wait: Duration,
    /// When an event that failed alone is tried again.
    pub schedule: Schedule,
    /// Whether the address of the user's device is sent.
    pub client_ip: ClientIp,
    /// Files of TLS.
    pub tls: TlsFiles,
    /// The proxy to go through, which may hold a password.
    pub proxy: Option<SecretString>,
    /// What NATS needs beside the servers.
    pub nats: NatsTarget,
    /// A hash of what decides on what is sent where, in which order and how fast. Two servers that differ in it are configured
    /// differently. Secrets are not in it: they differ for a while whenever they are changed.
    pub definition_hash: String,
}

/// Files of TLS, which are read again when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What NATS needs beside the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsTarget {
    /// The stream that must take the subjects.
    pub stream: Option<String>,
    /// What subjects begin with.
    pub subject_prefix: String,
    /// The file that authenticates us.
    pub credentials_file: Option<PathBuf>,
    /// Whether the stream is created where there is none.
    pub create_stream: bool,
}

impl Destination {
    /// Checks a destination. `read` reads the file of secrets where there is one.
    ///
    /// # Errors
    /// The first key that is wrong, and why.
    pub fn check(
        settings: DestinationSettings,
        read: impl FnOnce(&Path) -> Result<SecretString, Diagnostic>,
    ) -> Result<Self, DestinationError> {
        // A name that is wrong is shown as it is: there is no other to say which destination is meant.
        let name = settings.name.clone();
        let wrong = |(key, found)| DestinationError { destination: name, key, found };
        checked(settings, read).map_err(wrong)
    }
}

/// Checks what destinations have in common: their number, and that each has a name of its own.
///
/// # Errors
/// There are too many, or two of one name.
pub fn check_together(destinations: &[Destination]) -> Result<(), DestinationError> {
    let wrong = |destination: &Destination, problem: String, hint: &str| {
        let (destination, found) = (destination.name.clone(), Diagnostic::new(problem, hint));
        Err(DestinationError { destination, key: "name", found })
    };
    for (place, destination) in destinations.iter().enumerate() {
        if place == DESTINATIONS_MAX {
            let problem = format!("it is number {}: there may be {place}", place + 1);
            let hint =
                "let one service pass events on, or forward to NATS, where any number can read";
            return wrong(destination, problem, hint);
        }
        if destinations.iter().take(place).any(|other| other.name == destination.name) {
            let hint = "each needs a name of its own: its place in the feed is kept by it";
            return wrong(destination, "there are two of this name".to_owned(), hint);
        }
    }
    Ok(())
}

/// A key, and what is wrong with it.
type Wrong = (&'static str, Diagnostic);

fn checked(
    settings: DestinationSettings,
    read: impl FnOnce(&Path) -> Result<SecretString, Diagnostic>,
) -> Result<Destination, Wrong> {
    check_name(&settings.name)?;
    let of = |key: &'static str| move |error: &dyn Hint| (key, error.diagnostic());
    let target = Target::parse(settings.url.expose_secret()).map_err(|error| of("url")(&error))?;
    check_kind(&settings, &target)?;
    let in_flight = match target.kind() {
        TargetKind::Http => 1..=64,
        TargetKind::Nats => 1..=256,
    };
    within("in_flight_max", settings.in_flight_max, in_flight)?;
    within("timeout_ms", settings.timeout_ms, 1_000..=30_000)?;
    within("connect_timeout_ms", settings.connect_timeout_ms, 1_000..=30_000)?;
    within("order_wait_s", settings.order_wait_s, 0..=3_600)?;
    let schedule = Schedule::of_seconds(&settings.retry_schedule_s).map_err(|error| {
        let hint = "1 to 20 pauses of at least 1 s, of 14 days together at most";
        ("retry_schedule_s", Diagnostic::new(error.to_string(), hint))
    })?;
    let filter = filter(&settings)?;
    let definition_hash = definition_hash(&settings);
    let secrets = secrets(&settings, target.kind(), read)?;
    let headers = Headers::check(settings.headers).map_err(|error| of("headers")(&error))?;
    Ok(Destination {
        name: settings.name,
        target,
        secrets,
        filter,
        headers,
        in_flight_max: settings.in_flight_max,
        rate_max: settings.rate_max,
        timeout: Duration::from_millis(settings.timeout_ms.into()),
        connect_timeout: Duration::from_millis(settings.connect_timeout_ms.into()),
        order: settings.order,
        order_wait: Duration::from_secs(settings.order_wait_s.into()),
        schedule,
        client_ip: if settings.include_client_ip { ClientIp::Included } else { ClientIp::Omitted },
        tls: TlsFiles {
            ca: settings.tls_ca,
            certificate: settings.tls_certificate.zip(settings.tls_key),
        },
        proxy: settings.proxy,
        nats: NatsTarget {
            stream: settings.stream,
            subject_prefix: settings.subject_prefix.unwrap_or_else(|| "trtc.events".to_owned()),
            credentials_file: settings.credentials_file,
            create_stream: settings.create_stream,
        },
        definition_hash,
    })
}

fn check_name(name: &str) -> Result<(), Wrong> {
    let is_usual = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_usual) {
        return Ok(());
    }
    let hint = "1 to 32 of the letters a to z, digits and `-`";
    Err(("name", Diagnostic::new("not a name", hint)))
}

/// Keys that mean nothing for a target of this kind are mistakes: somebody relies on them.
fn check_kind(settings: &DestinationSettings, target: &Target) -> Result<(), Wrong> {
    let (of_other, only): (&[(&'static str, bool)], &str) = match target.kind() {
        TargetKind::Http => (
            &[
                ("stream", settings.stream.is_some()),
                ("subject_prefix", settings.subject_prefix.is_some()),
                ("credentials_file", settings.credentials_file.is_some()),
                ("create_stream", settings.create_stream),
            ],
            "only NATS has it",
        ),
        TargetKind::Nats => (
            &[
                ("secrets", !settings.secrets.is_empty()),
                ("secrets_file", settings.secrets_file.is_some()),
                ("unsigned", settings.unsigned),
                ("headers", !settings.headers.is_empty()),
                ("proxy", settings.proxy.is_some()),
            ],
            "only HTTP has it",
        ),
    };
    if let Some((key, _)) = of_other.iter().find(|(_, is_set)| *is_set) {
        return Err((key, Diagnostic::new(only, "remove it, or give another `url`")));
    }
    let plain = matches!(target, Target::Http(url) if url.scheme() == "http");
    let (certificate, key) = (&settings.tls_certificate, &settings.tls_key);
    let files = [("tls_ca", &settings.tls_ca), ("tls_certificate", certificate), ("tls_key", key)];
    if let Some((key, _)) = files.iter().find(|(_, file)| plain && file.is_some()) {
        return Err((key, Diagnostic::new("the URL is without TLS", "give an https:// URL")));
    }
    match (certificate, key) {
        (Some(_), None) => Err(("tls_certificate", missing("tls_key"))),
        (None, Some(_)) => Err(("tls_key", missing("tls_certificate"))),
        _ => check_texts(settings),
    }
}

fn missing(other: &str) -> Diagnostic {
    Diagnostic::new(format!("there is no `{other}`"), "set both or none")
}

fn check_texts(settings: &DestinationSettings) -> Result<(), Wrong> {
    if let Some(proxy) = &settings.proxy {
        let url = Url::parse(proxy.expose_secret()).ok();
        let fits = url.is_some_and(|url| {
            let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
            url.scheme() == "http" && is_bare && url.fragment().is_none()
        });
        if !fits {
            let hint = "give http:// with host and port: TLS to the destination goes through it";
            return Err(("proxy", Diagnostic::new("not the URL of a proxy", hint)));
        }
    }
    let is_token = |text: &str| {
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !text.is_empty() && text.bytes().all(is_usual)
    };
    if settings.stream.as_deref().is_some_and(|name| !is_token(name) || name.len() > 255) {
        let hint = "letters, digits, `-` and `_`";
        return Err(("stream", Diagnostic::new("not the name of a stream", hint)));
    }
    let prefix = settings.subject_prefix.as_deref();
    if prefix.is_some_and(|prefix| prefix.len() > 128 || !prefix.split('.').all(is_token)) {
        let hint =
            "words of letters, digits, `-` and `_` with full stops between, such as `trtc.events`";
        return Err(("subject_prefix", Diagnostic::new("not the beginning of a subject", hint)));
    }
    Ok(())
}

fn within(key: &'static str, value: u32, range: RangeInclusive<u32>) -> Result<(), Wrong> {
    if range.contains(&value) {
        return Ok(());
    }
    let hint = format!("give {} to {}", range.start(), range.end());
    Err((key, Diagnostic::new(format!("{value} is out of its bounds"), hint)))
}

fn filter(settings: &DestinationSettings) -> Result<Filter, Wrong> {
    let compiled = |key: &'static str, list: &[String]| {
        let hint = "exact words, or beginnings with one `*` at their end";
        Words::compile(list).map_err(|error| (key, Diagnostic::new(error.to_string(), hint)))
    };
    let is_app = |word: &String| {
        let digits = word.strip_suffix('*').unwrap_or(word);
        digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if let Some(word) = settings.apps.iter().find(|word| !is_app(word)) {
        let problem = format!("`{word}` is not an app");
        return Err(("apps", Diagnostic::new(problem, "an app's `SdkAppId`, such as 1400000001")));
    }
    // A family that does not exist would keep every event away without a word. Commands are not checked: the vendor adds some.
    let is_family = |word: &String| match word.strip_suffix('*') {
        Some(beginning) => Family::NAMES.iter().any(|name| name.starts_with(beginning)),
        None => Family::NAMES.contains(&word.as_str()),
    };
    if let Some(word) = settings.families.iter().find(|word| !is_family(word)) {
        let (problem, hint) = (
            format!("`{word}` is not a family"),
            format!("there are {}", Family::NAMES.join(", ")),
        );
        return Err(("families", Diagnostic::new(problem, hint)));
    }
    check_derived(&settings.commands)?;
    Ok(Filter {
        apps: compiled("apps", &settings.apps)?,
        families: compiled("families", &settings.families)?,
        commands: compiled("commands", &settings.commands)?,
        rooms: compiled("rooms", &settings.rooms)?,
        calls: compiled("calls", &settings.calls)?,
    })
}

/// A derived event that does not exist would never come: there are only ours.
fn check_derived(commands: &[String]) -> Result<(), Wrong> {
    let is_one = |word: &str| match word.strip_suffix('*') {
        Some(beginning) => {
            let mut all = DerivedType::ALL.into_iter();
            beginning.starts_with(PREFIX) && all.any(|one| one.name().starts_with(beginning))
        }
        None => DerivedType::of_name(word).is_some(),
    };
    // No command of the vendor begins so.
    let mut own = commands.iter().filter(|word| word.starts_with("trtc"));
    if let Some(word) = own.find(|word| !is_one(word)) {
        let problem = format!("`{word}` is not a derived event");
        let names = DerivedType::ALL.map(DerivedType::name).join(", ");
        return Err(("commands", Diagnostic::new(problem, format!("there are {names}"))));
    }
    Ok(())
}

fn secrets(
    settings: &DestinationSettings,
    kind: TargetKind,
    read: impl FnOnce(&Path) -> Result<SecretString, Diagnostic>,
) -> Result<Vec<SigningSecret>, Wrong> {
    let (key, texts) = match (&settings.secrets_file, settings.secrets.is_empty()) {
        (Some(_), false) => {
            let found = Diagnostic::new("`secrets` is set too", "set one of both");
            return Err(("secrets_file", found));
        }
        (Some(file), true) => {
            let text = read(file).map_err(|found| ("secrets_file", found))?;
            let lines = text.expose_secret().lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty());
            ("secrets_file", lines.map(SecretString::from).collect())
        }
        (None, _) => ("secrets", settings.secrets.clone()),
    };
    let wrong = |problem: String, hint: &str| Err((key, Diagnostic::new(problem, hint)));
    if settings.unsigned && (settings.secrets_file.is_some() || !texts.is_empty()) {
        return wrong("`unsigned` is set too".to_owned(), "remove it, and deliveries are signed");
    }
    if texts.is_empty() && kind == TargetKind::Http && !settings.unsigned {
        let hint = "set one, so that receivers know whom events come from, or `unsigned = true`";
        return wrong("there is no secret".to_owned(), hint);
    }
    if texts.len() > SECRETS_MAX {
        let hint = "keep the newest first, and remove those that no receiver uses";
        return wrong(format!("{} secrets: there may be {SECRETS_MAX}", texts.len()), hint);
    }
    let parsed = texts.iter().enumerate().map(|(place, text)| {
        SigningSecret::parse(text).map_err(|error| {
            let found = error.diagnostic().prefixed(format_args!("number {}: ", place + 1));
            (key, found)
        })
    });
    parsed.collect()
}

fn definition_hash(settings: &DestinationSettings) -> String {
    let lists =
        [&settings.apps, &settings.families, &settings.commands, &settings.rooms, &settings.calls];
    // What filters mean depends on no order, and on no word that stands there twice.
    let lists = lists.map(|list| {
        let mut list = list.clone();
        list.sort_unstable();
        list.dedup();
        list
    });
    let definition = json!([
        settings.url.expose_secret(),
        lists,
        settings.in_flight_max,
        settings.rate_max,
        settings.order == OrderRule::Subject,
        settings.order_wait_s,
        settings.retry_schedule_s,
        settings.include_client_ip,
        settings.stream,
        settings.subject_prefix,
    ]);
    // Half of it tells two definitions apart.
    let mut hash = hex::encode(Sha256::digest(definition.to_string()));
    hash.truncate(32);
    hash
}
