//! One connection to one of a destination's servers.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr, StatusCode,
};
use rustls::crypto::ring;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use url::Url;

use crate::answer::Failure;
use crate::http::{BlockedAddress, Guard};
use crate::nats::attempt::{Ack, PublishFailure, read};
use crate::nats::inbox::Inbox;
use crate::nats::message::Message;
use crate::nats::settings::ClientSettings;
use protocol::diagnostic::Hint;

/// How often a server is asked whether it is there. Two questions without an answer end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The port of NATS.
const PORT: u16 = 4222;
/// The most bytes of a file of credentials or certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One connection. It is not mended: when it is lost another one is made, by the same rules as the first.
pub(crate) struct Connection {
    client: Client,
    inbox: Inbox,
    events: Arc<Events>,
    /// Of the files that it was made with.
    pub(crate) digest: [u8; 32],
    pub(crate) made_at: Instant,
    acked_at: Mutex<Option<Instant>>,
}

/// What the library tells of a connection beside what is asked of it.
struct Events {
    lost: watch::Sender<bool>,
    /// The last error that came outside of any answer, such as one of permissions.
    said: Mutex<Option<String>>,
}

impl Connection {
    /// Connects to one of the servers.
    pub(crate) async fn open(
        settings: &ClientSettings,
        guard: &Guard,
    ) -> Result<Self, PublishFailure> {
        // An error says that there is one already. Without any, the library panics where a program has several.
        let _ = ring::default_provider().install_default();
        let servers = reachable(settings, guard).await?;
        let events = Arc::new(Events { lost: watch::channel(false).0, said: Mutex::default() });
        let (files, credentials) = (settings.files(), settings.credentials_file.clone());
        let read = move || {
            let text = credentials.map(|file| contents(&file).map(|bytes| (file, bytes)));
            Ok((digest(&files)?, text.transpose()?))
        };
        let read = spawn_blocking(read).await.map_err(|error| unusable(error.to_string(), ""))?;
        let (digest, credentials) = read.map_err(|error: FileError| error.failure())?;
        let mut options = options(settings, servers.len(), &events);
        if let Some((file, text)) = credentials {
            let wrong = || {
                let problem = format!("`credentials_file` {} has no user in it", file.display());
                unusable(problem, "it is the `.creds` file that `nsc generate creds` writes")
            };
            let text = String::from_utf8(text).map_err(|_| wrong())?;
            options = options.credentials(&text).map_err(|_| wrong())?;
        }
        let client = options.connect(servers).await.map_err(|error| no_connection(&error))?;
        let prefix = client.new_inbox();
        let acks = client.subscribe(Inbox::wildcard(&prefix)).await;
        let acks = acks.map_err(|error| broken(&error.to_string()))?;
        let inbox = Inbox::new(prefix, acks);
        let (made_at, acked_at) = (Instant::now(), Mutex::default());
        Ok(Self { client, inbox, events, digest, made_at, acked_at })
    }

    /// The library's client, to ask `JetStream` something.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether it is lost.
    pub(crate) fn is_lost(&self) -> bool {
        *self.events.lost.borrow()
    }

    /// Whether an ack came since a moment.
    pub(crate) fn has_acked_since(&self, moment: Instant) -> bool {
        self.acked_at.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at >= moment)
    }

    /// Publishes once, and waits for the ack however long it takes. Dropping the future gives up.
    pub(crate) async fn publish(&self, message: Message) -> Result<Ack, PublishFailure> {
        let mut expected = self.inbox.expect();
        let mut lost = self.events.lost.subscribe();
        let (subject, body) = (message.subject.clone(), message.body.into());
        let sent = self.client.publish_with_reply_and_headers(
            message.subject,
            expected.subject.clone(),
            message.headers,
            body,
        );
        sent.await.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => {
                let problem = format!("the server takes {} bytes", self.client.max_payload());
                PublishFailure::none(Failure::TooLarge, problem, "raise its `max_payload`")
            }
            _ => broken(&error.to_string()),
        })?;
        let answer = tokio::select! {
            answer = expected.message() => answer,
            _ = lost.wait_for(|is_lost| *is_lost) => None,
        };
        let Some(answer) = answer else {
            return Err(broken("it ended before the ack"));
        };
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(PublishFailure::no_responders(&subject));
        }
        let ack = read(&answer.payload)?;
        *self.acked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(ack)
    }

    /// No ack came in time.
    pub(crate) fn timeout(&self) -> PublishFailure {
        // An error of permissions comes outside of any answer.
        let said = self.events.said.lock().unwrap_or_else(PoisonError::into_inner).take();
        let said = said.map_or_else(String::new, |said| format!("; the server said: {said}"));
        let hint = "has the stream `no_ack`, is a disk full, or may this user not publish?";
        PublishFailure::none(Failure::Timeout, format!("no ack in time{said}"), hint)
    }
}

impl Events {
    fn take(&self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => {
                self.lost.send_replace(true);
            }
            Event::ServerError(error) => {
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                *said = Some(error.to_string());
            }
            _ => {}
        }
    }
}

fn options(settings: &ClientSettings, servers: usize, events: &Arc<Events>) -> ConnectOptions {
    let events = events.clone();
    let mut options = ConnectOptions::new()
        .name(&settings.name)
        .connection_timeout(settings.connect_timeout)
        .ping_interval(PING_INTERVAL)
        // Invariant: no more than the messages under way wait in the client while a connection is lost.
        .client_capacity(settings.in_flight_max.max(1) as usize)
        // Invariant: a server leads nowhere past the guard.
        .ignore_discovered_servers()
        // Each once. Who comes back when is the breaker's to decide, as for other destinations.
        .max_reconnects(servers)
        .require_tls(settings.requires_tls())
        .event_callback(move |event| {
            events.take(event);
            async {}
        });
    if let Some(ca) = &settings.tls.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &settings.tls.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    if let Some((user, password)) = &settings.user {
        options = options.user_and_password(user.clone(), password.expose_secret().to_owned());
    }
    options
}

/// The servers that the guard lets through.
async fn reachable(
    settings: &ClientSettings,
    guard: &Guard,
) -> Result<Vec<ServerAddr>, PublishFailure> {
    let (mut servers, mut last) = (Vec::new(), None);
    for server in &settings.servers {
        match judge(server, settings.requires_tls(), guard).await {
            Ok(()) => servers.extend(ServerAddr::from_url(server.clone()).ok()),
            Err(failure) => last = Some(failure),
        }
    }
    match last {
        Some(failure) if servers.is_empty() => Err(failure),
        _ => Ok(servers),
    }
}

async fn judge(server: &Url, requires_tls: bool, guard: &Guard) -> Result<(), PublishFailure> {
    let host = server.host_str().unwrap_or_default();
    // The library resolves it again, so a name that changes its answer in between is not caught: what it leads to would have to
    // greet as a NATS server before anything is said to it.
    let bare = host.trim_matches(['[', ']']);
    let found = lookup_host((bare, server.port().unwrap_or(PORT))).await;
    let addresses: Vec<_> = match found {
        Ok(addresses) => addresses.map(|address| address.ip()).collect(),
        Err(error) => {
            let hint = "is the name right, and does this machine resolve it?";
            return Err(PublishFailure::none(Failure::Dns, format!("`{host}`: {error}"), hint));
        }
    };
    let is_plain = !requires_tls && server.scheme() != "tls";
    guard.check_resolved(host, &addresses, is_plain).map_err(|error: BlockedAddress| {
        let hint = error.hint().unwrap_or_default();
        PublishFailure::none(Failure::BlockedAddress, error.to_string(), &hint)
    })
}

fn broken(detail: &str) -> PublishFailure {
    let hint = "was the server stopped? it is tried again";
    PublishFailure::none(Failure::Reset, format!("connection broken: {detail}"), hint)
}

fn unusable(problem: String, hint: &str) -> PublishFailure {
    PublishFailure::none(Failure::Unusable, problem, hint)
}

fn no_connection(error: &ConnectError) -> PublishFailure {
    let said = error.to_string();
    let refuses = ["authoriz", "authentic"].iter().any(|word| said.to_lowercase().contains(word));
    let (failure, hint) = match error.kind() {
        _ if refuses => {
            (Failure::Unusable, "check `credentials_file`, or user and password in `url`")
        }
        ConnectErrorKind::Dns => {
            (Failure::Dns, "is the name right, and does this machine resolve it?")
        }
        ConnectErrorKind::Tls => (Failure::Tls, TLS_HINT),
        _ if is_tls(error) => (Failure::Tls, TLS_HINT),
        _ => (Failure::Connect, "is a NATS server up there, and may this machine reach it?"),
    };
    PublishFailure::none(failure, format!("no connection: {said}"), hint)
}

const TLS_HINT: &str = "see `tls_ca`, `tls_certificate` and `tls_key`; does the server use TLS?";

/// Whether TLS is what failed: the library says the same kind as for other errors of the connection.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let within = |error: &io::Error| error.get_ref().is_some_and(|inner| is_tls(inner));
    error.is::<rustls::Error>()
        || error.downcast_ref::<io::Error>().is_some_and(within)
        || error.source().is_some_and(is_tls)
}

/// A file that cannot be read.
struct FileError(PathBuf, io::Error);

impl FileError {
    fn failure(&self) -> PublishFailure {
        let problem = format!("read {}: {}", self.0.display(), self.1);
        unusable(problem, "does the file exist, and may this user read it?")
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |error| FileError(path.to_owned(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is larger than 1 MiB")));
    }
    Ok(bytes)
}

/// Tells one state of the files from another.
fn digest(files: &[PathBuf]) -> Result<[u8; 32], FileError> {
    let mut digest = Sha256::new();
    for file in files {
        let bytes = contents(file)?;
        digest.update(bytes.len().to_be_bytes());
        digest.update(bytes);
    }
    Ok(digest.finalize().into())
}

/// The state of the files of a destination now; `None` where one cannot be read.
pub(crate) async fn state_of(files: Vec<PathBuf>) -> Option<[u8; 32]> {
    spawn_blocking(move || digest(&files)).await.ok()?.ok()
}
