use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::ConfigArgs;

/// Ask a running server whether it is well, for container health checks.
///
/// Ends with 0 when it is, with 1 when it is not or cannot be reached.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    config: ConfigArgs,
    /// Ask whether events are kept (/readyz), not only whether the process lives
    #[arg(long)]
    ready: bool,
    /// The server's operations listener [default: where the configuration puts it]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl Healthcheck {
    pub(super) async fn run(self) -> Result<()> {
        let base = if let Some(url) = self.url {
            url
        } else {
            let mut address = self.config.load(None, None)?.ops.listen;
            if address.ip().is_unspecified() {
                address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            format!("http://{address}")
        };
        let path = if self.ready { "readyz" } else { "livez" };
        let url = format!("{}/{path}", base.trim_end_matches('/'));
        // The listener speaks plain HTTP. Without this, a machine without certificates of any CA would be unwell.
        let no_certificates = std::iter::empty();
        let client = reqwest::Client::builder()
            .tls_certs_only(no_certificates)
            .no_proxy()
            .timeout(Duration::from_secs(3))
            .build()
            .context("prepare the HTTP client")?;
        let answer = client.get(&url).send().await.with_context(|| format!("ask {url}"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("read the answer of {url}"))?;
        if !status.is_success() {
            bail!("{url} answered {status}: {}", text.trim());
        }
        super::print(&text)
    }
}
