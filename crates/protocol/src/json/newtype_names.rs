//! The names by which the types of [`forms`](super::forms) ask a deserializer for what it alone can give.

/// The name by which a deserializer is asked for a [`Many`](super::forms::Many); one that does not know it gives the value as it came.
pub(crate) const MANY: &str = "$trtc_callbacks::Many";

/// The same of a [`Nested`](super::forms::Nested).
pub(crate) const NESTED: &str = "$trtc_callbacks::Nested";
