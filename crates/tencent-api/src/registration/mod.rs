//! Callback registration: the API's calls, what may be asked for, and how what is wanted is applied.

pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod product;
