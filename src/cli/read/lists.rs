//! Filters and output shared by the commands that list and show calls, rooms and events.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Serialize;

use crate::callback::AppId;
use crate::cli::args::{ConfigArgs, StoreArgs, app_id};
use crate::cli::output::{self, cell, json_lines, say};
use crate::clock::{TIME_HINT, UnixMillis};
use crate::store::{
    self, ANOMALY_KINDS, AnomalyFilter, CALL_MEDIA, CALL_RESULTS, CALL_STATES, CallFilter, List,
    ROOM_FAMILIES, ROOM_STATES, RoomFilter, Store, StoreError, StoredEvent,
};

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

/// Of which app, and from which time.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Span {
    /// Only this app (SDKAppID)
    #[arg(long, value_name = "ID", visible_alias = "sdk-app-id")]
    app: Option<String>,
    /// Only from this time on: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Span {
    pub(crate) fn app(&self) -> Result<Option<AppId>> {
        app_id(self.app.as_deref())
    }

    /// From when, and until when.
    pub(crate) fn times(&self, now: UnixMillis) -> Result<[Option<UnixMillis>; 2]> {
        let read = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
        let times = [read(&self.since)?, read(&self.until)?];
        if let [Some(since), Some(until)] = times
            && since > until
        {
            bail!(
                "`--since` is {since}, later than `--until`, {until}\nhint: give the earlier one as `--since`"
            );
        }
        Ok(times)
    }
}

/// Which calls.
#[derive(Debug, Clone, Args)]
pub(crate) struct CallArgs {
    /// Only in this state: ringing, active, ended, overdue (no end event in time)
    #[arg(long, value_name = "STATE", value_parser = words(CALL_STATES))]
    state: Option<String>,
    /// Only with this result: normal_end, not_answer, reject, cancel, call_busy, interrupt, offline
    #[arg(long, value_name = "RESULT", hide_possible_values = true, value_parser = words(CALL_RESULTS))]
    result: Option<String>,
    /// Only this medium: audio or video
    #[arg(long, value_name = "MEDIA", value_parser = words(CALL_MEDIA))]
    media: Option<String>,
    /// Only with this account as caller or callee
    #[arg(long, value_name = "ACCOUNT")]
    user: Option<String>,
    /// Only in this RTC room
    #[arg(long, value_name = "ID")]
    room: Option<String>,
    #[command(flatten)]
    span: Span,
}

impl CallArgs {
    pub(crate) fn filter(self, now: UnixMillis) -> Result<CallFilter> {
        let [since, until] = self.span.times(now)?;
        Ok(CallFilter {
            app: self.span.app()?,
            state: self.state,
            result: self.result,
            media: self.media,
            account: self.user,
            room_id: self.room,
            since,
            until,
            ..CallFilter::default()
        })
    }
}

/// Which sessions of rooms.
#[derive(Debug, Clone, Args)]
pub(crate) struct SessionArgs {
    /// Only in this state: open, ended, overdue (silent for long, without an end event)
    #[arg(long, value_name = "STATE", value_parser = words(ROOM_STATES))]
    state: Option<String>,
    /// Only the sessions of this room ID
    #[arg(long, value_name = "ID")]
    room: Option<String>,
    /// Only owned by this account
    #[arg(long, value_name = "ACCOUNT")]
    owner: Option<String>,
    #[command(flatten)]
    span: Span,
}

impl SessionArgs {
    pub(crate) fn filter(self, now: UnixMillis) -> Result<RoomFilter> {
        let [since, until] = self.span.times(now)?;
        Ok(RoomFilter {
            app: self.span.app()?,
            state: self.state,
            room_id: self.room,
            owner: self.owner,
            since,
            until,
            ..RoomFilter::default()
        })
    }
}

/// Which sessions of rooms, of either family.
#[derive(Debug, Clone, Args)]
pub(crate) struct RoomArgs {
    /// Only this family: room (conferences) or live
    #[arg(long, value_name = "FAMILY", value_parser = words(ROOM_FAMILIES))]
    family: Option<String>,
    #[command(flatten)]
    session: SessionArgs,
}

impl RoomArgs {
    pub(crate) fn filter(self, now: UnixMillis) -> Result<RoomFilter> {
        Ok(RoomFilter { family: self.family, ..self.session.filter(now)? })
    }
}

/// Which anomalies.
#[derive(Debug, Clone, Args)]
pub(crate) struct AnomalyArgs {
    /// Only this kind: call_without_end, leaves_missing, silence, …
    #[arg(long, value_name = "KIND", hide_possible_values = true, value_parser = words(ANOMALY_KINDS))]
    kind: Option<String>,
    /// Only about this call, room or family
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Only resolved (true) or only unresolved ones (false)
    #[arg(long, value_name = "BOOL")]
    resolved: Option<bool>,
    #[command(flatten)]
    span: Span,
}

impl AnomalyArgs {
    pub(crate) fn filter(self, now: UnixMillis) -> Result<AnomalyFilter> {
        let [since, until] = self.span.times(now)?;
        Ok(AnomalyFilter {
            app: self.span.app()?,
            kind: self.kind,
            subject: self.subject,
            resolved: self.resolved,
            since,
            until,
            ..AnomalyFilter::default()
        })
    }
}

/// Takes one of these words.
fn words(words: &'static [&'static str]) -> clap::builder::PossibleValuesParser {
    words.into()
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
        let (rows, more) = opened.read(list.part(&*opened.store, None, self.limit)).await?;
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

/// A date, a moment, or an age.
pub(crate) fn time(text: &str, now: UnixMillis) -> Result<UnixMillis> {
    UnixMillis::parse(text, now)
        .ok_or_else(|| anyhow!("`{text}` is not a valid time\nhint: {TIME_HINT}"))
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

#[cfg(test)]
mod tests {
    use crate::cli::read::lists::*;

    #[test]
    fn an_invalid_time_is_refused_with_a_hint() {
        let said = time("yesterday", UnixMillis(0)).unwrap_err().to_string();
        assert!(said.contains("`yesterday` is not a valid time\nhint: give 2026-01-31"), "{said}");
    }
}
