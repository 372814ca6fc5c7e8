//! Erasure of an account from the read models, row by row.
//!
//! Both stores share the statements except for a few expressions. Parameters are bound as text.

use projections::TABLES;
use projections::table::{Column, Join, Kind, Table};
use protocol::AppId;
use protocol::event::clipped;
use protocol::redact::Erasure;

use crate::sql::dialect::Dialect;
use crate::sql::upsert;

/// The key of the last row of a step.
pub type RowKey = Vec<String>;

/// One step through a table of the read models.
#[derive(Debug, Clone, Copy)]
pub struct Erasing<'a> {
    /// The table; one of [`model_tables`].
    pub table: &'static Table,
    /// The account to erase and its pseudonym.
    pub erasure: &'a Erasure,
    /// Only rows of this app; `None` for all.
    pub app: Option<AppId>,
    /// Count only.
    pub dry_run: bool,
    /// Maximum number of candidate rows of the step.
    pub limit: u32,
}

/// The result of a step.
#[derive(Debug, Default)]
pub struct Erased {
    /// The number of rows that were, or would be, changed.
    pub rows: u64,
    /// The last row that was read; `None` at the end of the table.
    pub last: Option<RowKey>,
}

/// The tables of the read models that may hold accounts: projected ones first, then those computed from them.
pub fn model_tables() -> impl Iterator<Item = &'static Table> {
    let written = TABLES.into_iter().chain([
        &RTC_REPAIRED_MARKS,
        &ROOMS,
        &LIVE_SESSIONS,
        &RTC_ROOM_SESSIONS,
        &RTC_STAYS,
        &RTC_PUBLISH_INTERVALS,
        &ANOMALIES,
        &DERIVED_EVENTS,
        &DERIVED_PENDING,
    ]);
    written.filter(|table| table.columns.iter().any(|column| column.may_name))
}

/// The key and the account columns of the settled tables, which the session worker writes.
static ROOMS: Table = Table {
    name: "room_sessions",
    columns: &[
        Column::key("sdk_app_id", Kind::Number),
        Column::key("room_id", Kind::Text).may_name(),
        Column::key("session", Kind::Number),
        Column::fact("name", Kind::Text).may_name(),
        Column::fact("owner", Kind::Text).may_name(),
        Column::fact("created_by", Kind::Text).may_name(),
        Column::fact("destroyed_by", Kind::Text).may_name(),
        Column::fact("properties", Kind::Json).may_name(),
    ],
};
static LIVE_SESSIONS: Table = Table {
    name: "live_sessions",
    columns: &[
        Column::key("sdk_app_id", Kind::Number),
        Column::key("room_id", Kind::Text).may_name(),
        Column::key("session", Kind::Number),
        Column::fact("top_senders", Kind::Json).may_name(),
        Column::fact("top_receivers", Kind::Json).may_name(),
        Column::fact("admins", Kind::Json).may_name(),
        Column::fact("metadata", Kind::Json).may_name(),
    ],
};
/// Facts that no event tells of, so that they are not among [`TABLES`].
static RTC_REPAIRED_MARKS: Table = Table {
    name: "rtc_repaired_marks",
    columns: &[
        Column::key("sdk_app_id", Kind::Number),
        Column::key("room_id", Kind::Text).may_name(),
        Column::key("at", Kind::Time),
        Column::key("mark_id", Kind::Id),
        Column::fact("room_id_kind", Kind::Text),
        Column::fact("kind", Kind::Text),
        Column::fact("account", Kind::Text).may_name(),
        Column::fact("repaired_at", Kind::Time),
    ],
};
static RTC_ROOM_SESSIONS: Table = Table {
    name: "rtc_room_sessions",
    columns: &[
        Column::key("sdk_app_id", Kind::Number),
        Column::key("room_id", Kind::Text).may_name(),
        Column::key("room_id_kind", Kind::Text),
        Column::key("session", Kind::Number),
        Column::fact("creator", Kind::Text).may_name(),
    ],
};
static RTC_STAYS: Table = Table {
    name: "rtc_stays",
    columns: &[
        Column::key("sdk_app_id", Kind::Number),
        Column::key("room_id", Kind::Text).may_name(),
        Column::key("room_id_kind", Kind::Text),
        Column::key("stay_id", Kind::Id),
        Column::fact("account", Kind::Text).may_name(),
    ],
};
static RTC_PUBLISH_INTERVALS: Table = Table {
    name: "rtc_publish_intervals",
    columns: &[
        Column::key("sdk_app_id", Kind::Number),
        Column::key("room_id", Kind::Text).may_name(),
        Column::key("room_id_kind", Kind::Text),
        Column::key("interval_id", Kind::Id),
        Column::fact("account", Kind::Text).may_name(),
    ],
};
static ANOMALIES: Table = Table {
    name: "anomalies",
    columns: &[
        Column::key("sdk_app_id", Kind::Number),
        Column::key("kind", Kind::Text),
        Column::key("subject", Kind::Text).may_name(),
        Column::key("session", Kind::Number),
    ],
};

/// Only the ids of what they are about: what is sent is read from the tables above.
static DERIVED_EVENTS: Table = Table {
    name: "derived_events",
    columns: &[
        Column::key("id", Kind::Id),
        Column::fact("subject", Kind::Text).may_name(),
        Column::fact("call_id", Kind::Text).may_name(),
        Column::fact("room_id", Kind::Text).may_name(),
    ],
};
static DERIVED_PENDING: Table = Table {
    name: "derived_pending",
    columns: &[
        Column::key("kind", Kind::Text),
        Column::key("sdk_app_id", Kind::Number),
        Column::key("subject", Kind::Text).may_name(),
        Column::key("day", Kind::Number),
    ],
};

/// A statement and its parameters, as text.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) texts: Vec<String>,
}

/// The columns that a step reads.
fn read_columns(table: &'static Table) -> impl Iterator<Item = &'static Column> {
    table.columns.iter().filter(|column| column.join == Join::Key || column.may_name)
}

/// Reads the next candidate rows.
pub(crate) fn candidates(
    dialect: &Dialect,
    erasing: &Erasing<'_>,
    account: &str,
    after: Option<&RowKey>,
) -> Statement {
    let table = erasing.table;
    let mut texts = vec![clipped(account)];
    let equal = table.columns.iter().filter(|column| column.may_name);
    let equal = equal.map(|column| match column.kind {
        Kind::Json => (dialect.may_hold)(column.name),
        _ => format!("{} = $1", column.name),
    });
    let equal = equal.collect::<Vec<_>>().join(" or ");
    let keys: Vec<&Column> = table.keys().collect();
    let names = keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ");
    let mut conditions = vec![format!("({equal})")];
    if let Some(app) = erasing.app {
        texts.push(app.to_string());
        conditions.push(format!("sdk_app_id = {}", (dialect.from_text)(Kind::Number, texts.len())));
    }
    if let Some(after) = after {
        let given = keys.iter().zip(texts.len() + 1..);
        let given = given.map(|(key, number)| (dialect.from_text)(key.kind, number));
        conditions.push(format!("({names}) > ({})", given.collect::<Vec<_>>().join(", ")));
        texts.extend(after.iter().cloned());
    }
    let sql = format!(
        "select {} from {} where {} order by {names} limit {}",
        read_columns(table).map(dialect.as_text).collect::<Vec<_>>().join(", "),
        table.name,
        conditions.join(" and "),
        erasing.limit
    );
    Statement { sql, texts }
}

/// The key of a row that [`candidates`] read.
pub(crate) fn key(table: &'static Table, row: &[Option<String>]) -> RowKey {
    let columns = read_columns(table).zip(row);
    let keys = columns.filter(|(column, _)| column.join == Join::Key);
    keys.map(|(_, value)| value.clone().unwrap_or_default()).collect()
}

/// The statements that erase the account from a row that [`candidates`] read; none where the row does not hold it.
pub(crate) fn taking_out(
    dialect: &Dialect,
    erasing: &Erasing<'_>,
    row: &[Option<String>],
) -> Vec<Statement> {
    let table = erasing.table;
    let erased: Vec<(&Column, String)> = read_columns(table)
        .zip(row)
        .filter_map(|(column, value)| {
            Some((column, replaced(erasing.erasure, column, value.as_deref()?)?))
        })
        .collect();
    if erased.is_empty() {
        return Vec::new();
    }
    let key = key(table, row);
    if erased.iter().all(|(column, _)| column.join != Join::Key) {
        let mut statements = vec![update(dialect, table, &key, &erased)];
        statements.extend(to_settle(dialect, table, &key, &[]));
        return statements;
    }
    // The session worker computes such rows again from the facts.
    let mut written = TABLES.into_iter().chain([&RTC_REPAIRED_MARKS]);
    if !written.any(|written| written.name == table.name) {
        return vec![delete(dialect, table, &key)];
    }
    let mut statements = Vec::new();
    if !dialect.for_update.is_empty() {
        let (condition, texts) = has_key(dialect, table, &key, 0);
        let sql = format!("select 1 from {} where {condition}{}", table.name, dialect.for_update);
        statements.push(Statement { sql, texts });
    }
    statements.push(copy(dialect, table, &key, &erased));
    statements.push(delete(dialect, table, &key));
    statements.extend(to_settle(dialect, table, &key, &erased));
    statements
}

fn replaced(erasure: &Erasure, column: &Column, value: &str) -> Option<String> {
    match column.kind {
        _ if !column.may_name => None,
        Kind::Json => erasure.json(value),
        _ => erasure.is_account(value).then(|| erasure.pseudonym().to_owned()),
    }
}

/// The condition that a row has this key, with its parameters numbered from an offset.
fn has_key(dialect: &Dialect, table: &Table, key: &RowKey, before: usize) -> (String, Vec<String>) {
    let parts = table.keys().zip(before + 1..);
    let parts = parts.map(|(column, number)| {
        format!("{} = {}", column.name, (dialect.from_text)(column.kind, number))
    });
    (parts.collect::<Vec<_>>().join(" and "), key.clone())
}

fn update(
    dialect: &Dialect,
    table: &Table,
    key: &RowKey,
    erased: &[(&Column, String)],
) -> Statement {
    let set = erased.iter().zip(1..).map(|((column, _), number)| {
        format!("{} = {}", column.name, (dialect.from_text)(column.kind, number))
    });
    let set = set.collect::<Vec<_>>().join(", ");
    let (condition, keys) = has_key(dialect, table, key, erased.len());
    let mut texts: Vec<String> = erased.iter().map(|(_, text)| text.clone()).collect();
    texts.extend(keys);
    Statement { sql: format!("update {} set {set} where {condition}", table.name), texts }
}

fn delete(dialect: &Dialect, table: &Table, key: &RowKey) -> Statement {
    let (condition, texts) = has_key(dialect, table, key, 0);
    Statement { sql: format!("delete from {} where {condition}", table.name), texts }
}

/// Merges the row into the one that may exist under its new key.
fn copy(dialect: &Dialect, table: &Table, key: &RowKey, erased: &[(&Column, String)]) -> Statement {
    let names = upsert::list(table.columns, |column| column.name.to_owned());
    let values = upsert::list(table.columns, |column| {
        let place = erased.iter().position(|(of, _)| of.name == column.name);
        place.map_or_else(
            || format!("old.{}", column.name),
            |place| (dialect.from_text)(column.kind, place + 1),
        )
    });
    let (condition, keys) = has_key(dialect, table, key, erased.len());
    let mut texts: Vec<String> = erased.iter().map(|(_, text)| text.clone()).collect();
    texts.extend(keys);
    let taken_up = upsert::on_conflict(dialect, table);
    let name = table.name;
    Statement {
        sql: format!(
            "insert into {name} ({names}) select {values} from {name} as old where {condition}{taken_up}"
        ),
        texts,
    }
}

/// Queues the room of a changed fact to be settled again.
fn to_settle(
    dialect: &Dialect,
    table: &Table,
    key: &RowKey,
    erased: &[(&Column, String)],
) -> Option<Statement> {
    let value = |name: &str| {
        let new = erased.iter().find(|(column, _)| column.name == name);
        let old = || table.keys().zip(key).find(|(column, _)| column.name == name);
        new.map(|(_, text)| text).or_else(|| old().map(|(_, text)| text)).cloned()
    };
    let (app, room_id, at) = (value("sdk_app_id")?, value("room_id")?, value("at")?);
    let (queue, column, span_ms) = match table.name {
        "rtc_room_marks" | "rtc_repaired_marks" => ("rtc_settle_queue", "at", 3_600_000),
        _ => ("settle_queue", "day", 86_400_000),
    };
    let span = at.parse::<i64>().ok()?.div_euclid(span_ms).to_string();
    let [app_given, room_given, span_given] =
        [(Kind::Number, 1), (Kind::Text, 2), (Kind::Number, 3)]
            .map(|(kind, place)| (dialect.from_text)(kind, place));
    let slot = dialect.slot;
    Some(Statement {
        sql: format!(
            "insert into {queue} (sdk_app_id, room_id, {column}, slot)
             values ({app_given}, {room_given}, {span_given}, {slot}) on conflict do nothing"
        ),
        texts: vec![app, room_id, span],
    })
}
