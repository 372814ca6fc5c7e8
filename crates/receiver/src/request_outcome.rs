//! The outcome of one request.

use protocol::Rejection;

/// The outcome of one HTTP request that reached the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Its event is stored, and was not before.
    Stored,
    /// Its event was stored before.
    Duplicate,
    /// The store refused its event as a row and keeps it as a dead letter.
    DeadLetter,
    /// The store did not take its event in time, and the spool did.
    Spooled,
    /// Its event could not be kept in time.
    NotStored,
    /// There was no memory for its body, or it was slow and others needed the memory. Its event is nowhere.
    Shed,
    /// It was not for us, or not signed.
    Rejected(Rejection),
    /// It went to no callback path.
    NotFound,
    /// It was no POST.
    MethodNotAllowed,
    /// Its body was over the limit.
    BodyTooLarge,
    /// Its body did not come in time.
    BodyTooSlow,
    /// Its body broke off.
    BodyBroken,
    /// Its connection ended before the answer. An event that the sink already had is stored all the same.
    Abandoned,
}
