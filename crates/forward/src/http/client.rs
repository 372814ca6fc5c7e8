//! One destination's HTTP client.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::dns::{Name, Resolve};
use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Proxy, Response, Version};
use rustls::crypto::ring;
use secrecy::ExposeSecret;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use super::attempt::{Attempt, Failure, FailureClass};
use super::blocked_address::BlockedAddress;
use super::classify::{failure, root_cause};
use super::error::{HttpClientError, UrlError};
use super::excerpt::Secrets;
use super::guard::{Guard, Source, Transport, transport};
use super::request::Request;
use super::resolver::{GuardedResolver, SystemResolver};
use super::tls_material::TlsMaterial;
use crate::destination::Destination;
use crate::destination::checked::TlsFiles;
use crate::destination::target::Target;

/// The most bytes of an answer's body that are read. The connection is closed when there are more.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of `Retry-After` that are kept: a date has 29.
const RETRY_AFTER_BYTES_MAX: usize = 64;

/// For how long a connection waits for its next request. Longer than receivers keep theirs is of no use.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// How often a connection of HTTP/2 with requests under way is asked whether it is alive, and for how long it may take. One that
/// goes nowhere would otherwise be given request after request, each to run into its timeout.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What a receiver may send ahead on one stream of HTTP/2, and on a whole connection: answers are short.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Where to, and how.
#[derive(Clone)]
pub struct ClientSettings {
    /// The destination.
    pub url: Url,
    /// For the whole request, with the body of its answer.
    pub timeout: Duration,
    /// For a connection: name, TCP and TLS.
    pub connect_timeout: Duration,
    /// Certificates and key.
    pub tls: TlsFiles,
    /// An `http://` proxy.
    pub proxy: Option<Url>,
}

impl ClientSettings {
    /// What a destination is configured for.
    ///
    /// # Errors
    /// It is not one of HTTP.
    pub fn of(destination: &Destination) -> Result<Self, UrlError> {
        let Target::Http(url) = &destination.target else {
            return Err(UrlError::Scheme);
        };
        let proxy = destination.proxy.as_ref().map(|proxy| Url::parse(proxy.expose_secret()));
        Ok(Self {
            url: url.clone(),
            timeout: destination.timeout,
            connect_timeout: destination.connect_timeout,
            tls: destination.tls.clone(),
            proxy: proxy.transpose().map_err(|_| UrlError::Proxy)?,
        })
    }
}

/// Without what URLs may hold of secrets.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("url", &origin(&self.url))
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("tls", &self.tls)
            .field("proxy", &self.proxy.as_ref().map(origin))
            .finish()
    }
}

/// Sends to one destination. Clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    settings: ClientSettings,
    guard: Guard,
    names: Arc<dyn Resolve>,
    current: RwLock<Current>,
}

/// The client that is in use, and what of the TLS files it was made from.
struct Current {
    http: reqwest::Client,
    digest: [u8; 32],
}

impl Client {
    /// A client for one destination. Reads the TLS files, which blocks.
    ///
    /// # Errors
    /// The guard refuses the URL, or the TLS files do not do.
    pub fn new(settings: ClientSettings, guard: Guard) -> Result<Self, HttpClientError> {
        Self::with_resolver(settings, guard, Arc::new(SystemResolver::new()))
    }

    /// The same, with names resolved by `names`, whose answers are judged like the system's.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_resolver(
        settings: ClientSettings,
        guard: Guard,
        names: Arc<dyn Resolve>,
    ) -> Result<Self, HttpClientError> {
        guard.check_url(&settings.url, settings.proxy.as_ref())?;
        // The request would fail by it, again and again.
        settings.url.as_str().parse::<hyper::Uri>().map_err(|_| UrlError::Unusable)?;
        let material = TlsMaterial::read(&settings.tls)?;
        let http = build(&settings, &guard, &names, &material)?;
        let current = RwLock::new(Current { http, digest: material.digest() });
        Ok(Self(Arc::new(Inner { settings, guard, names, current })))
    }

    /// Scheme, host and port of the destination: what may be shown of its URL.
    #[must_use]
    pub fn origin(&self) -> String {
        origin(&self.0.settings.url)
    }

    /// Looks the host up and judges its addresses, as each new connection does, so that a wrong one is known before there is
    /// anything to send. Nothing is looked up with a proxy, or where the URL has an address.
    ///
    /// # Errors
    /// The name has no address, or none that may be sent to.
    pub async fn check_host(&self) -> Result<(), Failure> {
        let Inner { settings, guard, names, .. } = &*self.0;
        let url = &settings.url;
        let (Some(Host::Domain(host)), None) = (url.host(), &settings.proxy) else { return Ok(()) };
        let dns = |detail: String| Failure::new(FailureClass::Dns, detail);
        let name: Name = host.parse().map_err(|_| dns(format!("`{host}` is no name")))?;
        let transport = transport(url).unwrap_or(Transport::Plain);
        let (names, guard) = (Arc::clone(names), guard.clone());
        let resolver = GuardedResolver { names, guard, source: Source::Name, transport };
        match timeout(settings.connect_timeout, resolver.resolve(name)).await {
            Err(_) => Err(dns(format!("`{host}` was not looked up in time"))),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match error.downcast_ref::<BlockedAddress>() {
                Some(blocked) => Failure::blocked(blocked),
                None => dns(format!("`{host}`: {error}")),
            }),
        }
    }

    /// Reads the TLS files again. Where they changed, requests from now on go over new connections with what they hold; those
    /// under way end on the old ones. Says whether they did.
    ///
    /// # Errors
    /// The files do not do, for example as only one of certificate and key is replaced yet. What was read before stays in use.
    pub async fn reload(&self) -> Result<bool, HttpClientError> {
        let inner = Arc::clone(&self.0);
        let reload = spawn_blocking(move || inner.reload());
        reload.await.map_err(|error| HttpClientError::Http(error.to_string()))?
    }

    /// Sends once, and reads the answer. Dropping the future ends the request.
    pub async fn send(&self, request: Request) -> Attempt {
        let started = Instant::now();
        let settings = &self.0.settings;
        let secrets = Secrets::of(&request.headers, &settings.url);
        let http = self.0.current.read().unwrap_or_else(PoisonError::into_inner).http.clone();
        let answer = http
            .post(settings.url.clone())
            .headers(request.headers)
            .body(request.body)
            .send()
            .await;
        let mut attempt = match answer {
            Ok(response) => read(response, &secrets).await,
            Err(error) => Attempt { failure: Some(failure(&error)), ..Attempt::EMPTY },
        };
        attempt.duration = started.elapsed();
        attempt
    }
}

impl Attempt {
    const EMPTY: Self = Self {
        status: None,
        retry_after: None,
        excerpt: String::new(),
        is_truncated: false,
        duration: Duration::ZERO,
        peer: None,
        version: None,
        failure: None,
    };
}

impl Inner {
    fn reload(&self) -> Result<bool, HttpClientError> {
        let material = TlsMaterial::read(&self.settings.tls)?;
        let digest = material.digest();
        let is_current = |current: &Current| current.digest == digest;
        if is_current(&self.current.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(false);
        }
        let http = build(&self.settings, &self.guard, &self.names, &material)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current { http, digest };
        Ok(true)
    }
}

/// Without path and query of the URL.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

fn build(
    settings: &ClientSettings,
    guard: &Guard,
    names: &Arc<dyn Resolve>,
    tls: &TlsMaterial,
) -> Result<reqwest::Client, HttpClientError> {
    // An error says that there is one already. Without any, the library panics.
    let _ = ring::default_provider().install_default();
    let transport = transport(&settings.url).ok_or(UrlError::Scheme)?;
    // With a proxy, its own name is the only one that is resolved here.
    let source = if settings.proxy.is_some() { Source::Proxy } else { Source::Name };
    let resolver =
        GuardedResolver { names: Arc::clone(names), guard: guard.clone(), source, transport };
    let mut http = reqwest::Client::builder()
        // Invariant: a proxy of the environment would get every request past the guard.
        .no_proxy()
        // Invariant: a redirect would lead past the guard, and take the signature along.
        .redirect(Policy::none())
        .referer(false)
        .dns_resolver(resolver)
        .timeout(settings.timeout)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    if let Some(proxy) = &settings.proxy {
        let proxy = Proxy::all(proxy.clone()).map_err(|_| UrlError::Proxy)?;
        http = http.proxy(proxy);
    }
    http = tls.apply(http)?;
    if transport == Transport::Plain && !tls.has_ca() {
        // A machine without certificates of any CA can send without TLS all the same.
        http = http.tls_certs_only(std::iter::empty());
    }
    http.build().map_err(|error| HttpClientError::Http(root_cause(&error)))
}

/// Reads as much of an answer as is of use.
async fn read(mut response: Response, secrets: &Secrets) -> Attempt {
    let status = response.status();
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = text(RETRY_AFTER).map(|text| {
        let end = text.floor_char_boundary(RETRY_AFTER_BYTES_MAX);
        text[..end].to_owned()
    });
    let redirect = status.is_redirection().then(|| redirect(text(LOCATION), response.url()));
    let mut attempt = Attempt {
        status: Some(status.as_u16()),
        retry_after,
        peer: response.remote_addr(),
        version: Some(version(response.version())),
        failure: redirect,
        ..Attempt::EMPTY
    };
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => break,
            Ok(Some(chunk)) => {
                let room = ANSWER_BYTES_MAX - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    attempt.is_truncated = true;
                    break;
                }
            }
            Err(error) => {
                attempt.failure.get_or_insert_with(|| failure(&error));
                break;
            }
        }
    }
    attempt.excerpt = secrets.excerpt(&body);
    attempt
}

/// A redirect, with as much of where it leads as may be shown.
fn redirect(location: Option<&str>, from: &Url) -> Failure {
    let to = location.and_then(|location| from.join(location).ok());
    let detail = match to {
        Some(url) if url.has_host() => format!("to {}", origin(&url)),
        _ => "it does not say where to".to_owned(),
    };
    Failure::new(FailureClass::Redirect, detail)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Scheme, host and port.
fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}", url.scheme())
}
