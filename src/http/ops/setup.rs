//! What the pages show of the server's configuration. Holds no secret.

use std::sync::Arc;

use crate::callback::AppId;
use crate::ip_list::refresh::AddressBook;
use crate::registration::Book;

/// The settings that pages show, and the states of what is refreshed in the background.
pub(crate) struct Setup {
    pub(crate) apps: Vec<AppSetup>,
    /// The registrations that are watched; empty where none is.
    pub(crate) book: Arc<Book>,
    /// From where callbacks are taken.
    pub(crate) sources: Sources,
    /// Where the server itself is.
    pub(crate) addresses: Addresses,
    /// All else: titles, each with names and values.
    pub(crate) sections: Vec<(&'static str, Vec<(&'static str, String)>)>,
}

/// An app whose callbacks are taken.
pub(crate) struct AppSetup {
    pub(crate) id: AppId,
    /// How many tokens its callbacks may be signed with; with none they are taken unsigned.
    pub(crate) tokens: usize,
    pub(crate) has_key: bool,
}

/// From where callbacks are taken.
pub(crate) struct Sources {
    /// Addresses that are given. Without any, and without the vendor's list, everybody.
    pub(crate) given: Vec<String>,
    pub(crate) proxies: Vec<String>,
    /// The vendor's list, where it counts too.
    pub(crate) vendor: Option<Arc<AddressBook>>,
}

/// Where the server listens, as pages tell people to reach it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    /// A callback URL, with `HOST` for a name of this machine where it listens on every address. No path that may be a
    /// secret.
    pub(crate) callback: String,
    /// How `send` and its like are told of it from this machine, a blank before it; empty where they find it without, or
    /// have to be told by the configuration.
    pub(crate) to: String,
    /// The operations listener from this machine, as a URL without a path.
    pub(crate) ops: String,
}

impl Setup {
    /// What an operator should know of the vendor's list: that there is none yet, and all are let in.
    pub(crate) fn lets_all_in(&self) -> bool {
        self.sources.vendor.as_ref().is_some_and(|book| book.state().networks == 0)
    }
}
