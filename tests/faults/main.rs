//! The fault tests: the real program and a real PostgreSQL, broken while a process of its own sends events.
//!
//! Apart from the integration tests because they need the machine for themselves. They run one after the other, in a
//! short form, or in full length with `FAULTS=full`, as `scripts/soak` does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(target_os = "linux")]
mod clock;
mod cluster;
mod crashes;
mod failover;
mod forwarding;
mod hostile;
mod hostile_rooms;
mod load;
#[cfg(feature = "nats")]
#[path = "../it/nats_cluster.rs"]
mod nats_cluster;
#[cfg(feature = "nats")]
mod nats_disk;
#[cfg(feature = "nats")]
mod nats_nodes;
#[cfg(feature = "nats")]
#[path = "../it/nats_server.rs"]
mod nats_server;
mod outages;
mod page;
#[path = "../it/ports.rs"]
mod ports;
mod proxy;
mod receiver;
mod restarts;
#[cfg(feature = "nats")]
mod scale_out;
mod server;
mod small_disk;
mod spool;
#[cfg(target_os = "linux")]
mod stalls;
#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::disallowed_methods,
    reason = "the integration tests use the rest"
)]
#[path = "../it/support.rs"]
mod support;
mod trial;
