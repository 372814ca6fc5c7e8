//! What can be said of a configuration before the vendor is asked, by the rules of its consoles
//! (trtc.io/document/74157, 34520) and the lists of its commands.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use reqwest::Url;

use crate::registration::config::CallbackConfig;
use crate::registration::product::{CommandSupport, GIFT, GIFTS_DO_NOT_WAIT, Product};
use protocol::Command;
use protocol::diagnostic::Diagnostic;
use protocol::letters::is_unsafe;

/// The longest name of a host, and of a part of it.
const HOST_CHARS_MAX: usize = 63;

/// Something to say of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it may be sent all the same.
    pub severity: Severity,
    /// What it is about.
    pub rule: Rule,
    /// What is found, and what to do.
    pub diagnostic: Diagnostic,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The vendor would refuse it, or it would not work.
    Error,
    /// It may be meant.
    Warning,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Not `http://` or `https://`, or no URL at all.
    UrlForm,
    /// The vendor puts a query behind the URL, so it may have none, and no fragment.
    UrlQuery,
    /// A character that the vendor does not take.
    UrlCharacter,
    /// A name of a host that the vendor does not take.
    UrlHost,
    /// A host that the vendor cannot reach.
    UrlReach,
    /// Events would travel in plain.
    UrlPlain,
    /// One port begins with the other.
    UrlPort,
    /// The list is empty.
    CommandsNone,
    /// A command stands twice, maybe under two names.
    CommandTwice,
    /// An unknown command, which the caller may allow.
    CommandUnknown,
    /// Another product's command.
    CommandForeign,
    /// Not the name that the vendor takes.
    CommandAlias,
    /// Not in the product's list, or shared with Chat: it may be refused or without effect.
    CommandDoubtful,
    /// Gifts would be blocked while nobody answers.
    GiftsWait,
}

fn error(rule: Rule, text: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding { severity: Severity::Error, rule, diagnostic: Diagnostic::new(text, hint) }
}

fn warning(rule: Rule, text: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding { severity: Severity::Warning, ..error(rule, text, hint) }
}

impl CallbackConfig {
    /// What is wrong with it or doubtful about it, for a product whose URL is `before` now, if it has one.
    #[must_use]
    pub fn findings(&self, product: Product, before: Option<&str>) -> Vec<Finding> {
        let mut findings = url_findings(&self.url);
        findings.extend(before.and_then(|before| port_trap(before, &self.url)));
        findings.extend(command_findings(product, &self.commands));
        findings
    }
}

fn url_findings(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let plain = text.starts_with("http://");
    let parsed = Url::parse(text).ok().filter(Url::has_host);
    let (Some(url), true) = (parsed, plain || text.starts_with("https://")) else {
        let hint = "give one such as https://callbacks.example.com/callback";
        return vec![error(
            Rule::UrlForm,
            "the callback URL is not an http:// or https:// URL",
            hint,
        )];
    };
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "make the path long and random instead, and set a token (Live)";
        findings.push(error(Rule::UrlForm, "the callback URL holds a user name or password", hint));
    }
    if url.query().is_some() || url.fragment().is_some() {
        let hint = "the vendor puts a query of its own behind it; use the path to tell URLs apart";
        findings.push(error(Rule::UrlQuery, "the callback URL has a query or a fragment", hint));
    }
    // What the parser would quietly mend counts as written.
    let odd = |letter: &char| !letter.is_ascii_graphic() || "!$&\\\"<>^`{|}".contains(*letter);
    if let Some(letter) = text.chars().find(odd) {
        let text =
            format!("the callback URL has a character that the vendor does not take: {letter:?}");
        let hint = "use letters, digits, `-`, `_`, `.`, `~`, `/` and `%`";
        findings.push(error(Rule::UrlCharacter, text, hint));
    }
    findings.extend(host_findings(written_host(text)));
    if plain {
        let hint = "use https://: events hold names of users, and signed queries can be sent again";
        findings.push(warning(Rule::UrlPlain, "the callback URL is plain HTTP", hint));
    }
    if url.port() == Some(0) {
        findings.push(error(Rule::UrlForm, "the callback URL has port 0", "leave the port out"));
    }
    findings
}

/// The host as it is written: a parser would lower its letters and translate others.
fn written_host(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((name, port)) if digits(port) => name,
        _ => host,
    }
}

fn host_findings(host: &str) -> Option<Finding> {
    let shown: String = host.chars().take(HOST_CHARS_MAX + 1).collect();
    let wrong = |why: &str, hint: &str| {
        Some(error(Rule::UrlHost, format!("the host `{shown}` of the callback URL {why}"), hint))
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return match address {
            IpAddr::V6(_) => wrong("is an IPv6 address", "give a name, or an IPv4 address"),
            IpAddr::V4(address) if !is_public(address) => Some(unreachable(&shown)),
            IpAddr::V4(_) => None,
        };
    }
    if host.chars().count() > HOST_CHARS_MAX {
        return wrong(
            "is longer than 63 characters",
            "give it a shorter name, a CNAME for example",
        );
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    for part in host.split('.') {
        if part.is_empty() {
            return wrong(
                "has an empty part",
                "write it without two dots in a row or one at its end",
            );
        }
        if !part.bytes().all(allowed) {
            return wrong(
                "has other characters than a-z, 0-9, `-` and dots",
                "write it in lower case",
            );
        }
        if part.starts_with('-') || part.ends_with('-') || part.contains("--") {
            return wrong("has a `-` at an end of a part, or two in a row", "give it another name");
        }
    }
    (!host.contains('.')).then(|| unreachable(&shown))
}

fn unreachable(host: &str) -> Finding {
    let text = format!("the vendor cannot reach `{host}`, which is not of the public internet");
    warning(Rule::UrlReach, text, "give the name under which the server is reached from outside")
}

fn is_public(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || shared
        || first >= 240
        || first == 0)
}

/// The vendor mixes up two URLs that differ in the port only, where one port begins with the other.
fn port_trap(before: &str, after: &str) -> Option<Finding> {
    let (before, after) = (Url::parse(before).ok()?, Url::parse(after).ok()?);
    let (old, new) = (before.port_or_known_default()?, after.port_or_known_default()?);
    let (old_text, new_text) = (old.to_string(), new.to_string());
    let begins = old_text.starts_with(&new_text) || new_text.starts_with(&old_text);
    if old == new || !begins || before.host() != after.host() {
        return None;
    }
    let text = format!("the port changes from {old} to {new}, one of which begins with the other");
    let hint =
        "the vendor warns of such a change: go over a third port, and wait 2 minutes each time";
    Some(warning(Rule::UrlPort, text, hint))
}

fn command_findings(product: Product, commands: &[String]) -> Vec<Finding> {
    if commands.is_empty() {
        let hint = "name at least one; to stop all callbacks, delete the configuration";
        return vec![error(Rule::CommandsNone, "there is no command in the list", hint)];
    }
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for name in commands {
        let canonical = Command::find(name).map_or(name.as_str(), |command| command.name);
        if !seen.insert(canonical) {
            let text = format!("`{}` stands twice", shown(name));
            findings.push(warning(Rule::CommandTwice, text, "name it once"));
        }
        findings.extend(command_finding(product, name, canonical));
    }
    if seen.contains(GIFT) && !seen.contains(GIFTS_DO_NOT_WAIT) {
        let text = format!("with `{GIFT}` gifts are blocked while the server does not answer");
        let hint = format!("name `{GIFTS_DO_NOT_WAIT}` too, unless that is meant");
        findings.push(warning(Rule::GiftsWait, text, hint));
    }
    findings
}

fn command_finding(product: Product, name: &str, canonical: &str) -> Option<Finding> {
    let of = |product: &Product| product.words().find(|word| word.name == canonical);
    let Some(word) = of(&product) else {
        if let Some(owner) = Product::ALL.iter().find(|product| of(product).is_some()) {
            let text = format!("`{}` is a command of {owner}, not of {product}", shown(name));
            return Some(error(Rule::CommandForeign, text, format!("register it for {owner}")));
        }
        if Command::find(name).is_some() {
            let text = format!("`{}` is a command of Chat, not of {product}", shown(name));
            let hint = "Chat's callbacks are set in the vendor's console only";
            return Some(error(Rule::CommandForeign, text, hint));
        }
        let text = format!("`{}` is not a known command of {product}", shown(name));
        return Some(error(Rule::CommandUnknown, text, near(product, name)));
    };
    if name != canonical {
        let text = format!("`{name}` is another name of `{canonical}`");
        return Some(warning(Rule::CommandAlias, text, format!("name it `{canonical}`")));
    }
    let why = match word.standing {
        CommandSupport::Listed | CommandSupport::Switch => return None,
        CommandSupport::Unlisted => "does not stand in the vendor's list of commands",
        CommandSupport::Chat => "shares its URL and its switch with Chat's callbacks",
    };
    let hint = "the vendor may refuse it, or send it only when it is set in the console too";
    Some(warning(Rule::CommandDoubtful, format!("`{name}` {why}"), hint))
}

/// The word that was meant, if one looks like it.
fn near(product: Product, name: &str) -> String {
    let distance = |word: &str| strsim::damerau_levenshtein(word, &shown(name));
    let words = product.words().map(|word| (distance(word.name), word.name));
    match words.min().filter(|(distance, _)| *distance <= 5) {
        Some((_, word)) => format!("is `{word}` meant?"),
        None => "`trtc-callbacks commands` lists the known ones".to_owned(),
    }
}

/// Somebody's text, short enough to show.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !is_unsafe(*letter)).take(80).collect()
}
