//! The listening sockets: made here, passed by a service manager, or taken over from the server that runs here.
//!
//! With a new socket for each start, connections between an end and the next start are refused. A socket that outlives the
//! process queues them in the kernel, and the next process that holds it accepts them.

mod activation;
mod error;
mod hand_over;
mod handshake;
mod open;
mod succession;
mod take_over;

pub use error::SocketError;
pub use open::Sockets;
pub use succession::Succession;
pub(crate) use succession::Successors;
pub use take_over::TakenOver;
