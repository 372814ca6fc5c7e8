//! The limit of file descriptors: each connection takes one.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors for files, the log, the runtime and other uses: ample.
const OTHERS: usize = 64;

/// Number of descriptors for this many connections, with `reserved` for the stores.
pub(crate) fn descriptors_needed(connections: usize, reserved: usize) -> usize {
    connections.saturating_add(reserved).saturating_add(OTHERS)
}

/// Number of connections that the descriptors of this process allow, at most `wanted`, with `reserved` kept for the
/// stores. Raises the soft limit as needed within the hard one, and warns when that does not suffice.
pub(crate) fn connections_allowed(wanted: usize, reserved: usize) -> usize {
    let limit = raise_to(descriptors_needed(wanted, reserved));
    let allowed = allowed(wanted, descriptors_needed(0, reserved), limit);
    if allowed < wanted {
        warn!(
            connections_max = wanted,
            connections = allowed,
            descriptors = limit,
            hint = "raise the limit of open files (`ulimit -n`, LimitNOFILE), or lower `server.connections_max`",
            "the system grants too few file descriptors, so fewer connections are served at once"
        );
    }
    allowed
}

/// With very few descriptors the stores get half.
fn allowed(wanted: usize, reserved: usize, limit: usize) -> usize {
    wanted.min(limit.saturating_sub(reserved).max(limit / 2)).max(1)
}

/// Raises the soft limit to `needed`, where it is lower. Not to the hard limit: some systems report "unlimited" there
/// without granting it. Returns the effective limit.
fn raise_to(needed: usize) -> usize {
    let narrow = |limit: Option<u64>| {
        limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    };
    let limits = getrlimit(Resource::Nofile);
    let (soft, hard) = (narrow(limits.current), narrow(limits.maximum));
    let raised = needed.min(hard);
    if soft >= raised {
        return soft;
    }
    let wide = Rlimit { current: u64::try_from(raised).ok(), maximum: limits.maximum };
    match setrlimit(Resource::Nofile, wide) {
        Ok(()) => raised,
        Err(error) => {
            warn!(%error, from = soft, to = raised, "raise the limit of open files");
            soft
        }
    }
}

/// Whether accepting failed for lack of descriptors, of this process or of the system.
pub(crate) fn are_out(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use crate::http::listener::fd_limit::*;

    #[test]
    fn file_descriptors_are_reserved_for_the_stores() {
        assert_eq!(allowed(10_000, 264, 1_000_000), 10_000);
        assert_eq!(allowed(10_000, 264, 4096), 3832);
        assert_eq!(allowed(10_000, 264, 256), 128);
        assert_eq!(allowed(10_000, 264, 1), 1);
        assert_eq!(allowed(8, 264, 256), 8);
    }

    #[test]
    fn descriptor_exhaustion_is_distinguished_from_other_errors() {
        assert!(are_out(&std::io::Error::from_raw_os_error(24)));
        assert!(are_out(&std::io::Error::from_raw_os_error(23)));
        assert!(!are_out(&std::io::Error::from(std::io::ErrorKind::ConnectionAborted)));
    }
}
