//! What `doctor` says of the list of the vendor's addresses.

use std::time::Duration;

use tokio::time::timeout;

use crate::cli::doctor::report::Findings;
use crate::clock::Clock;
use crate::ip_list::cache_file::CachedLists;
use crate::registration::address_file;
use crate::registration::client;
use crate::settings::Settings;
use crate::tencent_api::{Egress, VendorError};
use protocol::diagnostic::Hint;

const CHECK: &str = "vendor's addresses";
/// How long the vendor's API may take.
const ASK_MAX: Duration = Duration::from_secs(30);
/// So old a list is kept up by nobody.
const STALE_AFTER: u32 = 3;

/// Whether there is a list on disk, and whether the vendor gives one.
pub(crate) async fn addresses(settings: &Settings, clock: &Clock, findings: &mut Findings) {
    if !settings.auth.takes_vendors_list() {
        return;
    }
    kept(settings, clock, findings);
    given(settings, clock, findings).await;
}

fn kept(settings: &Settings, clock: &Clock, findings: &mut Findings) {
    let Some(file) = address_file(settings) else {
        let text = "there is no file to cache the list: after a restart all addresses are accepted until the vendor provides it";
        return findings.warn(CHECK, text, "set `spool.path` to a file on a local disk");
    };
    let shown = file.display().to_string();
    match CachedLists::read(&file) {
        Ok(Some(kept)) => {
            let text = format!("{shown} has {} ranges, fetched {}", kept.len(), kept.fetched_at);
            let age = clock.now().since(kept.fetched_at);
            if age > settings.auth.source_refresh().saturating_mul(STALE_AFTER) {
                let hint = "check the server's log: its requests to the vendor's API fail";
                findings.warn(CHECK, format!("{text}, out of date"), hint);
            } else {
                findings.ok(CHECK, text);
            }
        }
        Ok(None) => {
            let hint = "the server writes it with the vendor's first list; until then all addresses are accepted";
            findings.warn(CHECK, format!("there is no {shown} yet"), hint);
        }
        Err(error) => {
            let hint = "run this as the server's user; the server replaces the file with the vendor's next list";
            findings.fail(CHECK, format!("{shown}: {error}"), hint);
        }
    }
}

async fn given(settings: &Settings, clock: &Clock, findings: &mut Findings) {
    let app = settings.apps.iter().find(|app| app.has_key() && app.has_place());
    let Some(app) = app else {
        let hint = "give an app its secret key (TRTC_SECRET_KEY_FILE) and region (TRTC_REGION)";
        return findings.fail(CHECK, "no app has both a secret key and a region", hint);
    };
    let client = match client::client(app, clock) {
        Ok(client) => client,
        Err(error) => return findings.error(CHECK, error.diagnostic(), ""),
    };
    let ask = async {
        let (mut ranges, mut unreadable) = (0, 0);
        for egress in Egress::ALL {
            let list = client.ip_list(egress).await?;
            ranges += list.networks.len();
            unreadable += list.unreadable.len();
        }
        Ok::<_, VendorError>((ranges, unreadable))
    };
    match timeout(ASK_MAX, ask).await {
        Ok(Ok((0, 0))) => {
            let hint = "the previous list stays in force; without one all addresses are accepted";
            findings.warn(CHECK, "the vendor returned an empty list", hint);
        }
        Ok(Ok((ranges, 0))) => findings.ok(CHECK, format!("the vendor returned {ranges} ranges")),
        Ok(Ok((ranges, unreadable))) => {
            let text =
                format!("the vendor returned {ranges} ranges and {unreadable} invalid entries");
            findings.warn(CHECK, text, "such a list only adds to the previous one");
        }
        Ok(Err(error)) => findings.error(CHECK, error.diagnostic(), ""),
        Err(_) => {
            let text = format!("{} did not answer within {} s", client.host(), ASK_MAX.as_secs());
            findings.fail(CHECK, text, "check the network and firewalls");
        }
    }
}
