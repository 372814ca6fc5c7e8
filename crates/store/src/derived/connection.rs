//! The connection of the job that derives events: how far it is in the feed, and what it has to look at.

use std::time::Duration;

use uuid::Uuid;

use crate::derived::model::{
    COLUMNS, DerivedEvent, DerivedKind, DerivedSubject, DueRow, DueSubject, Row,
};
use crate::error::StoreError;
use crate::model::position::Position;
use crate::options::StoreOptions;
use crate::sql::connection::DbConnection;
use crate::url::StoreUrl;
use protocol::{AppId, UnixMillis, event_id};

/// How many subjects are looked at in one step.
pub const DUE_MAX: u32 = 100;
/// The most sessions of a room that are looked at in one step, the earliest first.
const SESSIONS_MAX: usize = 100;

/// The connection of the job that derives events. After an error it must not be used again.
///
/// One server at a time derives. It holds a lease, which each write renews; a server that lost it changes nothing.
#[derive(Debug)]
pub struct DerivedConnection(pub(crate) DbConnection);

/// Who derives, and for how long each write renews the right to.
#[derive(Debug, Clone, Copy)]
pub struct DerivedLease<'a> {
    /// The server.
    pub holder: &'a str,
    /// How long the right lasts.
    pub length: Duration,
}

impl DerivedLease<'_> {
    pub(crate) fn length_ms(&self) -> i64 {
        i64::try_from(self.length.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A subject with new events, and their times.
pub type Touched = (DerivedSubject, (UnixMillis, UnixMillis));

impl DerivedConnection {
    /// Opens the store of the URL, over a connection of its own.
    ///
    /// # Errors
    /// When the store is unreachable.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let connection = match StoreUrl::of_sessions(options)? {
            StoreUrl::Postgres(address) => {
                let settings = [("enable_seqscan", "off"), ("jit", "off")];
                DbConnection::postgres(address, "deriver", &settings).await?
            }
            StoreUrl::Sqlite(address) => DbConnection::sqlite(address, options.timeout).await?,
        };
        Ok(Self(connection))
    }

    /// Begins at the end of the feed, unless it began before and no more than a week passed since somebody derived last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        let week_ms = 7 * 86_400_000_i64;
        let sql = "delete from derived_progress where @ms(lease_until) < @clock - $1";
        self.0.execute(sql, &[week_ms.into()]).await?;
        let sql = "insert into derived_progress (id, position, lease_until)
             select 1, (select coalesce(max(position), 0) from feed) * 512 + 511, @now
             where not exists (select 1 from derived_progress)
             on conflict do nothing";
        self.0.execute(sql, &[]).await?;
        Ok(())
    }

    /// Takes or renews the right to derive, and says how far the feed is noted; `None` where another server has it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn take(&mut self, lease: DerivedLease<'_>) -> Result<Option<Position>, StoreError> {
        let sql = "update derived_progress set holder = $1, lease_until = @after(2)
             where id = 1 and (holder is null or holder = $1 or lease_until < @now)
             returning position";
        let args = [lease.holder.into(), lease.length_ms().into()];
        let row: Option<(i64,)> = self.0.row(sql, &args).await?;
        Ok(row.map(|(position,)| Position::of_number(position)))
    }

    /// Gives the right back, so that another server can take over at once.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn release(&mut self, holder: &str) -> Result<(), StoreError> {
        let sql = "update derived_progress set holder = null where holder = $1";
        self.0.execute(sql, &[holder.into()]).await.map(|_| ())
    }

    /// What is to be looked at now, the longest-waiting first, at most [`DUE_MAX`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn due(&mut self) -> Result<Vec<DueSubject>, StoreError> {
        // A room is settled with all events that are noted where its queue has no row from before that. It may have newer ones for ever.
        let sql = "select kind, sdk_app_id, subject, day, @ms(from_at) as from_at, @ms(until_at) as until_at,
                 case kind
                     when 'call' then case when exists (
                         select 1 from merged_calls as call
                         where call.sdk_app_id = pending.sdk_app_id and call.call_id = pending.subject
                             and (call.end_event_at is not null or call.end_record_at is not null)) then 1 else 0 end
                     when 'room' then case when exists (
                         select 1 from settle_queue as queue
                         where queue.sdk_app_id = pending.sdk_app_id and queue.room_id = pending.subject
                             and queue.slot <= pending.slot) then 0 else 1 end
                     else 1 end as is_ready,
                 case when exists (
                     select 1 from derived_events as event
                     where event.sdk_app_id = pending.sdk_app_id and event.subject = pending.subject) then 1 else 0 end
                     as is_known
             from derived_pending as pending
             where pending.due_at <= @now order by pending.due_at limit $1";
        let rows: Vec<DueRow> = self.0.rows(sql, &[i64::from(DUE_MAX).into()]).await?;
        rows.into_iter().map(DueSubject::try_from).collect()
    }

    /// The recording tasks that these events tell of.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn tasks_of(
        &mut self,
        events: &[Uuid],
    ) -> Result<Vec<Option<(AppId, String)>>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "select sdk_app_id, task_id from recording_marks where at = @at(1) and event_id = @id(2)";
        let list =
            |id: &Uuid| vec![event_id::time_of(*id).0.into(), id.to_string().as_str().into()];
        let lists: Vec<_> = events.iter().map(list).collect();
        let found: Vec<Vec<(i64, String)>> = self.0.each(sql, &lists).await?;
        let task = |rows: Vec<(i64, String)>| {
            let (app, task) = rows.into_iter().next()?;
            Some((AppId::parse(&app.to_string())?, task))
        };
        Ok(found.into_iter().map(task).collect())
    }

    /// The sessions of a room that events of these times may have changed: those within which they are, the one before, and those
    /// of which something was derived. They are given in pages: those after one of them, and after which one the next page begins
    /// where there may be one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn sessions(
        &mut self,
        (app, room_id): (AppId, &str),
        (from, until): (UnixMillis, UnixMillis),
        after: Option<i64>,
    ) -> Result<(Vec<i64>, Option<i64>), StoreError> {
        let sql = format!(
            "select session from (
             select session from room_sessions
             where sdk_app_id = $1 and room_id = $2 and from_at <= @at(4) and (until_at is null or until_at >= @at(3))
             union
             select session from derived_events
             where sdk_app_id = $1 and subject = $2
                 and session >= coalesce((select min(session) from (
                     select distinct session from derived_events
                     where sdk_app_id = $1 and subject = $2 and session <= $3 order by session desc limit 2) as before), 0)
                 and session <= coalesce((select min(session) from derived_events
                     where sdk_app_id = $1 and subject = $2 and session > $4), $4)
             ) as found
             where session > $5 order by session limit {SESSIONS_MAX}"
        );
        let after = after.unwrap_or(i64::MIN);
        let args =
            [app.as_i64().into(), room_id.into(), from.0.into(), until.0.into(), after.into()];
        let rows: Vec<(i64,)> = self.0.rows(&sql, &args).await?;
        let next = rows.last().filter(|_| rows.len() >= SESSIONS_MAX).map(|(session,)| *session);
        Ok((rows.into_iter().map(|(session,)| session).collect(), next))
    }

    /// Whether a session of a room has events of this time.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn has_session_at(
        &mut self,
        (app, room_id): (AppId, &str),
        at: UnixMillis,
    ) -> Result<bool, StoreError> {
        let sql = "select session from room_sessions
             where sdk_app_id = $1 and room_id = $2 and from_at <= @at(3) and (until_at is null or until_at > @at(3))
             limit 1";
        let args = [app.as_i64().into(), room_id.into(), at.0.into()];
        let row: Option<(i64,)> = self.0.row(sql, &args).await?;
        Ok(row.is_some())
    }

    /// The latest revision of each type that was derived from these: a subject's id and session.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn latest(
        &mut self,
        kind: DerivedKind,
        keys: &[(AppId, &str, i64)],
    ) -> Result<Vec<Vec<DerivedEvent>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // Ids of a call, a room and a task may be equal.
        let types = match kind {
            DerivedKind::Call => "'trtc.call.missed', 'trtc.call.ended'",
            DerivedKind::Room => "'trtc.room.closed', 'trtc.live.ended'",
            DerivedKind::Recording => "'trtc.recording.ready'",
        };
        let sql = format!(
            "select {COLUMNS} from derived_events
             where sdk_app_id = $1 and subject = $2 and session = $3 and type in ({types})
                 and not exists (
                     select 1 from derived_events as later
                     where later.sdk_app_id = derived_events.sdk_app_id and later.subject = derived_events.subject
                         and later.session = derived_events.session and later.type = derived_events.type
                         and later.revision > derived_events.revision)"
        );
        let list = |(app, subject, session): &(AppId, &str, i64)| {
            vec![app.as_i64().into(), (*subject).into(), (*session).into()]
        };
        let lists: Vec<_> = keys.iter().map(list).collect();
        let found: Vec<Vec<Row>> = self.0.each(&sql, &lists).await?;
        let rows = |rows: Vec<Row>| rows.into_iter().map(DerivedEvent::try_from).collect();
        found.into_iter().map(rows).collect()
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.0.close().await;
    }
}
