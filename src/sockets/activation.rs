//! Socket activation: sockets opened by the service manager (`LISTEN_FDS` of systemd).

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;

use crate::sockets::error::SocketError;

/// The name of the ops socket (`FileDescriptorName=`). All others are for callbacks.
const OPS: &str = "ops";

/// The passed sockets.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) public: Option<TcpListener>,
    pub(crate) ops: Option<TcpListener>,
}

impl Passed {
    pub(crate) fn is_empty(&self) -> bool {
        self.public.is_none() && self.ops.is_none()
    }
}

/// Empty where `LISTEN_PID` is of another process.
pub(crate) fn passed() -> Result<Passed, SocketError> {
    let wrong = |problem: String| SocketError::Passed(problem);
    let sockets = sd_listen_fds::get()
        .map_err(|_| wrong("LISTEN_PID or LISTEN_FDS is not a number".to_owned()))?;
    let mut passed = Passed::default();
    for (name, socket) in sockets {
        let name = name.unwrap_or_default();
        let place = if name == OPS { &mut passed.ops } else { &mut passed.public };
        if place.is_some() {
            let more = "more than one for callbacks; name the operators' `FileDescriptorName=ops`";
            return Err(wrong(more.to_owned()));
        }
        let listener =
            listener(socket.into_std()).map_err(|problem| wrong(format!("`{name}`: {problem}")))?;
        *place = Some(listener);
    }
    Ok(passed)
}

/// Checks that it is a listening TCP socket.
fn listener(socket: OwnedFd) -> Result<TcpListener, String> {
    // Not inherited by child processes.
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let kind = socket_type(&socket).map_err(|error| error.to_string())?;
    let listener = TcpListener::from(socket);
    match listener.local_addr() {
        Ok(_) if kind == SocketType::STREAM => Ok(listener),
        _ => Err("it is not a TCP socket".to_owned()),
    }
}
