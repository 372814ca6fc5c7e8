use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::cli::output::{self, progress_bar, say};
use crate::store;
use protocol::diagnostic::{Diagnostic, Hint};

/// Back up a SQLite store, also while a server writes to it.
///
/// The backup is a consistent snapshot with every event that was stored before, readable by this user only. It is written
/// to FILE.partial and renamed when it is complete and synced to disk; the next backup to the same FILE replaces what an
/// interrupted one left. Nothing else is overwritten. Events that wait in the spool are not included.
///
/// For PostgreSQL use pg_dump.
#[derive(Debug, Args)]
pub(crate) struct BackupStore {
    /// File to create; it must not exist yet
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl BackupStore {
    pub(crate) async fn run(self) -> Result<()> {
        let settings = self.config.load(Some(&self.store), None)?;
        let url = store::display_url(&settings.store.url);
        let backup = store::Backup::begin(&settings.store_options().to_read(), &self.file).await?;
        let bar = progress_bar(
            Some(backup.bytes()),
            "{bar:30} {bytes}/{total_bytes}  {elapsed} elapsed, {eta} left",
        );
        let done = backup.run(|bytes| bar.set_position(bytes)).await;
        bar.finish_and_clear();
        let bytes = done?;
        output::print(&format!("copied {url} to {}: {bytes} bytes\n", self.file.display()))?;
        say_of_spool(&settings.spool.path).await;
        Ok(())
    }
}

/// Says so where events are not in the copy because they wait in the spool.
async fn say_of_spool(path: &Path) {
    if path.as_os_str().is_empty() {
        return;
    }
    let shown = path.display();
    match store::examine_spool(path).await {
        Ok(Some(found)) if found.size.events > 0 => {
            let problem = format!(
                "{} events wait in the spool {shown} and are not in the copy",
                found.size.events
            );
            let hint = "a running server stores them as soon as the store accepts writes; back up again then";
            say(&Diagnostic::new(problem, hint).to_string());
        }
        Ok(_) => {}
        Err(error) => say(&format!("cannot inspect the spool {shown}: {}", error.diagnostic())),
    }
}
