//! Where to, and how.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use crate::destination::Destination;
use crate::destination::checked::TlsFiles;
use crate::destination::target::Target;
use crate::http::UrlError;

/// The servers of a destination, and how they are spoken to.
#[derive(Clone)]
pub struct ClientSettings {
    /// The servers, without user and password.
    pub(crate) servers: Vec<Url>,
    /// The user and password that the URLs have: the library ignores them there.
    pub(crate) user: Option<(String, SecretString)>,
    /// What the connection is called at the server.
    pub(crate) name: String,
    pub(crate) in_flight_max: u32,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) tls: TlsFiles,
    pub(crate) credentials_file: Option<PathBuf>,
}

/// The user and password that the URLs of servers have, for all of them: the library ignores them in a URL.
///
/// # Errors
/// They have several.
pub fn user_of(servers: &[Url]) -> Result<Option<(String, SecretString)>, UrlError> {
    let user = |url: &Url| (url.username().to_owned(), url.password().map(str::to_owned));
    let mut users: Vec<_> = servers.iter().map(user).filter(|(user, _)| !user.is_empty()).collect();
    users.dedup();
    if users.len() > 1 {
        return Err(UrlError::Users);
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Ok(users
        .pop()
        .map(|(user, password)| (decoded(&user), decoded(&password.unwrap_or_default()).into())))
}

/// The URLs of servers without user and password.
///
/// # Errors
/// One has no host.
pub fn without_user(servers: &[Url]) -> Result<Vec<Url>, UrlError> {
    let bare = |url: &Url| {
        let mut url = url.clone();
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map(|()| url).map_err(|()| UrlError::Unusable)
    };
    servers.iter().map(bare).collect()
}

impl ClientSettings {
    /// What a destination is configured for.
    ///
    /// # Errors
    /// It is not one of NATS, or its servers are given several users.
    pub fn of(destination: &Destination) -> Result<Self, UrlError> {
        let Target::Nats(servers) = &destination.target else {
            return Err(UrlError::Scheme);
        };
        Ok(Self {
            servers: without_user(servers)?,
            user: user_of(servers)?,
            name: format!("trtc-callbacks {}", destination.name),
            in_flight_max: destination.in_flight_max,
            timeout: destination.timeout,
            connect_timeout: destination.connect_timeout,
            tls: destination.tls.clone(),
            credentials_file: destination.nats.credentials_file.clone(),
        })
    }

    /// The servers, without user and password.
    #[must_use]
    pub fn servers(&self) -> &[Url] {
        &self.servers
    }

    /// Whether nothing is said without TLS, whatever a server asks for.
    #[must_use]
    pub fn requires_tls(&self) -> bool {
        let has_files = self.tls.ca.is_some() || self.tls.certificate.is_some();
        has_files || self.servers.iter().all(|server| server.scheme() == "tls")
    }

    /// The files that a connection is made with.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.credentials_file.iter().cloned().collect();
        files.extend(self.tls.ca.clone());
        if let Some((certificate, key)) = self.tls.certificate.clone() {
            files.extend([certificate, key]);
        }
        files
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<&str> = self.servers.iter().map(Url::as_str).collect();
        f.debug_struct("ClientSettings").field("servers", &servers).finish_non_exhaustive()
    }
}
