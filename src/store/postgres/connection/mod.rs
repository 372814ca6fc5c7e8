//! Connections to PostgreSQL: how a session begins, what its role may do, and which connection a batch goes over.

pub(crate) mod latest;
pub(crate) mod privileges;
pub(crate) mod session;
