//! Errors of opening the listening sockets, with hints.

use std::io;
use std::net::SocketAddr;

use protocol::diagnostic::Hint;

/// Why a listening socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Binding failed.
    #[error("listen on {address} (key `{key}`): {problem}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Its setting.
        key: &'static str,
        /// The system's error.
        problem: io::Error,
    },
    /// A socket of the service manager is unusable.
    #[error("use the socket that the service manager passed: {0}")]
    Passed(String),
    /// The running server did not hand over its sockets.
    #[error("take over from the server that runs here (`server.hand_over`: {path})")]
    TakeOver {
        /// The hand-over socket.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

impl Hint for SocketError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { address, problem, .. } => Some(bind_hint(*address, problem)),
            Self::Passed(_) | Self::TakeOver { .. } => None,
        }
    }
}

/// The hint of a bind error.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_errors_are_explained_with_hints() {
        let address = "0.0.0.0:80".parse().unwrap();
        for (kind, hint) in [
            (io::ErrorKind::PermissionDenied, "hint: this user may not listen on port 80"),
            (io::ErrorKind::AddrInUse, "hint: another process holds the port: `ss -ltnp"),
            (io::ErrorKind::AddrNotAvailable, "hint: this machine has no such address"),
        ] {
            let error = SocketError::Bind { address, key: "server.listen", problem: kind.into() };
            let said = error.diagnostic().to_string();
            assert!(said.starts_with("listen on 0.0.0.0:80 (key `server.listen`): "), "{said}");
            assert!(said.contains(hint), "{said}");
            let in_use = kind == io::ErrorKind::AddrInUse;
            assert_eq!(said.contains("another process"), in_use, "{said}");
        }
    }
}
