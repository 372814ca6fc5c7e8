use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tokio::time::{Instant, sleep};

use crate::cli::args::{ConfigArgs, StoreArgs, app_id};
use crate::cli::output::{self, progress_bar, say};
use crate::cli::prompt;
use crate::clock::Clock;
use crate::rebuild;
use crate::store::{self, Accounts, Change, Erasing, Record, Table};
use protocol::diagnostic::{Diagnostic, Hint};
use protocol::redact::Erasure;
use protocol::{AppId, event_id};

/// How many rows are looked at, and changed, at once.
const BATCH_ROWS: u32 = 500;
/// Rows of calls and rooms at once: events that touch the same ones wait for them.
const MODEL_ROWS: u32 = 20;
/// The shortest pause behind a change. It is as long as the change took, where that is longer: events go first.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// What else may hold the account.
const NOT_COVERED: &str = "not covered: events in a server's spool, damaged spool records and files, backups, logs and \
     error logs, exports, and old row versions that the database keeps until it is vacuumed";

/// Erase an account from all stored data.
///
/// A pseudonym replaces the account in every event: in the columns, and wherever a JSON string or key in the body equals
/// the account, or an integer in a field for accounts does. IP address and platform are removed from events in which the
/// account acted. In calls, room sessions and live sessions the pseudonym replaces the account too, also with `--delete`. Text that only
/// mentions the account is left unchanged. Events keep their ids, so a duplicate is still recognised.
///
/// The server may keep running. If the command was interrupted, or events arrived while it ran, run it again with the same
/// `--pseudonym`.
#[derive(Debug, Args)]
pub(crate) struct EraseUser {
    /// The account (UserID), exactly as the vendor sends it
    account: String,
    /// The user's app; without it, the account is erased from the events of all apps
    #[arg(long, value_name = "ID", visible_alias = "sdk-app-id")]
    app: Option<String>,
    /// Delete the events in which the account acted instead of rewriting them
    #[arg(long)]
    delete: bool,
    /// Only count the affected rows; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Pseudonym that replaces the account [default: erased- and random digits]
    #[arg(long, value_name = "NAME")]
    pseudonym: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// How many rows were, or would be, changed.
#[derive(Default)]
struct Counts {
    events: u64,
    events_deleted: u64,
    parked: u64,
    parked_deleted: u64,
    models: u64,
}

impl EraseUser {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), None)?;
        let pseudonym = self.pseudonym.clone().unwrap_or_else(|| random_pseudonym(clock));
        let erasure = Erasure::new(&self.account, &pseudonym).ok_or_else(|| {
            anyhow!(Diagnostic::new("the account is empty, or the pseudonym has other characters than letters, digits and `-`", "see `--help`"))
        })?;
        let app = app_id(self.app.as_deref())?;
        let url = store::display_url(&settings.store.url);
        self.confirm(&url, &pseudonym)?;
        let options = settings.store_options().to_read();
        if !self.dry_run {
            forget_rebuild(&options, &url).await?;
        }
        let accounts = store::accounts(&options).await;
        let mut accounts = accounts.with_context(|| format!("open the store {url}"))?;
        let partly = || {
            let again = format!("run it again with `--pseudonym {pseudonym}`");
            format!("erase in the store {url}, partly done; {again}")
        };
        let mut counts = Counts::default();
        for table in Table::ALL {
            let done = self.erase(&mut accounts, table, app, &erasure, &mut counts).await;
            done.with_context(partly)?;
        }
        for table in store::model_tables() {
            let erasing =
                Erasing { table, erasure: &erasure, app, dry_run: self.dry_run, limit: MODEL_ROWS };
            let done = self.erase_models(&mut accounts, &erasing, &mut counts).await;
            done.with_context(partly)?;
        }
        if !self.dry_run {
            accounts.forget_answers().await.with_context(partly)?;
        }
        self.report(&counts, &pseudonym)?;
        warn_of_spool(&settings.spool.path, &pseudonym).await;
        Ok(())
    }

    fn confirm(&self, url: &str, pseudonym: &str) -> Result<()> {
        if self.dry_run {
            return Ok(());
        }
        say(&format!("in {url}, {pseudonym} will replace this account; this cannot be undone"));
        if self.delete {
            say("every event in which the account acted will be deleted");
        }
        if self.yes {
            return Ok(());
        }
        prompt::confirm("give `--yes`, or `--dry-run` to count")
    }

    async fn erase(
        &self,
        accounts: &mut Accounts,
        table: Table,
        app: Option<AppId>,
        erasure: &Erasure,
        counts: &mut Counts,
    ) -> Result<()> {
        let bar = progress_bar(
            Some(accounts.rows(table).await?),
            "{bar:30} {pos}/{len} rows  {elapsed} elapsed, {eta} left",
        );
        let mut after = None;
        loop {
            let scan = accounts.scan(table, &self.account, after, BATCH_ROWS).await?;
            // What does not say its app is erased too: it holds a user of this one perhaps.
            let of_app =
                |record: &&Record| app.is_none_or(|app| record.app().is_none_or(|of| of == app));
            let records = scan.records.iter().filter(of_app);
            let changes: Vec<Change> =
                records.filter_map(|record| record.erased(erasure, self.delete)).collect();
            if !changes.is_empty() && !self.dry_run {
                let begun = Instant::now();
                accounts.change(&changes).await?;
                sleep(begun.elapsed().max(PAUSE_MIN)).await;
            }
            counts.add(&changes);
            bar.inc(scan.passed);
            after = scan.last;
            if after.is_none() {
                bar.finish_and_clear();
                return Ok(());
            }
        }
    }

    async fn erase_models(
        &self,
        accounts: &mut Accounts,
        erasing: &Erasing<'_>,
        counts: &mut Counts,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let begun = Instant::now();
            let erased = accounts.erase_rows(erasing, &self.account, after.as_ref()).await?;
            counts.models += erased.rows;
            after = erased.last;
            if after.is_none() {
                return Ok(());
            }
            sleep(begun.elapsed().max(PAUSE_MIN)).await;
        }
    }

    fn report(&self, counts: &Counts, pseudonym: &str) -> Result<()> {
        let Counts { events, events_deleted, parked, parked_deleted, models } = counts;
        let (would, name) = if self.dry_run {
            ("would have ", String::new())
        } else {
            ("", format!("the pseudonym is {pseudonym}\n"))
        };
        output::print(&format!(
            "{would}changed {events} events and {parked} parked ones\n\
             {would}deleted {events_deleted} events and {parked_deleted} parked ones\n\
             {would}changed {models} rows of calls, room sessions and live sessions\n{name}"
        ))?;
        if counts.is_empty() {
            say(
                "no such account was found: it is case-sensitive and must be given exactly as the vendor sends it",
            );
        }
        say(NOT_COVERED);
        Ok(())
    }
}

/// One that was broken off holds the account too; one that goes on would bring it back.
async fn forget_rebuild(options: &store::StoreOptions, url: &str) -> Result<()> {
    let forgotten = rebuild::forget(options).await;
    if !forgotten.with_context(|| format!("open the store {url}"))? {
        bail!(Diagnostic::new(
            format!("a rebuild of the store {url} is running; nothing was changed"),
            "wait until it has finished"
        ));
    }
    Ok(())
}

/// Says so where events wait in the spool of the server of this configuration: they may be of the account.
async fn warn_of_spool(path: &Path, pseudonym: &str) {
    if path.as_os_str().is_empty() {
        return;
    }
    let shown = path.display();
    match store::examine_spool(path).await {
        Ok(Some(found)) if found.size.events > 0 => say(&format!(
            "{} events wait in the spool {shown}: when they are stored, run this again with `--pseudonym {pseudonym}`",
            found.size.events
        )),
        Ok(_) => {}
        Err(error) => say(&format!("cannot inspect the spool {shown}: {}", error.diagnostic())),
    }
}

impl Counts {
    fn is_empty(&self) -> bool {
        let Self { events, events_deleted, parked, parked_deleted, models } = self;
        events + events_deleted + parked + parked_deleted + models == 0
    }

    fn add(&mut self, changes: &[Change]) {
        for change in changes {
            *match change {
                Change::Event(_) => &mut self.events,
                Change::DeleteEvent(_) => &mut self.events_deleted,
                Change::Parked { .. } => &mut self.parked,
                Change::DeleteParked(_) => &mut self.parked_deleted,
            } += 1;
        }
    }
}

fn random_pseudonym(clock: &Clock) -> String {
    // These bytes of such an id are random.
    format!("erased-{}", hex::encode(&event_id::unique(clock.now()).as_bytes()[10..]))
}
