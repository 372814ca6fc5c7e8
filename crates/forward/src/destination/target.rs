//! The URL of a destination: an HTTP endpoint, or NATS servers.

use std::fmt;

use url::Url;

use protocol::diagnostic::Hint;

/// The most bytes of a URL.
pub const URL_BYTES_MAX: usize = 2048;
/// The most NATS servers of one destination.
pub const SERVERS_MAX: usize = 16;

/// Where events are sent. `Display` and `Debug` show neither path nor query nor password: they often hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A POST to this URL.
    Http(Url),
    /// The `JetStream` of these servers, which belong to one cluster.
    Nats(Vec<Url>),
}

/// The kind of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// HTTP push.
    Http,
    /// The `JetStream` of NATS.
    Nats,
}

impl Target {
    /// Reads a URL of a destination. Whether its address may be called is the egress guard's to judge.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > URL_BYTES_MAX {
            return Err(TargetError::TooLong(text.len()));
        }
        if text.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(TargetError::Blank);
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => {
                let url = Url::parse(text).map_err(|_| TargetError::Invalid)?;
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(TargetError::Password);
                }
                if url.fragment().is_some() {
                    return Err(TargetError::Fragment);
                }
                Ok(Self::Http(url))
            }
            Some("nats" | "tls") => {
                let servers: Vec<Url> =
                    text.split(',').map(server).collect::<Result<_, TargetError>>()?;
                if servers.len() > SERVERS_MAX {
                    return Err(TargetError::TooManyServers(servers.len()));
                }
                Ok(Self::Nats(servers))
            }
            Some(_) => Err(TargetError::Scheme),
            None => Err(TargetError::Invalid),
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Http(_) => TargetKind::Http,
            Self::Nats(_) => TargetKind::Nats,
        }
    }
}

/// One of the servers of a cluster: a scheme, a host and perhaps a port.
fn server(text: &str) -> Result<Url, TargetError> {
    let url = Url::parse(text).map_err(|_| TargetError::Invalid)?;
    if !matches!(url.scheme(), "nats" | "tls") {
        return Err(TargetError::MixedSchemes);
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(TargetError::Invalid);
    }
    let has_more =
        !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
    if has_more { Err(TargetError::NatsPath) } else { Ok(url) }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = match self {
            Self::Http(url) => std::slice::from_ref(url),
            Self::Nats(servers) => servers,
        };
        for (place, url) in urls.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
            if let Some(port) = url.port() {
                write!(f, ":{port}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// What is wrong with a URL. It never holds the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetError {
    /// It has this many bytes.
    TooLong(usize),
    /// It has blanks or control characters.
    Blank,
    /// It is not a URL.
    Invalid,
    /// Its scheme is another one.
    Scheme,
    /// It holds a user or a password.
    Password,
    /// It has a fragment, which is never sent.
    Fragment,
    /// NATS servers and other URLs are mixed.
    MixedSchemes,
    /// There are this many servers.
    TooManyServers(usize),
    /// The URL of a NATS server has a path or query.
    NatsPath,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => {
                write!(f, "the URL has {bytes} bytes: there may be {URL_BYTES_MAX}")
            }
            Self::Blank => f.write_str("the URL has blanks or control characters in it"),
            Self::Invalid => f.write_str("not a URL"),
            Self::Scheme => f.write_str("a URL of another scheme than those that are supported"),
            Self::Password => f.write_str("the URL holds a user or password"),
            Self::Fragment => f.write_str("the URL has a `#`, and what follows it is never sent"),
            Self::MixedSchemes => f.write_str("the servers are not all NATS servers"),
            Self::TooManyServers(count) => {
                write!(f, "{count} servers: there may be {SERVERS_MAX}")
            }
            Self::NatsPath => f.write_str("the URL of a NATS server has a path or query"),
        }
    }
}

impl std::error::Error for TargetError {}

impl Hint for TargetError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TooLong(_) => return None,
            Self::Blank => "write it on one line; blanks within are `%20`",
            Self::Invalid | Self::Scheme => {
                "give https://…, http://… (private addresses only), nats://… or tls://…"
            }
            Self::Password => "set the header `authorization` instead",
            Self::Fragment => "remove it",
            Self::MixedSchemes => "give every server as nats://… or tls://…, with commas between",
            Self::TooManyServers(_) => "a few are enough, or one name with all their addresses",
            Self::NatsPath => "only scheme, host and port; the subject is `subject_prefix`",
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_or_nats_and_shown_without_its_secrets() {
        for (text, kind, shown) in [
            ("https://a.example/hook/s3cret?k=s3cret", TargetKind::Http, "https://a.example"),
            ("HTTPS://A.example:8443/", TargetKind::Http, "https://a.example:8443"),
            ("http://[::1]:3000/x", TargetKind::Http, "http://[::1]:3000"),
            ("nats://a.example:4222", TargetKind::Nats, "nats://a.example:4222"),
            (
                "tls://u:s3cret@a.example,tls://b.example:1",
                TargetKind::Nats,
                "tls://a.example,tls://b.example:1",
            ),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.kind(), kind, "{text}");
            assert_eq!(target.to_string(), shown);
            assert_eq!(format!("{target:?}"), format!("Target({shown})"));
        }
    }

    #[test]
    fn other_urls_are_refused() {
        let long = format!("https://a.example/{}", "x".repeat(2048));
        let many = vec!["nats://a"; 17].join(",");
        for (text, error) in [
            ("", TargetError::Invalid),
            ("a.example/hook", TargetError::Invalid),
            ("https://", TargetError::Invalid),
            ("https://a.example:99999/", TargetError::Invalid),
            ("ftp://a.example/", TargetError::Scheme),
            ("file:///etc/passwd", TargetError::Scheme),
            ("ws://a.example", TargetError::Scheme),
            ("https://user@a.example/", TargetError::Password),
            ("https://user:pass@a.example/", TargetError::Password),
            ("https://a.example/#x", TargetError::Fragment),
            (" https://a.example/", TargetError::Blank),
            ("https://a.example/\n", TargetError::Blank),
            ("nats://a,https://b", TargetError::MixedSchemes),
            ("nats://a,", TargetError::Invalid),
            ("nats://", TargetError::Invalid),
            ("nats://a/subject", TargetError::NatsPath),
            (long.as_str(), TargetError::TooLong(2066)),
            (many.as_str(), TargetError::TooManyServers(17)),
        ] {
            assert_eq!(Target::parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("example"));
        }
    }
}
