//! What every page has around it: title, navigation, search box.

use crate::http::ops::session;
use crate::http::ops::setup::Addresses;
use crate::http::ops::state::Ops;
use crate::http::ui::assets;
use crate::http::ui::html::{Html, moment, visible};
use crate::http::ui::section::Section;
use protocol::AppId;
use protocol::UnixMillis;

/// What a page has around it.
pub(crate) struct Shell {
    pub(crate) title: String,
    /// Its entry in the navigation; none where it belongs to no section.
    pub(crate) here: Option<Section>,
    /// When it was drawn; absent where nothing on it depends on that.
    pub(crate) now: Option<UnixMillis>,
    pub(crate) css: &'static str,
    pub(crate) js: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) version: &'static str,
    /// What stands in the search box.
    pub(crate) query: String,
    /// The name of the token that one signed in with; none where there is nothing to sign out of.
    pub(crate) signed_in_as: Option<String>,
    /// The app that one looks at, where there are several: links to other pages keep it.
    pub(crate) app: Option<AppId>,
    /// Where the server is; empty on pages that say nothing of it.
    pub(crate) addresses: Addresses,
}

/// A place in the navigation.
pub(crate) struct Place {
    pub(crate) href: String,
    pub(crate) label: &'static str,
    /// Whether the page is there, or in the menu.
    pub(crate) is_here: bool,
    /// Of a menu: what it has.
    pub(crate) below: Vec<Place>,
}

impl Shell {
    pub(crate) fn new(
        title: impl AsRef<str>,
        here: impl Into<Option<Section>>,
        now: UnixMillis,
    ) -> Self {
        Self {
            title: visible(title.as_ref()).into_owned(),
            here: here.into(),
            now: Some(now),
            css: assets::css(),
            js: assets::js(),
            icon: assets::icon(),
            version: env!("CARGO_PKG_VERSION"),
            query: String::new(),
            signed_in_as: session::signed_in().map(|grant| grant.name().to_owned()),
            app: None,
            addresses: Addresses::default(),
        }
    }

    /// Of this server, and of one app, which matters where it has several.
    pub(crate) fn within(self, ops: &Ops, app: Option<AppId>) -> Self {
        let app = app.filter(|_| ops.apps.len() > 1);
        Self { app, addresses: ops.setup.addresses.clone(), ..self }
    }

    /// A page that stays with the app one looks at.
    pub(crate) fn href(&self, path: &str) -> String {
        let sign = if path.contains('?') { '&' } else { '?' };
        self.app.map_or_else(|| path.to_owned(), |app| format!("{path}{sign}app={}", app.as_i64()))
    }

    /// The navigation: links, and menus of them.
    pub(crate) fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for section in Section::ALL {
            let is_here = self.here == Some(section);
            let (href, label) = (self.href(section.path()), section.label());
            let place = Place { href, label, is_here, below: Vec::new() };
            let Some(menu) = section.menu() else {
                places.push(place);
                continue;
            };
            match places.last_mut().filter(|last| last.label == menu) {
                Some(last) => {
                    last.is_here |= is_here;
                    last.below.push(place);
                }
                None => places.push(Place {
                    href: String::new(),
                    label: menu,
                    is_here,
                    below: vec![place],
                }),
            }
        }
        places
    }

    /// The events of one family.
    pub(crate) fn family_href(&self, family: &str) -> String {
        self.href(&format!("/events?family={family}"))
    }

    pub(crate) fn clock(&self) -> Option<Html> {
        self.now.map(moment)
    }
}
