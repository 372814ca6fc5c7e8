use anyhow::Result;
use clap::Args;

use crate::cli::output::{self, cell};
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::read::lists::ListArgs;
use crate::clock::Clock;
use crate::store::{RtcTask, RtcTaskFilter};

/// List cloud tasks of the RTC Engine: relay, ingest, AI, slicing, moderation, transcription.
///
/// Newest first. COUNT has sentences, checks of moderation and those that found something, and files.
#[derive(Debug, Args)]
pub(crate) struct RtcTasks {
    #[command(flatten)]
    which: FilterArgs<RtcTaskFilter>,
    #[command(flatten)]
    list: ListArgs,
}

impl RtcTasks {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        self.list.print(&self.which.filter(clock.now())?, "task", table).await
    }
}

fn table(tasks: &[RtcTask]) -> String {
    let columns =
        ["FIRST", "KIND", "STATE", "ROOM", "ENDED", "REASON", "ERROR", "COUNT", "ROBOT", "TASK"];
    let mut table = output::table(&columns);
    for task in tasks {
        let error = task.error_message.as_ref().or(task.error_code.as_ref());
        table.add_row([
            task.first_at.to_string(),
            task.kind.clone(),
            task.state.clone(),
            cell(task.room_id.as_deref()),
            task.ended_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            cell(task.end_reason.as_deref()),
            cell(error.map(String::as_str)),
            counts(task),
            cell(task.robot.as_deref()),
            cell(Some(&task.task_id)),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

fn counts(task: &RtcTask) -> String {
    let counts = [
        (task.messages, "messages"),
        (task.checks, "checks"),
        (task.hits, "hits"),
        (task.files, "files"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    if counts.is_empty() { "-".to_owned() } else { counts.join(", ") }
}
