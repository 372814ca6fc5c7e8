//! The part of the configuration that pages show, without secrets.

use std::sync::Arc;
use std::time::Duration;

use crate::ip_list::refresh::AddressBook;
use crate::registration::RegistrationStatus;
use forward::filter::Filter;
use protocol::AppId;

/// The settings that pages show, and the states of background refreshes.
pub(crate) struct Setup {
    pub(crate) apps: Vec<AppSetup>,
    /// The monitored registrations; empty where none is.
    pub(crate) book: Arc<RegistrationStatus>,
    /// The accepted sources of callbacks.
    pub(crate) sources: Sources,
    /// The server's own addresses.
    pub(crate) addresses: Addresses,
    /// The configured destinations of forwarding.
    pub(crate) destinations: Vec<DestinationSetup>,
    /// From which age on a backlog is about to be deleted before it is sent; none where events are kept for good.
    pub(crate) backlog_age_max: Option<Duration>,
    /// Other settings: titles, each with names and values.
    pub(crate) sections: Vec<(&'static str, Vec<(&'static str, String)>)>,
}

/// A configured app.
pub(crate) struct AppSetup {
    pub(crate) id: AppId,
    /// Number of its callback tokens; with none, unsigned callbacks are accepted.
    pub(crate) tokens: usize,
    pub(crate) has_key: bool,
}

/// A configured destination of forwarding.
pub(crate) struct DestinationSetup {
    pub(crate) name: String,
    /// `http` or `nats`.
    pub(crate) kind: &'static str,
    /// Its URL without what may be secret.
    pub(crate) url: String,
    /// Which events it gets.
    pub(crate) filter: Filter,
    /// A hash of its definition.
    pub(crate) definition_hash: String,
}

/// The accepted sources of callbacks.
pub(crate) struct Sources {
    /// Configured addresses. Without any, and without the vendor's list, all sources are accepted.
    pub(crate) given: Vec<String>,
    pub(crate) proxies: Vec<String>,
    /// The vendor's list, where it is used.
    pub(crate) vendor: Option<Arc<AddressBook>>,
}

/// The server's addresses, as pages show them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    /// A callback URL, with `HOST` for this machine's name where the server listens on every address. Without a path
    /// that may be a secret.
    pub(crate) callback: String,
    /// The options by which `send` and similar commands find it from this machine, with a leading blank; empty where
    /// they need none, or only the configuration helps.
    pub(crate) to: String,
    /// The operations listener from this machine, as a URL without a path.
    pub(crate) ops: String,
}

impl Setup {
    /// The configured destination of this name.
    pub(crate) fn destination(&self, name: &str) -> Option<&DestinationSetup> {
        self.destinations.iter().find(|destination| destination.name == name)
    }

    /// Whether the vendor's list is required but not known yet, so that all sources are accepted.
    pub(crate) fn lets_all_in(&self) -> bool {
        self.sources.vendor.as_ref().is_some_and(|book| book.state().networks == 0)
    }
}
