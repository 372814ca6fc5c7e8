//! Tests of the computation as a whole.

mod properties;
pub(crate) mod samples;
