//! Where an event goes that could not be stored: to stderr, whole, as one line of JSON that `replay` reads.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::error;

use crate::callback::{Delivery, Event};
use crate::telemetry::Metrics;

/// How many lines may wait for stderr. Each holds at most one body.
const LINES_MAX: usize = 256;
/// How long an answer waits for its line to be written. The vendor must not wait for a full pipe.
const WRITE_WAIT: Duration = Duration::from_millis(50);

/// A thread of its own writes the lines, since writing may block: on a pipe that nobody reads, or a full disk.
pub(super) struct LastResort {
    lines: Mutex<Option<SyncSender<Line>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

struct Line {
    text: String,
    written: oneshot::Sender<()>,
}

impl LastResort {
    pub(super) fn start(metrics: &Arc<Metrics>) -> Self {
        let (lines, waiting) = sync_channel(LINES_MAX);
        let counted = metrics.clone();
        let name = "last-resort".to_owned();
        let writer =
            std::thread::Builder::new().name(name).spawn(move || write(&waiting, &counted));
        if let Err(error) = &writer {
            error!(%error, "start the writer of the last resort; events that cannot be stored will be lost");
        }
        Self {
            lines: Mutex::new(writer.is_ok().then_some(lines)),
            writer: Mutex::new(writer.ok()),
            metrics: metrics.clone(),
        }
    }

    /// Hands the event over, and waits a moment for it to be written.
    pub(super) async fn write(&self, event: &Event, reason: &str) {
        // It may take longer, and is written and counted all the same; or its sender is gone with the thread.
        let _ = timeout(WRITE_WAIT, self.hand_over(event, reason)).await;
    }

    /// Hands the event over. What comes back tells when it is written.
    pub(super) fn hand_over(&self, event: &Event, reason: &str) -> oneshot::Receiver<()> {
        let (written, done) = oneshot::channel();
        let line = Line { text: line(event, reason), written };
        let lines = self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let handed = lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if !handed {
            // Not in the log: it goes to the same stderr, which takes nothing more, and would keep the caller waiting.
            self.metrics.last_resort_lost.increment(1);
        }
        done
    }

    /// Writes what waits, within reason, and ends the thread.
    pub(super) async fn close(&self) {
        self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join());
            if timeout(Duration::from_secs(5), ended).await.is_err() {
                error!("stderr did not take the last lines in time");
            }
        }
    }
}

fn write(waiting: &Receiver<Line>, metrics: &Metrics) {
    let mut cut_off = false;
    for line in waiting {
        // Behind a line that a full disk cut off, the next one begins a line of its own.
        let begin = if cut_off { "\n" } else { "" };
        // Not through the log: no level or format may keep this line from being written, and read again.
        let written =
            std::io::stderr().lock().write_all(format!("{begin}{}", line.text).as_bytes());
        cut_off = written.is_err();
        if cut_off {
            metrics.last_resort_lost.increment(1);
        } else {
            metrics.last_resort_written.increment(1);
        }
        // Whoever waited may have gone on.
        let _ = line.written.send(());
    }
}

fn line(event: &Event, reason: &str) -> String {
    #[derive(Serialize)]
    struct LastResortLine<'a> {
        /// Why.
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
