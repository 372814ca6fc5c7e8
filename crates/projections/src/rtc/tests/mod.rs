//! Tests of the computation as a whole.

mod cuts;
mod properties;
pub(crate) mod samples;
