use anyhow::Result;
use clap::Args;

use crate::cli::output::{self, cell, seconds};
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::read::lists::ListArgs;
use crate::clock::Clock;
use crate::store::{RtcRoomFilter, RtcRoomSession};
use protocol::UnixMillis;

/// List rooms of the RTC Engine.
///
/// One row per session of a room, since room IDs are reused; newest first. LIFE is from create to dismissal, OCCUPIED from
/// the first person's enter to the last one's exit. `rtc-room ID` shows one room.
#[derive(Debug, Args)]
pub(crate) struct RtcRooms {
    #[command(flatten)]
    which: FilterArgs<RtcRoomFilter>,
    #[command(flatten)]
    list: ListArgs,
}

impl RtcRooms {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let now = clock.now();
        self.list.print(&self.which.filter(now)?, "room", |rooms| table(rooms, now)).await
    }
}

fn table(sessions: &[RtcRoomSession], now: UnixMillis) -> String {
    let columns = [
        "STARTED", "ROOM", "KIND", "STATE", "LIFE", "OCCUPIED", "PEOPLE", "INSIDE", "ROBOTS",
        "CREATOR",
    ];
    let mut table = output::table(&columns);
    for session in sessions {
        let occupied = session.occupied_from.map(|from| length(from, session.occupied_until, now));
        table.add_row([
            session.started_at.to_string(),
            cell(Some(&session.room_id)),
            session.room_id_kind.clone(),
            session.state.clone(),
            length(session.started_at, session.ended_at, now),
            occupied.unwrap_or_else(|| "-".to_owned()),
            session.people.to_string(),
            session.people_inside.to_string(),
            session.robots.to_string(),
            cell(session.creator.as_deref()),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

/// How long something lasted, or lasts so far.
pub(crate) fn length(from: UnixMillis, until: Option<UnixMillis>, now: UnixMillis) -> String {
    let lasted = until.unwrap_or(now).since(from).as_secs();
    seconds(i64::try_from(lasted).unwrap_or(i64::MAX))
}
