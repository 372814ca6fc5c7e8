use std::io;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use tokio::time::timeout;

use crate::cli::args::{AppArgs, ConfigArgs, StoreArgs};
use crate::cli::doctor::report::Findings;
#[cfg(feature = "nats")]
use crate::cli::doctor::{destination_streams, stream};
use crate::cli::doctor::{files, forwarding, machine, storage, tencent};
use crate::cli::healthcheck;
use crate::cli::output;
use crate::clock::Clock;
use crate::server;
use crate::settings::{ProxyProtocol, Settings};
use crate::store::{self, StoreError};
use protocol::diagnostic::Hint;

/// How long the store may take to be looked at.
const STORE_WAIT: Duration = Duration::from_secs(15);
/// The same when all of a SQLite file is read.
const INTEGRITY_WAIT: Duration = Duration::from_hours(6);
/// How long a file system may take to say how full it is.
const DISK_WAIT: Duration = Duration::from_secs(5);

/// Check configuration, store and machine, and suggest fixes.
///
/// Changes nothing: it stores an event in a transaction that it rolls back. Prints one line per check, `ok`, `warn` or
/// `fail`. Exits with 0 if no check failed, otherwise with 1. Run it with the server's configuration, as the server's
/// user, on its machine; the server may be running.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Check a whole SQLite file for corruption, which takes long for a large one
    #[arg(long)]
    integrity: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    apps: AppArgs,
}

impl Doctor {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let mut findings = Findings::default();
        let sources = self.config.sources(Some(&self.store), Some(&self.apps))?;
        match Settings::load(&sources) {
            Ok(settings) => self.check(&settings, clock, &mut findings).await,
            Err(error) => {
                let hint = "`trtc-callbacks default-config` explains every key";
                findings.error("configuration", error.diagnostic(), hint);
            }
        }
        let foreign = sources.foreign_variables().join(", ");
        if !foreign.is_empty() {
            findings.ok("environment", format!("ignored, as variables of Kubernetes: {foreign}"));
        }
        if self.json {
            output::print_json(
                &(serde_json::to_string(&findings)?
                    + "
"),
            )?;
        } else {
            output::print(&findings.text()?)?;
        }
        match findings.failed() {
            0 => Ok(()),
            1 => bail!("1 check failed"),
            failed => bail!("{failed} checks failed"),
        }
    }

    async fn check(&self, settings: &Settings, clock: &Clock, findings: &mut Findings) {
        findings.ok("configuration", "every key is known and in its range");
        apps(settings, findings);
        paths(settings, findings);
        proxies(settings, findings);
        files::tokens(settings, findings);
        tencent::addresses(settings, clock, findings).await;
        let destinations = forwarding::configured(settings, findings).await;
        if !settings.stores() {
            findings.ok("store", "none: this server is a receiver");
        } else if self.store(settings, clock, findings).await {
            forwarding::stored(settings, &destinations, findings).await;
        }
        #[cfg(feature = "nats")]
        stream::stream(settings, findings).await;
        #[cfg(feature = "nats")]
        destination_streams::streams(settings, findings).await;
        files::spool(settings, findings).await;
        disks(settings, findings).await;
        files(settings, findings);
        files::certificate(settings, clock.now(), findings);
        running(settings, findings).await;
    }

    /// Looks at the store. Says whether it is there, with all tables.
    async fn store(&self, settings: &Settings, clock: &Clock, findings: &mut Findings) -> bool {
        let url = store::display_url(&settings.store.url);
        let file = store::file(&settings.store.url).filter(|file| !file.exists());
        if let Some(Err(error)) = file.as_deref().map(machine::may_write) {
            let text = format!("there is no {url} yet, and `serve` could not create it: {error}");
            findings.fail("store", text, machine::FOLDER_HINT);
            return false;
        }
        if file.is_some() {
            let hint = "`serve` creates it; if it should exist, check `store.url` and the working directory";
            findings.warn("store", format!("there is no {url} yet"), hint);
            return false;
        }
        let options = settings.store_options();
        let wait = if self.integrity { INTEGRITY_WAIT } else { STORE_WAIT };
        match timeout(wait, store::examine(&options, clock.now(), self.integrity)).await {
            Ok(Ok(found)) => {
                storage::judge(&url, &found, clock.now(), self.integrity, findings);
                let migrations = &found.migrations;
                return migrations.pending.is_empty() && migrations.unknown.is_empty();
            }
            Ok(Err(StoreError::Address(found))) => findings.error("store", found, ""),
            Ok(Err(error)) => {
                let hint = "check that it is running, and that `store.url` has its address, user and password";
                let found = error.diagnostic().prefixed(format_args!("{url}: "));
                findings.error("store", found, hint);
            }
            Err(_) => {
                let text = format!("{url} did not answer within {} s", wait.as_secs());
                findings.fail(
                    "store",
                    text,
                    "check what it is waiting for: locks, its disk, the network",
                );
            }
        }
        false
    }
}

fn apps(settings: &Settings, findings: &mut Findings) {
    if settings.apps.is_empty() {
        let hint =
            "give `--sdk-app-id 1400000001`, set TRTC_SDK_APP_ID, or add an `[[apps]]` table";
        findings.fail("apps", "none is configured, so every callback would be rejected", hint);
    }
    for app in &settings.apps {
        let id = &app.sdk_app_id;
        if app.callback_tokens.is_empty() {
            let hint = "set the authentication token of the vendor's console: TRTC_CALLBACK_TOKEN or `callback_tokens`";
            findings.warn("apps", format!("{id} has no token: unsigned requests are taken"), hint);
        } else {
            findings.ok("apps", format!("{id}, its requests must be signed"));
        }
        if app.rtc_keys.is_empty() {
            let hint = "where the console sends them here, set its callback key: TRTC_RTC_KEY or `rtc_keys`";
            let text =
                format!("{id} has no RTC Engine key: unsigned events of the RTC Engine are taken");
            findings.warn("apps", text, hint);
        } else {
            findings.ok("apps", format!("{id}, its RTC Engine events must be signed"));
        }
    }
}

fn paths(settings: &Settings, findings: &mut Findings) {
    match settings.server.guessable_path() {
        Some(path) => {
            let hint = "the signature does not cover the body: set `server.callback_paths` to one long random path";
            findings.warn("callback paths", format!("`{path}` is easy to guess"), hint);
        }
        None => findings.ok("callback paths", "none is easy to guess"),
    }
}

fn proxies(settings: &Settings, findings: &mut Findings) {
    let auth = &settings.auth;
    if settings.server.proxy_protocol == ProxyProtocol::Required {
        let senders = auth.trusted_proxies.join(", ");
        let text = format!(
            "connections from {senders} must begin with a PROXY protocol header, and no others may"
        );
        return findings.ok("proxies", text);
    }
    if auth.source_addresses.is_empty() && !auth.trusted_proxies.is_empty() {
        let text = "`auth.trusted_proxies` has no effect on source filtering: `auth.source_addresses` is empty";
        let hint = "set `auth.source_addresses` too, or remove `auth.trusted_proxies`";
        findings.warn("proxies", text, hint);
    }
}

/// The disks that events are written to.
async fn disks(settings: &Settings, findings: &mut Findings) {
    if let Some(file) = store::file(&settings.store.url).filter(|_| settings.stores()) {
        disk(findings, "store's disk", file).await;
    }
    if !settings.spool.path.as_os_str().is_empty() {
        disk(findings, "spool's disk", settings.spool.path.clone()).await;
    }
}

/// How full the disk is that holds `file`, or will, and whether it is one of this machine's.
pub(crate) async fn disk(findings: &mut Findings, check: &'static str, file: std::path::PathBuf) {
    let shown = file.display().to_string();
    let asked = timeout(DISK_WAIT, machine::disk(file)).await;
    let disk = match asked {
        Ok(Ok(disk)) => disk,
        Ok(Err(error)) => {
            return findings.fail(
                check,
                format!("{shown}: {error}"),
                "check that its folder can be read",
            );
        }
        Err(_) => {
            return findings.fail(
                check,
                format!("{shown}: no answer"),
                "check that its disk is mounted",
            );
        }
    };
    if let Some(kind) = disk.network {
        let hint = "put it on a local disk: network file systems may break the locks and syncs that SQLite needs";
        findings.warn(check, format!("{shown} is on {kind}"), hint);
    }
    let text = format!("{} MiB of {} MiB are free at {shown}", disk.free >> 20, disk.total >> 20);
    let hint = "free some space, or set `retention.events_days`";
    match disk.free {
        free if free < 100 << 20 => findings.fail(check, text, hint),
        free if free < 1 << 30 || free < disk.total / 10 => findings.warn(check, text, hint),
        _ => findings.ok(check, text),
    }
}

fn files(settings: &Settings, findings: &mut Findings) {
    const CHECK: &str = "open files";
    let needed = server::descriptors_needed(settings) as u64;
    match machine::open_files_max() {
        Some(limit) if limit < needed => {
            let text = format!(
                "this user's limit is {limit}, and `server.connections_max` = {} needs {needed}",
                settings.server.connections_max
            );
            let hint = "raise it for the server (`ulimit -n`, LimitNOFILE=, --ulimit nofile=), or lower the key";
            findings.warn(CHECK, text, hint);
        }
        Some(limit) => findings.ok(CHECK, format!("limit {limit}, needed {needed}")),
        None => findings.ok(CHECK, "no limit"),
    }
}

/// Whether nobody listens where it was asked.
fn is_refused(error: &anyhow::Error) -> bool {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(refused))
}

/// The server, where one runs.
async fn running(settings: &Settings, findings: &mut Findings) {
    const CHECK: &str = "server";
    let base = healthcheck::base(settings);
    match healthcheck::ask(&base, "readyz").await {
        Ok((true, said)) => match said.trim().strip_prefix("ok\n") {
            None => findings.ok(CHECK, format!("the one at {base} is ready")),
            Some(notices) => findings.warn(
                CHECK,
                format!("the one at {base} is ready; {}", notices.replace('\n', "; ")),
                "check its log",
            ),
        },
        Ok((false, said)) => {
            findings.fail(
                CHECK,
                format!("the one at {base} is not ready: {}", said.trim()),
                "check its log",
            );
        }
        // It need not run now.
        Err(error) if is_refused(&error) => findings.ok(CHECK, format!("none answers at {base}")),
        Err(error) => findings.fail(
            CHECK,
            format!("{base} gave an invalid response: {error:#}"),
            "check what listens there; if it is the server, check its log",
        ),
    }
}
