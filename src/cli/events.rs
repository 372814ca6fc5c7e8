use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use uuid::Uuid;

use super::lists::cell;
use super::{ConfigArgs, StoreArgs, say};
use crate::callback::{AppId, Command, Family};
use crate::clock::{Clock, UnixMillis};
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
    let moment = text.parse::<jiff::Timestamp>().or_else(|error| {
        let day = text.parse::<jiff::civil::Date>().map_err(|_| error)?;
        day.to_zoned(jiff::tz::TimeZone::UTC).map(|day| day.timestamp())
    });
    if let Ok(moment) = moment {
        return Ok(UnixMillis(moment.as_millisecond()));
    }
    let hint = "give 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d";
    let unread = || anyhow!("`{text}` is no time\nhint: {hint}");
    let age = text.parse::<jiff::Span>().map_err(|_| unread())?;
    let utc = jiff::SpanRelativeTo::days_are_24_hours();
    let millis = age.abs().total((jiff::Unit::Millisecond, utc)).map_err(|_| unread())?;
    #[expect(clippy::cast_possible_truncation, reason = "ages are far below 2^53 ms")]
    Ok(UnixMillis(now.0.saturating_sub(millis as i64)))
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
    fn a_time_is_a_date_a_moment_or_an_age() {
        let now = UnixMillis(1_769_846_400_000);
        let read = |text| time(text, now).map(|time| time.to_string());
        assert_eq!(read("2026-01-31").unwrap(), "2026-01-31T00:00:00.000Z");
        assert_eq!(read("2026-01-31T09:00:00+01:00").unwrap(), "2026-01-31T08:00:00.000Z");
        assert_eq!(read("30m").unwrap(), "2026-01-31T07:30:00.000Z");
        assert_eq!(read("7d").unwrap(), "2026-01-24T08:00:00.000Z");
        for text in ["", "yesterday", "1769846400000", "2026-13-01"] {
            assert!(read(text).unwrap_err().to_string().contains("hint:"), "{text}");
        }
    }
}
