//! The outcome of one event.

/// The outcome of one submitted event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored now.
    New,
    /// It was stored before.
    Duplicate,
    /// The store refused it as a row and keeps it whole as a dead letter.
    DeadLetter,
    /// The store does not take it now: the spool has it and will replay it.
    Spooled,
    /// Neither store nor spool took it in time. The error log has it whole.
    NotStored,
}
