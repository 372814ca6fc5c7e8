use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{AppArgs, ConfigArgs, StoreArgs};
use crate::clock::Clock;
use crate::server::{self, Listeners};
use crate::settings::Settings;
use crate::telemetry;

/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`). Who comes when so many wait
/// tries again after a second, and the vendor waits two.
const WAITING_MAX: u32 = 4096;

/// Take callbacks and store their events.
///
/// SIGTERM or SIGINT stops it: callbacks on their way are taken, stored and answered, then it ends.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    apps: AppArgs,
    /// Where callbacks arrive [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where health and metrics are served [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<String>,
}

impl Serve {
    pub(super) async fn run(self, clock: Clock) -> Result<()> {
        let mut sources = self.config.sources(Some(&self.store), Some(&self.apps))?;
        for (key, value) in [("server.listen", self.listen), ("ops.listen", self.ops_listen)] {
            sources.flags.extend(value.map(|value| (key, value)));
        }
        let settings = Settings::load(&sources)?;
        // Before anything is opened: a server without an app would take ports and make files for nothing.
        settings.apps_to_serve()?;
        telemetry::init_logs(settings.log.format, &settings.log.filter)
            .map_err(|error| anyhow!("key `log.filter`: {error}"))?;
        let foreign = sources.foreign_variables().join(", ");
        if !foreign.is_empty() {
            tracing::info!(
                variables = foreign,
                "ignored, as Kubernetes sets them for a service whose name begins with `trtc`"
            );
        }
        let listeners = Listeners {
            public: bind("server.listen", settings.server.listen)?,
            ops: bind("ops.listen", settings.ops.listen)?,
        };
        let stop = stop_on_signal()?;
        server::run(settings, listeners, clock, stop).await?;
        Ok(())
    }
}

fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    listen(address).map_err(|error| unbound(key, address, &error))
}

/// Why nobody can listen there, and what to do.
fn unbound(key: &str, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let port = address.port();
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another process holds the port: `ss -ltnp 'sport = :{port}'` names it")
        }
        io::ErrorKind::PermissionDenied => format!(
            "this user may not listen on port {port}, as is usual below 1024: give a higher one, or the right to \
             (`AmbientCapabilities=CAP_NET_BIND_SERVICE` of systemd, `setcap cap_net_bind_service=+ep` on the program)"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address: give 0.0.0.0:{port} for each it has")
        }
        _ => "give another address".to_owned(),
    };
    anyhow!("listen on {address} (key `{key}`): {error}\nhint: {hint}")
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` has it: what is left of old connections must not keep a new start waiting.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nobody_can_listen_is_told_with_what_to_do() {
        let address = "0.0.0.0:80".parse().unwrap();
        for (kind, hint) in [
            (io::ErrorKind::PermissionDenied, "hint: this user may not listen on port 80"),
            (io::ErrorKind::AddrInUse, "hint: another process holds the port: `ss -ltnp"),
            (io::ErrorKind::AddrNotAvailable, "hint: this machine has no such address"),
        ] {
            let said = unbound("server.listen", address, &kind.into()).to_string();
            assert!(said.starts_with("listen on 0.0.0.0:80 (key `server.listen`): "), "{said}");
            assert!(said.contains(hint), "{said}");
            let in_use = kind == io::ErrorKind::AddrInUse;
            assert_eq!(said.contains("another process"), in_use, "{said}");
        }
    }
}
