use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use uuid::Uuid;

use super::lists::cell;
use super::{ConfigArgs, StoreArgs, say};
use crate::callback::{AppId, Command, Family};
use crate::clock::{Clock, TIME_HINT, UnixMillis};
use crate::store::{self, EventFilter, Order, Store, StoredEvent};

/// List stored events.
///
/// The latest first; with `--follow`, new ones as they arrive. Reads the store itself, so it works beside a running
/// server and without one.
#[derive(Debug, Args)]
pub(super) struct Events {
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    limit: u32,
    /// One JSON object a line, with the whole body; `replay` reads it
    #[arg(long)]
    json: bool,
    /// Go on and show events as they arrive, those that happened within the last ten minutes
    #[arg(long, short, conflicts_with = "until")]
    follow: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Which stored events.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FilterArgs {
    /// Of this family: call, room, mic, live, group, follow, …
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Of this command, by its name or an alias
    #[arg(long, value_name = "NAME")]
    command: Option<String>,
    /// About this call
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// About this room
    #[arg(long, value_name = "ID")]
    room: Option<String>,
    /// Of this app
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// That happened at this time or later: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// That happened before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl FilterArgs {
    pub(super) fn filter(&self, now: UnixMillis) -> Result<EventFilter> {
        let names: Vec<_> = Family::ALL.iter().map(|family| family.as_str()).collect();
        if let Some(name) = self.family.as_deref().filter(|name| !names.contains(name)) {
            return Err(anyhow!("there is no family `{name}`\nhint: one of {}", names.join(", ")));
        }
        let app = self
            .app
            .as_deref()
            .map(|text| AppId::parse(text).ok_or_else(|| anyhow!("`--app {text}` is no SDKAppID")));
        let time = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
        let canonical =
            |name: &String| Command::find(name).map_or(name.clone(), |command| command.name.into());
        Ok(EventFilter {
            app: app.transpose()?,
            family: self.family.clone(),
            command: self.command.as_ref().map(canonical),
            call_id: self.call.clone(),
            room_id: self.room.clone(),
            since: time(&self.since)?,
            until: time(&self.until)?,
            ..EventFilter::default()
        })
    }
}

/// A date, a moment, or an age.
pub(super) fn time(text: &str, now: UnixMillis) -> Result<UnixMillis> {
    UnixMillis::parse(text, now).ok_or_else(|| anyhow!("`{text}` is no time\nhint: {TIME_HINT}"))
}

impl Events {
    pub(super) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), None)?;
        let mut filter = self.filter.filter(clock.now())?;
        filter.limit = self.limit;
        let store = store::open(&settings.store_options().to_read()).await?;
        let url = store::display_url(&settings.store.url);
        // What is there before the list is read: it is not news, and the list may be too short to hold it.
        let before =
            if self.follow { arrived(&store, &filter, clock.now()).await? } else { Vec::new() };
        let found = store.events(&filter).await;
        let mut found = found.with_context(|| format!("read the store {url}"))?;
        if self.follow {
            // The latest last, where the next ones will be.
            found.reverse();
        }
        self.show(&found, true)?;
        if self.follow {
            let seen = before.iter().chain(&found).map(|event| event.id).collect();
            return self.follow(&store, &filter, seen, clock).await;
        }
        if found.is_empty() {
            say(&format!("no event in {url} fits"));
        } else if found.len() >= self.limit as usize {
            say(&format!("these are the latest {}; `--limit` shows more", self.limit));
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
            let lines: Result<Vec<_>, _> = events.iter().map(serde_json::to_string).collect();
            let lines = lines?.into_iter().map(|line| line + "\n");
            return super::print(&lines.collect::<String>());
        }
        if events.is_empty() {
            return Ok(());
        }
        let columns = ["TIME", "FAMILY", "COMMAND", "CALL", "ROOM", "OPERATOR", "NOTE"];
        let mut table = super::table(if header { &columns } else { &[] });
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
        super::print(&format!("{}\n", table.trim_fmt()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_is_told_what_is() {
        let said = time("yesterday", UnixMillis(0)).unwrap_err().to_string();
        assert!(said.contains("`yesterday` is no time\nhint: give 2026-01-31"), "{said}");
    }
}
