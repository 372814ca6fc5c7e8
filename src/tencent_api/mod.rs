//! The vendor's REST API, as far as callbacks are concerned: where they go, how they are signed, where they come from.
//!
//! In reading order: [`UserSig`] is the ticket that each call carries, and a [`Signer`] makes it. A [`Client`] calls an
//! [`Endpoint`], a [`Region`]'s host for example, for one app. Its calls are about a [`Product`]'s [`CallbackConfig`]
//! (`registration::config`), the token that callbacks of Live are signed with, or the addresses they come from (`ip_list`).
//! [`Client::plan`], [`Client::write`] and [`Client::apply`] make what is registered what is wanted (`registration::apply`), and
//! [`CallbackConfig::findings`] says beforehand what the vendor would not take (`registration::check`). What goes wrong is a
//! [`VendorError`], which says what to do; [`error_codes`] is the vendor's list.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod error;
pub mod error_codes;
pub(crate) mod ip_list;
pub(crate) mod pace;
pub(crate) mod region;
pub(crate) mod registration;
pub(crate) mod retry;
pub(crate) mod signer;
pub(crate) mod usersig;

pub use crate::tencent_api::client::{Client, ClientError, Receipt, http_client};
pub use crate::tencent_api::error::{Action, Failure, VendorError};
pub use crate::tencent_api::ip_list::{Egress, IpList};
pub use crate::tencent_api::region::{Endpoint, EndpointError, Region, Source, UnknownRegion};
pub use crate::tencent_api::registration::apply::{Change, Diff, Plan, WriteOutcome};
pub use crate::tencent_api::registration::check::{Finding, Rule, Severity};
pub use crate::tencent_api::registration::config::{CallbackConfig, Deleted, TokenConfig};
pub use crate::tencent_api::registration::product::{
    CommandSupport, Product, UnknownProduct, Word,
};
pub use crate::tencent_api::retry::Limits;
pub use crate::tencent_api::signer::Signer;
pub use crate::tencent_api::usersig::{UserSig, UserSigError};
