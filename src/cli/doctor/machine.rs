//! What the machine says of itself.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// What to do about a folder that cannot be written.
pub(crate) const FOLDER_HINT: &str = "run this as the server's user in its working directory; give that user the folder, \
                                      or name another";

/// A file system.
pub(crate) struct Disk {
    /// What this user may still write, in bytes.
    pub(crate) free: u64,
    /// All of it, in bytes.
    pub(crate) total: u64,
    /// What kind it is, where it is known not to be of this machine.
    pub(crate) network: Option<&'static str>,
}

/// The file system that holds `file`, or the nearest folder above that there is.
///
/// A dead network share may never answer. So it is asked by a thread that nobody waits for at the end.
pub(crate) async fn disk(file: PathBuf) -> io::Result<Disk> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Nobody listens when it took too long.
        let _ = answer.send(ask(&file));
    });
    answered.await.unwrap_or_else(|_| Err(io::Error::other("it could not be asked")))
}

fn ask(file: &Path) -> io::Result<Disk> {
    let file = std::path::absolute(file)?;
    let there = file.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let found = rustix::fs::statvfs(there)?;
    Ok(Disk {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        total: found.f_blocks.saturating_mul(found.f_frsize),
        network: network(there),
    })
}

/// Whether this user may write `file`, or make it where it is missing, and others beside it, as SQLite does.
///
/// # Errors
/// What is in the way, and where.
pub(crate) fn may_write(file: &Path) -> io::Result<()> {
    let file = std::path::absolute(file)?;
    let there = file.ancestors().find(|path| path.symlink_metadata().is_ok());
    let there = there.unwrap_or(Path::new("/"));
    let at = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    let mut folder = there;
    if there == file {
        access(there, Access::READ_OK | Access::WRITE_OK)
            .map_err(|error| at(there, error.into()))?;
        folder = there.parent().unwrap_or(Path::new("/"));
    } else if !there.is_dir() {
        return Err(at(there, io::ErrorKind::NotADirectory.into()));
    }
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| at(folder, error.into()))
}

#[cfg(target_os = "linux")]
fn network(path: &Path) -> Option<&'static str> {
    // The numbers of statfs(2), of which 32 bits count.
    let found = rustix::fs::statfs(path).ok()?;
    match u64::try_from(found.f_type).ok()? & 0xffff_ffff {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("an SMB share"),
        0x0102_1997 => Some("a 9p share"),
        0x00c3_6400 => Some("Ceph"),
        0x6573_5546 => Some("FUSE, which may be a network's"),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn network(_path: &Path) -> Option<&'static str> {
    None
}

/// How many files and sockets a process of this user may have open; `None` without a limit. The hard limit counts,
/// since the server raises its own towards it.
pub(crate) fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
}
