//! The last resort for an event that could not be stored: a line of JSON on stderr, whole, which `replay` reads.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::telemetry::{Metrics, stderr};
use protocol::{Delivery, Event};

/// How long an answer waits for its line to be written. The vendor must not wait for a full pipe.
const WRITE_WAIT: Duration = Duration::from_millis(50);
/// How long a stop waits for the last lines.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Bypasses the log, whose level and format could drop or change a line. Uses the thread that writes stderr, since a
/// write blocks on an unread pipe.
pub(crate) struct LastResort {
    /// One token for each pending line.
    lines: TaskTracker,
    metrics: Arc<Metrics>,
}

impl LastResort {
    pub(crate) fn start(metrics: &Arc<Metrics>) -> Self {
        Self { lines: TaskTracker::new(), metrics: metrics.clone() }
    }

    /// Queues the event's line, and waits briefly until it is written.
    pub(crate) async fn write(&self, event: &Event, reason: &str) {
        // On a timeout the line is still written and counted later. An error means that the queue was full.
        let _ = timeout(WRITE_WAIT, self.hand_over(event, reason)).await;
    }

    /// Queues the event's line. The receiver resolves once it is written or lost.
    pub(crate) fn hand_over(&self, event: &Event, reason: &str) -> oneshot::Receiver<()> {
        let (over, done) = oneshot::channel();
        let (metrics, on_its_way) = (self.metrics.clone(), self.lines.token());
        stderr().event(line(event, reason).into_bytes(), move |written| {
            // Not logged, since log lines use the same queue.
            let counter =
                if written { &metrics.last_resort_written } else { &metrics.last_resort_lost };
            counter.increment(1);
            // The receiver may be gone.
            let _ = over.send(());
            drop(on_its_way);
        });
        done
    }

    /// Waits, bounded, until pending lines are written.
    pub(crate) async fn close(&self) {
        self.lines.close();
        if timeout(CLOSE_WAIT, self.lines.wait()).await.is_err() {
            error!("stderr did not take the last lines in time");
        }
    }
}

fn line(event: &Event, reason: &str) -> String {
    #[derive(Serialize)]
    struct LastResortLine<'a> {
        /// The reason.
        not_stored: &'a str,
        id: String,
        received_at: String,
        #[serde(flatten)]
        delivery: Delivery,
    }
    let line = LastResortLine {
        not_stored: reason,
        id: event.id.to_string(),
        received_at: event.received_at.to_string(),
        delivery: Delivery::of_event(event),
    };
    // Strings and JSON texts always serialize.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}
