//! Writes how far a destination is, together with its exceptions.

use std::time::Duration;

use serde_json::json;

use crate::error::StoreError;
use crate::forwarding::connection::{ForwardingConnection, Lease};
use crate::forwarding::model::{DeliveryException, DestinationWrite};
use crate::sql::connection::Arg;

impl ForwardingConnection {
    /// Writes the position of a destination and its exceptions, or nothing: `false` where another server forwards, and this one
    /// must stop. Also renews the lease for this long.
    ///
    /// The position never goes back: a backlog that was cut moved it forward.
    ///
    /// # Errors
    /// When the store does not answer: then nobody knows whether it is written.
    pub async fn write(
        &mut self,
        lease: &Lease,
        write: &DestinationWrite,
        length: Duration,
    ) -> Result<bool, StoreError> {
        let has_rows = !write.upserts.is_empty() || !write.removals.is_empty();
        if !has_rows {
            return self.write_destination(lease, write, length).await;
        }
        self.0.begin().await?;
        // It comes first: its lock keeps a server that takes over waiting until all is written.
        if !self.write_destination(lease, write, length).await? {
            self.0.execute("rollback", &[]).await?;
            return Ok(false);
        }
        let name = || Arg::from(lease.destination.as_str());
        if !write.removals.is_empty() {
            let ids: Vec<_> = write.removals.iter().map(|id| json!([id])).collect();
            let sql = "delete from delivery_exceptions where destination = $1
                 and event_id in (select @as_id(item.value ->> 0) from @rows(2))";
            self.0.execute(sql, &[name(), json!(ids).to_string().as_str().into()]).await?;
        }
        if !write.upserts.is_empty() {
            self.0.execute(UPSERT, &[name(), list(&write.upserts).as_str().into()]).await?;
        }
        self.0.commit().await?;
        Ok(true)
    }

    async fn write_destination(
        &mut self,
        lease: &Lease,
        write: &DestinationWrite,
        length: Duration,
    ) -> Result<bool, StoreError> {
        let mut sql =
            "update destinations set position = @greatest(position, $4), lease_until = @after(5),
             last_error = coalesce($6, last_error)"
                .to_owned();
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let mut args = vec![
            lease.destination.as_str().into(),
            lease.holder.as_str().into(),
            lease.epoch.into(),
            write.position.into(),
            length.into(),
            write.last_error.as_deref().map(storable).as_deref().into(),
        ];
        if let Some(state) = &write.state {
            sql.push_str(", state = $7, reason = $8, failing_since = @at(9)");
            args.push(state.state.as_str().into());
            args.push(state.reason.as_deref().into());
            args.push(state.failing_since.map(|since| since.0).into());
        }
        sql.push_str(" where name = $1 and holder = $2 and epoch = $3");
        Ok(self.0.execute(&sql, &args).await? == 1)
    }
}

const UPSERT: &str = "insert into delivery_exceptions (destination, event_id, position, subject_hash, attempts, next_at,
         state, last_status, last_error, first_failed_at, changed_at)
     select $1, @as_id(item.value ->> 0), cast(item.value ->> 1 as bigint), cast(item.value ->> 2 as bigint),
         cast(item.value ->> 3 as bigint), @as_time(item.value ->> 4), item.value ->> 5,
         cast(item.value ->> 6 as bigint), item.value ->> 7, @as_time(item.value ->> 8), @now
     from @rows(2) where true
     on conflict (destination, event_id) do update set position = excluded.position,
         subject_hash = excluded.subject_hash, attempts = excluded.attempts, next_at = excluded.next_at,
         state = excluded.state, last_status = excluded.last_status, last_error = excluded.last_error,
         first_failed_at = excluded.first_failed_at, changed_at = excluded.changed_at";

/// The rows as one parameter.
fn list(rows: &[DeliveryException]) -> String {
    let row = |row: &DeliveryException| {
        json!([
            row.event_id,
            row.position,
            row.subject_hash,
            row.attempts,
            row.next_at.0,
            row.state.as_str(),
            row.last_status,
            row.last_error.as_deref().map(storable),
            row.first_failed_at.map(|at| at.0),
        ])
    };
    json!(rows.iter().map(row).collect::<Vec<_>>()).to_string()
}

/// A text that PostgreSQL takes: it takes no NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
