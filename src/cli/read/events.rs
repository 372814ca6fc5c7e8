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
use crate::store::{EventFilter, FeedLimit, FeedPage, FeedRead, Position, Store, StoredEvent};

/// List stored events.
///
/// Newest first; with `--follow`, new ones as they are stored. Reads the store directly, so no server needs to run.
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
    /// Keep running and print events as they are stored, also those that happened long ago
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
        // Before the list is read: what is stored meanwhile may be in both.
        let after =
            if self.follow { Some(opened.read(store.feed_span()).await?.end) } else { None };
        let mut found = opened.read(store.events(&filter)).await?;
        if let Some(after) = after {
            // The latest last, where the next ones will be.
            found.reverse();
            self.show(&found, true)?;
            let shown = found.iter().map(|event| event.id).collect();
            return self.follow(store, &filter, after, shown).await;
        }
        self.show(&found, true)?;
        if found.is_empty() {
            say(&format!("no matching event in {url}"));
        } else if found.len() >= self.limit as usize {
            say(&format!("only the latest {} are shown; raise `--limit` for more", self.limit));
        }
        Ok(())
    }

    /// Looks every second for events that were stored after a position, and shows those that are not `shown` yet. Never
    /// returns, but by an error or a signal.
    async fn follow(
        &self,
        store: &Arc<dyn Store>,
        filter: &EventFilter,
        mut after: Position,
        mut shown: HashSet<Uuid>,
    ) -> Result<()> {
        loop {
            let read = store.events_after(after, FeedLimit::default()).await;
            match read.context("read the store")? {
                FeedRead::Page(FeedPage { events, next, unreadable, is_end, .. }) => {
                    for (_, id) in unreadable {
                        say(&format!("event {id} cannot be read"));
                    }
                    let events = events.into_iter().map(|(_, event)| event);
                    let new = events.filter(|event| filter.matches(event));
                    let new = new.filter(|event| !shown.remove(&event.id));
                    self.show(&new.collect::<Vec<_>>(), false)?;
                    after = next;
                    if is_end {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                FeedRead::Outside(span) => {
                    say("some events were missed: their positions are no longer kept");
                    after = span.start;
                }
            }
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

/// What one should know of an event beside its columns.
fn note(event: &StoredEvent) -> String {
    match (&event.decode_error, &event.command_sent) {
        (Some(reason), _) => cell(Some(&format!("undecoded: {reason}"))),
        (None, Some(sent)) => cell(Some(&format!("sent as {sent}"))),
        (None, None) => String::new(),
    }
}
