use anyhow::{Context, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::args::{AppArgs, ConfigArgs, StoreArgs};
use crate::clock::Clock;
use crate::server::{self, Listeners};
use crate::settings::Settings;
use crate::sockets::{ServiceManager, Sockets, Succession};
use crate::telemetry;
use protocol::diagnostic::Diagnostic;

/// Receive callbacks and store their events.
///
/// On SIGTERM or SIGINT it stores and answers the requests in flight, then exits. With --take-over it takes the listening
/// sockets over from a running server, which exits once this one accepts callbacks; no callback is lost in between.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    apps: AppArgs,
    /// Address to listen on for callbacks [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address to listen on for health, metrics, API and dashboard [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<String>,
    /// Take over the listening sockets of the server running here, if there is one
    ///
    /// It is found through `server.hand_over`. It accepts callbacks until this one does, finishes its requests and exits.
    #[arg(long)]
    take_over: bool,
}

impl Serve {
    pub(crate) async fn run(self, clock: Clock) -> Result<()> {
        let mut sources = self.config.sources(Some(&self.store), Some(&self.apps))?;
        for (key, value) in [("server.listen", self.listen), ("ops.listen", self.ops_listen)] {
            sources.flags.extend(value.map(|value| (key, value)));
        }
        let settings = Settings::load(&sources)?;
        // Before anything is opened: a server without an app would take ports and make files for nothing.
        settings.apps_to_serve()?;
        telemetry::init_logs(settings.log.format, &settings.log.filter)
            .map_err(|error| anyhow::anyhow!("key `log.filter`: {error}"))?;
        let foreign = sources.foreign_variables().join(", ");
        if !foreign.is_empty() {
            tracing::info!(
                variables = foreign,
                "ignored, as Kubernetes sets them for a service whose name begins with `trtc`"
            );
        }
        let hand_over = settings.server.hand_over.clone();
        let hand_over = Some(hand_over).filter(|path| !path.as_os_str().is_empty());
        if self.take_over && hand_over.is_none() {
            anyhow::bail!(Diagnostic::new(
                "`--take-over` needs the key `server.hand_over`",
                "set it to the path that the running server has"
            ));
        }
        let from = hand_over.as_deref().filter(|_| self.take_over);
        let Sockets { public, ops, from } =
            Sockets::open(settings.server.listen, settings.ops.listen, from).await?;
        let stop = stop_on_signal()?;
        let succession = Succession { from, hand_over };
        let listeners = Listeners { public, ops };
        let manager = ServiceManager::from_environment();
        server::run_in_turn(settings, listeners, succession, manager, clock, stop).await?;
        Ok(())
    }
}

/// A token that SIGTERM and SIGINT cancel.
fn stop_on_signal() -> Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it ends with the process, by design")]
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
        }
        cancelled.cancel();
    });
    Ok(stop)
}
