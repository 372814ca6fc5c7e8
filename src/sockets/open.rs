//! Opens the listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket};

use crate::sockets::error::SocketError;
use crate::sockets::take_over::TakenOver;
use crate::sockets::{activation, take_over};

/// Backlog of connections to accept; the system may allow fewer (`net.core.somaxconn`). Beyond it a client retries
/// after a second, and the vendor waits two.
const WAITING_MAX: u32 = 4096;

/// The listening sockets.
#[derive(Debug)]
pub struct Sockets {
    /// For the vendor.
    pub public: TcpListener,
    /// For operators.
    pub ops: TcpListener,
    /// The server that handed them over, if any: it must be notified once this server is ready.
    pub from: Option<TakenOver>,
}

impl Sockets {
    /// Uses the sockets of a service manager, regardless of the settings; else, where `take_over` has the path of a
    /// running server, that server's, as far as their addresses match; else new ones.
    ///
    /// # Errors
    /// When one cannot be opened, or a passed one is unusable.
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

fn listening(socket: StdListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As in `TcpListener::bind`: old connections in TIME_WAIT must not delay a restart.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
}
