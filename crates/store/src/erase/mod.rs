//! Erasure of an account from events and read models.

pub(crate) mod accounts;
pub(crate) mod projections;
