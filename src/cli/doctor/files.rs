//! What `doctor` says of the server's own files: the spool, the tokens and the certificate.

use std::time::Duration;

use tokio::time::timeout;

use crate::cli::doctor::machine;
use crate::cli::doctor::report::Findings;
use crate::http;
use crate::settings::Settings;
use crate::store::{self, SpoolExamination};
use protocol::UnixMillis;
use protocol::diagnostic::Hint;

/// How long the spool may take to be looked at.
const SPOOL_WAIT: Duration = Duration::from_secs(5);
/// So long before it ends a certificate should be renewed.
const CERTIFICATE_DAYS: i64 = 14;
const DAY: i64 = 86_400_000;

pub(crate) async fn spool(settings: &Settings, findings: &mut Findings) {
    const CHECK: &str = "spool";
    let path = &settings.spool.path;
    if path.as_os_str().is_empty() {
        let hint = "set `spool.path` to a file on a persistent local disk";
        let text =
            "none is configured: while the store is unavailable, events go to the error log only";
        return findings.warn(CHECK, text, hint);
    }
    let shown = path.display().to_string();
    if let Err(error) = machine::may_write(path) {
        let text = format!("`serve` could not write {shown}: {error}");
        return findings.fail(CHECK, text, machine::FOLDER_HINT);
    }
    match timeout(SPOOL_WAIT, store::examine_spool(path)).await {
        Ok(Ok(None)) => findings.ok(CHECK, format!("there is no {shown} yet; `serve` creates it")),
        Ok(Ok(Some(found))) => judge(&shown, &found, settings.spool.bytes_max, findings),
        Ok(Err(error)) => {
            let hint = "run this as the server's user; the server quarantines a damaged spool when it starts";
            findings.error(CHECK, error.diagnostic().prefixed(format_args!("{shown}: ")), hint);
        }
        Err(_) => {
            findings.fail(CHECK, format!("{shown}: no answer"), "check that its disk is mounted");
        }
    }
}

fn judge(path: &str, found: &SpoolExamination, bytes_max: u64, findings: &mut Findings) {
    const CHECK: &str = "spool";
    let size = found.size;
    let (used, most) = (size.bytes >> 20, bytes_max >> 20);
    if let Some(reason) = &found.unreadable {
        let hint = "a running server quarantines such a record and continues with the next";
        findings.fail(CHECK, format!("{path}: its oldest event cannot be read: {reason}"), hint);
    }
    if found.damaged > 0 {
        let hint = "look at its table `damaged`; `replay` does not read it";
        let text = format!("quarantined records in {path}: {}", found.damaged);
        findings.warn(CHECK, text, hint);
    }
    for quarantined in &found.quarantined {
        let hint = "keep it: a running server salvages what can be read of it";
        findings.warn(
            CHECK,
            format!("{} was damaged and is quarantined", quarantined.display()),
            hint,
        );
    }
    for salvaged in &found.salvaged {
        let hint = "what could be read was salvaged; remove it once you no longer need the rest";
        findings.warn(CHECK, format!("{} was damaged", salvaged.display()), hint);
    }
    if size.bytes > bytes_max / 5 * 4 {
        let hint = "restore the store, or raise `spool.bytes_max`; when it is full, events go to the error log";
        let text = format!("{path} is nearly full: {used} of {most} MiB");
        findings.fail(CHECK, text, hint);
    } else if size.events > 0 {
        let hint = "a running server stores them as soon as the store is available";
        let text = format!("events that wait in {path}: {} ({used} of {most} MiB)", size.events);
        findings.warn(CHECK, text, hint);
    } else {
        findings.ok(CHECK, format!("nothing waits in {path}"));
    }
}

/// Who may use the operations listener; the tokens in files are read as the server reads them.
pub(crate) fn tokens(settings: &Settings, findings: &mut Findings) {
    const CHECK: &str = "access";
    let sources = match settings.access_tokens().and_then(|_| settings.token_sources()) {
        Ok(sources) => sources,
        Err(error) => {
            let hint = "run this as the server's user";
            return findings.error(CHECK, error.diagnostic(), hint);
        }
    };
    if sources.is_empty() {
        let text = "no token is set: whoever is on this machine reads the operations listener";
        return findings.ok(CHECK, text);
    }
    let named = sources.iter().map(|token| format!("{} ({})", token.name, token.scope));
    findings.ok(CHECK, format!("tokens: {}", named.collect::<Vec<_>>().join(", ")));
}

pub(crate) fn certificate(settings: &Settings, now: UnixMillis, findings: &mut Findings) {
    const CHECK: &str = "certificate";
    let Some((certificate, key)) = settings.server.tls_files() else { return };
    match http::certificate_expiry(certificate, key) {
        Ok(ends) => {
            let days = ends.0.saturating_sub(now.0).div_euclid(DAY);
            let text = format!("{} ends {ends}", certificate.display());
            let hint = "renew it in the same files: the server reloads them automatically";
            match days {
                ..0 => findings.fail(CHECK, text, hint),
                0..CERTIFICATE_DAYS => findings.warn(CHECK, text, hint),
                _ => findings.ok(CHECK, text),
            }
        }
        Err(error) => findings.error(CHECK, error.diagnostic(), ""),
    }
}
