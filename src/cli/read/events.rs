use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use uuid::Uuid;

use crate::cli::output::{self, cell, json_lines, say};
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::read::lists::Source;
use crate::clock::Clock;
use crate::store::{EventFilter, Order, Store, StoredEvent};
use protocol::UnixMillis;

/// List stored events.
///
/// Newest first; with `--follow`, new ones as they arrive. Reads the store directly, so no server needs to run.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    filter: FilterArgs<EventFilter>,
    /// Maximum number of events
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Print JSON lines with the whole body, which `replay` reads
    #[arg(long)]
    json: bool,
    /// Keep running and print events as they arrive, unless they happened over ten minutes ago
    #[arg(long, short, conflicts_with = "until")]
    follow: bool,
    #[command(flatten)]
    source: Source,
}

impl Events {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let mut filter = self.filter.filter(clock.now())?;
        filter.limit = self.limit;
        let opened = self.source.open().await?;
        let (store, url) = (&opened.store, &opened.url);
        // What is there before the list is read: it is not news, and the list may be too short to hold it.
        let before =
            if self.follow { arrived(store, &filter, clock.now()).await? } else { Vec::new() };
        let mut found = opened.read(store.events(&filter)).await?;
        if self.follow {
            // The latest last, where the next ones will be.
            found.reverse();
        }
        self.show(&found, true)?;
        if self.follow {
            let seen = before.iter().chain(&found).map(|event| event.id).collect();
            return self.follow(store, &filter, seen, clock).await;
        }
        if found.is_empty() {
            say(&format!("no matching event in {url}"));
        } else if found.len() >= self.limit as usize {
            say(&format!("only the latest {} are shown; raise `--limit` for more", self.limit));
        }
        Ok(())
    }

    /// Looks every second for what has arrived, and shows what was not `seen`. Never returns, but by an error or a
    /// signal.
    async fn follow(
        &self,
        store: &Arc<dyn Store>,
        filter: &EventFilter,
        mut seen: HashSet<Uuid>,
        clock: &Clock,
    ) -> Result<()> {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let found = arrived(store, filter, clock.now()).await?;
            let ids = found.iter().map(|event| event.id).collect();
            let new = found.into_iter().filter(|event| !seen.contains(&event.id));
            self.show(&new.collect::<Vec<_>>(), false)?;
            // Only what the next look can find again has to be remembered.
            seen = ids;
        }
    }

    fn show(&self, events: &[StoredEvent], header: bool) -> Result<()> {
        if self.json {
            return output::print_json(&json_lines(events)?);
        }
        if events.is_empty() {
            return Ok(());
        }
        let columns = ["TIME", "FAMILY", "COMMAND", "CALL", "ROOM", "OPERATOR", "NOTE"];
        let mut table = output::table(if header { &columns } else { &[] });
        for event in events {
            table.add_row([
                event.event_time.to_string(),
                event.family.clone(),
                cell(Some(&event.command)),
                cell(event.call_id.as_deref()),
                cell(event.room_id.as_deref()),
                cell(event.operator.as_deref()),
                note(event),
            ]);
        }
        output::print(&format!("{}\n", table.trim_fmt()))
    }
}

/// What has arrived lately, and happened within the last ten minutes. Rows become visible some time after their
/// `received_at`, so each look goes back much further than to the last one.
async fn arrived(
    store: &Arc<dyn Store>,
    filter: &EventFilter,
    now: UnixMillis,
) -> Result<Vec<StoredEvent>> {
    const HAPPENED: i64 = 10 * 60 * 1000;
    const ARRIVED: i64 = 10 * 1000;
    const PAGE: u32 = 1000;
    let mut filter = EventFilter {
        since: Some(UnixMillis(now.0 - HAPPENED)),
        received_since: Some(UnixMillis(now.0 - ARRIVED)),
        order: Order::Oldest { after: None },
        limit: PAGE,
        ..filter.clone()
    };
    let mut found = Vec::new();
    loop {
        let page = store.events(&filter).await.context("read the store")?;
        let last = page.last().map(|event| (event.event_time, event.id));
        let full = page.len() >= PAGE as usize;
        found.extend(page);
        if !full {
            return Ok(found);
        }
        filter.order = Order::Oldest { after: last };
    }
}

/// What one should know of an event beside its columns.
fn note(event: &StoredEvent) -> String {
    match (&event.decode_error, &event.command_sent) {
        (Some(reason), _) => cell(Some(&format!("undecoded: {reason}"))),
        (None, Some(sent)) => cell(Some(&format!("sent as {sent}"))),
        (None, None) => String::new(),
    }
}
