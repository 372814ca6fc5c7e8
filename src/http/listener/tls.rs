//! HTTPS on the public listener, with a certificate that can be replaced at run time.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::server::TlsStream;
use tracing::{debug, error, info, warn};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::clock::Clock;
use crate::http::listener::slot::{Command, ConnectionSlot};
use crate::telemetry::{Closed, Metrics, OnChange};
use protocol::UnixMillis;
use protocol::diagnostic::{Diagnostic, Hint};

/// Interval of checking the files for a change.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Interval of warnings about an expiring or expired certificate.
const WARN_EVERY: Duration = Duration::from_hours(24);
/// How long before expiry the warnings begin.
const ENDS_SOON: Duration = Duration::from_hours(14 * 24);
/// Maximum size of a PEM file, in bytes. A chain has a few thousand.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// An unusable certificate or key: cause and hint, without contents of the files.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.problem)]
pub struct TlsError(Diagnostic);

impl TlsError {
    fn new(problem: String, hint: &'static str) -> Self {
        Self(Diagnostic::new(problem, hint))
    }
}

impl Hint for TlsError {
    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

/// TLS 1.2 and 1.3 with one certificate from two PEM files. Clones share it.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Tls {
    /// Loads the certificate chain and its key. An expired certificate is used with a warning.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or the key does not match.
    pub fn load(
        certificate: &Path,
        key: &Path,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        // Explicit, since a process may have another default provider.
        let provider = Arc::new(ring::default_provider());
        let pair = files.read()?.parse(&files, &provider)?;
        show(&pair, &clock, &metrics);
        let current = Arc::new(Current(RwLock::new(Arc::new(pair))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| TlsError::new(format!("set up TLS: {error}"), "report this as a bug"))?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files: Arc::new(files), current, config: Arc::new(config), clock, metrics })
    }

    /// Performs the TLS handshake with the client of this slot.
    ///
    /// # Errors
    /// The reason of closing the connection, on a timeout or eviction; `None` where the client closed it or the
    /// server stops.
    pub(crate) async fn accept<S>(
        &self,
        stream: S,
        slot: &ConnectionSlot,
        within: Duration,
    ) -> Result<TlsStream<S>, Option<Closed>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(self.config.clone()).accept(stream);
        let handshake = tokio::time::timeout(within, handshake);
        let (reason, closed) = tokio::select! {
            biased;
            agreed = handshake => match agreed {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => (error.to_string(), None),
                Err(_) => ("it did not come in time".to_owned(), Some(Closed::Idle)),
            },
            // There is no request yet that could be finished.
            command = slot.called() => return Err((command == Command::Evict).then_some(Closed::Evicted)),
        };
        self.metrics.tls_handshake_errors.increment(1);
        debug!(reason, "no TLS agreed on");
        Err(closed)
    }

    /// Reloads the certificate when the files change. While they are unusable, the previous one stays in use. Warns
    /// daily before expiry. Never returns.
    pub(crate) async fn keep_up(&self) {
        let mut failure = OnChange::default();
        let mut shown = self.clock.now();
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let now = self.clock.now();
            if is_due(shown, now) {
                show(&self.current.get(), &self.clock, &self.metrics);
                shown = now;
            }
            match self.look().await {
                Ok(None) => {
                    failure.clear();
                }
                Ok(Some(pair)) => {
                    failure.clear();
                    info!(ends = %pair.ends, "a new certificate is in use");
                    show(&pair, &self.clock, &self.metrics);
                    shown = now;
                    self.current.set(pair);
                    self.metrics.tls_reloads_done.increment(1);
                }
                // The same problem is logged once.
                Err(TlsError(found)) if !failure.is_new(&found) => {}
                Err(TlsError(Diagnostic { problem: reason, hint })) => {
                    error!(
                        reason,
                        hint, "the new certificate cannot be used; the one before stays in use"
                    );
                    self.metrics.tls_reloads_failed.increment(1);
                }
            }
        }
    }

    /// The pair in the files, where it differs from the current one.
    async fn look(&self) -> Result<Option<Pair>, TlsError> {
        let (files, current) = (self.files.clone(), self.current.get().digest);
        let provider = self.config.crypto_provider().clone();
        let read = move || {
            let texts = files.read()?;
            if texts.digest() == current {
                return Ok(None);
            }
            texts.parse(&files, &provider).map(Some)
        };
        // Blocking I/O: the disk may be slow.
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            Err(TlsError::new(format!("read the certificate: {error}"), "report this as a bug"))
        })
    }
}

/// The expiry of a certificate, of the first one where its PEM file is a chain.
///
/// # Errors
/// When a file cannot be read or parsed, or the key does not match the certificate.
pub fn certificate_expiry(certificate: &Path, key: &Path) -> Result<UnixMillis, TlsError> {
    let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
    Ok(files.read()?.parse(&files, &ring::default_provider())?.ends)
}

/// Logs the remaining validity and sets its metric.
fn show(pair: &Pair, clock: &Clock, metrics: &Metrics) {
    metrics.certificate_ends(pair.ends.since(UnixMillis(0)));
    let advice = "renew it: the vendor does not take an expired certificate";
    match Validity::judge(pair.ends, clock.now()) {
        Validity::Valid => {}
        Validity::ExpiresSoon => warn!(ends = %pair.ends, advice, "the certificate ends soon"),
        Validity::Expired => warn!(ended = %pair.ends, advice, "the certificate has ended"),
    }
}

/// The validity of a certificate.
#[derive(Debug, PartialEq, Eq)]
enum Validity {
    Valid,
    ExpiresSoon,
    Expired,
}

impl Validity {
    fn judge(ends: UnixMillis, now: UnixMillis) -> Self {
        match ends {
            ends if ends <= now => Self::Expired,
            ends if ends <= now.plus(ENDS_SOON) => Self::ExpiresSoon,
            _ => Self::Valid,
        }
    }
}

/// Whether it is to be logged again, also after the clock was set back.
fn is_due(shown: UnixMillis, now: UnixMillis) -> bool {
    now < shown || now.since(shown) >= WARN_EVERY
}

/// The paths of certificate and key.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn read(&self) -> Result<Texts, TlsError> {
        Ok(Texts { certificate: read(&self.certificate)?, key: read(&self.key)? })
    }
}

/// The contents of the files.
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Texts {
    fn digest(&self) -> [u8; 32] {
        let hash = |text: &[u8]| -> [u8; 32] { Sha256::digest(text).into() };
        hash(&[hash(&self.certificate), hash(&self.key)].concat())
    }

    fn parse(&self, files: &Files, provider: &CryptoProvider) -> Result<Pair, TlsError> {
        let chain = chain(&files.certificate, &self.certificate)?;
        let ends = ends(&files.certificate, &chain)?;
        let shown = files.key.display();
        // The parser's message may quote a line of the key.
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            let hint =
                "give a PEM file with a private key (PKCS#8, PKCS#1 or SEC1) that is not encrypted";
            TlsError::new(format!("there is no private key in `{shown}`"), hint)
        })?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let certificate = files.certificate.display();
            let problem =
                format!("use the key `{shown}` for the certificate `{certificate}`: {error}");
            TlsError::new(
                problem,
                "give the two files that were issued together, the server's own certificate first",
            )
        })?;
        Ok(Pair { certified: Arc::new(certified), digest: self.digest(), ends })
    }
}

/// A certificate with its key.
#[derive(Debug)]
struct Pair {
    certified: Arc<CertifiedKey>,
    /// A digest of both files, to detect changes.
    digest: [u8; 32],
    ends: UnixMillis,
}

/// The current pair. Connections keep the one of their handshake.
#[derive(Debug)]
struct Current(RwLock<Arc<Pair>>);

impl Current {
    /// A poisoned lock only means that another thread panicked: a pair is stored whole.
    fn get(&self) -> Arc<Pair> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, pair: Pair) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().certified.clone())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let open = || {
        // Reading something else than a file, for example a pipe, might never end.
        if !path.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut text = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("it has more than 1 MiB"));
        }
        Ok(text)
    };
    open().map_err(|error| {
        let problem = format!("read `{}`: {error}", path.display());
        TlsError::new(
            problem,
            "see that the PEM file is there and that the server's user may read it",
        )
    })
}

fn chain(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let hint =
        "give a PEM file with the server's own certificate first and the CA's chain after it";
    let shown = path.display();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        // The parser's message may quote a line, and this may be the key file by mistake.
        .map_err(|_| TlsError::new(format!("`{shown}` is no PEM file, or not all of it"), hint))?;
    if chain.is_empty() {
        return Err(TlsError::new(format!("there is no certificate in `{shown}`"), hint));
    }
    Ok(chain)
}

fn ends(path: &Path, chain: &[CertificateDer<'_>]) -> Result<UnixMillis, TlsError> {
    let first = chain.first().map_or(&[][..], |certificate| certificate);
    let certificate = Certificate::from_der(first).map_err(|error| {
        let problem = format!("read the certificate in `{}`: {error}", path.display());
        TlsError::new(problem, "have it issued again")
    })?;
    let ends = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    Ok(UnixMillis(0).plus(ends))
}

#[cfg(test)]
mod tests {
    use crate::http::listener::tls::*;

    #[test]
    fn expiry_is_warned_of_daily_from_two_weeks_before() {
        let hours = |hours: u64| UnixMillis(0).plus(Duration::from_hours(hours));
        for (now, good) in [
            (0, Validity::Valid),
            (999, Validity::Valid),
            (1000, Validity::ExpiresSoon),
            (1335, Validity::ExpiresSoon),
            (1336, Validity::Expired),
            (9999, Validity::Expired),
        ] {
            assert_eq!(Validity::judge(hours(1000 + 14 * 24), hours(now)), good, "{now}");
        }
        assert!(!is_due(hours(5), hours(28)));
        assert!(is_due(hours(5), hours(29)));
        assert!(is_due(hours(5), hours(4)), "the clock was set back");
    }
}
