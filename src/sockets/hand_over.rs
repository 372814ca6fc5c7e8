//! The old process: hands its sockets to a new one on request, and stops accepting once that one is ready.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpListener as StdListener;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::geteuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::sockets::handshake::{DONE, OFFER, READY};

/// Timeout until the new process is ready: it may have to migrate the store.
const START_MAX: Duration = Duration::from_mins(10);
/// Timeout of sending a message.
const SAY_MAX: Duration = Duration::from_secs(5);
/// Pause after a failed accept.
const REST: Duration = Duration::from_millis(500);

/// Offers our sockets to a new process.
#[derive(Debug)]
pub(crate) struct HandOver {
    listener: UnixListener,
    path: PathBuf,
    sockets: [StdListener; 2],
}

impl HandOver {
    /// Listens at this path for a process that requests these sockets.
    ///
    /// # Errors
    /// When the path cannot be used, or another process listens there already.
    pub(crate) async fn offer(
        path: &Path,
        public: StdListener,
        ops: StdListener,
    ) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        match UnixStream::connect(path).await {
            Ok(_) => return Err(io::Error::other("another server listens there")),
            // A socket left by a process that crashed. For a file of another kind binding fails too, and it stays.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if std::fs::symlink_metadata(path)?.file_type().is_socket() {
                    std::fs::remove_file(path)?;
                }
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        // Its client takes over our sockets. A peer that connects before the mode is set is still checked for its
        // user.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned(), sockets: [public, ops] })
    }

    /// Returns once another process is ready in our place.
    pub(crate) async fn taken(self) {
        loop {
            let asked = match self.listener.accept().await {
                Ok((stream, _)) => self.give(stream).await,
                Err(error) => {
                    sleep(REST).await;
                    Err(error)
                }
            };
            match asked {
                Ok(mut stream) => {
                    // Before the confirmation, so that the new process finds the path free.
                    drop(self);
                    if let Ok(Err(error)) = timeout(SAY_MAX, stream.write_all(DONE)).await {
                        debug!(%error, "say that the sockets are handed over");
                    }
                    return;
                }
                Err(error) => warn!(%error, "a process that was to take over did not"),
            }
        }
    }

    /// Sends the sockets to the client, and waits until it is ready.
    async fn give(&self, mut stream: UnixStream) -> io::Result<UnixStream> {
        let (asks, ours) = (stream.peer_cred()?.uid(), geteuid().as_raw());
        if asks != ours && asks != 0 {
            return Err(io::Error::other("it is another user's"));
        }
        let given = stream.async_io(Interest::WRITABLE, || self.send(&stream));
        timeout(SAY_MAX, given).await.map_err(|_| io::ErrorKind::TimedOut)??;
        info!("a new process has the listening sockets, and starts");
        let mut said = [0; READY.len()];
        timeout(START_MAX, stream.read_exact(&mut said))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        if said != READY {
            return Err(io::Error::other("it does not say that it is ready"));
        }
        Ok(stream)
    }

    fn send(&self, stream: &UnixStream) -> io::Result<()> {
        let sockets = self.sockets.each_ref().map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        let sent = sendmsg(stream, &[IoSlice::new(OFFER)], &mut control, SendFlags::empty())?;
        if sent == OFFER.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

impl Drop for HandOver {
    fn drop(&mut self) {
        // It is gone already, or the next start removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A duplicate of the socket, for the next process.
pub(crate) fn again(socket: &TcpListener) -> io::Result<StdListener> {
    socket.as_fd().try_clone_to_owned().map(StdListener::from)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::sockets::{SocketError, Sockets};

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    async fn offered(path: &Path, sockets: &Sockets) -> io::Result<HandOver> {
        HandOver::offer(path, again(&sockets.public)?, again(&sockets.ops)?).await
    }

    #[tokio::test]
    async fn the_next_process_accepts_pending_connections() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/hand-over.sock");
        // No server runs: it opens its own sockets.
        let old = Sockets::open(ANY, ANY, Some(&path)).await.unwrap();
        assert!(old.from.is_none());
        let address = |socket: &TcpListener| socket.local_addr().unwrap();
        let (public, ops) = (address(&old.public), address(&old.ops));
        let hand_over = offered(&path, &old).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(offered(&path, &old).await.is_err(), "two servers have one place");
        let mut taken = std::pin::pin!(hand_over.taken());

        // A new process that fails to start changes nothing.
        let gives_up = async {
            let new = Sockets::open(public, ops, Some(&path)).await.unwrap();
            assert!(new.from.is_some());
        };
        tokio::select! {
            () = &mut taken => panic!("nobody took over"),
            () = gives_up => {}
        }
        let waiting = TcpStream::connect(public).unwrap();
        let takes_over = async {
            let new = Sockets::open(public, ops, Some(&path)).await.unwrap();
            new.from.unwrap().ready().await;
            (new.public, new.ops)
        };
        let ((), new) = tokio::join!(&mut taken, takes_over);
        assert!(!path.exists());
        drop(old);
        assert_eq!((address(&new.0), address(&new.1)), (public, ops));
        assert_eq!(new.0.accept().await.unwrap().1, waiting.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_foreign_socket_is_neither_used_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "of somebody").unwrap();
        let sockets = Sockets::open(ANY, ANY, None).await.unwrap();
        assert!(offered(&path, &sockets).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "of somebody");
        let left = folder.path().join("left");
        drop(UnixListener::bind(&left).unwrap());
        assert!(offered(&left, &sockets).await.is_ok(), "what a dead process left is in the way");
        // A foreign program that listens there.
        let strange = UnixListener::bind(folder.path().join("strange")).unwrap();
        let tasks = tokio_util::task::TaskTracker::new();
        let _says = AbortOnDropHandle::new(tasks.spawn(async move {
            let (mut stream, _) = strange.accept().await.unwrap();
            stream.write_all(&[b'x'; 30]).await.unwrap();
        }));
        let asked = Sockets::open(ANY, ANY, Some(&folder.path().join("strange"))).await;
        assert!(matches!(asked, Err(SocketError::TakeOver { .. })));
    }
}
