//! The connection to the servers of NATS.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, Server};
use secrecy::ExposeSecret;
use tokio::time::sleep;

use crate::settings::StreamSettings;
use protocol::diagnostic::{Diagnostic, Hint};

/// How long connecting to one server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause between two attempts to connect.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long an answer to a question about the stream may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How many events may be published and not acknowledged: more than the batches of all lanes hold.
const IN_FLIGHT_MAX: usize = 20_000;
/// How often a silent connection is tried. After two without an answer it is made anew.
const PING_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether the connection stands.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What one who does not answer is told.
const HINT: &str = "check `stream.url`, the user and the files of `[stream]`, and that the servers run with JetStream (`-js`)";

/// A connection to the stream's servers, which is made anew when it breaks.
#[derive(Clone)]
pub(crate) struct Connection {
    client: Client,
    /// For what is published, whose acknowledgement is waited for as long as a request may wait.
    pub(crate) publishing: Context,
    /// For all else.
    pub(crate) api: Context,
    failures: Arc<Failures>,
}

/// Why the library is not connected. It tries again and again, and says this nowhere else.
#[derive(Default)]
struct Failures(Mutex<FailuresNow>);

#[derive(Default)]
struct FailuresNow {
    /// The last error that the library or a server told.
    last: Option<String>,
    /// The last error of each server that failed, with its detail.
    servers: Vec<String>,
}

impl Failures {
    fn take(&self, event: Event) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Connected => *now = FailuresNow::default(),
            Event::ClientError(error) => now.last = Some(error.to_string()),
            Event::ServerError(error) => now.last = Some(error.to_string()),
            _ => {}
        }
    }

    fn see(&self, servers: &[Server]) {
        let of = |server: &Server| {
            let (error, at) = (server.last_error.as_ref()?, &server.addr);
            Some(format!("{}:{}: {error}", at.host(), at.port()))
        };
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.servers = servers.iter().filter_map(of).collect();
        // The order in which they are tried changes.
        now.servers.sort_unstable();
    }

    fn text(&self) -> Option<String> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.servers.is_empty() { now.last.clone() } else { Some(now.servers.join(", ")) }
    }
}

impl Connection {
    /// Connects, or begins to: one that is `patient` needs no server to be there yet. An acknowledgement may take `ack_wait`.
    pub(crate) async fn open(
        settings: &StreamSettings,
        ack_wait: Duration,
        patient: bool,
    ) -> Result<Self, Diagnostic> {
        let given = |path: &Path| !path.as_os_str().is_empty();
        let failures = Arc::new(Failures::default());
        let (events, tries) = (failures.clone(), failures.clone());
        let mut options = ConnectOptions::new()
            .name("trtc-callbacks")
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_EVERY)
            .reconnect_delay_callback(|attempts| {
                let exponent = u32::try_from(attempts.min(8)).unwrap_or(8);
                RECONNECT_PAUSE_MAX.min(Duration::from_millis(10) * 2_u32.pow(exponent))
            })
            .event_callback(move |event| {
                events.take(event);
                async {}
            })
            // Chooses no server: it is where the library shows their errors in full.
            .reconnect_to_server_callback(move |servers, _| {
                tries.see(&servers);
                async { None }
            });
        if let Some((user, password)) = settings.user().map_err(|error| error.diagnostic())? {
            options = options.user_and_password(user, password.expose_secret().to_owned());
        }
        if given(&settings.credentials_file) {
            let path = &settings.credentials_file;
            options = options.credentials_file(path).await.map_err(|error| {
                let problem =
                    format!("read `stream.credentials_file` ({}): {error}", path.display());
                Diagnostic::new(problem, "name the `.creds` file of a user")
            })?;
        }
        if given(&settings.tls_ca) {
            options = options.add_root_certificates(settings.tls_ca.clone());
        }
        if given(&settings.tls_certificate) {
            let (certificate, key) = (settings.tls_certificate.clone(), settings.tls_key.clone());
            options = options.add_client_certificate(certificate, key);
        }
        if patient {
            options = options.retry_on_initial_connect();
        }
        let servers = settings.servers().map_err(|error| error.diagnostic())?;
        let connected = async_nats::connect_with_options(servers, options).await;
        let client = connected.map_err(|error| {
            Diagnostic::new(format!("connect to {}: {error}", settings.shown()), HINT)
        })?;
        let publishing = ContextBuilder::new()
            .timeout(ack_wait)
            .max_ack_inflight(IN_FLIGHT_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        let api = ContextBuilder::new().timeout(REQUEST_TIMEOUT).build(client.clone());
        Ok(Self { client, publishing, api, failures })
    }

    /// Why nothing can be sent now; `None` where it can.
    pub(crate) fn trouble(&self) -> Option<Diagnostic> {
        let connected = self.client.connection_state() == State::Connected;
        (!connected).then(|| {
            let cause = self.failures.text().map_or_else(String::new, |cause| format!(": {cause}"));
            Diagnostic::new(format!("no server of NATS is connected{cause}"), HINT)
        })
    }

    /// Returns when the connection breaks.
    pub(crate) async fn broken(&self) -> Diagnostic {
        loop {
            if let Some(trouble) = self.trouble() {
                return trouble;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The version of the server, and the largest message that it takes.
    pub(crate) fn server(&self) -> (String, usize) {
        let info = self.client.server_info();
        (info.version, info.max_payload)
    }

    /// Waits until all that was sent has left.
    pub(crate) async fn flush(&self) {
        // What has not left is sent again by the one who waits for it.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, self.client.flush()).await;
    }
}
