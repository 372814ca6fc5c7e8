//! The messages of a hand-over.

/// Messages sent beside the sockets. They verify that both sides speak the same version.
pub(super) const OFFER: &[u8] = b"trtc-callbacks 1: the sockets\n";
pub(super) const READY: &[u8] = b"ready\n";
pub(super) const DONE: &[u8] = b"done\n";
