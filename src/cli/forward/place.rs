//! Where destinations are, and which one is meant.

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::settings::Settings;
use crate::store::{self, DestinationRow, ForwardingConnection};
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// Where the destinations are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Place {
    pub(crate) async fn open(&self) -> Result<(Settings, ForwardingConnection)> {
        let settings = self.config.load(Some(&self.store), None)?;
        let url = store::display_url(&settings.store.url);
        let opened = ForwardingConnection::open(&settings.store_options().to_read()).await;
        Ok((settings, opened.with_context(|| format!("open the store {url}"))?))
    }
}

/// Takes a moment or an age, and keeps it as text: an age needs the time, which is not known yet.
pub(crate) fn time(text: &str) -> Result<String, String> {
    match UnixMillis::parse(text, UnixMillis(0)) {
        Some(_) => Ok(text.to_owned()),
        None => {
            Err("give a date, a time in RFC 3339, ms since 1970, or an age such as 2h".to_owned())
        }
    }
}

/// Whether a server forwards to it now.
pub(crate) fn is_served(row: &DestinationRow) -> bool {
    row.lease_ms.is_some_and(|left| left >= 0)
}

/// The destination of this name.
pub(crate) async fn named(
    connection: &mut ForwardingConnection,
    name: &str,
) -> Result<DestinationRow> {
    let all = connection.destinations().await.context("read the destinations")?;
    let names: Vec<String> = all.iter().map(|row| row.name.clone()).collect();
    all.into_iter().find(|row| row.name == name).ok_or_else(|| {
        let hint = match &names[..] {
            [] => "there is none: a server with `[[forward]]` or TRTC_FORWARD_URL makes them when it starts".to_owned(),
            names => format!("known are {}", names.join(", ")),
        };
        anyhow!(Diagnostic::new(format!("there is no destination `{name}`"), hint))
    })
}
