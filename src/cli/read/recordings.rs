use anyhow::Result;
use clap::Args;

use crate::cli::output::{self, cell, time_or_dash};
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::read::lists::ListArgs;
use crate::clock::Clock;
use crate::store::{Recording, RecordingFilter};

/// List recordings, whether call, live room or RTC Engine reported them.
///
/// Newest first. FILES counts the files that are named; `--json` has their names and addresses.
#[derive(Debug, Args)]
pub(crate) struct Recordings {
    #[command(flatten)]
    which: FilterArgs<RecordingFilter>,
    #[command(flatten)]
    list: ListArgs,
}

impl Recordings {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        self.list.print(&self.which.filter(clock.now())?, "recording", table).await
    }
}

fn table(recordings: &[Recording]) -> String {
    let columns = ["BEGAN", "STATE", "ENDED", "REASON", "CALL", "ROOM", "FILES", "BY", "TASK"];
    let mut table = output::table(&columns);
    for recording in recordings {
        let left = if recording.files_left { ", some left" } else { "" };
        let reporters = recording.reporters.join(",");
        table.add_row([
            recording.started_at.to_string(),
            cell(recording.state.as_deref()),
            time_or_dash(recording.ended_at),
            cell(recording.end_reason.as_deref()),
            cell(recording.call_id.as_deref()),
            cell(recording.room_id.as_deref()),
            format!("{}{left}", recording.files.len()),
            cell(Some(&reporters).filter(|text| !text.is_empty()).map(String::as_str)),
            cell(Some(&recording.task_id)),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
