//! From the settings to what is looked after.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::error;

use crate::clock::Clock;
use crate::ip_list::refresh::{AddressBook, Addresses};
use crate::registration::client;
use crate::registration::drift::{DriftMonitor, WatchedApp};
use crate::registration::status::RegistrationStatus;
use crate::settings::{AppSettings, Settings};
use crate::store;
use crate::telemetry::Metrics;
use crate::tencent_api::{CallbackConfig, Product};
use protocol::diagnostic::{Diagnostic, Hint};
use protocol::{Admission, AppId};

/// The name of the file that holds the last good list of the vendor's addresses.
const ADDRESS_FILE: &str = "vendor-addresses.json";

/// All that is looked after, as the settings want it; nothing where they want nothing.
pub(crate) struct VendorMonitor {
    guard: Option<DriftMonitor>,
    addresses: Option<Addresses>,
}

impl VendorMonitor {
    /// What the settings want. An app that nobody can call the vendor for is said so, and does not keep others from
    /// being looked after.
    pub(crate) fn new(
        settings: &Settings,
        admission: &Admission,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let interval = settings.registration.check_interval();
        let list = admission.vendor();
        let mut watch = Self { guard: None, addresses: None };
        if interval.is_none() && list.is_none() {
            return watch;
        }
        let mut watched = Vec::new();
        for app in &settings.apps {
            let Some(id) = AppId::parse(&app.sdk_app_id) else { continue };
            let wanted = wanted(app);
            if !app.has_key() || (list.is_none() && wanted.is_empty()) {
                continue;
            }
            let client = client::client(app, clock).map_err(|error| error.diagnostic());
            if let Err(Diagnostic { problem: reason, hint }) = &client {
                error!(app = %id, reason, hint, "the vendor's API cannot be called for an app");
            }
            watched.push(WatchedApp { app: id, client, wanted });
        }
        watch.addresses = list.map(|in_force| {
            let clients = watched.iter().filter_map(|app| app.client.as_ref().ok().cloned());
            let (file, refresh) = (address_file(settings), settings.auth.source_refresh());
            let (clients, in_force) = (clients.collect(), in_force.clone());
            Addresses::new(clients, in_force, file, refresh, clock.clone(), metrics.clone())
        });
        watch.guard = interval.map(|interval| {
            let repair = settings.registration.repair;
            DriftMonitor::new(watched, interval, repair, clock.clone(), metrics.clone())
        });
        watch
    }

    /// What the guard finds; empty where there is none.
    pub(crate) fn book(&self) -> Arc<RegistrationStatus> {
        self.guard.as_ref().map(DriftMonitor::book).unwrap_or_default()
    }

    /// How the list of the vendor's addresses stands; absent where it is not wanted.
    pub(crate) fn addresses(&self) -> Option<Arc<AddressBook>> {
        self.addresses.as_ref().map(Addresses::book)
    }

    /// To be done before callbacks are taken.
    pub(crate) async fn load(&self) {
        if let Some(addresses) = &self.addresses {
            addresses.load().await;
        }
    }

    /// Checks the registrations now and then, where that is wanted. It may be cancelled at any point.
    pub(crate) async fn check_registrations(&self) {
        if let Some(guard) = &self.guard {
            guard.run().await;
        }
    }

    /// Keeps the list of the vendor's addresses fresh, where that is wanted. It may be cancelled at any point.
    pub(crate) async fn refresh_addresses(&self) {
        if let Some(addresses) = &self.addresses {
            addresses.run().await;
        }
    }
}

/// What is to be registered for an app.
fn wanted(app: &AppSettings) -> Vec<(Product, CallbackConfig)> {
    let wanted = |product| Some((product, app.callbacks.wanted(product)?));
    Product::ALL.into_iter().filter_map(wanted).collect()
}

/// Where the last good list of the vendor's addresses is kept: beside the spool, or, without one, beside the store's
/// file. `None` where there is neither.
pub(crate) fn address_file(settings: &Settings) -> Option<PathBuf> {
    let spool = &settings.spool.path;
    let spool = (!spool.as_os_str().is_empty()).then(|| spool.clone());
    Some(spool.or_else(|| store::file(&settings.store.url))?.with_file_name(ADDRESS_FILE))
}
