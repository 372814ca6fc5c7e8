//! Output shared by the commands that list and show calls, rooms and events.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::cli::output::{self, cell, json_lines, say};
use crate::store::{self, List, Store, StoreError, StoredEvent};
use protocol::UnixMillis;

/// The store that is read.
#[derive(Debug, Args)]
pub(crate) struct Source {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// An open store, and how it is called.
pub(crate) struct OpenStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) url: String,
}

impl Source {
    pub(crate) async fn open(&self) -> Result<OpenStore> {
        let settings = self.config.load(Some(&self.store), None)?;
        let store = store::open(&settings.store_options().to_read()).await?;
        Ok(OpenStore { store, url: store::display_url(&settings.store.url) })
    }
}

impl OpenStore {
    /// What the store says, or that it was not read.
    pub(crate) async fn read<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T> {
        question.await.with_context(|| format!("read the store {}", self.url))
    }
}

/// How much of a list is shown, and how.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Maximum number of rows
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

impl ListArgs {
    /// Prints the beginning of a list, whose rows are called `what`, as lines of JSON or as what `table` makes of it.
    pub(crate) async fn print<L: List<Row: Serialize>>(
        &self,
        list: &L,
        what: &str,
        table: impl FnOnce(&[L::Row]) -> String,
    ) -> Result<()> {
        let opened = self.source.open().await?;
        let (rows, more) = opened.read(list.part(&*opened.store, (None, self.limit))).await?;
        if self.json {
            output::print_json(&json_lines(&rows)?)?;
        } else if rows.is_empty() {
            say(&format!("no matching {what} in {}", opened.url));
        } else {
            output::print(&table(&rows))?;
        }
        let shown = rows.len();
        if more.is_some() && shown < self.limit as usize {
            say(&format!("only the latest {shown} are shown, as they are large; `export` has all"));
        } else if more.is_some() && !self.json {
            say(&format!("only the latest {} are shown; raise `--limit` for more", self.limit));
        }
        Ok(())
    }
}

/// The names of lists that are cut.
pub(crate) fn cut(lists: &[(&'static str, bool)]) -> Vec<&'static str> {
    lists.iter().filter(|(_, is_cut)| *is_cut).map(|(name, _)| *name).collect()
}

/// Every event in the order it happened, with the order in which they arrived beside it, and what each says.
pub(crate) fn timeline(events: Vec<StoredEvent>) -> String {
    let places = store::arrivals(&events);
    let began = events.first().map_or(UnixMillis(0), |event| event.event_time);
    let mut table = output::table(&["HAPPENED", "AFTER", "ARRIVED", "LATE BY", "WHAT"]);
    for (event, place) in events.into_iter().zip(places) {
        let after = event.event_time.since(began).as_secs_f64();
        let late = event.received_at.since(event.event_time).as_secs_f64();
        let (happened, command) = (event.event_time.to_string(), event.command.clone());
        let mut said = crate::projections::describe::tell(&event.into_event());
        if said.is_empty() {
            said.push(command);
        }
        let said = said.iter().map(|said| cell(Some(said))).collect::<Vec<_>>().join("\n");
        table.add_row([
            happened,
            format!("{after:.1} s"),
            format!("{place}."),
            format!("{late:.1} s"),
            said,
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
