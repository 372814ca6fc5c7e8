//! What the commands that call the vendor share: for which app, as whom, where, and about which products.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::cli::args::{ConfigArgs, StoreArgs, app_id};
use crate::cli::error::diagnostic;
use crate::cli::output::say;
use crate::clock::Clock;
use crate::registration::client;
use crate::settings::{AppSettings, Settings};
use crate::tencent_api::{Client, Product, Region, UnknownRegion};
use protocol::AppId;
use protocol::diagnostic::{Diagnostic, Hint};

/// Whose key, and which.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArgs {
    /// SDKAppID of the app [default: the only one configured]
    #[arg(long, value_name = "ID", visible_alias = "sdk-app-id")]
    pub(crate) app: Option<String>,
    /// File with the app's secret key [default: as configured, or TRTC_SECRET_KEY]
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Where the vendor's API is called, and as whom.
#[derive(Debug, Args)]
pub(crate) struct VendorArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Admin account that calls the API [default: as configured, or administrator]
    #[arg(long, value_name = "NAME")]
    identifier: Option<String>,
    /// Region where the app was created: singapore, china, seoul, usa, … [default: as configured]
    #[arg(long, value_name = "NAME", value_parser = region)]
    region: Option<Region>,
    /// Host of the vendor's API, instead of a region's
    #[arg(long, value_name = "HOST", conflicts_with = "region")]
    host: Option<String>,
}

/// One app at the vendor.
pub(crate) struct Vendor {
    pub(crate) settings: Settings,
    pub(crate) app: AppSettings,
    pub(crate) client: Client,
}

/// One product, or every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Products {
    Call,
    Room,
    Live,
    All,
}

fn region(name: &str) -> Result<Region, Diagnostic> {
    name.parse().map_err(|error: UnknownRegion| error.diagnostic())
}

impl KeyArgs {
    /// The app that is named, or the only one that is configured. One that is named need not be configured.
    pub(crate) fn app(&self, store: Option<&StoreArgs>) -> Result<(Settings, AppSettings)> {
        let named = app_id(self.app.as_deref())?;
        let mut sources = self.config.sources(store, None)?;
        sources.app = named.map(|app| app.to_string());
        let settings = Settings::load(&sources)?;
        let is_named = |app: &&AppSettings| AppId::parse(&app.sdk_app_id) == named;
        let app = match (named, settings.apps.as_slice()) {
            (Some(_), apps) => apps.iter().find(is_named),
            (None, [app]) => Some(app),
            (None, []) => {
                bail!(Diagnostic::new(
                    "no app is configured",
                    "name one with `--app`, or set TRTC_SDK_APP_ID"
                ))
            }
            (None, apps) => {
                let ids: Vec<&str> = apps.iter().map(|app| app.sdk_app_id.as_str()).collect();
                let ids = ids.join(", ");
                bail!(Diagnostic::new(
                    format!("several apps are configured: {ids}"),
                    "name one with `--app`"
                ))
            }
        };
        // One that is named was added where it was not configured.
        let mut app = app.cloned().unwrap_or_default();
        if let Some(file) = &self.secret_key_file {
            (app.secret_key, app.secret_key_file) = (None, Some(file.clone()));
        }
        Ok((settings, app))
    }
}

impl VendorArgs {
    pub(crate) fn open(&self, store: Option<&StoreArgs>, clock: &Clock) -> Result<Vendor> {
        let (settings, mut app) = self.key.app(store)?;
        if self.region.is_some() || self.host.is_some() {
            (app.region, app.host) = (self.region, self.host.clone());
        }
        if self.identifier.is_some() {
            app.identifier.clone_from(&self.identifier);
        }
        let client = client::client(&app, clock)?;
        Ok(Vendor { settings, app, client })
    }
}

impl Products {
    pub(crate) fn list(self) -> Vec<Product> {
        match self {
            Self::Call => vec![Product::Call],
            Self::Room => vec![Product::Room],
            Self::Live => vec![Product::Live],
            Self::All => Product::ALL.to_vec(),
        }
    }

    /// Does the same for each product, one after the other. Where there are several, one that fails does not keep the
    /// others: its error is said at once, and at the end how many failed.
    pub(crate) async fn each<T>(
        self,
        mut work: impl AsyncFnMut(Product) -> Result<T>,
    ) -> Result<Vec<T>> {
        let products = self.list();
        let (mut done, mut failed) = (Vec::new(), 0);
        for product in &products {
            match work(*product).await {
                Ok(result) => done.push(result),
                Err(error) if self != Self::All => return Err(error),
                Err(error) => {
                    say(&format!("error: {}", diagnostic(&error)));
                    failed += 1;
                }
            }
        }
        match failed {
            0 => Ok(done),
            failed => bail!(Diagnostic::new(
                format!("{failed} of {} products failed", products.len()),
                "see the errors above, and run it again for those products"
            )),
        }
    }
}
