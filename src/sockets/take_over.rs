//! The new process: requests the sockets of the running server, and reports when it is ready.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::sockets::error::SocketError;
use crate::sockets::handshake::{DONE, OFFER, READY};

/// Timeout of the answer, which is sent at once.
const ANSWER: Duration = Duration::from_secs(5);
/// Number of sockets handed over.
const SOCKETS: usize = 2;

/// The process that handed over its sockets.
#[derive(Debug)]
pub struct TakenOver(UnixStream);

/// Requests the sockets; `None` where no server runs.
pub(crate) async fn ask(path: &Path) -> Result<Option<(TakenOver, Vec<TcpListener>)>, SocketError> {
    let failed = |source| SocketError::TakeOver { path: path.display().to_string(), source };
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        // No server is running, or it crashed.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            info!(path = %path.display(), "no server runs here to take over from");
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let asked = timeout(ANSWER, stream.async_io(Interest::READABLE, || receive(&stream))).await;
    let sockets = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?;
    Ok(Some((TakenOver(stream), sockets)))
}

fn receive(stream: &UnixStream) -> io::Result<Vec<TcpListener>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut offer = [0; OFFER.len()];
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut offer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            for socket in given {
                // Not inherited by child processes.
                fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
                sockets.push(TcpListener::from(socket));
            }
        }
    }
    if received.bytes != OFFER.len() || offer != OFFER || sockets.len() != SOCKETS {
        let other = "the process that listens there is not a server of a version that hands over to this one";
        return Err(io::Error::other(other));
    }
    Ok(sockets)
}

impl TakenOver {
    /// Reports that this process is ready, so that the other one stops accepting; returns once that is confirmed.
    pub(crate) async fn ready(mut self) {
        let said = async {
            self.0.write_all(READY).await?;
            let mut answer = [0; DONE.len()];
            self.0.read_exact(&mut answer).await
        };
        match timeout(ANSWER, said).await {
            Ok(Ok(_)) => info!("took over from the server before this one, which ends now"),
            // It may have ended meanwhile. Until it does, both accept callbacks.
            Ok(Err(error)) => {
                warn!(%error, "the server before this one did not hear that it is to end");
            }
            Err(_) => warn!("the server before this one did not answer that it ends"),
        }
    }
}
