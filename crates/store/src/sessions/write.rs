//! Writes room sessions and their anomalies.

use crate::error::StoreError;
use crate::model::read_models::{Live, Room};
use crate::sessions::queue::{Queued, RoomId, SettlerConnection};
use crate::sql::bulk_write::Ready;
use crate::sql::connection::{Arg, DbConnection};
use crate::sql::from_row::from_row;
use protocol::UnixMillis;

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Plain,
    Time,
    Json,
    Id,
}

use Holds::{Id, Json, Plain, Time};

/// How many columns the key of `room_sessions` and `live_sessions` has.
const KEYS: usize = 3;

/// The columns of `room_sessions`, those of the key first.
const ROOM: [(&str, Holds); 30] = [
    ("sdk_app_id", Plain),
    ("room_id", Plain),
    ("session", Plain),
    ("family", Plain),
    ("name", Plain),
    ("owner", Plain),
    ("room_type", Plain),
    ("started_at", Time),
    ("created_at", Time),
    ("created_by", Plain),
    ("destroyed_at", Time),
    ("destroyed_by", Plain),
    ("destroy_cause", Plain),
    ("ended_at", Time),
    ("from_at", Time),
    ("until_at", Time),
    ("last_at", Time),
    ("state", Plain),
    ("inferred", Plain),
    ("members", Plain),
    ("members_peak", Plain),
    ("visitors", Plain),
    ("entries", Plain),
    ("leaves_missing", Plain),
    ("enters_missing", Plain),
    ("max_members", Plain),
    ("max_seats", Plain),
    ("properties", Json),
    ("occupancy", Json),
    ("cut", Json),
];

/// The columns of `live_sessions`, those of the key first.
const LIVE: [(&str, Holds); 17] = [
    ("sdk_app_id", Plain),
    ("room_id", Plain),
    ("session", Plain),
    ("total_viewers", Plain),
    ("total_gifts_sent", Plain),
    ("total_gift_coins", Plain),
    ("total_gift_senders", Plain),
    ("total_likes", Plain),
    ("gifts", Plain),
    ("gift_coins", Plain),
    ("gift_senders", Plain),
    ("top_senders", Json),
    ("top_receivers", Json),
    ("battles", Plain),
    ("admins", Json),
    ("metadata", Json),
    ("cut", Json),
];

pub(crate) fn select(table: &str, columns: &[(&str, Holds)]) -> String {
    let column = |(name, holds): &(&str, Holds)| match holds {
        Plain => (*name).to_owned(),
        Time => format!("@ms({name}) as {name}"),
        Json | Id => format!("@text({name}) as {name}"),
    };
    let columns: Vec<String> = columns.iter().map(column).collect();
    format!("select {} from {table}", columns.join(", "))
}

pub(crate) fn select_rooms() -> String {
    select("room_sessions", &ROOM)
}

pub(crate) fn select_live_sessions() -> String {
    select("live_sessions", &LIVE)
}

/// An upsert of rows in the order of their key, the lock order of all writers. The first `keys` columns are the key.
pub(crate) fn upsert(table: &str, columns: &[(&str, Holds)], keys: usize) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let value = |(place, (_, holds)): (usize, &(&str, Holds))| match holds {
        Plain => format!("${}", place + 1),
        Time => format!("@at({})", place + 1),
        Json => format!("@json({})", place + 1),
        Id => format!("@id({})", place + 1),
    };
    let values: Vec<String> = columns.iter().enumerate().map(value).collect();
    let set: Vec<String> =
        names[keys..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let order: Vec<String> = (1..=keys).map(|place| format!("${place}")).collect();
    format!(
        "insert into {table} ({}) select {} @from where true order by {} on conflict ({}) do update set {}",
        names.join(", "),
        values.join(", "),
        order.join(", "),
        names[..keys].join(", "),
        set.join(", ")
    )
}

/// An anomaly that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The app.
    pub app: i64,
    /// As `anomalies.kind`.
    pub kind: &'static str,
    /// As `anomalies.subject`.
    pub subject: String,
    /// As `anomalies.session`.
    pub session: i64,
    /// When it happened.
    pub happened_at: UnixMillis,
    /// A description.
    pub detail: String,
}

/// An open anomaly of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAnomaly {
    /// As [`Finding::kind`].
    pub kind: String,
    /// As [`Finding::session`].
    pub session: i64,
    /// As [`Finding::happened_at`].
    pub happened_at: UnixMillis,
    /// As [`Finding::detail`].
    pub detail: String,
}

from_row! { OpenAnomaly: kind, session, happened_at, detail; }

/// The changes of one room, written in one transaction.
#[derive(Debug, Default)]
pub struct Settlement {
    /// New and changed sessions.
    pub rooms: Vec<Room>,
    /// Live figures of new and changed sessions.
    pub sessions: Vec<Live>,
    /// Sessions to delete.
    pub rooms_gone: Vec<i64>,
    /// Sessions whose live figures are to be deleted.
    pub live_sessions_gone: Vec<i64>,
    /// New and changed anomalies.
    pub found: Vec<Finding>,
    /// Anomalies to resolve: kind and session.
    pub resolved: Vec<(String, i64)>,
    /// The last slot up to which the room's day may leave the queue.
    pub done: Option<i64>,
}

impl Settlement {
    /// The memory it takes, approximately, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.len()).sum::<usize>();
        let room = |row: &Room| {
            size_of::<Room>() + texts(&[row.properties.as_deref().unwrap_or(""), &row.occupancy])
        };
        let live = |row: &Live| {
            let lists = [&*row.metadata, &row.admins, &row.top_senders, &row.top_receivers];
            size_of::<Live>() + texts(&lists)
        };
        self.rooms.iter().map(room).sum::<usize>()
            + self.sessions.iter().map(live).sum::<usize>()
            + self.found.iter().map(|of| size_of::<Finding>() + of.detail.len()).sum::<usize>()
            + self.resolved.len() * size_of::<(String, i64)>()
    }

    fn is_empty(&self) -> bool {
        self.rooms.is_empty()
            && self.sessions.is_empty()
            && self.rooms_gone.is_empty()
            && self.live_sessions_gone.is_empty()
            && self.found.is_empty()
            && self.resolved.is_empty()
            && self.done.is_none()
    }
}

impl SettlerConnection {
    /// Writes the settlements of distinct rooms at `now`, all in one transaction.
    ///
    /// # Errors
    /// When the store refuses them.
    pub async fn write<'a>(
        &mut self,
        settled: impl Iterator<Item = (&'a Queued, &'a Settlement)> + Clone,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if settled.clone().all(|(_, settlement)| settlement.is_empty()) {
            return Ok(());
        }
        // Invariant: all statements are built before the transaction begins, since the database ends one that is
        // idle.
        let mut ready = Vec::new();
        for (table, gone) in [
            ("room_sessions", (|it| &it.rooms_gone) as fn(&Settlement) -> &Vec<i64>),
            ("live_sessions", |it| &it.live_sessions_gone),
        ] {
            let gone = settled.clone().flat_map(|(queued, settlement)| {
                gone(settlement).iter().map(|session| queued.room.and([(*session).into()]))
            });
            let sql = format!(
                "delete from {table} @using where sdk_app_id = $1 and room_id = $2 and session = $3"
            );
            ready.extend(self.0.ready(&sql, gone.collect()));
        }
        let rooms = settled.clone().flat_map(|(_, of)| of.rooms.iter().map(room_args));
        ready.extend(self.0.ready(&upsert("room_sessions", &ROOM, KEYS), rooms.collect()));
        let sessions = settled.clone().flat_map(|(_, of)| of.sessions.iter().map(live_args));
        ready.extend(self.0.ready(&upsert("live_sessions", &LIVE, KEYS), sessions.collect()));
        ready.extend(listing(&self.0, settled.clone().flat_map(|(_, of)| &of.found), now));
        let resolved = settled.clone().map(|(queued, of)| (&queued.room, of.resolved.as_slice()));
        ready.extend(resolving(&self.0, resolved, now));
        let done = settled.filter_map(|(queued, settlement)| {
            let slot = settlement.done?;
            Some(queued.room.and([queued.day.into(), slot.into()]))
        });
        let sql = "delete from settle_queue @using
                   where sdk_app_id = $1 and room_id = $2 and day = $3 and slot <= $4";
        ready.extend(self.0.ready(sql, done.collect()));
        self.0.begin().await?;
        self.0.run(ready).await?;
        self.0.commit().await
    }

    /// The open anomalies of each room, for the sessions within a range: from the first to the last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn known<'a>(
        &mut self,
        kinds: &[&str],
        ranges: impl Iterator<Item = (&'a RoomId, (i64, i64))>,
    ) -> Result<Vec<Vec<OpenAnomaly>>, StoreError> {
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
        let sql = format!(
            "select kind, session, @ms(happened_at) as happened_at, detail from anomalies
             where sdk_app_id = $1 and kind in ({}) and subject = $2 and session >= $3 and session <= $4
                 and resolved_at is null",
            kinds.join(", ")
        );
        let lists: Vec<Vec<Arg>> =
            ranges.map(|(room, (first, last))| room.and([first.into(), last.into()])).collect();
        self.0.each(&sql, &lists).await
    }
}

/// Lists anomalies; those not listed or already resolved count as new.
pub(crate) async fn put(
    connection: &mut DbConnection,
    findings: impl IntoIterator<Item = &Finding>,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let ready = listing(connection, findings, now);
    connection.run(ready).await
}

pub(crate) fn listing<'a>(
    connection: &DbConnection,
    findings: impl IntoIterator<Item = &'a Finding>,
    now: UnixMillis,
) -> Vec<Ready> {
    let sql = "insert into anomalies (sdk_app_id, kind, subject, session, happened_at, found_at, detail)
         select $1, $2, $3, $4, @at(5), @at(6), $7 @from where true
         on conflict (sdk_app_id, kind, subject, session) do update set
             happened_at = excluded.happened_at,
             found_at = case when anomalies.resolved_at is null then anomalies.found_at else excluded.found_at end,
             resolved_at = null,
             detail = excluded.detail";
    let args = |finding: &Finding| {
        let Finding { app, kind, subject, session, happened_at, detail } = finding;
        vec![
            (*app).into(),
            (*kind).into(),
            subject.as_str().into(),
            (*session).into(),
            happened_at.0.into(),
            now.0.into(),
            detail.as_str().into(),
        ]
    };
    connection.ready(sql, findings.into_iter().map(args).collect())
}

/// Resolves anomalies of rooms: kind and session of each.
pub(crate) fn resolving<'a>(
    connection: &DbConnection,
    resolved: impl Iterator<Item = (&'a RoomId, &'a [(String, i64)])>,
    now: UnixMillis,
) -> Vec<Ready> {
    let args = resolved.flat_map(|(room, resolved)| {
        let RoomId { app, room_id } = room;
        resolved.iter().map(|(kind, session)| resolved_args(*app, kind, room_id, *session, now))
    });
    connection.ready(RESOLVE_EACH, args.collect())
}

/// Resolves an anomaly.
pub(crate) async fn resolve(
    connection: &mut DbConnection,
    app: i64,
    kind: &str,
    subject: &str,
    session: i64,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let ready =
        connection.ready(RESOLVE_EACH, vec![resolved_args(app, kind, subject, session, now)]);
    connection.run(ready).await
}

const RESOLVE_EACH: &str = "update anomalies set resolved_at = @at(5) @from
     where sdk_app_id = $1 and kind = $2 and subject = $3 and session = $4 and resolved_at is null";

fn resolved_args(app: i64, kind: &str, subject: &str, session: i64, now: UnixMillis) -> Vec<Arg> {
    vec![app.into(), kind.into(), subject.into(), session.into(), now.0.into()]
}

pub(crate) fn time(at: Option<UnixMillis>) -> Arg {
    at.map(|at| at.0).into()
}

fn room_args(row: &Room) -> Vec<Arg> {
    vec![
        row.sdk_app_id.into(),
        row.room_id.as_str().into(),
        row.session.into(),
        row.family.as_str().into(),
        row.name.as_deref().into(),
        row.owner.as_deref().into(),
        row.room_type.as_deref().into(),
        row.started_at.0.into(),
        time(row.created_at),
        row.created_by.as_deref().into(),
        time(row.destroyed_at),
        row.destroyed_by.as_deref().into(),
        row.destroy_cause.as_deref().into(),
        time(row.ended_at),
        row.from_at.0.into(),
        time(row.until_at),
        row.last_at.0.into(),
        row.state.as_str().into(),
        row.inferred.into(),
        row.members.into(),
        row.members_peak.into(),
        row.visitors.into(),
        row.entries.into(),
        row.leaves_missing.into(),
        row.enters_missing.into(),
        row.max_members.into(),
        row.max_seats.into(),
        row.properties.as_deref().into(),
        row.occupancy.as_str().into(),
        row.cut.as_deref().into(),
    ]
}

fn live_args(row: &Live) -> Vec<Arg> {
    vec![
        row.sdk_app_id.into(),
        row.room_id.as_str().into(),
        row.session.into(),
        row.total_viewers.into(),
        row.total_gifts_sent.into(),
        row.total_gift_coins.into(),
        row.total_gift_senders.into(),
        row.total_likes.into(),
        row.gifts.into(),
        row.gift_coins.into(),
        row.gift_senders.into(),
        row.top_senders.as_str().into(),
        row.top_receivers.as_str().into(),
        row.battles.into(),
        row.admins.as_str().into(),
        row.metadata.as_str().into(),
        row.cut.as_deref().into(),
    ]
}
