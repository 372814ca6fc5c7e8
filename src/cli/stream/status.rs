use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::cli::args::ConfigArgs;
use crate::cli::output::{self, say, seconds};
use crate::cli::stream::place::connect;
use crate::clock::Clock;
use crate::stream::layout::ACK_PENDING_MAX;
use crate::stream::state::{StreamState, look};
use protocol::UnixMillis;

/// Show the fill level of the stream and the progress of the writers
#[derive(Debug, Args)]
pub(crate) struct StreamStatus {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The stream, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    stream: String,
    replicas: usize,
    messages: u64,
    bytes: u64,
    bytes_max: u64,
    /// Of 1.
    fill: f64,
    first_sequence: u64,
    last_sequence: u64,
    oldest: Option<UnixMillis>,
    /// Events that no writer was given yet; absent until one has begun.
    pending: Option<u64>,
    /// Events that writers hold.
    ack_pending: Option<u64>,
    /// All up to this one is stored.
    stored_until: Option<u64>,
}

impl Shown {
    fn of(stream: &str, state: &StreamState) -> Self {
        let writers = state.writers.as_ref();
        Self {
            stream: stream.to_owned(),
            replicas: state.replicas,
            messages: state.messages,
            bytes: state.bytes,
            bytes_max: state.bytes_max,
            fill: (state.fill() * 1000.0).round() / 1000.0,
            first_sequence: state.first,
            last_sequence: state.last,
            oldest: state.oldest,
            pending: writers.map(|writers| writers.pending),
            ack_pending: writers.map(|writers| writers.ack_pending),
            stored_until: writers.map(|writers| writers.floor),
        }
    }

    fn advice(&self) -> Option<&'static str> {
        if self.pending.is_none() {
            return Some(
                "no writer has read this stream yet: start one (`stream.role` `writer` or `all`)",
            );
        }
        if self.ack_pending.is_some_and(|held| held >= ACK_PENDING_MAX.unsigned_abs()) {
            return Some("writers hold as many events as they may: see why the store takes none");
        }
        (self.fill > 0.7)
            .then_some("the stream is nearly full; once it is, events go to the spools")
    }

    fn text(&self, now: UnixMillis) -> String {
        let writers = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        let oldest = self.oldest.map_or("-".to_owned(), |oldest| {
            let age = i64::try_from(now.since(oldest).as_secs()).unwrap_or(i64::MAX);
            format!("{oldest} ({} ago)", seconds(age))
        });
        let limit = match self.bytes_max {
            0 => "no limit".to_owned(),
            most => format!("{:.1} % of {} MiB", self.fill * 100.0, most >> 20),
        };
        format!(
            "stream         {} ({} replicas)\nevents         {}\nsize           {} bytes, {limit}\noldest         {oldest}\n\
             not delivered  {}\nwriters hold   {}\nstored until   {} of {}\n",
            self.stream,
            self.replicas,
            self.messages,
            self.bytes,
            writers(self.pending),
            writers(self.ack_pending),
            writers(self.stored_until),
            self.last_sequence,
        )
    }
}

impl StreamStatus {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(None, None)?;
        let (stream, connection) = connect(&settings).await?;
        let shown = Shown::of(&stream.name, &look(&connection, stream).await?);
        if self.json {
            return output::print_json(&(serde_json::to_string(&shown)? + "\n"));
        }
        output::print(&shown.text(clock.now()))?;
        if let Some(advice) = shown.advice() {
            say(advice);
        }
        Ok(())
    }
}
