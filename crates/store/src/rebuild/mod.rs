//! The SQL of `rebuild`: read models are computed again from the events, compared and corrected.

pub(crate) mod compare;
pub(crate) mod counts;
pub(crate) mod tables;
