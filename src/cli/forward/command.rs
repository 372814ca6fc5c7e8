use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::cli::forward::control::{Pause, Remove, Resume, Retry};
use crate::cli::forward::replay::Replay;
use crate::cli::forward::sample::Test;
use crate::cli::forward::status::Status;
use crate::cli::output;
use crate::clock::Clock;
use forward::destination::secret::SigningSecret;

/// Show and control destinations of forwarding
///
/// Works on the store, with or without a running server. A server that forwards
/// notices changes within a second.
///
/// Examples:
///   trtc-callbacks forward status
///   trtc-callbacks forward resume billing
///   trtc-callbacks forward retry billing --dead
///   trtc-callbacks forward replay billing --since 2h
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Forward {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(Status),
    Test(Test),
    Pause(Pause),
    Resume(Resume),
    Retry(Retry),
    Replay(Replay),
    Remove(Remove),
    /// Print a new signing secret
    Secret,
}

impl Forward {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        match self.action {
            Action::Status(status) => status.run().await,
            Action::Test(test) => test.run(clock).await,
            Action::Pause(pause) => pause.run().await,
            Action::Resume(resume) => resume.run().await,
            Action::Retry(retry) => retry.run().await,
            Action::Replay(replay) => replay.run().await,
            Action::Remove(remove) => remove.run().await,
            Action::Secret => secret(),
        }
    }
}

fn secret() -> Result<()> {
    output::print(&format!("{}\n", new_secret()?.encode().expose_secret()))
}

/// A new secret. Both halves are random but for six bits, from the system's source.
pub(crate) fn new_secret() -> Result<SigningSecret> {
    let key = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    SigningSecret::of_bytes(key).map_err(|error| anyhow!("make a secret: {error}"))
}
