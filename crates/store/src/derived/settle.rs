//! Writes what was noted and derived, each step in one transaction that also renews the lease.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::derived::connection::{DerivedConnection, DerivedLease, Touched};
use crate::derived::model::{DerivedEvent, DerivedSubject};
use crate::error::StoreError;
use crate::model::position::{Position, ROW_EVENTS_MAX};
use crate::sql::connection::Arg;

/// The outcome of looking at some subjects.
#[derive(Debug, Default)]
pub struct DerivedSettlement {
    /// New derived events, in the order in which they are to be sent.
    pub events: Vec<DerivedEvent>,
    /// Those that are done with.
    pub done: Vec<DerivedSubject>,
    /// Those that the read models do not have whole yet.
    pub postponed: Vec<DerivedSubject>,
    /// Those whose rows could not be read in time.
    pub slow: Vec<DerivedSubject>,
}

/// After how long what is not done with is looked at again.
#[derive(Debug, Clone, Copy)]
pub struct DerivedWaits {
    /// What is postponed.
    pub postponed: Duration,
    /// What is slow.
    pub slow: Duration,
}

impl DerivedConnection {
    /// Notes what new events up to a position are about, to be looked at after `wait`. One that is noted already keeps its moment:
    /// a call of which events keep coming does not wait for ever. `false`, and nothing written, where another server derives.
    ///
    /// # Errors
    /// When the store does not answer: then nobody knows whether it is written.
    pub async fn note(
        &mut self,
        lease: DerivedLease<'_>,
        position: Position,
        touched: &[Touched],
        wait: Duration,
    ) -> Result<bool, StoreError> {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let row = |(subject, (from, until)): &Touched| {
            let DerivedSubject { kind, app, id, day } = subject;
            json!([kind.as_str(), app.as_i64(), id, day, from.0, until.0])
        };
        let rows = json!(touched.iter().map(row).collect::<Vec<_>>()).to_string();
        self.0.begin().await?;
        if !self.renew(lease, Some(position)).await? {
            return self.give_up().await;
        }
        if !touched.is_empty() {
            let slot = self.0.dialect().slot;
            let sql = format!(
                "insert into derived_pending (kind, sdk_app_id, subject, day, from_at, until_at, slot, slot_last, due_at)
                 select item.value ->> 0, cast(item.value ->> 1 as bigint), item.value ->> 2,
                     cast(item.value ->> 3 as bigint), @as_time(item.value ->> 4), @as_time(item.value ->> 5), {slot}, {slot},
                     @after(1)
                 from @rows(2) where true
                 on conflict (kind, sdk_app_id, subject, day) do update set
                     from_at = @least(derived_pending.from_at, excluded.from_at),
                     until_at = @greatest(derived_pending.until_at, excluded.until_at),
                     slot_last = excluded.slot_last"
            );
            self.0.execute(&sql, &[wait.into(), rows.as_str().into()]).await?;
        }
        self.0.commit().await?;
        Ok(true)
    }

    /// Stores derived events and gives them to the feed, and forgets what is done with; what is postponed or slow is due
    /// again after `waits`. `false`, and nothing written, where another server derives.
    ///
    /// # Errors
    /// When the store does not answer: then nobody knows whether it is written.
    pub async fn settle(
        &mut self,
        lease: DerivedLease<'_>,
        settled: &DerivedSettlement,
        waits: DerivedWaits,
    ) -> Result<bool, StoreError> {
        let key = |subject: &DerivedSubject| {
            let DerivedSubject { kind, app, id, day } = subject;
            json!([kind.as_str(), app.as_i64(), id, day])
        };
        let keys = |subjects: &[DerivedSubject]| {
            json!(subjects.iter().map(key).collect::<Vec<_>>()).to_string()
        };
        let done = keys(&settled.done);
        let events = rows(&settled.events);
        let markers: Vec<Marker> = markers(&settled.events, self.0.is_postgres());
        self.0.begin().await?;
        if !self.renew(lease, None).await? {
            return self.give_up().await;
        }
        if !settled.events.is_empty() {
            self.0.execute(INSERT, &[events.as_str().into()]).await?;
            for (sql, ids) in &markers {
                self.0.execute(sql, std::slice::from_ref(ids)).await?;
            }
        }
        let wait_ms = |wait: Duration| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        if !settled.done.is_empty() {
            // A room that was noted again meanwhile may not be settled up to that.
            let done_with = format!(
                "delete from derived_pending where {} and (kind <> 'room' or slot = slot_last)",
                keyed(1)
            );
            self.0.execute(&done_with, &[done.as_str().into()]).await?;
            let again = format!(
                "update derived_pending set slot = slot_last, due_at = @after(1) where {}",
                keyed(2)
            );
            self.0
                .execute(&again, &[wait_ms(waits.postponed).into(), done.as_str().into()])
                .await?;
        }
        for (subjects, wait) in [(&settled.postponed, waits.postponed), (&settled.slow, waits.slow)]
        {
            if !subjects.is_empty() {
                let later =
                    format!("update derived_pending set due_at = @after(1) where {}", keyed(2));
                let args = [wait_ms(wait).into(), keys(subjects).as_str().into()];
                self.0.execute(&later, &args).await?;
            }
        }
        self.0.commit().await?;
        Ok(true)
    }

    /// Its lock keeps a server that takes over waiting until all is written.
    async fn renew(
        &mut self,
        lease: DerivedLease<'_>,
        position: Option<Position>,
    ) -> Result<bool, StoreError> {
        let sql =
            "update derived_progress set lease_until = @after(2), position = coalesce($3, position)
             where id = 1 and holder = $1";
        let position = position.map(Position::number);
        let args = [lease.holder.into(), lease.length_ms().into(), position.into()];
        Ok(self.0.execute(sql, &args).await? == 1)
    }

    async fn give_up(&mut self) -> Result<bool, StoreError> {
        self.0.execute("rollback", &[]).await?;
        Ok(false)
    }
}

/// The condition that a row is among those of this parameter.
fn keyed(parameter: usize) -> String {
    format!(
        "(kind, sdk_app_id, subject, day) in (
             select item.value ->> 0, cast(item.value ->> 1 as bigint), item.value ->> 2, cast(item.value ->> 3 as bigint)
             from @rows({parameter}))"
    )
}

const INSERT: &str = "insert into derived_events (id, type, family, sdk_app_id, subject, session, revision, withdrawn, hash,
         call_id, room_id, happened_at, last_at, created_at)
     select @as_id(item.value ->> 0), item.value ->> 1, item.value ->> 2, cast(item.value ->> 3 as bigint),
         item.value ->> 4, cast(item.value ->> 5 as bigint), cast(item.value ->> 6 as bigint), item.value ->> 7 = 'yes',
         cast(item.value ->> 8 as bigint), item.value ->> 9, item.value ->> 10, @as_time(item.value ->> 11),
         @as_time(item.value ->> 12), @as_time(item.value ->> 13)
     from @rows(1)";

/// The rows as one parameter.
fn rows(events: &[DerivedEvent]) -> String {
    let row = |event: &DerivedEvent| {
        json!([
            event.id,
            event.r#type,
            event.family,
            event.app.as_i64(),
            event.subject,
            event.session,
            event.revision,
            if event.withdrawn { "yes" } else { "no" },
            event.hash,
            event.call_id,
            event.room_id,
            event.happened_at.0,
            event.last_at.0,
            event.created_at.0,
        ])
    };
    json!(events.iter().map(row).collect::<Vec<_>>()).to_string()
}

/// A statement that gives ids to the feed, with its parameter.
type Marker = (&'static str, Arg);

/// The markers of these events, as ingest writes them: in SQLite they are rows of the feed at once.
fn markers(events: &[DerivedEvent], is_postgres: bool) -> Vec<Marker> {
    let marker = |events: &[DerivedEvent]| {
        let ids = events.iter().map(|event| event.id);
        if is_postgres {
            let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
            let list = format!("{{{}}}", ids.join(","));
            let sql = "insert into feed_new (ids) select cast($1 as uuid[])";
            return (sql, Arg::from(list.as_str()));
        }
        let ids: Vec<u8> = ids.flat_map(Uuid::into_bytes).collect();
        let sql = "insert into feed (ids, numbered_at) values (@unhex(1), @now)";
        (sql, Arg::from(hex::encode(ids).as_str()))
    };
    events.chunks(ROW_EVENTS_MAX).map(marker).collect()
}
