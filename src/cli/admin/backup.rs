use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::cli::output::{self, say};
use crate::store;

/// Copy a SQLite store, beside the server that writes it.
///
/// The copy is the store as it was at one moment, with every event that was answered before, readable by this user only. It
/// has its name when it is whole and on the disk; until then it is FILE.partial, which a next backup to the same FILE
/// takes over when this one was broken off. Nothing is overwritten. Events that wait in the spool are not in it.
///
/// A PostgreSQL is copied with its own program, pg_dump.
#[derive(Debug, Args)]
pub(crate) struct BackupStore {
    /// Where the copy goes; nothing may be there yet
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
        let bar = progress(backup.bytes());
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
        Ok(Some(found)) if found.size.events > 0 => say(&format!(
            "{} events wait in the spool {shown} and are not in the copy\n\
             hint: a server stores them when it runs and the store takes them; make another copy then",
            found.size.events
        )),
        Ok(_) => {}
        Err(error) => say(&format!("cannot look into the spool {shown}: {error}")),
    }
}

fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = "{bar:30} {bytes}/{total_bytes}  {elapsed} gone, {eta} to go";
    bar.set_style(ProgressStyle::with_template(template).expect("the template above is valid"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
