//! The messages between an old process and a new one.

/// What goes over their connection beside the sockets: it tells each side that the other one speaks the same version.
pub(super) const OFFER: &[u8] = b"trtc-callbacks 1: the sockets\n";
pub(super) const READY: &[u8] = b"ready\n";
pub(super) const DONE: &[u8] = b"done\n";
