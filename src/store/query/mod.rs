//! What a reader asks for: conditions, order, and the page of a list.

pub(crate) mod filters;
pub(crate) mod list;
