//! The browser tests: the dashboard in a real Chromium.
//!
//! Apart from the integration tests, so that no browser takes the machine from those that measure time, and that one
//! can work on them without having one. `Page` is what a test uses.

#![expect(clippy::disallowed_methods, reason = "tests spawn tasks that end with them")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chromium;
mod dashboard;
mod forwarding;
mod harness;
mod page;
mod pictures;
mod played;
mod registration;
mod rtc_rooms;
mod seen;
#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::disallowed_methods,
    reason = "the integration tests use the rest"
)]
#[path = "../it/support.rs"]
mod support;
#[expect(dead_code, reason = "the integration tests use the rest")]
#[path = "../../examples/vendor_stub"]
mod vendor_stub {
    mod book;
    mod gate;
    mod reply;
    mod seen;
    mod stub;
    mod ticket;

    pub(crate) use book::Config;
    pub(crate) use stub::{App, Options, Stub};
}
