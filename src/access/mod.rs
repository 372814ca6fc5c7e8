//! Who may use the operations listener: named tokens, each with a scope.

mod scope;
mod token_settings;
mod tokens;

pub use scope::Scope;
pub use token_settings::TokenSettings;
pub(crate) use token_settings::{TOKEN_KEYS, TokenSource, check_together};
pub(crate) use tokens::{AccessTokens, Grant};
