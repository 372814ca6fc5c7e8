//! The listening sockets: opened here, passed by a service manager, or handed over by the running server.
//!
//! New sockets at each start would refuse connections in between. A socket that outlives the process queues them in
//! the kernel for the next process that accepts from it.

mod activation;
mod error;
mod hand_over;
mod handshake;
mod open;
mod service_manager;
mod succession;
mod take_over;

pub use error::SocketError;
pub use open::Sockets;
pub use service_manager::ServiceManager;
pub use succession::Succession;
pub(crate) use succession::Successors;
pub use take_over::TakenOver;
