//! Repair of the RTC Engine's rooms: what is stored of a room, and marks from the vendor's REST API beside it.
//!
//! Servers may run meanwhile: a mark is inserted once, and queues its room for settling as an event does.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::error::StoreError;
use crate::options::StoreOptions;
use crate::sessions::queue::RoomId;
use crate::sql::connection::{Arg, DbConnection};
use crate::sqlite::error::missing;
use crate::url::StoreUrl;
use protocol::AppId;
use protocol::UnixMillis;
use protocol::event_id;
use protocol::json::room_id::RoomIdKind;

/// Maximum number of facts that are read of one session.
pub const REPAIR_FACTS_MAX: usize = 200_000;
/// Maximum number of marks of one transaction, so that ingest waits for none of them for long.
const MARKS_AT_ONCE: usize = 500;
const HOUR_MS: i64 = 3_600_000;

/// What happened, of a fact or a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepairKind {
    /// The room was created.
    Create,
    /// A user entered.
    Enter,
    /// A user left.
    Exit,
    /// The room was dismissed.
    Dismiss,
    /// Something else that a user did inside. No mark has this kind.
    Presence,
}

impl RepairKind {
    /// The value of the column `kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Enter => "enter",
            Self::Exit => "exit",
            Self::Dismiss => "dismiss",
            Self::Presence => "presence",
        }
    }
}

/// What the store has of a room at one moment, from events and from earlier repairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomFact {
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub kind: RepairKind,
    /// The JSON type of the room's id.
    pub room_id_kind: RoomIdKind,
    /// Who acted; absent in a dismissal.
    pub account: Option<String>,
}

/// What the vendor's REST API knows and the store does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedMark {
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub kind: RepairKind,
    /// Who acted; absent in a dismissal.
    pub account: Option<String>,
}

impl RepairedMark {
    /// Made from what it says, so that the same mark has the same id in every repair.
    fn id(&self, app: AppId, room_id: &str, room_id_kind: RoomIdKind) -> Uuid {
        let said = (room_id, room_id_kind.as_str(), self.kind.as_str(), self.account.as_deref());
        let said = serde_json::json!(said).to_string();
        event_id::repeatable(self.at, app, "rtc-repair", said.as_bytes())
    }
}

/// A connection that repairs rooms of the RTC Engine. After an error it must not be used again.
#[derive(Debug)]
pub struct RepairConnection(DbConnection);

impl RepairConnection {
    /// Opens the store of the URL, over a connection of its own. The server ends one that is idle for minutes.
    ///
    /// # Errors
    /// When the store is unreachable, or there is no such file.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let connection = match StoreUrl::of_sessions(options)? {
            StoreUrl::Postgres(address) => {
                DbConnection::postgres(address, "rtc-repair", &[]).await?
            }
            StoreUrl::Sqlite(address) => {
                let file = address.get_filename().to_owned();
                if !file.exists() {
                    return Err(missing(&file));
                }
                DbConnection::sqlite(address, options.timeout).await?
            }
        };
        Ok(Self(connection))
    }

    /// The facts of a room from `from` to `until`, in order of time: all of both kinds of id. `None` where there are more than
    /// [`REPAIR_FACTS_MAX`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn facts(
        &mut self,
        app: AppId,
        room_id: &str,
        from: UnixMillis,
        until: UnixMillis,
    ) -> Result<Option<Vec<RoomFact>>, StoreError> {
        let of = |table: &str| {
            format!(
                "select @ms(at) as at, kind, room_id_kind, account from {table}
                 where sdk_app_id = $1 and room_id = $2 and at >= @at(3) and at <= @at(4)"
            )
        };
        let sql = format!(
            "{} union all {} order by at limit $5",
            of("rtc_room_marks"),
            of("rtc_repaired_marks")
        );
        let most = i64::try_from(REPAIR_FACTS_MAX).unwrap_or(i64::MAX - 1);
        let args =
            [app.as_i64().into(), room_id.into(), from.0.into(), until.0.into(), (most + 1).into()];
        let mut facts = Vec::new();
        let take = |(at, kind, room_id_kind, account): (i64, String, String, Option<String>)| {
            facts.push(RoomFact {
                at: UnixMillis(at),
                kind: kind_of(&kind),
                room_id_kind: match room_id_kind.as_str() {
                    "string" => RoomIdKind::String,
                    _ => RoomIdKind::Numeric,
                },
                account,
            });
        };
        self.0.fold(&sql, &args, take).await?;
        Ok((facts.len() <= REPAIR_FACTS_MAX).then_some(facts))
    }

    /// Inserts marks of a room and queues it, in transactions of a bounded number of marks. Returns how many are new.
    ///
    /// # Errors
    /// When the store refuses it. What was inserted before stays: the same call adds the rest.
    pub async fn add(
        &mut self,
        app: AppId,
        room_id: &str,
        room_id_kind: RoomIdKind,
        marks: &[RepairedMark],
        now: UnixMillis,
    ) -> Result<u64, StoreError> {
        let room = RoomId { app: app.as_i64(), room_id: room_id.to_owned() };
        let queue = format!(
            "insert into rtc_settle_queue (sdk_app_id, room_id, at, slot)
             select $1, $2, $3, {} @from where true order by $3 on conflict do nothing",
            self.0.dialect().slot
        );
        let mut added = 0;
        for part in marks.chunks(MARKS_AT_ONCE) {
            let lists = part.iter().map(|mark| {
                let id = mark.id(app, room_id, room_id_kind).to_string();
                room.and([
                    mark.at.0.into(),
                    id.as_str().into(),
                    room_id_kind.as_str().into(),
                    mark.kind.as_str().into(),
                    mark.account.as_deref().into(),
                    now.0.into(),
                ])
            });
            let hours: BTreeSet<i64> =
                part.iter().map(|mark| mark.at.0.div_euclid(HOUR_MS)).collect();
            let hours = hours.into_iter().map(|hour| room.and([hour.into()]));
            let marks = self.0.ready(INSERT, lists.collect());
            let queue = self.0.ready(&queue, hours.collect::<Vec<Vec<Arg>>>());
            self.0.begin().await?;
            let new = self.0.run_counted(marks).await?;
            // The queue comes last: the settler trusts the age of what it finds there.
            if new > 0 {
                self.0.run(queue).await?;
            }
            self.0.commit().await?;
            added += new;
        }
        Ok(added)
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.0.close().await;
    }
}

const INSERT: &str = "insert into rtc_repaired_marks (sdk_app_id, room_id, at, mark_id, room_id_kind, kind, account, repaired_at)
     select $1, $2, @at(3), @id(4), $5, $6, $7, @at(8) @from where true order by $3, $4 on conflict do nothing";

fn kind_of(column: &str) -> RepairKind {
    match column {
        "create" => RepairKind::Create,
        "enter" => RepairKind::Enter,
        "exit" => RepairKind::Exit,
        "dismiss" => RepairKind::Dismiss,
        _ => RepairKind::Presence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_mark_depends_on_all_that_it_says() {
        let app = |id: &str| AppId::parse(id).unwrap();
        let mark = RepairedMark {
            at: UnixMillis(1_740_464_128_000),
            kind: RepairKind::Enter,
            account: Some("a".to_owned()),
        };
        let id = mark.id(app("1"), "r", RoomIdKind::String);
        assert_eq!(id, mark.id(app("1"), "r", RoomIdKind::String));
        assert_eq!((id.get_version_num(), event_id::time_of(id)), (8, mark.at));
        let other = RepairedMark { kind: RepairKind::Exit, ..mark.clone() };
        let nobody = RepairedMark { account: None, ..mark.clone() };
        for another in [
            mark.id(app("2"), "r", RoomIdKind::String),
            mark.id(app("1"), "s", RoomIdKind::String),
            mark.id(app("1"), "r", RoomIdKind::Numeric),
            other.id(app("1"), "r", RoomIdKind::String),
            nobody.id(app("1"), "r", RoomIdKind::String),
        ] {
            assert_ne!(id, another);
        }
    }
}
