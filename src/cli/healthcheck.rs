use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cli::args::ConfigArgs;
use crate::cli::output;
use crate::cli::own_server;
use crate::settings::Settings;

/// Check the health of a running server, for container health checks.
///
/// Exits with 0 if it is healthy, with 1 if it is not or cannot be reached.
#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    #[command(flatten)]
    config: ConfigArgs,
    /// Check readiness (/readyz) instead of liveness (/livez)
    #[arg(long)]
    ready: bool,
    /// URL of the operations listener [default: as configured]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl Healthcheck {
    pub(crate) async fn run(self) -> Result<()> {
        let base = match self.url {
            Some(url) => url,
            None => base(&self.config.load(None, None)?),
        };
        let path = if self.ready { "readyz" } else { "livez" };
        let (well, text) = ask(&base, path).await?;
        if !well {
            bail!("{base} is unhealthy: {}", text.trim());
        }
        output::print(&text)
    }
}

/// Where the configuration puts the operations listener, as this machine reaches it.
pub(crate) fn base(settings: &Settings) -> String {
    format!("http://{}", own_server::reached(settings.ops.listen))
}

/// Asks `/livez` or `/readyz`, which need no token. Says whether the answer is a good one, and its text.
pub(crate) async fn ask(base: &str, path: &str) -> Result<(bool, String)> {
    let url = format!("{}/{path}", base.trim_end_matches('/'));
    let client = client(Duration::from_secs(3))?;
    let answer = client.get(&url).send().await.with_context(|| format!("request {url}"))?;
    let well = answer.status().is_success();
    let text = answer.text().await.with_context(|| format!("read the response of {url}"))?;
    Ok((well, text))
}

/// What asks the operations listener, and gives it up after `timeout`.
pub(crate) fn client(timeout: Duration) -> Result<reqwest::Client> {
    // The listener speaks plain HTTP, also where callbacks come over TLS. Without this, a machine without certificates
    // of any CA would be unwell.
    let no_certificates = std::iter::empty();
    let client = crate::tencent_api::http_client().tls_certs_only(no_certificates).no_proxy();
    client.timeout(timeout).build().context("prepare the HTTP client")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;

    #[test]
    fn a_listener_on_every_interface_is_asked_on_this_machine() {
        for (listen, url) in [
            ("0.0.0.0:9090", "http://127.0.0.1:9090"),
            ("[::]:9090", "http://[::1]:9090"),
            ("10.0.0.7:1", "http://10.0.0.7:1"),
        ] {
            let variables = [("TRTC_OPS__LISTEN", listen), ("TRTC_OPS__TOKEN", "0123456789abcdef")];
            let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let settings = Settings::load(&Sources { env, ..Sources::default() }).unwrap();
            assert_eq!(base(&settings), url);
        }
    }
}
