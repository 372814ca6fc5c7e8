use anyhow::Result;
use clap::Args;

use crate::cli::output::{self, cell, seconds};
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::read::lists::ListArgs;
use crate::clock::Clock;
use crate::store::{Room, RoomFilter};
use protocol::UnixMillis;

/// List conferences and live rooms.
///
/// One row per session of a room, since room IDs are reused; newest first. `room ID` shows one room.
#[derive(Debug, Args)]
pub(crate) struct Rooms {
    #[command(flatten)]
    which: FilterArgs<RoomFilter>,
    #[command(flatten)]
    list: ListArgs,
}

impl Rooms {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let now = clock.now();
        self.list.print(&self.which.filter(now)?, "room", |rooms| table(rooms, now)).await
    }
}

fn table(rooms: &[Room], now: UnixMillis) -> String {
    let columns = [
        "STARTED", "ROOM", "FAMILY", "STATE", "LASTED", "INSIDE", "PEAK", "VISITORS", "OWNER",
        "NAME",
    ];
    let mut table = output::table(&columns);
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
