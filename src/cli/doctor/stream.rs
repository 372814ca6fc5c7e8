//! The stream of scale-out mode.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use crate::cli::doctor::report::Findings;
use crate::cli::healthcheck;
use crate::settings::{Settings, StreamSettings};
use crate::stream::connection::Connection;
use crate::stream::layout;
use protocol::diagnostic::Diagnostic;

const CHECK: &str = "stream";
/// How long the servers may take to be asked.
const WAIT: Duration = Duration::from_secs(15);
const MONITOR_WAIT: Duration = Duration::from_secs(5);
/// The longest time between two syncs of a disk that is not warned of.
const SYNC_INTERVAL_MAX: Duration = Duration::from_secs(1);
const SYNC_CHECK: &str = "stream's disks";
const SYNC_HINT: &str = "set `sync_interval` in their `jetstream` block to 1s or always: until a sync, a power failure of two servers \
                         loses events that were answered OK";

/// What `/jsz` says.
#[derive(Deserialize)]
struct Monitored {
    config: MonitoredConfig,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MonitoredConfig {
    /// In ns.
    sync_interval: u64,
    sync_always: bool,
}

pub(crate) async fn stream(settings: &Settings, findings: &mut Findings) {
    let Some(stream) = settings.stream() else { return };
    match timeout(WAIT, examine(settings, stream)).await {
        Ok(Ok(Some(found))) => {
            let text = format!("`{}` at {} keeps what it takes", stream.name, stream.shown());
            findings.ok(CHECK, text);
            for Diagnostic { problem, hint } in found {
                findings.warn(CHECK, problem, hint.as_deref().unwrap_or_default());
            }
        }
        Ok(Ok(None)) => {
            let text = format!("there is no stream `{}` at {} yet", stream.name, stream.shown());
            let hint = "`serve` creates it; if it should exist, check `stream.name` and the account of this user";
            findings.warn(CHECK, text, hint);
        }
        Ok(Err(found)) => findings.error(CHECK, found, ""),
        Err(_) => {
            let text = format!("{} did not answer", stream.shown());
            findings.fail(
                CHECK,
                text,
                "check that the servers run with JetStream, and the network",
            );
        }
    }
    syncs(stream, findings).await;
}

async fn examine(
    settings: &Settings,
    stream: &StreamSettings,
) -> Result<Option<Vec<Diagnostic>>, Diagnostic> {
    let connection = Connection::open(stream, MONITOR_WAIT, false).await?;
    layout::examine(&connection, stream, settings.server.body_bytes_max).await
}

/// How often the servers sync their disks, which a client cannot see.
async fn syncs(stream: &StreamSettings, findings: &mut Findings) {
    if stream.monitor_url.is_empty() {
        let text =
            "how often the servers sync their disks is not known: `stream.monitor_url` is not set";
        return findings.warn(SYNC_CHECK, text, SYNC_HINT);
    }
    let url = format!("{}/jsz?config=true", stream.monitor_url.trim_end_matches('/'));
    let asked = async {
        let answer = healthcheck::client(MONITOR_WAIT)?.get(&url).send().await?;
        Ok::<Monitored, anyhow::Error>(serde_json::from_str(&answer.text().await?)?)
    };
    match asked.await {
        Ok(Monitored { config }) if config.sync_always => {
            findings.ok(SYNC_CHECK, "each event is on the disk before it is acknowledged");
        }
        Ok(Monitored { config }) if config.sync_interval > 0 => {
            let every = Duration::from_nanos(config.sync_interval);
            let text = format!("synced every {} s", every.as_secs_f64());
            if every <= SYNC_INTERVAL_MAX {
                findings.ok(SYNC_CHECK, text);
            } else {
                findings.warn(SYNC_CHECK, text, SYNC_HINT);
            }
        }
        Ok(_) => {
            let text = "the servers are too old to say how often they sync their disks";
            findings.warn(SYNC_CHECK, text, SYNC_HINT);
        }
        Err(error) => {
            let text = format!("ask {url}: {error:#}");
            findings.warn(
                SYNC_CHECK,
                text,
                "check `stream.monitor_url`, and that the servers have `http_port`",
            );
        }
    }
}
