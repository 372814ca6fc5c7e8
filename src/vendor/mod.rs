//! The vendor's REST API, as far as callbacks are concerned: where they go, how they are signed, where they come from.
//!
//! In reading order: [`UserSig`] is the ticket that each call carries, and a [`Signer`] makes it. A [`Client`] calls an
//! [`Endpoint`], a [`Region`]'s host for example, for one app. Its calls are about a [`Product`]'s [`CallbackConfig`]
//! (`callback_config`), the token that callbacks of Live are signed with, or the addresses they come from (`ip_list`).
//! [`Client::plan`], [`Client::write`] and [`Client::apply`] make what is registered what is wanted (`apply`), and
//! [`CallbackConfig::findings`] says beforehand what the vendor would not take (`check`). What goes wrong is a
//! [`VendorError`], which says what to do; [`codes`] is the vendor's list.

mod answer;
mod apply;
mod callback_config;
mod check;
mod client;
pub mod codes;
mod errors;
mod ip_list;
mod limits;
mod pace;
mod product;
mod region;
mod signer;
mod usersig;

pub use apply::{Change, Diff, Plan, Written};
pub use callback_config::{CallbackConfig, Deleted, TokenConfig};
pub use check::{Finding, Rule, Severity};
pub use client::{Client, ClientError, Receipt};
pub use errors::{Action, Failure, VendorError};
pub use ip_list::{Egress, IpList};
pub use limits::Limits;
pub use product::{Product, Standing, UnknownProduct, Word};
pub use region::{Endpoint, EndpointError, Region, Source, UnknownRegion};
pub use signer::Signer;
pub use usersig::{UserSig, UserSigError};
