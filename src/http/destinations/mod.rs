//! Destinations of forwarding, as the API and the pages show them.

pub(crate) mod status;
pub(crate) mod way;
