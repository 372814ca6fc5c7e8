//! Settings: their layers, their checks, and what they mean to the rest of the program.

mod apps;
mod check;
mod error;
mod forward;
mod layers;
mod secrets;
mod sections;
mod stream;
mod summary;
mod tree;

pub use apps::*;
pub use error::SettingsError;
pub use layers::{DEFAULTS, Sources};
pub(crate) use secrets::shown_path;
pub use secrets::{SecretFileError, read_secret};
pub use sections::*;
pub use stream::{StreamRole, StreamSettings};
pub use tree::Settings;

#[cfg(test)]
mod tests;
