//! What people do with destinations: look, pause, resume, remove. A server that forwards notices within a second.

use uuid::Uuid;

use crate::error::StoreError;
use crate::forwarding::connection::ForwardingConnection;
use crate::forwarding::model::{
    COLUMNS, DeliveryException, DestinationRow, EXCEPTION_COLUMNS, ExceptionRow, Row,
};
use crate::sql::connection::Arg;
use protocol::UnixMillis;

/// Which events are put back on the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOf {
    /// This one, which may also wait for its next try.
    Event(Uuid),
    /// All dead letters, or those that were given up since then.
    Dead {
        /// Since when.
        since: Option<UnixMillis>,
    },
}

impl ForwardingConnection {
    /// All destinations, by name, those that are no longer configured too.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn destinations(&mut self) -> Result<Vec<DestinationRow>, StoreError> {
        let sql = format!("select {COLUMNS} from destinations order by name @bytewise");
        let rows: Vec<Row> = self.0.rows(&sql, &[]).await?;
        Ok(rows.into_iter().map(DestinationRow::from).collect())
    }

    /// One destination.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn destination(&mut self, name: &str) -> Result<Option<DestinationRow>, StoreError> {
        let sql = format!("select {COLUMNS} from destinations where name = $1");
        let row: Option<Row> = self.0.row(&sql, &[name.into()]).await?;
        Ok(row.map(DestinationRow::from))
    }

    /// Sends nothing until [`ForwardingConnection::resume`]. `false` where there is no such destination.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn pause(&mut self, name: &str) -> Result<bool, StoreError> {
        let sql =
            "update destinations set paused = $2, failing_since = coalesce(failing_since, @now),
             state = 'paused', reason = 'by_hand' where name = $1";
        Ok(self.0.execute(sql, &[name.into(), true.into()]).await? == 1)
    }

    /// Sends again, whoever paused it. `false` where there is no such destination.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn resume(&mut self, name: &str) -> Result<bool, StoreError> {
        let sql = "update destinations set paused = $2, resume_requests = resume_requests + 1,
             reason = case when state = 'paused' then 'resumed' else reason end,
             state = case when state = 'paused' then 'failing' else state end
             where name = $1";
        Ok(self.0.execute(sql, &[name.into(), false.into()]).await? == 1)
    }

    /// Forgets all events behind the position that are stored by now. The server that forwards begins anew.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn skip_to_now(&mut self, name: &str) -> Result<bool, StoreError> {
        let sql = "update destinations set epoch = epoch + 1, holder = null, lease_until = null,
                 position = @greatest(position, (select coalesce(max(position), 0) from feed) * 512 + 511)
             where name = $1";
        Ok(self.0.execute(sql, &[name.into()]).await? == 1)
    }

    /// Removes a destination with its exceptions. A server that is configured with it creates it again, at "now".
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn remove(&mut self, name: &str) -> Result<bool, StoreError> {
        self.0.begin().await?;
        let removed =
            self.0.execute("delete from destinations where name = $1", &[name.into()]).await?;
        for table in ["delivery_exceptions", "replays"] {
            let sql = format!("delete from {table} where destination = $1");
            self.0.execute(&sql, &[name.into()]).await?;
        }
        self.0.commit().await?;
        Ok(removed == 1)
    }

    /// One exception of a destination.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn exception(
        &mut self,
        name: &str,
        event: Uuid,
    ) -> Result<Option<DeliveryException>, StoreError> {
        let sql = format!(
            "select {EXCEPTION_COLUMNS} from delivery_exceptions where destination = $1 and event_id = @id(2)"
        );
        let args = [name.into(), event.to_string().as_str().into()];
        let row: Option<ExceptionRow> = self.0.row(&sql, &args).await?;
        Ok(row.map(DeliveryException::from))
    }

    /// Puts events back on the schedule, at their first try. Returns how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn retry(&mut self, name: &str, which: RetryOf) -> Result<u64, StoreError> {
        let back = "update delivery_exceptions set state = 'waiting', attempts = 0, next_at = @now, changed_at = @now
             where destination = $1";
        self.0.begin().await?;
        // It comes first, as where a server writes: the other way round two could wait for each other.
        let raise_version =
            "update destinations set exceptions_version = exceptions_version + 1 where name = $1";
        self.0.execute(raise_version, &[name.into()]).await?;
        let (condition, arg) = match which {
            RetryOf::Event(id) => {
                ("state <> 'replay' and event_id = @id(2)", Arg::from(id.to_string().as_str()))
            }
            // A dead letter was written last when it was given up.
            RetryOf::Dead { since } => {
                ("state = 'dead' and changed_at >= @at(2)", Arg::from(since.map_or(0, |at| at.0)))
            }
        };
        let sql = format!("{back} and {condition}");
        let changed = self.0.execute(&sql, &[name.into(), arg]).await?;
        self.0.commit().await?;
        Ok(changed)
    }
}
