use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cli::stream::replay::ReplayStream;
use crate::cli::stream::status::StreamStatus;
use crate::clock::Clock;

/// Show the stream of scale-out mode, or store its events again
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
