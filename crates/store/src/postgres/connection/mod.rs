//! Connections to PostgreSQL: its address, session settings, what stands in front, privileges of the role, and the choice
//! of a connection for a batch.

pub(crate) mod address;
pub(crate) mod failover;
pub(crate) mod front;
pub(crate) mod latest;
pub(crate) mod pool;
pub(crate) mod privileges;
pub(crate) mod session;
pub(crate) mod url_options;
