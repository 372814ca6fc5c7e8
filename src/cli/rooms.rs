use anyhow::{Context, Result};
use clap::Args;

use super::lists::{app, cell, json_lines, moment, seconds};
use super::{ConfigArgs, StoreArgs, say};
use crate::clock::{Clock, UnixMillis};
use crate::store::{self, Room, RoomFilter};

/// List conferences and live rooms.
///
/// One row for each life of a room, since room ids are used again; the latest first. `room ID` tells one.
#[derive(Debug, Args)]
pub(super) struct Rooms {
    /// room (conferences) or live
    #[arg(long, value_name = "FAMILY", value_parser = ["room", "live"])]
    family: Option<String>,
    /// In this state: open, ended, overdue (no end came, and nothing else for long)
    #[arg(long, value_name = "STATE", value_parser = ["open", "ended", "overdue"])]
    state: Option<String>,
    /// The lives of this room id
    #[arg(long, value_name = "ID")]
    room: Option<String>,
    /// Owned by this account
    #[arg(long, value_name = "ACCOUNT")]
    owner: Option<String>,
    /// Of this app
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Started at this time or later: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Started before this time
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

impl Rooms {
    pub(super) async fn run(self, clock: &Clock) -> Result<()> {
        let now = clock.now();
        let filter = RoomFilter {
            app: app(self.app.as_deref())?,
            family: self.family,
            state: self.state,
            room_id: self.room,
            owner: self.owner,
            since: moment(self.since.as_deref(), now)?,
            until: moment(self.until.as_deref(), now)?,
            after: None,
            limit: self.limit,
        };
        let settings = self.config.load(Some(&self.store), None)?;
        let store = store::open(&settings.store_options().to_read()).await?;
        let url = store::display_url(&settings.store.url);
        let rooms = store.rooms(&filter).await.with_context(|| format!("read the store {url}"))?;
        if self.json {
            return super::print(&json_lines(&rooms)?);
        }
        if rooms.is_empty() {
            say(&format!("no room in {url} fits"));
            return Ok(());
        }
        super::print(&table(&rooms, now))?;
        if rooms.len() >= self.limit as usize {
            say(&format!("these are the latest {}; `--limit` shows more", self.limit));
        }
        Ok(())
    }
}

fn table(rooms: &[Room], now: UnixMillis) -> String {
    let columns = [
        "STARTED", "ROOM", "FAMILY", "STATE", "LASTED", "INSIDE", "PEAK", "VISITORS", "OWNER",
        "NAME",
    ];
    let mut table = super::table(&columns);
    for room in rooms {
        let lasted = room.ended_at.unwrap_or(now).since(room.started_at).as_secs();
        table.add_row([
            room.started_at.to_string(),
            cell(Some(&room.room_id)),
            room.family.clone(),
            room.state.clone(),
            seconds(i64::try_from(lasted).unwrap_or(i64::MAX)),
            room.members.to_string(),
            room.members_peak.to_string(),
            room.visitors.to_string(),
            cell(room.owner.as_deref()),
            cell(room.name.as_deref()),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
