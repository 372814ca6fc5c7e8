//! Reads the facts of rooms of the RTC Engine.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::error::StoreError;
use crate::sessions::queue::{RoomId, SettlerConnection};
use crate::sql::connection::Arg;
use crate::sql::from_row::{from_row, id};
use projections::rtc::cut::{CutSession, cut};
use projections::rtc::mark::{Precision, RtcMark, RtcRoomKey, What};
use protocol::json::room_id::RoomIdKind;
use protocol::{AppId, UnixMillis};

/// How many sessions of each room are looked at for the time from which it is computed.
const SESSIONS: usize = 25;
/// Before every time.
const BEGINNING: i64 = 0;

/// Marks of one room id, of both kinds of rooms.
#[derive(Debug, Default)]
pub struct RtcMarks {
    /// In order of time.
    pub marks: Vec<RtcMark>,
    /// Those of the accounts that are known to be robots.
    pub robots: BTreeSet<String>,
    /// Whether there are more: then all of each moment that is read.
    pub is_full: bool,
}

/// A row of `rtc_room_marks`, or of `rtc_repaired_marks`.
struct MarkRow {
    at: UnixMillis,
    event_id: Uuid,
    room_id_kind: String,
    kind: String,
    track: Option<String>,
    precision: String,
    account: Option<String>,
    reason: Option<i64>,
    role: Option<i64>,
    terminal_type: Option<i64>,
    user_type: Option<i64>,
    unique_id: Option<i64>,
    is_robot: bool,
}

from_row! {
    MarkRow: at, event_id = id, room_id_kind, kind, track, precision, account, reason, role, terminal_type, user_type,
        unique_id, is_robot;
}

const MARKS: &str = "
    select @ms(mark.at) as at, @text(mark.event_id) as event_id, room_id_kind, kind, track, precision, mark.account,
        reason, role, terminal_type, user_type, unique_id, robot.account is not null as is_robot
    from rtc_room_marks as mark
    left join rtc_robots as robot on robot.sdk_app_id = mark.sdk_app_id and robot.account = mark.account
    where mark.sdk_app_id = $1 and mark.room_id = $2 and mark.at >= @at(3)
    order by mark.at, mark.event_id limit $4";

const REPAIRED: &str = "
    select @ms(mark.at) as at, @text(mark.mark_id) as event_id, room_id_kind, kind, cast(null as text) as track,
        'seconds' as precision, mark.account, cast(null as bigint) as reason, cast(null as bigint) as role,
        cast(null as bigint) as terminal_type, cast(null as bigint) as user_type,
        cast(null as bigint) as unique_id, robot.account is not null as is_robot
    from rtc_repaired_marks as mark
    left join rtc_robots as robot on robot.sdk_app_id = mark.sdk_app_id and robot.account = mark.account
    where mark.sdk_app_id = $1 and mark.room_id = $2 and mark.at >= @at(3)
    order by mark.at, mark.mark_id limit $4";

/// A settled session: kind, begin, end, dismissal.
type SessionRow = (String, i64, Option<i64>, Option<i64>);

const KINDS: [RoomIdKind; 2] = [RoomIdKind::Numeric, RoomIdKind::String];

impl SettlerConnection {
    /// The time from which each room is to be computed where it is computed as of a time: no mark before matters.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rtc_cuts<'a>(
        &mut self,
        rooms: impl Iterator<Item = (&'a RoomId, UnixMillis)> + Clone,
    ) -> Result<Vec<UnixMillis>, StoreError> {
        let sql = "select room_id_kind, @ms(started_at), @ms(ended_at), @ms(dismissed_at) from rtc_room_sessions
             where sdk_app_id = $1 and room_id = $2 and room_id_kind = $3 and session <= $4
             order by rtc_room_sessions.session desc limit $5";
        let limit = i64::try_from(SESSIONS).unwrap_or(i64::MAX);
        let lists: Vec<Vec<Arg>> = rooms
            .clone()
            .flat_map(|(room, until)| {
                KINDS.map(|kind| room.and([kind.as_str().into(), until.0.into(), limit.into()]))
            })
            .collect();
        let found: Vec<Vec<SessionRow>> = self.0.each(sql, &lists).await?;
        let cuts = rooms.zip(found.chunks(KINDS.len())).map(|((_, until), of_kinds)| {
            let sessions = of_kinds.iter().zip(KINDS).flat_map(|(rows, kind)| {
                rows.iter().map(move |(_, start, end, dismissed)| CutSession {
                    kind,
                    start: UnixMillis(*start),
                    end: end.map(UnixMillis),
                    is_dismissed: dismissed.is_some(),
                })
            });
            let sessions: Vec<CutSession> = sessions.collect();
            let is_full = |rows: &&Vec<SessionRow>| rows.len() >= SESSIONS;
            let full = of_kinds.iter().filter(is_full);
            let known_from = full.filter_map(|rows| rows.last()).map(|row| UnixMillis(row.1)).max();
            cut(&sessions, known_from, until).unwrap_or(UnixMillis(BEGINNING))
        });
        Ok(cuts.collect())
    }

    /// The marks of each room from a time on, at most `limit` of each.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rtc_marks<'a>(
        &mut self,
        rooms: impl Iterator<Item = (&'a RoomId, UnixMillis)> + Clone,
        limit: usize,
    ) -> Result<Vec<RtcMarks>, StoreError> {
        let more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let lists: Vec<Vec<Arg>> =
            rooms.clone().map(|(room, from)| room.and([from.0.into(), more.into()])).collect();
        let real: Vec<Vec<MarkRow>> = self.0.each(MARKS, &lists).await?;
        let repaired: Vec<Vec<MarkRow>> = self.0.each(REPAIRED, &lists).await?;
        let all = rooms.zip(real).zip(repaired).map(|(((room, _), real), repaired)| {
            let mut found = RtcMarks::default();
            let app = AppId::parse(&room.app.to_string()).ok_or_else(|| unreadable("app"))?;
            for (rows, is_repaired) in [(real, false), (repaired, true)] {
                for row in rows {
                    if row.is_robot {
                        found.robots.extend(row.account.clone());
                    }
                    found.marks.push(row.mark(app, &room.room_id, is_repaired)?);
                }
            }
            found.bound(limit);
            Ok(found)
        });
        all.collect()
    }

    /// The first create of a room from a time on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rtc_next_create(
        &mut self,
        room: &RoomId,
        from: UnixMillis,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let one = |table: &str| {
            format!(
                "select @ms(min(at)) as at from {table}
                 where sdk_app_id = $1 and room_id = $2 and at >= @at(3) and kind = 'create'"
            )
        };
        let sql = format!(
            "select min(at) from ({} union all {}) as creates",
            one("rtc_room_marks"),
            one("rtc_repaired_marks")
        );
        let found: Option<(Option<i64>,)> = self.0.row(&sql, &room.and([from.0.into()])).await?;
        Ok(found.and_then(|found| found.0).map(UnixMillis))
    }
}

impl RtcMarks {
    /// Keeps the earliest marks. Of the last moment all or none: which of them count must not depend on how they are read.
    fn bound(&mut self, limit: usize) {
        self.marks.sort_unstable();
        self.is_full = self.marks.len() > limit;
        if let Some(behind) = self.marks.get(limit) {
            let at = behind.at;
            let before = self.marks.partition_point(|mark| mark.at < at);
            self.marks.truncate(if before == 0 { limit } else { before });
        }
    }
}

impl MarkRow {
    fn mark(self, app: AppId, room_id: &str, is_repaired: bool) -> Result<RtcMark, StoreError> {
        let what = What::of_words(&self.kind, self.track.as_deref());
        let kind = KINDS.into_iter().find(|kind| kind.as_str() == self.room_id_kind);
        Ok(RtcMark {
            at: self.at,
            what: what.ok_or_else(|| unreadable("kind"))?,
            event_id: self.event_id,
            room: RtcRoomKey {
                app,
                id: room_id.to_owned(),
                kind: kind.ok_or_else(|| unreadable("room_id_kind"))?,
            },
            precision: Precision::of_word(&self.precision)
                .ok_or_else(|| unreadable("precision"))?,
            user: self.account,
            reason: self.reason,
            role: self.role,
            terminal_type: self.terminal_type,
            user_type: self.user_type,
            unique_id: self.unique_id,
            is_repaired,
        })
    }
}

/// A word of a mark that no version of this server writes.
fn unreadable(column: &str) -> StoreError {
    let source = format!("a mark of a room of the RTC Engine has an unknown {column}").into();
    StoreError::Refused(sqlx::Error::Decode(source))
}
