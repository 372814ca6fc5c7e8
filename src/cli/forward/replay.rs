use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Serialize;
use tokio::signal::ctrl_c;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::cli::forward::place::{Place, is_served, named, time};
use crate::cli::output::{self, say};
use crate::store::{
    self, DestinationRow, ForwardingConnection, QueuedReplay, REPLAYS_MAX, ReplayEvent, ReplayStep,
};
use forward::event_columns::Subject;
use forward::filter::{Filter, FilterKey, Words};
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How many events are added at once.
const PAGE_EVENTS: u32 = 500;
/// How many are counted at once.
const COUNT_PAGE_EVENTS: u32 = 5_000;
/// How often it is looked whether events were sent.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it is said how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// For how long nobody may forward: a takeover takes less.
const UNSERVED_MAX: Duration = Duration::from_secs(5);

/// Send stored events to a destination again
///
/// The events have the ids that they had before, and the header `trtc-replay: 1`.
/// A server that has the destination sends them beside new ones, at half of its
/// `rate_max` at most. A replay does not change the destination's state,
/// and the destination's filters apply.
///
/// At most 5000 events wait at a time: the command adds more as they are sent,
/// and ends with the last one. If it is interrupted, the same command continues.
///
/// Examples:
///   trtc-callbacks forward replay billing --since 2h --dry-run
///   trtc-callbacks forward replay billing --since 2026-11-28 --until 2026-11-29
///   trtc-callbacks forward replay billing --since 7d --command 'Call.*' --rate 50
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Replay {
    /// Name of the destination
    name: String,
    /// Events received since then: a time, or an age (30m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: String,
    /// Events received until then [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
    /// Only this command, or commands with this beginning (`Call.*`); may be repeated
    #[arg(long, value_name = "NAME")]
    command: Vec<String>,
    /// At most this many events per second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Count the events and send none
    #[arg(long)]
    dry_run: bool,
    /// Replace a replay that has not ended
    #[arg(long, conflicts_with = "dry_run")]
    restart: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// How far it is, as it is shown.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Progress {
    destination: String,
    /// State of the destination.
    state: String,
    is_done: bool,
    read: i64,
    queued: i64,
    pending: u32,
    not_chosen: i64,
    filtered: i64,
    to_come: i64,
}

impl Replay {
    pub(crate) async fn run(self) -> Result<()> {
        let (settings, mut connection) = self.place.open().await?;
        let row = named(&mut connection, &self.name).await?;
        let filter = settings.destination_filter(&self.name)?.ok_or_else(|| {
            anyhow!(Diagnostic::new(
                format!("`{}` is not in this configuration", self.name),
                "give the server's configuration with `--config`: its filters say which events are sent"
            ))
        })?;
        let commands = Words::compile(&self.command).context("read `--command`")?;
        let chooser = Chooser {
            commands: Filter { commands, ..Filter::default() },
            filter,
            to_come: connection.events_to_come(&self.name).await.context("read the backlog")?,
        };
        let asked = self.asked(row.now)?;
        if self.dry_run {
            return self.count(connection, asked, &chooser, &row).await;
        }
        let Some(replay) = self.begin(&mut connection, asked).await? else { return Ok(()) };
        tokio::select! {
            done = self.forward(connection, replay, &chooser) => done,
            _ = ctrl_c() => bail!(Diagnostic::new(
                "stopped: events that were added are sent, and the others are not",
                "the same command goes on",
            )),
        }
    }

    fn asked(&self, now: UnixMillis) -> Result<store::Replay> {
        let moment = |text: &String| UnixMillis::parse(text, now).context("read a time");
        let (since, until) = (moment(&self.since)?, self.until.as_ref().map(moment));
        let until = until.transpose()?.unwrap_or(now).min(now);
        if since >= until {
            bail!(Diagnostic::new(
                format!("no event was received from {since} until {until}"),
                "give a `--since` before `--until`, and before now"
            ));
        }
        Ok(store::Replay::new(self.definition(), since, until))
    }

    /// What was asked for, as options.
    fn definition(&self) -> String {
        let until = self.until.iter().map(|until| format!(" --until {until}"));
        let commands = self.command.iter().map(|command| format!(" --command '{command}'"));
        let since = format!("--since {}", self.since);
        std::iter::once(since).chain(until).chain(commands).collect()
    }

    /// The replay that goes on or begins; `None` where it has ended meanwhile.
    async fn begin(
        &self,
        connection: &mut ForwardingConnection,
        asked: store::Replay,
    ) -> Result<Option<store::Replay>> {
        let name = &self.name;
        let found = connection.replay(name).await.context("read the replay")?;
        let pending = connection.pending_replays(name).await.context("count replays")?;
        if let Some(found) = found.filter(|_| !self.restart) {
            let is_over = found.is_read && pending == 0;
            let is_same = found.definition == asked.definition;
            let (since, until) = (found.since, found.until);
            if is_same && is_over {
                say(&format!("the replay of {since} until {until} has ended meanwhile"));
                self.end(connection, &found).await?;
                return Ok(None);
            }
            if is_same {
                say(&format!("going on with the replay of {since} until {until}"));
                return Ok(Some(found));
            }
            if !is_over {
                let command = format!("`forward replay {name} {}`", found.definition);
                bail!(Diagnostic::new(
                    format!("another replay of {name} has not ended: {command}"),
                    "run that one again, or give `--restart` to begin this one in its place"
                ));
            }
        }
        if !connection.begin_replay(name, &asked).await.context("begin the replay")? {
            bail!(removed(name));
        }
        say(&format!("replaying what was received from {} until {}", asked.since, asked.until));
        Ok(Some(asked))
    }

    /// Adds events as those before them are sent, until all are.
    async fn forward(
        &self,
        mut connection: ForwardingConnection,
        mut replay: store::Replay,
        chooser: &Chooser,
    ) -> Result<()> {
        let name = &self.name;
        let page_events = self.rate.map_or(PAGE_EVENTS, |rate| rate.min(PAGE_EVENTS));
        let (mut told, mut told_at, mut served_at) = (None, Instant::now(), Instant::now());
        let mut schedule: Option<Schedule> = None;
        loop {
            let pending = connection.pending_replays(name).await.context("count replays")?;
            let row = named(&mut connection, name).await?;
            if told_at.elapsed() >= TELL_EVERY {
                told_at = Instant::now();
                let progress = Some(self.progress(&replay, pending, &row));
                if told != progress {
                    self.tell(progress.as_ref())?;
                    told = progress;
                }
            }
            if is_served(&row) {
                served_at = Instant::now();
            }
            let is_unserved = served_at.elapsed() >= UNSERVED_MAX;
            let schedule =
                schedule.get_or_insert_with(|| Schedule::new(self.rate, pending, row.now));
            let has_room = pending.saturating_add(page_events) <= REPLAYS_MAX;
            if !replay.is_read && has_room && schedule.is_due(row.now) {
                replay = self
                    .step(&mut connection, replay, chooser, schedule, (page_events, row.now))
                    .await?;
                continue;
            }
            if replay.is_read && pending == 0 {
                return self.end(&mut connection, &replay).await;
            }
            if is_unserved && !replay.is_read {
                bail!(Diagnostic::new(
                    format!(
                        "no server forwards to {name}: {pending} events wait, and there are more"
                    ),
                    format!(
                        "start a server that has {name}, then give the same command: it goes on"
                    ),
                ));
            }
            if is_unserved {
                say(&format!(
                    "{pending} events wait: nothing is sent until a server forwards to {name}"
                ));
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Reads a page and adds those of it that are to be sent.
    async fn step(
        &self,
        connection: &mut ForwardingConnection,
        before: store::Replay,
        chooser: &Chooser,
        schedule: &mut Schedule,
        (page_events, now): (u32, UnixMillis),
    ) -> Result<store::Replay> {
        let page = connection.replay_page(&before, page_events).await.context("read events")?;
        let mut after = before.clone();
        after.is_read = page.len() < page_events as usize;
        let mut events = Vec::with_capacity(page.len());
        for event in &page {
            if chooser.takes(event, &mut after) {
                let subject =
                    Subject::of(event.app, event.call_id.as_deref(), event.room_id.as_deref());
                let subject_hash = subject.map(|subject| subject.0);
                events.push(QueuedReplay {
                    id: event.id,
                    subject_hash,
                    next_at: schedule.next(now),
                });
            }
        }
        let name = &self.name;
        match connection
            .add_replays(name, (&before, &after), &events)
            .await
            .context("add events")?
        {
            ReplayStep::Added(_) => {}
            ReplayStep::Overtaken => say("another command goes on with this replay, too"),
            ReplayStep::NoDestination => bail!(removed(name)),
        }
        let found = connection.replay(name).await.context("read the replay")?;
        found.filter(|found| found.definition == after.definition).ok_or_else(|| {
            anyhow!(Diagnostic::new(
                format!("the replay of {name} was ended or replaced by another command"),
                "`forward status` shows what is under way"
            ))
        })
    }

    async fn end(
        &self,
        connection: &mut ForwardingConnection,
        replay: &store::Replay,
    ) -> Result<()> {
        let is_whole = self.command.is_empty();
        connection.end_replay(&self.name, replay, is_whole).await.context("end the replay")?;
        let row = named(connection, &self.name).await?;
        let progress = Progress { is_done: true, ..self.progress(replay, 0, &row) };
        self.tell(Some(&progress))?;
        let dead = connection.backlog(&self.name).await.context("count dead letters")?.dead;
        if dead > 0 {
            say(&format!(
                "{0} has {dead} dead letters: `forward status {0}` says what to do",
                self.name
            ));
        }
        Ok(())
    }

    /// Counts what would be sent.
    async fn count(
        &self,
        mut connection: ForwardingConnection,
        mut replay: store::Replay,
        chooser: &Chooser,
        row: &DestinationRow,
    ) -> Result<()> {
        while !replay.is_read {
            let page = connection.replay_page(&replay, COUNT_PAGE_EVENTS).await;
            let page = page.context("read events")?;
            replay.is_read = page.len() < COUNT_PAGE_EVENTS as usize;
            for event in &page {
                let is_taken = chooser.takes(event, &mut replay);
                replay.counts.queued += i64::from(is_taken);
            }
        }
        let progress = self.progress(&replay, 0, row);
        if self.json {
            return output::print_json(&output::json_lines(&[progress])?);
        }
        output::print(&format!(
            "{} would be sent again to {}; {}\n",
            events(progress.queued),
            self.name,
            progress.others()
        ))
    }

    fn progress(&self, replay: &store::Replay, pending: u32, row: &DestinationRow) -> Progress {
        let counts = replay.counts;
        Progress {
            destination: self.name.clone(),
            state: row.state.state.clone(),
            is_done: false,
            read: counts.read,
            queued: counts.queued,
            pending,
            not_chosen: counts.not_chosen,
            filtered: counts.filtered,
            to_come: counts.to_come,
        }
    }

    fn tell(&self, progress: Option<&Progress>) -> Result<()> {
        let Some(progress) = progress else { return Ok(()) };
        if self.json {
            return output::print_json(&output::json_lines(&[progress])?);
        }
        say(&progress.text());
        Ok(())
    }
}

impl Progress {
    fn text(&self) -> String {
        if self.is_done {
            let sent = events(self.queued);
            return format!("done: {sent} went to {} again; {}", self.destination, self.others());
        }
        let state = match self.state.as_str() {
            "running" => String::new(),
            state => format!("; {} is {state}", self.destination),
        };
        format!(
            "{} read, {} added, {} of them wait{state}",
            events(self.read),
            self.queued,
            self.pending
        )
    }

    fn others(&self) -> String {
        format!(
            "of {} received then, {} have another command, {} do not match its filters, and {} are in its backlog",
            events(self.read),
            self.not_chosen,
            self.filtered,
            self.to_come
        )
    }
}

fn events(count: i64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

/// Which events are sent again.
struct Chooser {
    commands: Filter,
    filter: Filter,
    to_come: HashSet<Uuid>,
}

impl Chooser {
    /// Whether this one is. The replay has read it, and counts it where it is not.
    fn takes(&self, event: &ReplayEvent, replay: &mut store::Replay) -> bool {
        let key = FilterKey {
            app: event.app,
            family: &event.family,
            command: &event.command,
            room_id: event.room_id.as_deref(),
            call_id: event.call_id.as_deref(),
            is_derived: false,
        };
        replay.at = (event.received_at, event.id);
        let counts = &mut replay.counts;
        counts.read += 1;
        let counter = if !self.commands.fits_key(&key) {
            &mut counts.not_chosen
        } else if !self.filter.fits_key(&key) {
            &mut counts.filtered
        } else if self.to_come.contains(&event.id) {
            &mut counts.to_come
        } else {
            return true;
        };
        *counter += 1;
        false
    }
}

/// When events are sent at the earliest.
struct Schedule {
    /// The time of one event, in µs; 0 where there is no limit.
    event_us: i64,
    /// When the next one is due, in µs since 1970.
    next_us: i64,
}

impl Schedule {
    /// Behind those that wait already.
    fn new(rate: Option<u32>, pending: u32, now: UnixMillis) -> Self {
        let event_us = rate.map_or(0, |rate| 1_000_000 / i64::from(rate.max(1)));
        let next_us = now.0.saturating_mul(1000).saturating_add(event_us * i64::from(pending));
        Self { event_us, next_us }
    }

    /// Whether more events are needed: within the next second they would be due.
    fn is_due(&self, now: UnixMillis) -> bool {
        self.event_us == 0 || self.next_us <= now.0.saturating_add(1000).saturating_mul(1000)
    }

    fn next(&mut self, now: UnixMillis) -> UnixMillis {
        let due = self.next_us.max(now.0.saturating_mul(1000));
        self.next_us = due.saturating_add(self.event_us);
        UnixMillis(due / 1000)
    }
}

/// The destination is there no more.
fn removed(name: &str) -> Diagnostic {
    Diagnostic::new(
        format!("the destination `{name}` was removed meanwhile"),
        "`forward status` lists those that are left",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_spreads_events_and_asks_for_more_in_time() {
        let now = UnixMillis(1_795_943_259_000);
        let mut schedule = Schedule::new(Some(4), 2, now);
        let due: Vec<i64> = (0..3).map(|_| schedule.next(now).0 - now.0).collect();
        assert_eq!(due, [500, 750, 1000], "behind the two that wait");
        assert!(!schedule.is_due(now) && schedule.is_due(now.plus(Duration::from_millis(250))));
        let mut free = Schedule::new(None, 5_000, now);
        assert!(free.is_due(now));
        assert_eq!((free.next(now), free.next(now)), (now, now));
    }
}
