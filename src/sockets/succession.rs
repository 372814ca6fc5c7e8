//! The previous and the next server on the same sockets.

use std::io;
use std::net::TcpListener as StdListener;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::sockets::hand_over::{HandOver, again};
use crate::sockets::take_over::TakenOver;

/// The previous server, and where the next one requests the sockets.
#[derive(Debug, Default)]
pub struct Succession {
    /// The previous server: it is notified once this server is ready.
    pub from: Option<TakenOver>,
    /// The path for the next server; absent where take-over is off.
    pub hand_over: Option<PathBuf>,
}

/// Waits for servers that take over.
#[derive(Debug)]
pub(crate) struct Successors(Option<(PathBuf, io::Result<[StdListener; 2]>)>);

impl Successors {
    /// Offers these sockets at this path; to nobody where it is absent.
    pub(crate) fn of(public: &TcpListener, ops: &TcpListener, path: Option<PathBuf>) -> Self {
        let sockets = || Ok([again(public)?, again(ops)?]);
        Self(path.map(|path| (path, sockets())))
    }

    /// Returns once another server has taken over.
    pub(crate) async fn wait_for(self) {
        let Some((path, sockets)) = self.0 else { return std::future::pending().await };
        let offered = match sockets {
            Ok([public, ops]) => HandOver::offer(&path, public, ops).await,
            Err(error) => Err(error),
        };
        match offered {
            Ok(hand_over) => hand_over.taken().await,
            Err(error) => {
                let hint =
                    "set `server.hand_over` to a path that this server alone uses, or to \"\"";
                let path = path.display();
                warn!(%error, %path, hint, "no other process can take over from this server");
                std::future::pending::<()>().await;
            }
        }
        info!(
            "another process takes callbacks now; this one answers those that are connected, and ends"
        );
    }
}
