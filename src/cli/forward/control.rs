use anyhow::{Context, Result, bail};
use clap::Args;
use uuid::Uuid;

use crate::cli::forward::place::{Place, named, time};
use crate::cli::output::say;
use crate::cli::prompt;
use crate::store::RetryOf;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// Somebody else may remove a destination after it was looked up.
fn must_be_there(is_there: bool, name: &str) -> Result<()> {
    if !is_there {
        bail!(Diagnostic::new(
            format!("the destination `{name}` was removed meanwhile"),
            "`forward status` lists those that are left"
        ));
    }
    Ok(())
}

/// Stop sending to a destination; its backlog is kept
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Name of the destination
    name: String,
    #[command(flatten)]
    place: Place,
}

impl Pause {
    pub(crate) async fn run(self) -> Result<()> {
        let (_, mut connection) = self.place.open().await?;
        named(&mut connection, &self.name).await?;
        must_be_there(connection.pause(&self.name).await.context("pause it")?, &self.name)?;
        say(&format!(
            "paused: nothing is sent to {0} until `forward resume {0}`, and its backlog is kept",
            self.name
        ));
        Ok(())
    }
}

/// Resume a destination that was paused by hand or by an answer 410
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Name of the destination
    name: String,
    /// Skip its backlog
    #[arg(long)]
    from_now: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

impl Resume {
    pub(crate) async fn run(self) -> Result<()> {
        let (_, mut connection) = self.place.open().await?;
        let name = &self.name;
        named(&mut connection, name).await?;
        let waiting = connection.backlog(name).await.context("count what waits")?.events;
        if self.from_now {
            say(&format!("about {waiting} stored events will never be sent to {name}"));
            if !self.yes {
                prompt::confirm("give `--yes`")?;
            }
            let is_there = connection.skip_to_now(name).await.context("skip what waits")?;
            must_be_there(is_there, name)?;
        }
        must_be_there(connection.resume(name).await.context("resume it")?, name)?;
        let left = if self.from_now { 0 } else { waiting };
        say(&format!("resumed: {name} has about {left} stored events before it"));
        Ok(())
    }
}

/// Retry dead letters, with a new retry schedule
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// Name of the destination
    name: String,
    /// Only this event, a dead letter or one that waits for its next attempt
    #[arg(long, value_name = "ID", required_unless_present = "dead", conflicts_with = "dead")]
    event: Option<Uuid>,
    /// All dead letters of the destination
    #[arg(long)]
    dead: bool,
    /// Only events that became dead letters since then: a time, or an age (30m, 2h, 7d)
    #[arg(long, value_name = "TIME", requires = "dead", value_parser = time)]
    since: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl Retry {
    pub(crate) async fn run(self) -> Result<()> {
        let (_, mut connection) = self.place.open().await?;
        let name = &self.name;
        let now = named(&mut connection, name).await?.now;
        let which = match (self.event, &self.since) {
            (Some(event), _) => RetryOf::Event(event),
            (None, None) => RetryOf::Dead { since: None },
            (None, Some(text)) => RetryOf::Dead {
                since: Some(UnixMillis::parse(text, now).context("read `--since`")?),
            },
        };
        let events = connection.retry(name, which).await.context("change the schedule")?;
        if let (0, Some(event)) = (events, self.event) {
            bail!(Diagnostic::new(
                format!("event {event} neither waits for {name} nor is a dead letter of it"),
                format!(
                    "`forward status {name}` counts them; the table delivery_exceptions lists them"
                ),
            ));
        }
        say(&format!("{events} events of {name} are tried again now"));
        Ok(())
    }
}

/// Delete a destination with its backlog and dead letters
///
/// If a server still has it in its configuration, it creates it again, beginning with new events. So remove it from the
/// configuration first.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name of the destination
    name: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

impl Remove {
    pub(crate) async fn run(self) -> Result<()> {
        let (settings, mut connection) = self.place.open().await?;
        let name = &self.name;
        named(&mut connection, name).await?;
        let backlog = connection.backlog(name).await.context("count what waits")?;
        let is_configured = settings.forward.iter().any(|of| of.name == *name);
        let then = if is_configured { "; it is configured, so a server makes it anew" } else { "" };
        say(&format!(
            "{name} has about {} events before it, {} that wait and {} dead letters{then}",
            backlog.events, backlog.waiting, backlog.dead
        ));
        if !self.yes {
            prompt::confirm("give `--yes`")?;
        }
        must_be_there(connection.remove(name).await.context("remove it")?, name)?;
        say(&format!("removed {name}"));
        Ok(())
    }
}
