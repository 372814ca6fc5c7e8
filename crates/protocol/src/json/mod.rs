//! Tolerant reading of JSON: scalars in every form the vendor sends, fields each by itself, and the text as it stands.

pub(crate) mod canonical;
pub mod escapes;
pub(crate) mod fieldwise;
pub mod forms;
pub(crate) mod lexer;
mod newtype_names;
pub(crate) mod raw;
pub mod room_id;
pub mod scalar;
pub(crate) mod typed;
