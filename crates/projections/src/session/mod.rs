//! Pure computation of a room's sessions: their boundaries and their figures.

pub(crate) mod admins;
pub mod boundaries;
pub(crate) mod bounds;
pub mod metadata;
pub mod moment;
pub mod presence;
pub mod statistics;
