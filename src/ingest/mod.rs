//! The only way into storage: a bounded queue, a few batch writers that store what is queued, and the spool behind them, a
//! disk-backed overflow buffer.
//!
//! Natural group commit: a writer takes whatever is queued, stores it with one statement, commits, and answers every
//! waiter. It lingers a few milliseconds only under load: an idle server answers after one commit, a loaded one batches.
//!
//! An event that the store has not committed after some time is spooled too, concurrently with the commit, and
//! whichever is durable first answers. Spooled events are replayed into the store once it accepts events again.
//!
//! In scale-out mode the batches go to a stream instead, and writers store what is in it (`stream_writer`).

pub(crate) mod batch_writer;
pub(crate) mod breaker;
mod budget;
mod health;
mod last_resort;
mod pipeline;
mod spool;
#[cfg(feature = "nats")]
mod stream_target;
#[cfg(feature = "nats")]
pub(crate) mod stream_writer;
pub(crate) mod supervisor;
mod target;
mod writer_pool;

pub use health::Health;
pub use pipeline::Ingest;
