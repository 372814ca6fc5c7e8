//! The SQL dialects of the two databases.

use projections::table::{Column, Kind};

/// The columns of [`Row`](crate::model::event::Row).
macro_rules! event_columns {
    (postgres) => {
        "id::text as id, sdk_app_id, family, command, command_sent, \
         (extract(epoch from event_time) * 1000)::bigint as event_time, \
         (extract(epoch from received_at) * 1000)::bigint as received_at, \
         call_id, room_id, operator, client_ip, platform, payload::text as payload, raw, decode_error, \
         request_id, query, signature"
    };
    (sqlite) => {
        "id, sdk_app_id, family, command, command_sent, event_time, received_at, \
         call_id, room_id, operator, client_ip, platform, payload, raw, decode_error, request_id, query, \
         signature"
    };
}

/// A database's expressions for what the other one writes differently.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// `select … from events`, with the columns of [`Row`](crate::model::event::Row).
    pub(crate) select_events: &'static str,
    /// The same of some events, each looked up by the primary key, in the order given, with its `place` in it from 0. A JSON
    /// list of their times in ms and ids is bound behind the first part, and behind the second their first time and, as
    /// ` and event_time <= `, their last: PostgreSQL then plans for the partitions between them only.
    pub(crate) select_wanted: [&'static str; 3],
    /// The macros of [templates](crate::sql::template) with their SQL, in which `{}` stands for the argument.
    pub(crate) words: &'static [(&'static str, &'static str)],
    /// The database's clock, in slots of 2 s.
    pub(crate) slot: &'static str,
    /// The lesser of two values; the other one where one is null.
    pub(crate) least: fn(&str, &str) -> String,
    /// The greater of two values; the other one where one is null.
    pub(crate) greatest: fn(Kind, &str, &str) -> String,
    /// The collation that compares texts by their bytes.
    pub(crate) collate: &'static str,
    /// A column as text.
    pub(crate) as_text: fn(&Column) -> String,
    /// A parameter bound as text, converted to a column's type.
    pub(crate) from_text: fn(Kind, usize) -> String,
    /// Whether the JSON text of a column may contain the first parameter, possibly behind escapes.
    pub(crate) may_hold: fn(&str) -> String,
    /// Whether stored events get their positions in the feed later, from markers.
    pub(crate) has_markers: bool,
    /// Locks the rows of a `select`. Empty where a write transaction is exclusive.
    pub(crate) for_update: &'static str,
    /// Begins a write transaction.
    pub(crate) begin: &'static str,
}

pub(crate) static POSTGRES: Dialect = Dialect {
    select_events: concat!("select ", event_columns!(postgres), " from events"),
    // `offset 0` keeps the subquery: each event is looked up in its partition, whatever the planner believes.
    select_wanted: [
        concat!(
            "select place - 1 as place, ",
            event_columns!(postgres),
            " from (select place, found.* from (
                 select (pair ->> 0)::bigint as ms, (pair ->> 1)::uuid as wanted_id, place from json_array_elements(",
        ),
        "::json) with ordinality as listed (pair, place) offset 0) as wanted
             cross join lateral (
                 select * from events
                 where event_time = timestamptz 'epoch' + ms * interval '1 millisecond' and id = wanted_id
                     and event_time >= ",
        "
                 offset 0) as found) as events",
    ],
    words: &[
        ("ms", "(extract(epoch from {}) * 1000)::bigint"),
        ("text", "{}::text"),
        // A `timestamptz` plus an interval depends on the time zone, for which PostgreSQL would plan for every partition and
        // leave most out only then.
        ("at", "((timestamp 'epoch' + ${} * interval '1 millisecond') at time zone 'UTC')"),
        ("id", "${}::uuid"),
        ("json", "${}::json"),
        ("unhex", "decode(${}, 'hex')"),
        ("raw_holds", "position(convert_to(${}, 'UTF8') in raw) > 0"),
        ("hour", "date_bin('1 hour', {}, timestamptz 'epoch')"),
        ("day", "date_bin('1 day', {}, timestamptz 'epoch')"),
        ("sum", "least(sum({}), 9223372036854775807)::bigint"),
        ("greatest", "greatest"),
        ("least", "least"),
        ("strpos", "strpos"),
        ("json_array", "json_build_array"),
        ("texts", "json_agg({})::text"),
        ("clock", "(extract(epoch from clock_timestamp()) * 1000)::bigint"),
        ("minute", "interval '1 minute'"),
        ("tick", "interval '1 microsecond'"),
        ("bytewise", "collate \"C\""),
        ("feed_ids", "{}::text"),
        ("now", "clock_timestamp()"),
        ("after", "(clock_timestamp() + ${} * interval '1 millisecond')"),
        ("rows", "json_array_elements(${}::json) as item (value)"),
        ("as_id", "({})::uuid"),
        ("as_time", "(timestamptz 'epoch' + ({})::bigint * interval '1 millisecond')"),
        ("feed_events", "cardinality({})"),
        ("feed_holds", "${}::uuid = any (ids)"),
    ],
    slot: "floor(extract(epoch from clock_timestamp()) / 2)::bigint",
    least: |old, new| format!("least({old}, {new})"),
    greatest: |kind, old, new| match kind {
        Kind::Truth => format!("{old} or {new}"),
        Kind::Text => format!(r#"greatest({old} collate "C", {new} collate "C")"#),
        _ => format!("greatest({old}, {new})"),
    },
    collate: r#" collate "C""#,
    as_text: |Column { name, kind, .. }| match kind {
        Kind::Time => format!("(extract(epoch from {name}) * 1000)::bigint::text"),
        _ => format!("{name}::text"),
    },
    from_text: |kind, number| match kind {
        Kind::Time => {
            format!("timestamptz 'epoch' + ${number}::text::bigint * interval '1 millisecond'")
        }
        Kind::Text => format!("${number}::text"),
        Kind::Json => format!("${number}::text::json"),
        _ => format!("${number}::text::{}", type_of(kind)),
    },
    may_hold: |name| {
        format!(r"position($1 in {name}::text) > 0 or position(E'\\' in {name}::text) > 0")
    },
    has_markers: true,
    for_update: " for update",
    begin: "begin",
};

pub(crate) static SQLITE: Dialect = Dialect {
    select_events: concat!("select ", event_columns!(sqlite), " from events"),
    // `cross join` keeps the order of the two tables.
    select_wanted: [
        concat!(
            "select place, ",
            event_columns!(sqlite),
            " from (select wanted.key as place, found.* from json_each(",
        ),
        ") as wanted cross join events as found
             on found.event_time = wanted.value ->> 0 and found.id = wanted.value ->> 1 and found.event_time >= ",
        ") as events",
    ],
    words: &[
        ("ms", "{}"),
        ("text", "{}"),
        ("at", "${}"),
        ("id", "${}"),
        ("json", "${}"),
        ("unhex", "unhex(${})"),
        ("raw_holds", "instr(raw, cast(${} as blob)) > 0"),
        ("hour", "({} - ({} % 3600000 + 3600000) % 3600000)"),
        ("day", "({} - ({} % 86400000 + 86400000) % 86400000)"),
        // SQLite's `sum` fails on overflow. The sums of the upper and lower halves cannot overflow.
        (
            "sum",
            "case when sum({} >> 32) + (sum({} & 4294967295) >> 32) > 2147483647 then 9223372036854775807
                  else (sum({} >> 32) << 32) + sum({} & 4294967295) end",
        ),
        ("greatest", "max"),
        ("least", "min"),
        ("strpos", "instr"),
        ("json_array", "json_array"),
        ("texts", "json_group_array({})"),
        ("clock", "cast(unixepoch('subsec') * 1000 as integer)"),
        ("minute", "60000"),
        ("tick", "1"),
        ("bytewise", ""),
        ("feed_ids", "hex({})"),
        ("now", "cast(unixepoch('subsec') * 1000 as integer)"),
        ("after", "(cast(unixepoch('subsec') * 1000 as integer) + ${})"),
        ("rows", "json_each(${}) as item"),
        ("as_id", "{}"),
        ("as_time", "cast({} as integer)"),
        ("feed_events", "(length({}) / 16)"),
        ("feed_holds", "instr(ids, unhex(replace(${}, '-', ''))) > 0"),
    ],
    slot: "unixepoch() / 2",
    // SQLite's `min` and `max` are null where one value is.
    least: |old, new| format!("coalesce(min({old}, {new}), {old}, {new})"),
    greatest: |_, old, new| format!("coalesce(max({old}, {new}), {old}, {new})"),
    // Texts are compared by bytes by default.
    collate: "",
    as_text: |column| format!("cast({} as text)", column.name),
    from_text: |kind, number| match kind {
        Kind::Text | Kind::Json | Kind::Id => format!("${number}"),
        _ => format!("cast(${number} as integer)"),
    },
    may_hold: |name| format!(r"instr({name}, $1) > 0 or instr({name}, '\') > 0"),
    has_markers: false,
    for_update: "",
    begin: "begin immediate",
};

/// The PostgreSQL type in which a value of this kind is bound.
pub(crate) fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Number | Kind::Slot => "bigint",
        Kind::Text | Kind::Json => "text",
        Kind::Truth => "boolean",
        Kind::Time => "timestamptz",
        Kind::Id => "uuid",
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::dialect::*;

    #[test]
    fn both_dialects_define_the_same_macros() {
        let words = |dialect: &Dialect| -> Vec<(&str, bool)> {
            dialect.words.iter().map(|(word, sql)| (*word, sql.contains("{}"))).collect()
        };
        assert_eq!(words(&POSTGRES), words(&SQLITE));
    }
}
