//! What `doctor` says of the streams that destinations publish to.

use crate::cli::doctor::report::Findings;
use crate::settings::Settings;
#[cfg(feature = "nats")]
use forward::destination::Destination;
#[cfg(feature = "nats")]
use forward::http::Guard;

#[cfg(feature = "nats")]
const CHECK: &str = "forwarding";

/// Each NATS destination: whether its servers can be reached, and whether its stream does. What is wrong with the tables is said
/// before.
pub(crate) async fn streams(settings: &Settings, findings: &mut Findings) {
    if let Ok(found) = settings.destinations() {
        all(found, findings).await;
    }
}

#[cfg(feature = "nats")]
async fn all((destinations, guard): (Vec<Destination>, Guard), findings: &mut Findings) {
    for destination in &destinations {
        if let Ok(client) = forward::nats::ClientSettings::of(destination) {
            stream(destination, client, guard.clone(), findings).await;
        }
    }
}

/// Without NATS there is nothing to look at.
#[cfg(not(feature = "nats"))]
#[expect(clippy::unused_async, reason = "as with NATS")]
async fn all<T>(_destinations: T, _findings: &mut Findings) {}

#[cfg(feature = "nats")]
async fn stream(
    destination: &Destination,
    client: forward::nats::ClientSettings,
    guard: Guard,
    findings: &mut Findings,
) {
    use forward::nats::{Client, Creation, check};

    let of = format!("destination `{}`: ", destination.name);
    let client = Client::new(client, guard);
    let report = match check(&client, &destination.nats, Creation::Never).await {
        Ok(report) => report,
        Err(found) => {
            return findings.error(CHECK, found.prefixed(of), "check the server's log");
        }
    };
    if report.findings.is_empty() {
        let streams = report.streams.join("`, `");
        findings.ok(CHECK, format!("{of}the stream `{streams}` takes its events"));
    }
    for finding in report.findings {
        let found = finding.found.prefixed(&of);
        if finding.is_grave {
            findings.error(CHECK, found, "");
        } else {
            findings.warn(CHECK, found.problem, found.hint.as_deref().unwrap_or_default());
        }
    }
}
