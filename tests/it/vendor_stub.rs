//! The stand-in for the vendor's REST API, the one of `examples/vendor_stub`, within the tests.

#[path = "../../examples/vendor_stub/book.rs"]
mod book;
#[path = "../../examples/vendor_stub/gate.rs"]
mod gate;
#[path = "../../examples/vendor_stub/reply.rs"]
mod reply;
#[path = "../../examples/vendor_stub/seen.rs"]
mod seen;
#[path = "../../examples/vendor_stub/stub.rs"]
mod stub;
#[path = "../../examples/vendor_stub/ticket.rs"]
pub(crate) mod ticket;

pub(crate) use book::{Config, Fault};
pub(crate) use stub::{App, Options, Stub};
