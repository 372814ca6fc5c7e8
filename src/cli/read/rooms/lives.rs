use anyhow::Result;
use clap::Args;

use crate::cli::output::{self, cell, seconds};
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::read::lists::ListArgs;
use crate::clock::Clock;
use crate::store::{LiveRoom, LiveSessions};
use protocol::UnixMillis;

/// List live rooms, with their gifts.
///
/// One row per session of a live room, since room IDs are reused; newest first. `live ID` shows one of them.
#[derive(Debug, Args)]
pub(crate) struct Lives {
    #[command(flatten)]
    which: FilterArgs<LiveSessions>,
    #[command(flatten)]
    list: ListArgs,
}

impl Lives {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let now = clock.now();
        self.list.print(&self.which.filter(now)?, "live room", |rows| table(rows, now)).await
    }
}

fn table(rows: &[LiveRoom], now: UnixMillis) -> String {
    let columns = [
        "STARTED", "ROOM", "STATE", "LASTED", "INSIDE", "PEAK", "VIEWERS", "GIFTS", "COINS",
        "BATTLES", "OWNER", "NAME",
    ];
    let mut table = output::table(&columns);
    for LiveRoom { room, live } in rows {
        let lasted = room.ended_at.unwrap_or(now).since(room.started_at).as_secs();
        let count = |count: Option<i64>| count.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let live = live.as_ref();
        table.add_row([
            room.started_at.to_string(),
            cell(Some(&room.room_id)),
            room.state.clone(),
            seconds(i64::try_from(lasted).unwrap_or(i64::MAX)),
            room.members.to_string(),
            room.members_peak.to_string(),
            count(live.and_then(|live| live.total_viewers)),
            count(live.map(|live| live.gifts)),
            count(live.map(|live| live.gift_coins)),
            count(live.map(|live| live.battles)),
            cell(room.owner.as_deref()),
            cell(room.name.as_deref()),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
