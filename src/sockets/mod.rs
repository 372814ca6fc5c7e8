//! The listening sockets: made here, passed by a service manager, or taken over from the server that runs here.
//!
//! Whoever makes a new one for each start loses what comes between an end and the next start. A socket that outlives the
//! process keeps it: its queue is the system's, and whoever has the socket next accepts from it.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket};

mod activation;
mod hand_over;
mod succession;
mod take_over;

pub(crate) use succession::Heirs;
pub use succession::Succession;
pub use take_over::TakenOver;

/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`). Who comes when so many wait
/// tries again after a second, and the vendor waits two.
const WAITING_MAX: u32 = 4096;

/// What goes over the connection between an old process and a new one, beside the sockets: each side knows by it that the
/// other one means the same.
const OFFER: &[u8] = b"trtc-callbacks 1: the sockets\n";
const READY: &[u8] = b"ready\n";
const DONE: &[u8] = b"done\n";

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system does not let us.
    #[error("listen on {address} (key `{key}`): {problem}\nhint: {}", bind_hint(*address, problem))]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The setting that says so.
        key: &'static str,
        /// What it says.
        problem: io::Error,
    },
    /// What the service manager passed does not do.
    #[error("use the socket that the service manager passed: {0}")]
    Passed(String),
    /// The server that runs here gave none.
    #[error("take over from the server that runs here (`server.hand_over`: {path})")]
    TakeOver {
        /// The socket it is asked over.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
}

/// Where the server listens.
#[derive(Debug)]
pub struct Sockets {
    /// For the vendor.
    pub public: TcpListener,
    /// For the operators.
    pub ops: TcpListener,
    /// Whom they are taken over from, where they are: it is to be told once this server takes callbacks.
    pub from: Option<TakenOver>,
}

impl Sockets {
    /// Those that a service manager passed, however they are set here; else, where `take_over` says at which path a server
    /// may run, that server's, as far as they listen where these are to; else new ones.
    ///
    /// # Errors
    /// When one cannot be made, or one that is passed does not do.
    pub async fn open(
        public: SocketAddr,
        ops: SocketAddr,
        take_over: Option<&Path>,
    ) -> Result<Self, SocketError> {
        let mut passed = activation::passed()?;
        let from = match take_over {
            Some(path) if passed.is_empty() => take_over::ask(path).await?,
            _ => None,
        };
        let (from, taken) = from.map_or((None, Vec::new()), |(from, taken)| (Some(from), taken));
        let mut taken: Vec<_> = taken.into_iter().map(Some).collect();
        let mut taken_at = |address: SocketAddr| {
            let fits = |socket: &Option<StdListener>| {
                socket.as_ref().and_then(|socket| socket.local_addr().ok()) == Some(address)
            };
            taken.iter_mut().find(|socket| fits(socket)).and_then(Option::take)
        };
        let public = match passed.public.take().or_else(|| taken_at(public)) {
            Some(socket) => listening(socket),
            None => bind(public),
        }
        .map_err(|problem| SocketError::Bind {
            address: public,
            key: "server.listen",
            problem,
        })?;
        let ops = match passed.ops.take().or_else(|| taken_at(ops)) {
            Some(socket) => listening(socket),
            None => bind(ops),
        }
        .map_err(|problem| SocketError::Bind {
            address: ops,
            key: "ops.listen",
            problem,
        })?;
        Ok(Self { public, ops, from })
    }
}

/// What to do where nobody can listen.
fn bind_hint(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
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
    }
}

fn listening(socket: StdListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` has it: what is left of old connections must not keep a new start waiting.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
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
            let said = SocketError::Bind { address, key: "server.listen", problem: kind.into() }
                .to_string();
            assert!(said.starts_with("listen on 0.0.0.0:80 (key `server.listen`): "), "{said}");
            assert!(said.contains(hint), "{said}");
            let in_use = kind == io::ErrorKind::AddrInUse;
            assert_eq!(said.contains("another process"), in_use, "{said}");
        }
    }
}
