use std::fmt::Write;

use anyhow::Result;
use clap::Args;

use crate::cli::args::{AppArgs, ConfigArgs, StoreArgs};
use crate::cli::output;
use crate::settings::ProxyProtocol;
use crate::store;

/// Validate the configuration and print the effective settings.
///
/// Reads the same layers as `serve`: defaults, `--config`, environment and flags. Opens neither store nor port.
#[derive(Debug, Args)]
pub(crate) struct CheckConfig {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    apps: AppArgs,
}

impl CheckConfig {
    pub(crate) fn run(self) -> Result<()> {
        let settings = self.config.load(Some(&self.store), Some(&self.apps))?;
        settings.apps_to_serve()?;
        let mut text = String::from("the configuration is valid\n");
        let tokens = settings.token_sources()?;
        // Those in files are read as `serve` reads them.
        let required = settings.access_tokens()?.is_required();
        let token = if required { "a token is required" } else { "no token" };
        let scheme = if settings.server.tls_files().is_some() { "HTTPS" } else { "HTTP" };
        writeln!(text, "callbacks  {}, {scheme}", settings.server.listen)?;
        for range in settings.auth.given_addresses() {
            writeln!(text, "           from {range}")?;
        }
        if settings.auth.takes_vendors_list() {
            let every = settings.auth.source_refresh_s;
            writeln!(text, "           from the vendor's list, refreshed every {every} s")?;
        }
        if settings.server.proxy_protocol == ProxyProtocol::Required {
            for range in &settings.auth.trusted_proxies {
                writeln!(text, "           PROXY protocol required from {range}")?;
            }
        }
        for path in &settings.server.callback_paths {
            writeln!(text, "           POST {path}")?;
        }
        writeln!(text, "operations {}, {token}", settings.ops.listen)?;
        for token in tokens {
            let place = if token.is_file() { ", from a file" } else { "" };
            writeln!(text, "           token {}: {}{place}", token.name, token.scope)?;
        }
        writeln!(text, "store      {}", store::display_url(&settings.store.url))?;
        if let Some(direct) = settings.store.direct_url() {
            writeln!(text, "  directly {}", store::display_url(direct))?;
        }
        match settings.spool.path.display().to_string() {
            path if path.is_empty() => writeln!(text, "spool      none")?,
            path => writeln!(text, "spool      {path}")?,
        }
        for app in &settings.apps {
            let signed = match app.callback_tokens.len() {
                0 => "unsigned requests are taken".to_owned(),
                1 => "requests must be signed".to_owned(),
                tokens => format!("requests must be signed with one of {tokens} tokens"),
            };
            writeln!(text, "app        {}, {signed}", app.sdk_app_id)?;
            let events = match app.rtc_keys.len() {
                0 => "unsigned ones are taken".to_owned(),
                1 => "must be signed".to_owned(),
                keys => format!("must be signed with one of {keys} keys"),
            };
            writeln!(text, "           RTC Engine events: {events}")?;
        }
        for destination in settings.destinations()?.0 {
            let signed = match destination.secrets.len() {
                0 => "not signed".to_owned(),
                1 => "signed".to_owned(),
                secrets => format!("signed with {secrets} secrets"),
            };
            writeln!(text, "forward    {} to {}, {signed}", destination.name, destination.target)?;
        }
        if let Some(every) = settings.registration.check_interval() {
            let repair = if settings.registration.repair { "repaired" } else { "reported" };
            writeln!(text, "registered checked every {} s, drift is {repair}", every.as_secs())?;
        }
        output::print(&text)
    }
}
