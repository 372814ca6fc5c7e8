//! Callback registration at the vendor: what is registered is compared with what is wanted while the server runs, and put
//! right where that is wanted too. It never stands in the way of a callback: what the vendor's API does or does not do is
//! shown, and nothing else.
//!
//! In reading order: `client` makes a client of the vendor's API from an app's settings. A [`VendorMonitor`] is all that the settings
//! want to be looked after. Its guard (`drift`) checks and writes what it finds into a [`RegistrationStatus`], which sessions and the dashboard
//! read. `diff_text` is a difference as text.

pub(crate) mod client;
pub(crate) mod diff_text;
pub(crate) mod drift;
pub(crate) mod monitor;
pub(crate) mod status;

pub(crate) use crate::registration::diff_text::shown;
pub(crate) use crate::registration::monitor::{VendorMonitor, address_file};
pub(crate) use crate::registration::status::{
    ProductStatus, RegistrationState, RegistrationStatus,
};
