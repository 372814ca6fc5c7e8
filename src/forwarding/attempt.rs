//! One try to send one event: reads it where it is not at hand, makes its envelope, sends it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;
use tracing::error;
use uuid::Uuid;

use crate::forwarding::database::{Database, ReadEvent};
use forward::answer::{AttemptResult, DestinationMeaning, EventMeaning, Meaning};
use forward::envelope::{ClientIp, envelope};
use forward::event_columns::EventColumns;
use forward::sender::{Outgoing, Sender, Sent};
use forward::window::{Outcome, Send};
use protocol::UnixMillis;

/// How long to wait before an event is read again that could not be.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// The result of an attempt.
pub(super) struct Tried {
    /// The event.
    pub(super) id: Uuid,
    /// For the window.
    pub(super) outcome: Outcome,
    /// When the event was received, where it was taken.
    pub(super) delivered: Option<UnixMillis>,
    /// What is counted, and how long it took; absent where nothing was sent.
    pub(super) counted: Option<(AttemptResult, Duration)>,
    /// What went wrong, without what was answered.
    pub(super) problem: Option<String>,
}

/// Sends an event once. It never fails: a failure is part of the result.
pub(super) async fn attempt(
    send: Send,
    event: Option<Arc<EventColumns>>,
    client_ip: ClientIp,
    database: Arc<Database>,
    sender: Arc<dyn Sender>,
) -> Tried {
    let not_sent =
        |outcome| Tried { id: send.id, outcome, delivered: None, counted: None, problem: None };
    let event = match event {
        Some(event) => event,
        None => match read(&database, send).await {
            ReadEvent::Found(event) => event,
            ReadEvent::Gone => return not_sent(Outcome::Gone),
            ReadEvent::Unreadable => {
                return not_sent(Outcome::Unsendable("its row cannot be read".to_owned()));
            }
        },
    };
    // A bug of ours with one event must not keep the others.
    let Ok(body) = catch_unwind(AssertUnwindSafe(|| envelope(&event, client_ip))) else {
        error!(event = %send.id, "the envelope of an event cannot be made: a bug in this program");
        return not_sent(Outcome::Unsendable("its envelope cannot be made: a bug".to_owned()));
    };
    let received_at = event.received_at;
    let outgoing = Outgoing { event, body, attempt: send.attempt, replay: send.replay };
    let Ok(done) = AssertUnwindSafe(sender.send(outgoing)).catch_unwind().await else {
        let meaning = Meaning {
            event: EventMeaning::Waits { suspect: true },
            destination: DestinationMeaning::Counts { of_several: false },
            result: AttemptResult::Connect,
            note: None,
        };
        let error = Some("sending it panicked: a bug".to_owned());
        return not_sent(Outcome::Sent { meaning, status: None, error });
    };
    tried(send.id, done, received_at)
}

fn tried(id: Uuid, sent: Sent, received_at: UnixMillis) -> Tried {
    let Sent { meaning, status, problem, excerpt, took } = sent;
    let is_delivered = meaning.event == EventMeaning::Delivered;
    let error = problem.as_ref().map(|problem| match excerpt.as_str() {
        "" => problem.clone(),
        excerpt => format!("{problem}: {excerpt}"),
    });
    Tried {
        id,
        outcome: Outcome::Sent { meaning, status, error },
        delivered: is_delivered.then_some(received_at),
        counted: Some((meaning.result, took)),
        problem,
    }
}

/// Reads an event, however long the store is away: that costs no event an attempt.
async fn read(database: &Database, send: Send) -> ReadEvent {
    let mut has_failed = false;
    loop {
        match database.event(send.position, send.id).await {
            Ok(read) => {
                if has_failed {
                    database.event_recovered().await;
                }
                return read;
            }
            Err(found) => {
                has_failed = true;
                database.event_failed(send.id, found).await;
                sleep(READ_PAUSE).await;
            }
        }
    }
}
