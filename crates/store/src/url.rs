//! Strict parsing of store URLs: a mistyped parameter must not be ignored, and no secret may reach a log.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::error::StoreError;
use crate::options::StoreOptions;
use crate::postgres::connection::address::{Address, URL_KEY, shown as shown_host};
use crate::postgres::connection::url_options::{self, Unfit};
use crate::sqlite::checkpoints::WAL_PAGES_MAX;
use protocol::diagnostic::{Diagnostic, Hint};

/// PostgreSQL parameters that the driver supports, with their aliases.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "statement-cache-capacity",
    "target_session_attrs",
    "user",
];
/// An alias that is not suggested for a mistyped parameter.
const ROOT_ALIAS: &str = "ssl-ca";
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// SQLite parameters.
const SQLITE_PARAMETERS: [&str; 4] = ["mode", "cache", "immutable", "vfs"];
/// Values of `target_session_attrs`: all events are written, so a primary is what they have in common.
const TARGETS: [&str; 3] = ["primary", "read-write", "any"];
/// Maximum number of hosts.
const HOSTS_MAX: usize = 10;
const FORM: &str = "give `postgres://user:password@host:5432/database`, other characters than letters and digits \
                    percent-encoded";
/// Minimum similarity of a mistyped word to a suggested one.
const NEAR: f64 = 0.8;

/// The key of the address without a pooler.
const DIRECT_KEY: &str = "store.direct_url";

/// A parsed store URL.
#[expect(clippy::large_enum_variant, reason = "a URL is parsed a few times in a program's life")]
pub(crate) enum StoreUrl {
    Postgres(Address),
    Sqlite(SqliteConnectOptions),
}

impl StoreUrl {
    /// Parses a URL. Errors never contain its secrets.
    pub(crate) fn parse(url: &SecretString) -> Result<Self, StoreError> {
        let url = url.expose_secret();
        let in_memory = url.contains(":memory:") || url.contains("mode=memory");
        if url.starts_with("sqlite:") && in_memory {
            let problem = "it names a database in memory, which forgets every event";
            return Err(wrong(problem, "give `sqlite://path/to/file.db`"));
        }
        match url.split_once("://") {
            Some(("postgres" | "postgresql", rest)) => postgres(url, rest).map(Self::Postgres),
            Some(("sqlite", rest)) if !rest.is_empty() => sqlite(url, rest).map(Self::Sqlite),
            _ => Err(wrong(
                "it names no kind of store",
                "give `postgres://user:password@host/database` or `sqlite://path/to/file.db`",
            )),
        }
    }

    /// The URL of connections that need a session of their own.
    pub(crate) fn of_sessions(options: &StoreOptions) -> Result<Self, StoreError> {
        match Self::direct(options)? {
            Some(direct) => Ok(Self::Postgres(direct)),
            None => Self::parse(&options.url),
        }
    }

    /// The direct URL, where there is one.
    pub(crate) fn direct(options: &StoreOptions) -> Result<Option<Address>, StoreError> {
        options.direct_url.as_ref().map(direct).transpose()
    }

    /// Parses the URL of a store that is to be opened: the files that it names must exist.
    pub(crate) fn to_open(url: &SecretString) -> Result<Self, StoreError> {
        let parsed = Self::parse(url)?;
        if let Self::Postgres(_) = parsed {
            for (key, file) in certificates(url.expose_secret()) {
                // The driver's error does not name the file.
                std::fs::File::open(&file).map_err(|error| {
                    let problem = format!("`{key}`: read {}: {error}", file.display());
                    wrong(&problem, "give the path of a PEM file that the server may read")
                })?;
            }
        }
        Ok(parsed)
    }
}

/// The address of `store.direct_url`, whose files must exist.
fn direct(url: &SecretString) -> Result<Address, StoreError> {
    match StoreUrl::to_open(url).map_err(|error| of_direct(&error))? {
        StoreUrl::Postgres(address) => Ok(Address { key: DIRECT_KEY, ..address }),
        StoreUrl::Sqlite(_) => Err(of_direct(&wrong(
            "it names a file",
            "leave it empty: it is for PostgreSQL behind a pooler",
        ))),
    }
}

/// The error, of the key `store.direct_url`.
fn of_direct(error: &StoreError) -> StoreError {
    let Diagnostic { problem, hint } = error.diagnostic();
    StoreError::Address(Diagnostic { problem: problem.replace(URL_KEY, DIRECT_KEY), hint })
}

fn wrong(problem: &str, hint: &str) -> StoreError {
    StoreError::Address(Diagnostic::new(format!("key `store.url`: {problem}"), hint))
}

/// `rest` is the part after the scheme.
fn postgres(url: &str, rest: &str) -> Result<Address, StoreError> {
    let unfit = |Unfit(problem, hint)| wrong(problem, hint);
    let scheme = url.strip_suffix(rest).unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, list) = match authority.rfind('@') {
        Some(end) => authority.split_at(end + 1),
        None => ("", authority),
    };
    let behind = rest.strip_prefix(authority).unwrap_or_default();
    let path = behind.split(['?', '#']).next().unwrap_or_default();
    let mut kept = Vec::new();
    let mut options = Vec::new();
    let (mut hosts, mut ports) = (None, None);
    for (key, value) in parameters(url) {
        check_parameter(&key, &value)?;
        match key.as_str() {
            "options" => options.extend(url_options::of_command_line(&value).map_err(unfit)?),
            "target_session_attrs" => {}
            "host" => hosts = Some(value),
            "port" => ports = Some(value),
            _ => match key.strip_prefix("options[").and_then(|key| key.strip_suffix(']')) {
                Some(name) => options.push((url_options::option_name(name).map_err(unfit)?, value)),
                None => kept.push((key, value)),
            },
        }
    }
    // Hosts of the query replace those before the path, as libpq has it.
    let places: Vec<Place<'_>> = match &hosts {
        Some(hosts) => {
            // The driver wants one there in any case.
            let authority = if list.is_empty() || list.contains(',') { "localhost" } else { list };
            hosts.split(',').map(|host| Place { authority, host: Some(host) }).collect()
        }
        None => list.split(',').map(|part| Place { authority: part, host: None }).collect(),
    };
    if places.len() > HOSTS_MAX {
        return Err(wrong("it names very many hosts", &format!("give at most {HOSTS_MAX}")));
    }
    let ports: Vec<&str> = ports.as_deref().map_or(Vec::new(), |ports| ports.split(',').collect());
    if ports.len() > 1 && ports.len() != places.len() {
        let problem = "parameter `port` has another number of ports than there are hosts";
        return Err(wrong(problem, "give one for each host, or one for all"));
    }
    let address = |(number, place): (usize, &Place<'_>)| {
        let port = ports.get(number).or(ports.first()).copied();
        let url = place.url([scheme, user, path], &kept, port);
        // The parser's error may quote the URL.
        let parsed: Result<PgConnectOptions, _> = url.parse();
        parsed.map_err(|_| wrong("it is no URL of a PostgreSQL", FORM))
    };
    let hosts: Result<Vec<_>, _> = places.iter().enumerate().map(address).collect();
    Ok(Address { hosts: hosts?, options, key: URL_KEY })
}

/// One of the hosts of a URL.
struct Place<'a> {
    /// Host and port as they stand before the path.
    authority: &'a str,
    /// The host of the query.
    host: Option<&'a str>,
}

impl Place<'_> {
    /// A URL of this host alone.
    fn url(
        &self,
        [scheme, user, path]: [&str; 3],
        kept: &[(String, String)],
        port: Option<&str>,
    ) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept);
        // The driver would resolve a host name with brackets. Its `host` parameter takes the address without them.
        let in_brackets = in_brackets(self.authority).map(|address| address.to_string());
        if let Some(host) = self.host.or(in_brackets.as_deref()) {
            query.append_pair("host", host);
        }
        if let Some(port) = port {
            query.append_pair("port", port);
        }
        let (query, authority) = (query.finish(), self.authority);
        let sign = if query.is_empty() { "" } else { "?" };
        format!("{scheme}{user}{authority}{path}{sign}{query}")
    }
}

fn in_brackets(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}

/// The parameters of the query.
fn parameters(url: &str) -> Vec<(String, String)> {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Refuses parameters that the driver would ignore or log with their value.
fn check_parameter(key: &str, value: &str) -> Result<(), StoreError> {
    let unfit = |hint: &str| Err(wrong(&format!("parameter `{key}` has no such value"), hint));
    match key {
        "sslmode" | "ssl-mode" if !SSL_MODES.contains(&value) => {
            let modes = SSL_MODES.join(", ");
            match nearest(value, &SSL_MODES) {
                Some(meant) => unfit(&format!("did you mean `{meant}`? There are {modes}")),
                None => unfit(&format!("there are {modes}")),
            }
        }
        "port" if value.split(',').any(|port| port.parse::<u16>().is_err()) => {
            unfit("give a number of 1 to 65535")
        }
        "hostaddr" if value.parse::<IpAddr>().is_err() => {
            unfit("give an IP address; `host` takes a name, and several with commas between them")
        }
        "target_session_attrs" if !TARGETS.contains(&value) => {
            unfit("the server writes: give `primary` or `read-write`, or take it out")
        }
        "statement-cache-capacity" if value.parse::<usize>().is_err() => unfit("give a number"),
        _ if PARAMETERS.contains(&key) || key == ROOT_ALIAS => Ok(()),
        _ if key.starts_with("options[") && key.ends_with(']') => Ok(()),
        _ => Err(unknown(key, &PARAMETERS)),
    }
}

/// The error for an unknown parameter: names it, unless it looks like misplaced other data, and never its value.
fn unknown(key: &str, known: &[&str]) -> StoreError {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    let problem = if key.len() <= 40 && key.bytes().all(plain) {
        format!("there is no parameter `{key}`")
    } else {
        "it has a parameter that there is not".to_owned()
    };
    let hint = match nearest(key, known) {
        Some(meant) => format!("did you mean `{meant}`? If not, take it out"),
        None => format!("take it out; there are {}", known.join(", ")),
    };
    wrong(&problem, &hint)
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let score = |candidate: &&str| strsim::jaro_winkler(word, candidate);
    let nearest = known.iter().copied().max_by(|a, b| score(a).total_cmp(&score(b)));
    nearest.filter(|candidate| score(candidate) > NEAR)
}

fn sqlite(url: &str, rest: &str) -> Result<SqliteConnectOptions, StoreError> {
    if rest.starts_with('?') {
        return Err(wrong("it names no file", "give `sqlite://path/to/file.db`"));
    }
    // A `#` may be part of a path.
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for (key, _) in form_urlencoded::parse(query.as_bytes()) {
        if !SQLITE_PARAMETERS.contains(&&*key) {
            return Err(unknown(&key, &SQLITE_PARAMETERS));
        }
    }
    let address: SqliteConnectOptions = url
        .parse()
        .map_err(|_| wrong("it is no URL of a SQLite file", "give `sqlite://path/to/file.db`"))?;
    Ok(address.pragma("wal_autocheckpoint", WAL_PAGES_MAX.to_string()))
}

/// The TLS files of a URL, each with its parameter.
fn certificates(url: &str) -> Vec<(String, PathBuf)> {
    let names_file = |key: &str| {
        let key = key.replace('-', "");
        ["sslrootcert", "sslcert", "sslkey", "sslca"].contains(&key.as_str())
    };
    let of_url = parameters(url).into_iter().filter(|(key, _)| names_file(key));
    of_url.map(|(key, file)| (key, PathBuf::from(file))).collect()
}

/// Checks the URL of connections that need a session of their own, beside the store's.
///
/// # Errors
/// The cause and a hint.
pub fn check_direct_url(url: &SecretString, direct_url: &SecretString) -> Result<(), StoreError> {
    let of_postgres = matches!(StoreUrl::parse(url)?, StoreUrl::Postgres(_));
    match StoreUrl::parse(direct_url).map_err(|error| of_direct(&error))? {
        StoreUrl::Postgres(_) if of_postgres => Ok(()),
        _ => {
            let hint = "leave it empty: it is for PostgreSQL behind a pooler that shares sessions";
            Err(of_direct(&wrong("it is of use with PostgreSQL only", hint)))
        }
    }
}

/// Checks a URL without opening the store.
///
/// # Errors
/// The cause and a hint.
pub fn check_url(url: &SecretString) -> Result<(), StoreError> {
    StoreUrl::parse(url).map(|_| ())
}

/// The store's file; `None` where it is a server.
#[must_use]
pub fn file(url: &SecretString) -> Option<PathBuf> {
    match StoreUrl::parse(url) {
        Ok(StoreUrl::Sqlite(address)) => Some(address.get_filename().to_owned()),
        Ok(StoreUrl::Postgres(_)) | Err(_) => None,
    }
}

/// The address of the store without user, password and parameters, for display.
#[must_use]
pub fn display_url(url: &SecretString) -> String {
    match StoreUrl::parse(url) {
        Ok(StoreUrl::Postgres(address)) => {
            let database = address.first().get_database().unwrap_or("");
            let hosts = address.hosts.iter().map(|host| match host.get_socket() {
                Some(socket) => shown(socket),
                None => shown_host(host),
            });
            format!("postgres://{}/{database}", hosts.collect::<Vec<_>>().join(","))
        }
        Ok(StoreUrl::Sqlite(address)) => format!("sqlite://{}", address.get_filename().display()),
        Err(_) => "(no URL of a store)".to_owned(),
    }
}

/// A socket path as it occurs in a URL.
fn shown(socket: &Path) -> String {
    socket.display().to_string().replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(url: &str) -> String {
        check_url(&url.into()).unwrap_err().diagnostic().to_string()
    }

    fn address(url: &str) -> PgConnectOptions {
        match StoreUrl::parse(&url.into()) {
            Ok(StoreUrl::Postgres(address)) => address.first().clone(),
            _ => panic!("{url} names no PostgreSQL"),
        }
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let shown = |url: &str| display_url(&url.into());
        assert_eq!(shown("postgres://u:s3cret@db:5432/x?password=s3cret"), "postgres://db:5432/x");
        assert_eq!(shown("sqlite://data/x.db"), "sqlite://data/x.db");
        assert_eq!(shown("postgres://u@[::1]/x"), "postgres://[::1]:5432/x");
        for url in [
            "postgres:u:s3cret@h/db",
            "postgresql//u:s3cret@h/db",
            "postgres://u:s3?cret@h/d",
            "postgres://u:s3#cret@h/d",
            "postgres://u:s3/cret@h/d",
            "postgres://u@h/d?s3cret",
            "postgres://u@h/d?sslpassword=s3cret",
            "postgres://u@h/d?sslmode=s3cret",
            "postgres://u@h/d?port=s3cret",
        ] {
            let said = check_url(&url.into()).err().map(|error| error.diagnostic().to_string());
            let told = said.clone().unwrap_or_default().replace("`s3cret`", "");
            for text in [shown(url), told] {
                assert!(!text.contains("s3"), "{url}: {text}");
            }
        }
    }

    #[test]
    fn an_invalid_store_url_is_an_error_with_a_hint() {
        for url in ["mysql://x", "sqlite::memory:", "sqlite://?mode=memory", "sqlite://", "x", ""] {
            let said = said(url);
            assert!(said.contains("`store.url`") && said.contains("\nhint: give `"), "{said}");
        }
    }

    #[test]
    fn the_brackets_of_an_ipv6_address_are_removed() {
        for (url, host, port) in [
            ("postgres://trtc@[::1]:5433/trtc", "::1", 5433),
            ("postgres://trtc:p%40w@[2001:db8::7]/trtc?sslmode=disable", "2001:db8::7", 5432),
            ("postgres://[::1]/trtc", "::1", 5432),
            ("postgres:///trtc?host=::1", "::1", 5432),
        ] {
            let address = address(url);
            assert_eq!((address.get_host(), address.get_port()), (host, port), "{url}");
            assert_eq!(address.get_database(), Some("trtc"), "{url}");
        }
    }

    #[test]
    fn an_unknown_parameter_suggests_the_closest() {
        let url = |query: &str| format!("postgres://u:s3cret@h/d?{query}");
        for (query, problem, hint) in [
            ("sslpassword=s3cret", "no parameter `sslpassword`", "hint: "),
            ("ssl_mode=require", "no parameter `ssl_mode`", "did you mean `sslmode`?"),
            ("sslrootcerts=x", "no parameter `sslrootcerts`", "did you mean `sslrootcert`?"),
            ("target_session_attr=any", "no parameter `target_session_attr`", "did you mean"),
            ("sslmode=required", "parameter `sslmode` has no", "did you mean `require`?"),
            ("sslmode=verify_full", "parameter `sslmode` has no", "did you mean `verify-full`?"),
            ("port=x", "parameter `port` has no such value", "give a number"),
            ("hostaddr=db", "parameter `hostaddr` has no such value", "`host` takes a name"),
        ] {
            let said = said(&url(query));
            assert!(said.contains(problem) && said.contains(hint), "{query}: {said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
        let said = said("sqlite://x.db?mod=rwc");
        assert!(said.contains("no parameter `mod`") && said.contains("`mode`?"), "{said}");
        for query in ["application_name=x", "options[search_path]=x", "ssl-ca=x", "sslmode=allow"] {
            check_url(&url(query).into()).unwrap();
        }
    }

    #[test]
    fn several_hosts_have_the_rest_of_the_url_in_common() {
        let shown = |url: &str| display_url(&url.into());
        for (url, expected) in [
            ("postgres://u:p@h1:5433,h2/d?sslmode=disable", "postgres://h1:5433,h2:5432/d"),
            ("postgres://u@[::1]:5433,h2/d", "postgres://[::1]:5433,h2:5432/d"),
            ("postgres://u@/d?host=h1,h2&port=5433", "postgres://h1:5433,h2:5433/d"),
            ("postgres://u@/d?host=h1,h2&port=1,2", "postgres://h1:1,h2:2/d"),
            (
                "postgres://u@h1,h2/d?target_session_attrs=read-write",
                "postgres://h1:5432,h2:5432/d",
            ),
            // A comma in a password does not separate hosts.
            ("postgres://u:a,b@h/d", "postgres://h:5432/d"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
        for (url, part) in [
            ("postgres://u@/d?hostaddr=10.0.0.1,10.0.0.2", "`hostaddr` has no such value"),
            ("postgres://u@h1,h2,h3/d?port=1,2", "another number of ports"),
            ("postgres://u@h1,,h3/d", "it is no URL of a PostgreSQL"),
            ("postgres://u@h1,h2/d?target_session_attrs=standby", "hint: the server writes"),
            ("postgres://u@1,2,3,4,5,6,7,8,9,10,11/d", "very many hosts"),
        ] {
            let said = said(url);
            assert!(said.contains(part), "{url}: {said}");
        }
    }

    #[test]
    fn options_become_settings_of_the_session() {
        let Ok(StoreUrl::Postgres(address)) = StoreUrl::parse(
            &"postgres://u@h/d?options[search_path]=a&options=-c%20jit%3Doff".into(),
        ) else {
            panic!("it names a PostgreSQL");
        };
        assert_eq!(
            address.options,
            [("search_path".to_owned(), "a".to_owned()), ("jit".to_owned(), "off".to_owned())]
        );
        assert_eq!(address.first().get_options(), None);
        assert!(said("postgres://u@h/d?options[a'b]=1").contains("names no setting"));
    }

    #[test]
    fn a_missing_certificate_is_named_when_the_store_opens() {
        for key in ["sslrootcert", "sslcert", "ssl-key", "ssl-ca"] {
            let url = format!("postgres://u:s3cret@h/d?sslmode=verify-full&{key}=/nowhere/ca.pem");
            check_url(&url.as_str().into()).unwrap();
            let Err(error) = StoreUrl::to_open(&url.as_str().into()) else { panic!("{key}") };
            let said = error.diagnostic().to_string();
            let named = format!("`{key}`: read /nowhere/ca.pem: No such file");
            assert!(said.contains(&named) && said.contains("\nhint: "), "{said}");
        }
    }
}
