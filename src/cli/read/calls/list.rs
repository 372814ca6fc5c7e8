use anyhow::Result;
use clap::Args;

use crate::cli::output::{self, cell, seconds};
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::read::lists::ListArgs;
use crate::clock::Clock;
use crate::store::{Call, CallFilter};

/// List calls.
///
/// Newest first. Reads the store directly, so no server needs to run. `call ID` shows one call.
#[derive(Debug, Args)]
pub(crate) struct Calls {
    #[command(flatten)]
    which: FilterArgs<CallFilter>,
    #[command(flatten)]
    list: ListArgs,
}

impl Calls {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        self.list.print(&self.which.filter(clock.now())?, "call", table).await
    }
}

fn table(calls: &[Call]) -> String {
    let mut table = output::table(&[
        "TIME", "CALLER", "CALLED", "STATE", "RESULT", "RANG", "TALK", "MEDIA", "PEOPLE", "CALL",
    ]);
    let length = |s: Option<i64>| s.map_or_else(|| "-".to_owned(), seconds);
    for call in calls {
        table.add_row([
            call.first_at.to_string(),
            cell(call.caller.as_deref()),
            cell(
                Some(&call.callees.join(", "))
                    .filter(|names| !names.is_empty())
                    .map(String::as_str),
            ),
            call.state.clone(),
            cell(call.result.as_deref()),
            length(call.ring_seconds),
            length(call.talk_seconds),
            cell(call.media.as_deref()),
            call.participants.to_string(),
            cell(Some(&call.call_id)),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
