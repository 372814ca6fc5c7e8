//! The callback endpoint: from a request on the public listener to an event in the sink.

mod answer;
mod body;
mod detach;
mod endpoint;
mod intake;
mod log;
mod observer;
mod receiver;
mod router;
mod signature_reuse;

pub use log::throttle::LogThrottle;
pub use observer::Observer;
pub use receiver::Receiver;
pub use router::{callback_router, standalone_router};
