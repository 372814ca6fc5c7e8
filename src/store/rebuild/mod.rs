//! The SQL of `rebuild`: the read models made anew from the events, compared and mended.

pub(crate) mod compare;
pub(crate) mod counts;
pub(crate) mod tables;
