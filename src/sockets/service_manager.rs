//! What is said to the service manager that started this process (`sd_notify(3)` of systemd).
//!
//! The crate `sd-notify` does not take abstract names, and its call may block a thread of the runtime.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::timeout;
use tracing::warn;

/// How long a message may wait for a service manager that does not read.
const SAY_MAX: Duration = Duration::from_secs(5);

/// The service manager that started this process; the default is none, and what is said to it goes nowhere.
#[derive(Debug, Default)]
pub struct ServiceManager {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` where it ends a process that is silent for
    /// longer than that. What is unusable of it is logged and left out.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match address(&name) {
            Ok(address) => Self { address: Some(address), watchdog: watchdog() },
            Err(error) => {
                warn!(%error, "NOTIFY_SOCKET cannot be used, so the service manager is told nothing");
                Self::default()
            }
        }
    }

    /// How often it wants to hear of this process at least.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Says this, one `NAME=value` a line.
    ///
    /// # Errors
    /// When the service manager cannot be reached, or does not read.
    pub(crate) async fn say(&self, state: &str) -> io::Result<()> {
        let Some(address) = &self.address else { return Ok(()) };
        // A socket for each message, as systemd's own library has it: a service manager that starts anew is found again.
        let socket = StdDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(address)?;
        let socket = UnixDatagram::from_std(socket)?;
        let said = timeout(SAY_MAX, socket.send(state.as_bytes())).await;
        said.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(())
    }
}

/// A path, or behind an `@` a name without a file.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        _ => Err(io::Error::other("it is neither an absolute path nor `@` and a name")),
    }
}

/// Absent where it is meant for another process, as that of a script that started this one.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| {
        let value = env::var(name).ok()?;
        let number = value.parse::<u64>().ok().filter(|number| *number > 0);
        if number.is_none() {
            warn!(name, "it is not a number above 0, so the watchdog is not fed");
        }
        number
    };
    let micros = number("WATCHDOG_USEC")?;
    let is_ours = match env::var_os("WATCHDOG_PID") {
        Some(_) => number("WATCHDOG_PID")? == u64::from(std::process::id()),
        None => true,
    };
    is_ours.then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_named_by_path_or_abstract_name() {
        let named = |name: &str| address(OsStr::new(name));
        assert_eq!(named("/run/x").unwrap().as_pathname().unwrap().to_str(), Some("/run/x"));
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            assert_eq!(named("@x/y").unwrap().as_abstract_name(), Some(&b"x/y"[..]));
        }
        for wrong in ["run/x", "vsock:2:1", ""] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
