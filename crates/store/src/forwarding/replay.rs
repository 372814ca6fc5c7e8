//! Replays: stored events that are sent to a destination again, as somebody asked.
//!
//! They become exceptions in pages, as those before them are sent: so there are never many, whatever the span. How far a replay is
//! stands in the store, and moves in the transaction that adds a page: whoever asks for the same again goes on there.

use std::collections::HashSet;

use serde_json::json;
use uuid::Uuid;

use crate::error::StoreError;
use crate::forwarding::connection::ForwardingConnection;
use crate::model::position::Position;
use crate::read::feed::FeedRow;
use crate::sql::connection::Arg;
use crate::sql::from_row::{from_row, id};
use protocol::{AppId, UnixMillis};

/// The most events of a destination that wait to be sent again.
pub const REPLAYS_MAX: u32 = 5_000;
/// How many rows of a backlog are looked at for events that are to come anyway. There are at most 500 events in each.
const TO_COME_ROWS_MAX: i64 = 2_000;

/// A span of stored events that is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// What was asked for, as it was written.
    pub definition: String,
    /// From when on events were received.
    pub since: UnixMillis,
    /// Until when, without that moment.
    pub until: UnixMillis,
    /// The last event that was read: when it was received, and its id.
    pub at: (UnixMillis, Uuid),
    /// Whether all of them are read.
    pub is_read: bool,
    /// Counts of those that are read, by result.
    pub counts: ReplayCounts,
}

impl Replay {
    /// One that begins.
    #[must_use]
    pub fn new(definition: String, since: UnixMillis, until: UnixMillis) -> Self {
        let (at, counts) = ((since, Uuid::nil()), ReplayCounts::default());
        Self { definition, since, until, at, is_read: false, counts }
    }
}

/// Counts of the events that a replay has read, by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// How many they are.
    pub read: i64,
    /// They are sent again.
    pub queued: i64,
    /// They have another command than was asked for.
    pub not_chosen: i64,
    /// They are not for the destination.
    pub filtered: i64,
    /// The destination gets them anyway.
    pub to_come: i64,
}

/// A stored event, as far as a filter looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayEvent {
    /// Its id.
    pub id: Uuid,
    /// When it was received.
    pub received_at: UnixMillis,
    /// Its app.
    pub app: AppId,
    /// The family of its command.
    pub family: String,
    /// Its command.
    pub command: String,
    /// Its call.
    pub call_id: Option<String>,
    /// Its room.
    pub room_id: Option<String>,
}

/// An event that is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuedReplay {
    /// The event.
    pub id: Uuid,
    /// A hash of its call, else its room.
    pub subject_hash: Option<i64>,
    /// When it is sent at the earliest.
    pub next_at: UnixMillis,
}

/// The result of adding a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayStep {
    /// It is added: so many are new.
    Added(u64),
    /// Somebody else has gone on with the same replay.
    Overtaken,
    /// The destination was removed.
    NoDestination,
}

struct ReplayRow {
    definition: String,
    since: i64,
    until: i64,
    at_time: i64,
    at_id: Uuid,
    is_read: i32,
    events_read: i64,
    queued: i64,
    not_chosen: i64,
    filtered: i64,
    to_come: i64,
}

struct EventRow {
    id: Uuid,
    sdk_app_id: i64,
    family: String,
    command: String,
    received_at: i64,
    call_id: Option<String>,
    room_id: Option<String>,
}

from_row! {
    ReplayRow: definition, since, until, at_time, at_id = id, is_read, events_read, queued, not_chosen, filtered, to_come;
    EventRow: id = id, sdk_app_id, family, command, received_at, call_id, room_id;
}

impl From<ReplayRow> for Replay {
    fn from(row: ReplayRow) -> Self {
        Self {
            definition: row.definition,
            since: UnixMillis(row.since),
            until: UnixMillis(row.until),
            at: (UnixMillis(row.at_time), row.at_id),
            is_read: row.is_read != 0,
            counts: ReplayCounts {
                read: row.events_read,
                queued: row.queued,
                not_chosen: row.not_chosen,
                filtered: row.filtered,
                to_come: row.to_come,
            },
        }
    }
}

impl ForwardingConnection {
    /// The replay of a destination that has not ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn replay(&mut self, name: &str) -> Result<Option<Replay>, StoreError> {
        let sql = "select definition, @ms(since) as since, @ms(until) as until, @ms(at_time) as at_time, @text(at_id) as at_id,
                 case when is_read then 1 else 0 end as is_read, events_read, queued, not_chosen, filtered, to_come
             from replays where destination = $1";
        let row: Option<ReplayRow> = self.0.row(sql, &[name.into()]).await?;
        Ok(row.map(Replay::from))
    }

    /// Begins a replay, in place of one that is there; `false`, and nothing written, where the destination was removed.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin_replay(&mut self, name: &str, replay: &Replay) -> Result<bool, StoreError> {
        let sql = "insert into replays (destination, definition, since, until, started_at, at_time, at_id, is_read,
                 events_read, queued, not_chosen, filtered, to_come)
             select name, $2, @at(3), @at(4), @now, @at(3), @id(5), $6, 0, 0, 0, 0, 0 from destinations where name = $1
             on conflict (destination) do update set definition = excluded.definition, since = excluded.since,
                 until = excluded.until, started_at = excluded.started_at, at_time = excluded.at_time,
                 at_id = excluded.at_id, is_read = excluded.is_read, events_read = 0, queued = 0, not_chosen = 0,
                 filtered = 0, to_come = 0";
        let args = [
            name.into(),
            replay.definition.as_str().into(),
            replay.since.0.into(),
            replay.until.0.into(),
            Uuid::nil().to_string().as_str().into(),
            false.into(),
        ];
        Ok(self.0.execute(sql, &args).await? == 1)
    }

    /// The next events of a span, in the order in which they were received.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn replay_page(
        &mut self,
        replay: &Replay,
        events_max: u32,
    ) -> Result<Vec<ReplayEvent>, StoreError> {
        let (received_at, id) = replay.at;
        let sql = format!(
            "select @text(id) as id, sdk_app_id, family, command, @ms(events.received_at) as received_at, call_id, room_id
             from events where (events.received_at, events.id) > (@at(1), @id(2)) and events.received_at < @at(3)
             order by events.received_at, events.id limit {events_max}"
        );
        let id = id.to_string();
        let args = [received_at.0.into(), id.as_str().into(), replay.until.0.into()];
        let rows: Vec<EventRow> = self.0.rows(&sql, &args).await?;
        let event = |row: EventRow| {
            let app = AppId::parse(&row.sdk_app_id.to_string()).ok_or_else(|| {
                let text = format!("event {} has no SDKAppID", row.id);
                StoreError::Refused(sqlx::Error::Decode(text.into()))
            })?;
            let received_at = UnixMillis(row.received_at);
            let EventRow { id, family, command, call_id, room_id, .. } = row;
            Ok(ReplayEvent { id, received_at, app, family, command, call_id, room_id })
        };
        rows.into_iter().map(event).collect()
    }

    /// Adds a page of events, and moves the replay from where it was `before` to where it is `after` it. The server that forwards
    /// notices. An event that waits for its next try stays as it is; a dead letter is one no more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn add_replays(
        &mut self,
        name: &str,
        (before, after): (&Replay, &Replay),
        events: &[QueuedReplay],
    ) -> Result<ReplayStep, StoreError> {
        self.0.begin().await?;
        // It comes first: the server that forwards locks in the same order.
        let raise_version =
            "update destinations set exceptions_version = exceptions_version + 1 where name = $1";
        if self.0.execute(raise_version, &[name.into()]).await? == 0 {
            self.0.execute("rollback", &[]).await?;
            return Ok(ReplayStep::NoDestination);
        }
        let rows: Vec<_> = events
            .iter()
            .map(|event| json!([event.id, event.subject_hash, event.next_at.0]))
            .collect();
        let rows = json!(rows).to_string();
        let added = match events {
            [] => 0,
            _ => self.0.execute(ADD, &[name.into(), rows.as_str().into()]).await?,
        };
        let counts = after.counts;
        let queued = before.counts.queued + i64::try_from(added).unwrap_or(i64::MAX);
        // What had a row already is sent anyway.
        let to_come = counts.to_come + i64::try_from(events.len()).unwrap_or(i64::MAX)
            - (queued - before.counts.queued);
        let sql = "update replays set at_time = @at(2), at_id = @id(3), is_read = $4, events_read = $5, queued = $6,
                 not_chosen = $7, filtered = $8, to_come = $9
             where destination = $1 and definition = $10 and at_time = @at(11) and at_id = @id(12)";
        let args = [
            name.into(),
            after.at.0.0.into(),
            after.at.1.to_string().as_str().into(),
            after.is_read.into(),
            counts.read.into(),
            queued.into(),
            counts.not_chosen.into(),
            counts.filtered.into(),
            to_come.into(),
            before.definition.as_str().into(),
            before.at.0.0.into(),
            Arg::from(before.at.1.to_string().as_str()),
        ];
        if self.0.execute(sql, &args).await? == 0 {
            self.0.execute("rollback", &[]).await?;
            return Ok(ReplayStep::Overtaken);
        }
        self.0.commit().await?;
        Ok(ReplayStep::Added(added))
    }

    /// How many events of a destination wait to be sent again.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn pending_replays(&mut self, name: &str) -> Result<u32, StoreError> {
        let sql =
            "select count(*) from delivery_exceptions where destination = $1 and state = 'replay'";
        let pending: Option<(i64,)> = self.0.row(sql, &[name.into()]).await?;
        Ok(pending.and_then(|(pending,)| u32::try_from(pending).ok()).unwrap_or_default())
    }

    /// Forgets a replay, all of whose events are sent. Where it was `whole`, of every command, and skipped events of the backlog
    /// lie within it, these are no longer missing.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end_replay(
        &mut self,
        name: &str,
        replay: &Replay,
        whole: bool,
    ) -> Result<(), StoreError> {
        self.0.begin().await?;
        if whole {
            let sql = "update destinations set skipped_from = null, skipped_until = null
                 where name = $1 and skipped_from >= @at(2) and skipped_until < @at(3)";
            let args = [name.into(), replay.since.0.into(), replay.until.0.into()];
            self.0.execute(sql, &args).await?;
        }
        let sql = "delete from replays where destination = $1 and definition = $2";
        self.0.execute(sql, &[name.into(), replay.definition.as_str().into()]).await?;
        self.0.commit().await
    }

    /// The events behind a destination's position, which it gets anyway: the first million of them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn events_to_come(&mut self, name: &str) -> Result<HashSet<Uuid>, StoreError> {
        let sql = format!(
            "select position, @feed_ids(ids) as ids from feed
             where position >= (select destinations.position / 512 from destinations where name = $1)
             order by position limit {TO_COME_ROWS_MAX}"
        );
        let rows: Vec<FeedRow> = self.0.rows(&sql, &[name.into()]).await?;
        let position =
            self.destination(name).await?.map_or(Position::default(), |row| row.position);
        let mut ids = HashSet::new();
        for row in rows {
            let places = row.ids()?.into_iter().enumerate();
            let behind = places.filter(|(place, _)| Position::of(row.position, *place) > position);
            ids.extend(behind.map(|(_, id)| id));
        }
        Ok(ids)
    }
}

const ADD: &str = "insert into delivery_exceptions (destination, event_id, position, subject_hash, attempts, next_at, state,
         changed_at)
     select $1, @as_id(item.value ->> 0), 0, cast(item.value ->> 1 as bigint), 0, @as_time(item.value ->> 2), 'replay', @now
     from @rows(2) where true
     on conflict (destination, event_id) do update set state = 'replay', attempts = 0, next_at = excluded.next_at,
         last_status = null, last_error = null, first_failed_at = null, changed_at = excluded.changed_at
     where delivery_exceptions.state = 'dead'";
