//! Reads and writes the settled rows of rooms of the RTC Engine.

use crate::error::StoreError;
use crate::sessions::queue::{Queued, RoomId, SettlerConnection};
use crate::sessions::rtc::rows::{KEYS, RtcIntervalRow, RtcSessionRow, RtcStayRow, SettledRow};
use crate::sessions::write::{Finding, Holds, listing, resolving, select, upsert};
use crate::sql::builder::ReadRow;
use crate::sql::bulk_write::Ready;
use crate::sql::connection::{Arg, DbConnection};
use protocol::UnixMillis;

/// Settled rows of one room.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RtcRows {
    /// Of `rtc_room_sessions`.
    pub sessions: Vec<RtcSessionRow>,
    /// Of `rtc_stays`.
    pub stays: Vec<RtcStayRow>,
    /// Of `rtc_publish_intervals`.
    pub intervals: Vec<RtcIntervalRow>,
}

impl RtcRows {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.stays.is_empty() && self.intervals.is_empty()
    }
}

/// The changes of one room, written in one transaction.
#[derive(Debug, Default)]
pub struct RtcSettlement {
    /// New and changed rows.
    pub changed: RtcRows,
    /// Rows to delete.
    pub gone: RtcRows,
    /// New and changed anomalies.
    pub found: Vec<Finding>,
    /// Anomalies to resolve: kind and session.
    pub resolved: Vec<(String, i64)>,
    /// The last slot up to which the room may leave the queue, for the facts from its queued hour on.
    pub done: Option<i64>,
}

impl RtcSettlement {
    fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.gone.is_empty()
            && self.found.is_empty()
            && self.resolved.is_empty()
            && self.done.is_none()
    }
}

impl SettlerConnection {
    /// The settled rows of each room, of its sessions from the first to the last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rtc_rows<'a>(
        &mut self,
        ranges: impl Iterator<Item = (&'a RoomId, (i64, i64))>,
    ) -> Result<Vec<RtcRows>, StoreError> {
        let lists: Vec<Vec<Arg>> =
            ranges.map(|(room, (first, last))| room.and([first.into(), last.into()])).collect();
        let sessions = self.rtc_rows_of::<RtcSessionRow>(&lists).await?;
        let stays = self.rtc_rows_of::<RtcStayRow>(&lists).await?;
        let intervals = self.rtc_rows_of::<RtcIntervalRow>(&lists).await?;
        let all = sessions.into_iter().zip(stays).zip(intervals);
        Ok(all
            .map(|((sessions, stays), intervals)| RtcRows { sessions, stays, intervals })
            .collect())
    }

    async fn rtc_rows_of<R: SettledRow + ReadRow>(
        &mut self,
        lists: &[Vec<Arg>],
    ) -> Result<Vec<Vec<R>>, StoreError> {
        // Both kinds are named, so that the index by session is used.
        let sql = format!(
            "{} where sdk_app_id = $1 and room_id = $2 and room_id_kind in ('numeric', 'string')
                 and session >= $3 and session <= $4",
            select(R::TABLE, R::COLUMNS)
        );
        self.0.each(&sql, lists).await
    }

    /// Writes the settlements of distinct rooms at `now`, all in one transaction.
    ///
    /// # Errors
    /// When the store refuses them.
    pub async fn write_rtc<'a>(
        &mut self,
        settled: impl Iterator<Item = (&'a Queued, &'a RtcSettlement)> + Clone,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if settled.clone().all(|(_, settlement)| settlement.is_empty()) {
            return Ok(());
        }
        // Invariant: all statements are built before the transaction begins, since the database ends one that is
        // idle.
        let mut ready = Vec::new();
        let gone = || settled.clone().map(|(_, of)| &of.gone);
        ready.extend(deletion(&self.0, gone().flat_map(|rows| &rows.sessions)));
        ready.extend(deletion(&self.0, gone().flat_map(|rows| &rows.stays)));
        ready.extend(deletion(&self.0, gone().flat_map(|rows| &rows.intervals)));
        let changed = || settled.clone().map(|(_, of)| &of.changed);
        ready.extend(insertion(&self.0, changed().flat_map(|rows| &rows.sessions)));
        ready.extend(insertion(&self.0, changed().flat_map(|rows| &rows.stays)));
        ready.extend(insertion(&self.0, changed().flat_map(|rows| &rows.intervals)));
        ready.extend(listing(&self.0, settled.clone().flat_map(|(_, of)| &of.found), now));
        let resolved = settled.clone().map(|(queued, of)| (&queued.room, of.resolved.as_slice()));
        ready.extend(resolving(&self.0, resolved, now));
        let done = settled.filter_map(|(queued, settlement)| {
            let slot = settlement.done?;
            Some(queued.room.and([queued.day.into(), slot.into()]))
        });
        let sql = "delete from rtc_settle_queue @using
                   where sdk_app_id = $1 and room_id = $2 and at >= $3 and slot <= $4";
        ready.extend(self.0.ready(sql, done.collect()));
        self.0.begin().await?;
        self.0.run(ready).await?;
        self.0.commit().await
    }
}

fn deletion<'a, R: SettledRow + 'a>(
    connection: &DbConnection,
    rows: impl Iterator<Item = &'a R>,
) -> Vec<Ready> {
    let key = R::COLUMNS[..KEYS].iter().zip(1..).map(|((name, holds), place)| match holds {
        Holds::Id => format!("{name} = @id({place})"),
        _ => format!("{name} = ${place}"),
    });
    let key: Vec<String> = key.collect();
    let sql = format!("delete from {} @using where {}", R::TABLE, key.join(" and "));
    let lists = rows.map(|row| {
        let mut args = row.args();
        args.truncate(KEYS);
        args
    });
    connection.ready(&sql, lists.collect())
}

fn insertion<'a, R: SettledRow + 'a>(
    connection: &DbConnection,
    rows: impl Iterator<Item = &'a R>,
) -> Vec<Ready> {
    let sql = upsert(R::TABLE, R::COLUMNS, KEYS);
    connection.ready(&sql, rows.map(SettledRow::args).collect())
}
