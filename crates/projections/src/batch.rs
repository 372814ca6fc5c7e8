//! The changes of many events, merged into the rows to write.

use crate::change::Change;
use crate::schema::TABLES;
use crate::table::{Row, Table, Value};
use protocol::AppId;
use protocol::UnixMillis;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Rows to write, merged from many changes: one for each key, in the order of [`TABLES`] and of their keys.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    tables: Vec<(&'static Table, Vec<Row<'a>>)>,
}

impl<'a> Batch<'a> {
    /// Merges `changes`. The result does not depend on their order, and a repeated change alters sums only.
    #[must_use]
    pub fn of(changes: impl IntoIterator<Item = &'a Change>) -> Self {
        let mut rows: [Vec<Row<'a>>; TABLES.len()] = Default::default();
        for change in changes {
            let (place, row, room) = match change {
                Change::Call(change) => (0, change.row(), None),
                Change::Member(change) => (1, change.row(), None),
                Change::Room(change) => {
                    (2, change.row(), Some((change.app, &change.room_id, change.at)))
                }
                Change::Presence(mark) => (3, mark.row(), Some((mark.app, &mark.room_id, mark.at))),
                Change::Seat(mark) => (4, mark.row(), Some((mark.app, &mark.room_id, mark.at))),
                Change::Gift(gift) => (5, gift.row(), Some((gift.app, &gift.room_id, gift.at))),
                Change::Battle(mark) => (6, mark.row(), Some((mark.app, &mark.room_id, mark.at))),
                Change::Metadata(mark) => (7, mark.row(), Some((mark.app, &mark.room_id, mark.at))),
                Change::Recording(mark) => (8, mark.row(), None),
                Change::RtcTask(mark) => (9, mark.row(), None),
                Change::RtcRoom(mark) => {
                    let row = to_settle_rtc(mark.room.app, &mark.room.id, mark.at);
                    rows[14].push(row);
                    (10, mark.row(), None)
                }
                Change::RtcRobot(robot) => (11, robot.row(), None),
                Change::Count(count) => (12, count.row(), None),
            };
            rows[place].push(row);
            rows[13].extend(room.map(|(app, room_id, at)| to_settle(app, room_id, at)));
        }
        let tables = TABLES.into_iter().zip(rows).filter(|(_, rows)| !rows.is_empty());
        Self { tables: tables.map(|(table, rows)| (table, table.merged(rows))).collect() }
    }

    /// The non-empty tables with their rows.
    #[must_use]
    pub fn tables(&self) -> &[(&'static Table, Vec<Row<'a>>)] {
        &self.tables
    }

    /// Whether no table has rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

/// The row of `settle_queue` that queues a room because of a new fact of that day.
fn to_settle(app: AppId, room_id: &str, at: UnixMillis) -> Row<'_> {
    vec![app.into(), room_id.into(), at.0.div_euclid(DAY_MS).into(), Value::Null]
}

/// The row of `rtc_settle_queue` that queues a room because of a new fact of that hour.
fn to_settle_rtc(app: AppId, room_id: &str, at: UnixMillis) -> Row<'_> {
    vec![app.into(), room_id.into(), at.0.div_euclid(HOUR_MS).into(), Value::Null]
}
