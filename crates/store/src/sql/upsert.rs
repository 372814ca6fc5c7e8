//! Upserts of rows of the read models, for both databases.

use crate::sql::dialect::Dialect;
use projections::table::{Column, Join, Kind, Table};

/// Tables of facts that expire by their own time.
pub(crate) const AGED_BY_AT: [&str; 7] = [
    "room_marks",
    "seat_marks",
    "gifts",
    "battle_marks",
    "metadata_marks",
    "recording_marks",
    "rtc_task_marks",
];

/// Whether a robot's account has marks in a room of the RTC Engine.
pub(crate) const ROBOT_HAS_MARKS: &str = "exists (
    select 1 from rtc_room_marks as mark
    where mark.sdk_app_id = rtc_robots.sdk_app_id and mark.account = rtc_robots.account)";

/// Whether the session of a row of a settled table of the RTC Engine's rooms is there.
pub(crate) fn has_session(table: &str) -> String {
    format!(
        "exists (
             select 1 from rtc_room_sessions as session
             where session.sdk_app_id = {table}.sdk_app_id and session.room_id = {table}.room_id
                 and session.room_id_kind = {table}.room_id_kind and session.session = {table}.session)"
    )
}

/// Whether the column is bound; the store computes the others.
pub(crate) fn is_bound(column: &Column) -> bool {
    column.kind != Kind::Slot
}

/// An expression for each column, separated by commas.
pub(crate) fn list(columns: &[Column], write: impl FnMut(&Column) -> String) -> String {
    columns.iter().map(write).collect::<Vec<_>>().join(", ")
}

/// The `on conflict` clause of an `insert`: merges the new row into the existing one by the rules of [`Table::join`].
pub(crate) fn on_conflict(dialect: &Dialect, table: &Table) -> String {
    if table.is_log() {
        return String::new();
    }
    if table.holds_facts() {
        return " on conflict do nothing".to_owned();
    }
    let name = table.name;
    let later = later(dialect, table);
    let set = table.columns.iter().filter_map(|Column { name: column, kind, join, .. }| {
        let (old, new) = (format!("{name}.{column}"), format!("excluded.{column}"));
        let joined = match join {
            Join::Key | Join::Fact | Join::Sum => return None,
            Join::Least => (dialect.least)(&old, &new),
            Join::Greatest => (dialect.greatest)(*kind, &old, &new),
            Join::Last => format!("case when {later} then {new} else {old} end"),
        };
        Some(format!("{column} = {joined}"))
    });
    let set = set.collect::<Vec<_>>().join(", ");
    let keys: Vec<&str> = table.keys().map(|column| column.name).collect();
    format!(" on conflict ({}) do update set {set}", keys.join(", "))
}

/// Whether the new row's [`Join::Last`] columns are the greater.
fn later(dialect: &Dialect, table: &Table) -> String {
    let last: Vec<&Column> =
        table.columns.iter().filter(|column| column.join == Join::Last).collect();
    let row = |of: &str| {
        let values = last.iter().map(|column| {
            let collate = if column.kind == Kind::Text { dialect.collate } else { "" };
            format!("{of}.{}{collate}", column.name)
        });
        values.collect::<Vec<_>>().join(", ")
    };
    let name = table.name;
    last.first().map_or_else(String::new, |first| {
        format!(
            "{name}.{first} is null or ({}) > ({})",
            row("excluded"),
            row(name),
            first = first.name
        )
    })
}
