//! Connections to PostgreSQL: session settings, privileges of the role, and the choice of a connection for a batch.

pub(crate) mod latest;
pub(crate) mod privileges;
pub(crate) mod session;
