//! The REST API of Tencent RTC, the vendor, as far as callbacks are concerned: where they go, how they are signed, where they
//! come from.
//!
//! In reading order: [`UserSig`] is the ticket that each call carries, and a [`Signer`] makes it. A [`Client`] calls an
//! [`Endpoint`], a [`Region`]'s host for example, for one app. Its calls are about a [`Product`]'s [`CallbackConfig`]
//! (`registration::config`), the token that callbacks of Live are signed with, or the addresses they come from (`ip_list`).
//! [`Client::plan`], [`Client::write`] and [`Client::apply`] make what is registered what is wanted (`registration::apply`), and
//! [`CallbackConfig::findings`] says beforehand what the vendor would not take (`registration::check`). What goes wrong is a
//! [`VendorError`], which says what to do; [`error_codes`] is the vendor's list.
//!
//! The vendor's cloud API is another one, with keys of its own (`cloud`): a [`CloudClient`] asks it which rooms of the RTC Engine
//! there were, and who was in them.

mod answer;
mod client;
mod cloud;
mod error;
pub mod error_codes;
mod http;
mod ip_list;
mod pace;
mod region;
mod registration;
mod retry;
mod signer;
mod usersig;

pub use crate::client::{Client, Receipt};
pub use crate::cloud::client::CloudClient;
pub use crate::cloud::error::{CloudError, CloudFailure};
pub use crate::cloud::key::{CloudKey, CloudKeyError};
pub use crate::cloud::monitor::{
    HISTORY, PAGE_ROWS, Page, ROOMS_SPAN, RoomLife, Span, USERS_SPAN, UserStay,
};
pub use crate::error::{Action, Failure, VendorError};
pub use crate::http::{ClientError, http_client};
pub use crate::ip_list::{Egress, IpList};
pub use crate::region::{Endpoint, EndpointError, Region, Source, UnknownRegion};
pub use crate::registration::apply::{Change, Diff, Plan, WriteOutcome};
pub use crate::registration::check::{Finding, Rule, Severity};
pub use crate::registration::config::{CallbackConfig, Deleted, TokenConfig};
pub use crate::registration::product::{CommandSupport, Product, UnknownProduct, Word};
pub use crate::retry::Limits;
pub use crate::signer::Signer;
pub use crate::usersig::{UserSig, UserSigError};
pub use protocol::diagnostic::{Diagnostic, Hint};
pub use protocol::{AppId, UnixMillis};
pub use secrecy::{ExposeSecret, SecretString};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
