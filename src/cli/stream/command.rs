use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::cli::stream::replay::ReplayStream;
use crate::cli::stream::status::StreamStatus;
use crate::clock::Clock;
use crate::settings::{Settings, StreamSettings};
use crate::stream::connection::Connection;
use protocol::diagnostic::Diagnostic;

/// Look at the stream of scale-out mode, and store its events again
///
/// Examples:
///   trtc-callbacks stream status
///   trtc-callbacks stream replay --since 24h
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Stream {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(StreamStatus),
    Replay(ReplayStream),
}

impl Stream {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        match self.action {
            Action::Status(status) => status.run(clock).await,
            Action::Replay(replay) => replay.run(clock).await,
        }
    }
}

/// Connects to the stream that the settings name.
pub(crate) async fn connect(settings: &Settings) -> Result<(&StreamSettings, Connection)> {
    let Some(stream) = settings.stream() else {
        bail!(Diagnostic::new(
            "there is no stream: the key `stream.url` is not set",
            "run it with the configuration of a server in scale-out mode, or set TRTC_STREAM_URL"
        ));
    };
    let ack_wait = Duration::from_millis(settings.ingest.ack_deadline_ms);
    Ok((stream, Connection::open(stream, ack_wait, false).await?))
}
