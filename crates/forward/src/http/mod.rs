//! Sending by HTTP: the egress guard, and one client for each destination.

mod address;
mod attempt;
mod classify;
mod client;
mod client_error;
mod excerpt;
mod guard;
mod resolver;
mod tls_files;

pub use address::AddressClass;
pub use attempt::{Attempt, Failure, FailureClass};
pub use client::{ANSWER_BYTES_MAX, Client, ClientSettings, Request};
pub use client_error::ClientError;
pub use excerpt::EXCERPT_BYTES_MAX;
pub use guard::{BlockedAddress, Guard, UrlError};
pub use reqwest::dns;
pub use reqwest::header;
pub use tls_files::TlsFiles;
