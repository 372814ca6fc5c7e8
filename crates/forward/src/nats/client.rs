//! One destination's client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::answer::{Failure, Response};
use crate::http::Guard;
use crate::nats::attempt::{Attempt, PublishFailure, status};
use crate::nats::connection::{Connection, state_of};
use crate::nats::message::Message;
use crate::nats::settings::ClientSettings;

/// So old a connection has to be before another server is tried in its place.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// How often the files that a connection was made with are looked at.
const RELOAD_EVERY: Duration = Duration::from_mins(1);

/// Publishes to one destination. Clones share the connection.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    settings: ClientSettings,
    guard: Guard,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// When the last one could not be made, and why.
    failed: Option<(Instant, PublishFailure)>,
    /// When its files were looked at.
    looked_at: Option<Instant>,
}

impl Client {
    /// A client. It connects when it is needed first.
    #[must_use]
    pub fn new(settings: ClientSettings, guard: Guard) -> Self {
        Self(Arc::new(Inner { settings, guard, state: Mutex::default() }))
    }

    /// Publishes once, and waits for the ack within the destination's timeout. Dropping the future gives up.
    pub async fn publish(&self, message: Message) -> Attempt {
        let started = Instant::now();
        let deadline = started + self.0.settings.timeout;
        let result = match self.connection(started, deadline).await {
            Ok(connection) => {
                let published = timeout_at(deadline, connection.publish(message)).await;
                let result = published.unwrap_or_else(|_| Err(connection.timeout()));
                if result.as_ref().is_err_and(is_doubtful) {
                    self.doubt(&connection, started).await;
                }
                result
            }
            Err(failure) => Err(failure),
        };
        Attempt { result, duration: started.elapsed() }
    }

    /// The connection, by a moment.
    ///
    /// # Errors
    /// There is none, and why.
    pub(crate) async fn connection(
        &self,
        started: Instant,
        deadline: Instant,
    ) -> Result<Arc<Connection>, PublishFailure> {
        let late = |_| {
            let hint = "is a NATS server up there, and may this machine reach it?";
            PublishFailure::none(Failure::Connect, "no connection in time", hint)
        };
        timeout_at(deadline, self.connected(started)).await.map_err(late)?
    }

    /// For how long an answer is waited for.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.settings.timeout
    }

    async fn connected(&self, started: Instant) -> Result<Arc<Connection>, PublishFailure> {
        let mut state = self.0.state.lock().await;
        self.drop_outdated(&mut state).await;
        if let Some(connection) = state.connection.as_ref().filter(|one| !one.is_lost()) {
            return Ok(connection.clone());
        }
        // Who waited while it failed does not try the same again.
        if let Some((at, failure)) = &state.failed
            && *at >= started
        {
            return Err(failure.clone());
        }
        state.connection = None;
        match Connection::open(&self.0.settings, &self.0.guard).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.looked_at = Some(Instant::now());
                state.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(failure) => {
                state.failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Drops a connection whose files have changed since. Where they cannot be read, it stays.
    async fn drop_outdated(&self, state: &mut State) {
        let files = self.0.settings.files();
        let is_due = state.looked_at.is_none_or(|at| at.elapsed() >= RELOAD_EVERY);
        let Some(connection) = state.connection.as_ref().filter(|_| is_due && !files.is_empty())
        else {
            return;
        };
        state.looked_at = Some(Instant::now());
        if state_of(files).await.is_some_and(|now| now != connection.digest) {
            state.connection = None;
        }
    }

    /// A server that is there and has no ack may be cut off from its peers: the next try goes to any.
    async fn doubt(&self, connection: &Arc<Connection>, started: Instant) {
        if connection.has_acked_since(started) || connection.made_at.elapsed() < SETTLED_AFTER {
            return;
        }
        let mut state = self.0.state.lock().await;
        if state.connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            state.connection = None;
        }
    }
}

fn is_doubtful(failure: &PublishFailure) -> bool {
    failure.code.is_none()
        && (failure.response == status(503)
            || failure.response == Response::Failure(Failure::Timeout))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.settings).finish()
    }
}
