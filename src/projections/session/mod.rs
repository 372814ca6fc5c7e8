//! Sessions of a room, pure: where each begins and ends, and what its events add up to.

pub(crate) mod admins;
pub mod boundaries;
pub(crate) mod bounds;
pub mod metadata;
pub mod moment;
pub mod presence;
pub mod statistics;
