use anyhow::{Context, Result};
use clap::Args;

use super::lists::{app, cell, json_lines, moment, seconds};
use super::{ConfigArgs, StoreArgs, say};
use crate::clock::Clock;
use crate::store::{self, Call, CallFilter};

/// List calls.
///
/// The latest first. Reads the store itself, so it works beside a running server and without one. `call ID` tells one.
#[derive(Debug, Args)]
pub(super) struct Calls {
    /// In this state: ringing, active, ended, overdue (no end came in time)
    #[arg(long, value_name = "STATE", value_parser = ["ringing", "active", "ended", "overdue"])]
    state: Option<String>,
    /// With this result: normal_end, not_answer, reject, cancel, call_busy, …
    #[arg(long, value_name = "RESULT")]
    result: Option<String>,
    /// audio or video
    #[arg(long, value_name = "MEDIA", value_parser = ["audio", "video"])]
    media: Option<String>,
    /// In which this account takes part
    #[arg(long, value_name = "ACCOUNT")]
    user: Option<String>,
    /// In this RTC room
    #[arg(long, value_name = "ID")]
    room: Option<String>,
    /// Of this app
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Begun at this time or later: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Begun before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Calls {
    pub(super) async fn run(self, clock: &Clock) -> Result<()> {
        let now = clock.now();
        let filter = CallFilter {
            app: app(self.app.as_deref())?,
            state: self.state,
            result: self.result,
            media: self.media,
            account: self.user,
            room_id: self.room,
            since: moment(self.since.as_deref(), now)?,
            until: moment(self.until.as_deref(), now)?,
            after: None,
            limit: self.limit,
        };
        let settings = self.config.load(Some(&self.store), None)?;
        let store = store::open(&settings.store_options().to_read()).await?;
        let url = store::display_url(&settings.store.url);
        let calls = store.calls(&filter).await.with_context(|| format!("read the store {url}"))?;
        if self.json {
            return super::print(&json_lines(&calls)?);
        }
        if calls.is_empty() {
            say(&format!("no call in {url} fits"));
            return Ok(());
        }
        super::print(&table(&calls))?;
        if calls.len() >= self.limit as usize {
            say(&format!("these are the latest {}; `--limit` shows more", self.limit));
        }
        Ok(())
    }
}

fn table(calls: &[Call]) -> String {
    let mut table = super::table(&["TIME", "CALL", "STATE", "RESULT", "TALK", "MEDIA", "CALLER"]);
    for call in calls {
        table.add_row([
            call.started_at.unwrap_or(call.first_at).to_string(),
            cell(Some(&call.call_id)),
            call.state.clone(),
            cell(call.result.as_deref()),
            call.talk_seconds.map_or_else(|| "-".to_owned(), seconds),
            cell(call.media.as_deref()),
            cell(call.caller.as_deref()),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
