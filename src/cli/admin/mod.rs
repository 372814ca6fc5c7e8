//! Commands that change what is stored: migrations, rebuild, erasure, backup.

pub(crate) mod backup;
pub(crate) mod erase_user;
pub(crate) mod migrate;
pub(crate) mod rebuild;
