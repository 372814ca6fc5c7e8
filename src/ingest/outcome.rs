//! What became of an event.

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored now.
    New,
    /// It already was.
    Duplicate,
    /// The store refused it as a row, and keeps it apart, whole.
    Parked,
    /// The store does not take it now. It is kept on this machine's disk, and will be stored.
    Spooled,
    /// It could not be kept in time. It stands, whole, in the error log.
    NotStored,
}
