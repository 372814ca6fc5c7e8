//! What `doctor` says of the streams that destinations publish to.

use crate::cli::doctor::report::Findings;
use crate::settings::Settings;
use forward::destination::Destination;
use forward::http::Guard;
use forward::nats::{Client, ClientSettings, Creation, check};
use protocol::diagnostic::Hint;

const CHECK: &str = "forwarding";

/// Each NATS destination: whether its servers can be reached, and whether its stream does. Receivers of HTTP are not called.
pub(crate) async fn streams(settings: &Settings, findings: &mut Findings) {
    let (destinations, guard) = match settings.destinations() {
        Ok(found) => found,
        Err(error) => return findings.error(CHECK, error.diagnostic(), "check the key"),
    };
    for destination in &destinations {
        if let Ok(client) = ClientSettings::of(destination) {
            stream(destination, client, guard.clone(), findings).await;
        }
    }
}

async fn stream(
    destination: &Destination,
    client: ClientSettings,
    guard: Guard,
    findings: &mut Findings,
) {
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
