//! A destination as it is configured, checked whole before anything is sent.
//!
//! [`settings`] has the tables as they are written, [`checked`] what is made of them: nothing that follows has to ask again whether
//! a URL parses, a secret is one or a number lies within its bounds. Files are read by the caller, so that all of this is pure.

pub mod checked;
pub mod error;
pub mod headers;
pub mod secret;
pub mod settings;
pub mod target;

pub use checked::Destination;
pub use error::DestinationError;
pub use settings::DestinationSettings;

#[cfg(test)]
mod tests;
