use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::cli::output::{self, progress_bar, say};
use crate::clock::Clock;
use crate::rebuild::{Rebuild, Work};
use crate::store::{self, Progress, Stage, StoreError, Tally};
use protocol::diagnostic::Diagnostic;

/// The tables, in the order of the report.
const TABLES: [&str; 19] = [
    "merged_calls",
    "merged_call_members",
    "room_changes",
    "room_marks",
    "seat_marks",
    "gifts",
    "battle_marks",
    "metadata_marks",
    "recording_marks",
    "rtc_task_marks",
    "rtc_room_marks",
    "rtc_robots",
    "event_counts",
    "room_sessions",
    "live_sessions",
    "rtc_room_sessions",
    "rtc_stays",
    "rtc_publish_intervals",
    "anomalies",
];

/// Rebuild calls, room sessions and live sessions from the events.
///
/// Reads every event, compares the rows that follow from the events with those in the tables, repairs the differences and
/// reports for each table how many rows were right, missing, wrong and too many. Rows from before the oldest event are left
/// unchanged.
///
/// Servers may keep running. An interrupted rebuild resumes where it stopped when it is run again.
#[derive(Debug, Args)]
pub(crate) struct RebuildModels {
    /// Only report the differences
    #[arg(long)]
    dry_run: bool,
    /// Stop after this many more events; run it again to resume
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl RebuildModels {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), None)?;
        let url = store::display_url(&settings.store.url);
        let work = Work { settings: &settings, dry_run: self.dry_run };
        let rebuild = Rebuild::open(&work, clock).await;
        let Some(mut rebuild) = rebuild.with_context(|| format!("open the store {url}"))? else {
            bail!(Diagnostic::new(
                format!("a rebuild of the store {url} is running"),
                "wait until it has finished, or stop it"
            ));
        };
        if rebuild.is_resumed() {
            say(&format!("resuming after {} events", rebuild.progress().events));
        }
        let done = self.work(&mut rebuild, &work).await;
        let is_done = done.with_context(|| {
            format!("rebuild in the store {url}, partly done; run it again to resume")
        })?;
        if !is_done {
            let events = rebuild.progress().events;
            return output::print(&format!(
                "read {events} events so far; run it again to resume\n"
            ));
        }
        let progress =
            rebuild.finish().await.with_context(|| format!("finish the rebuild in {url}"))?;
        self.report(&progress)
    }

    /// Returns whether all is done.
    async fn work(&self, rebuild: &mut Rebuild, work: &Work<'_>) -> Result<bool, StoreError> {
        let bar = progress_bar(
            Some(rebuild.events().await?),
            "{bar:30} {pos}/{len} events  {elapsed} elapsed  {msg}",
        );
        let end = self.limit.map(|limit| rebuild.progress().events.saturating_add(limit));
        loop {
            let Progress { stage, events, .. } = rebuild.progress();
            bar.set_position(*events);
            bar.set_message(match stage {
                Stage::Read => "reading",
                Stage::Compare => "comparing calls and facts",
                Stage::Counts => "comparing counts",
                Stage::Settle => "comparing room sessions and live sessions",
                Stage::SettleRtc => "comparing rooms of the RTC Engine",
                Stage::Done => "done",
            });
            let is_over = *stage == Stage::Read && end.is_some_and(|end| *events >= end);
            if *stage == Stage::Done || is_over {
                bar.finish_and_clear();
                return Ok(!is_over);
            }
            rebuild.step(work).await?;
        }
    }

    fn report(&self, progress: &Progress) -> Result<()> {
        let tally = |table: &str| progress.tables.get(table).copied().unwrap_or_default();
        if self.json {
            let tables: serde_json::Map<_, _> =
                TABLES.iter().map(|table| ((*table).to_owned(), json!(tally(table)))).collect();
            let report = json!({
                "dry_run": progress.dry_run,
                "events": progress.events,
                "faults": progress.faults(),
                "tables": tables,
            });
            return output::print(&format!("{report}\n"));
        }
        let mut table = output::table(&["TABLE", "RIGHT", "MISSING", "WRONG", "TOO MANY"]);
        for name in TABLES {
            let Tally { right, missing, wrong, too_many } = tally(name);
            let counts = [right, missing, wrong, too_many].map(|count| count.to_string());
            let [right, missing, wrong, too_many] = counts;
            table.add_row([name.to_owned(), right, missing, wrong, too_many]);
        }
        let end = match (progress.faults(), progress.dry_run) {
            (0, _) => "nothing to repair".to_owned(),
            (faults, true) => format!("would repair {faults} rows"),
            (faults, false) => format!("repaired {faults} rows"),
        };
        let events = progress.events;
        output::print(&format!("{}\nread {events} events; {end}\n", table.trim_fmt()))
    }
}
