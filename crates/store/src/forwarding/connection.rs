//! The connection of the forwarder, and the right to forward to a destination.

use std::time::Duration;

use crate::error::StoreError;
use crate::forwarding::backlog_row::{BACKLOG_COLUMNS, BacklogRow};
use crate::forwarding::model::{
    Backlog, COLUMNS, Control, DeliveryException, DestinationRow, EXCEPTION_COLUMNS, ExceptionRow,
    Row,
};
use crate::options::StoreOptions;
use crate::sql::connection::DbConnection;
use crate::url::StoreUrl;
use protocol::UnixMillis;

/// The most exceptions that are read of a destination: more than may wait.
pub const EXCEPTIONS_MAX: u32 = 20_000;

/// The connection of the forwarder. After an error it must not be used again.
///
/// One server at a time forwards to a destination. It holds a lease, which it renews; it ends by the database's clock, so that
/// another server takes over from one that died. A server that lives on without knowing that its lease ended finds its epoch
/// gone at its next write, which changes nothing then.
#[derive(Debug)]
pub struct ForwardingConnection(pub(crate) DbConnection);

/// The right to forward to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The destination.
    pub destination: String,
    /// Who has it.
    pub holder: String,
    /// How many have had it.
    pub epoch: i64,
}

impl ForwardingConnection {
    /// Opens the store of the URL, over a connection of its own.
    ///
    /// # Errors
    /// When the store is unreachable.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let connection = match StoreUrl::of_sessions(options)? {
            StoreUrl::Postgres(address) => {
                let settings = [
                    ("enable_seqscan", "off"),
                    ("jit", "off"),
                    // What is lost in a crash of the database is sent again. The WAL keeps the order of commits, so an event
                    // that is stored after a destination is created never outlives it.
                    ("synchronous_commit", "off"),
                ];
                DbConnection::postgres(address, "forwarder", &settings).await?
            }
            StoreUrl::Sqlite(address) => DbConnection::sqlite(address, options.timeout).await?,
        };
        Ok(Self(connection))
    }

    /// Creates the destination at the end of the feed, unless it is there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ensure(&mut self, name: &str, definition_hash: &str) -> Result<(), StoreError> {
        // An event that is stored but not yet numbered comes after this position.
        let sql = "insert into destinations (name, position, epoch, definition_hash, created_at, state, paused, resume_requests, exceptions_version, skipped)
             select $1, (select coalesce(max(position), 0) from feed) * 512 + 511, 0, $2, @now, 'running', $3, 0, 0, 0
             where not exists (select 1 from destinations where name = $1)
             on conflict (name) do nothing";
        self.0.execute(sql, &[name.into(), definition_hash.into(), false.into()]).await?;
        Ok(())
    }

    /// The last event that is stored and may have no position yet; `None` where events are stored with theirs.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn last_marker(&mut self) -> Result<Option<i64>, StoreError> {
        if !self.0.is_postgres() {
            return Ok(None);
        }
        let last: Option<(Option<i64>,)> = self.0.row("select max(n) from feed_new", &[]).await?;
        Ok(last.and_then(|(last,)| last))
    }

    /// Whether all events up to a [`last_marker`](Self::last_marker) have their positions.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_numbered(&mut self, marker: i64) -> Result<bool, StoreError> {
        // Another server may be about it: until it commits, the markers are seen.
        let sql = "select count(*) from (select 1 from feed_new where n <= $1 limit 1) as marker";
        let left: Option<(i64,)> = self.0.row(sql, &[marker.into()]).await?;
        Ok(left.is_none_or(|(left,)| left == 0))
    }

    /// Takes the right to forward to a destination, for this long; `None` where another server has it, or the destination was
    /// removed. The definition is in force from now on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lease(
        &mut self,
        name: &str,
        holder: &str,
        definition_hash: &str,
        length: Duration,
    ) -> Result<Option<(Lease, DestinationRow)>, StoreError> {
        let sql = format!(
            "update destinations set epoch = epoch + 1, holder = $2, definition_hash = $3, lease_until = @after(4)
             where name = $1 and (holder is null or holder = $2 or lease_until is null or lease_until < @now)
             returning {COLUMNS}"
        );
        let args = [name.into(), holder.into(), definition_hash.into(), in_ms(length).into()];
        let row: Option<Row> = self.0.row(&sql, &args).await?;
        Ok(row.map(|row| {
            let row = DestinationRow::from(row);
            let (destination, holder) = (name.to_owned(), holder.to_owned());
            (Lease { destination, holder, epoch: row.epoch }, row)
        }))
    }

    /// Renews a lease for this long; says what others want, and the database's clock. `None` where it is lost.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn renew(
        &mut self,
        lease: &Lease,
        length: Duration,
    ) -> Result<Option<(Control, UnixMillis)>, StoreError> {
        let sql = "update destinations set lease_until = @after(4) where name = $1 and holder = $2 and epoch = $3
             returning case when paused then 1 else 0 end, resume_requests, exceptions_version, @clock";
        let args = [
            lease.destination.as_str().into(),
            lease.holder.as_str().into(),
            lease.epoch.into(),
            in_ms(length).into(),
        ];
        let row: Option<(i32, i64, i64, i64)> = self.0.row(sql, &args).await?;
        Ok(row.map(|(paused, resume_requests, exceptions_version, now)| {
            (Control { paused: paused != 0, resume_requests, exceptions_version }, UnixMillis(now))
        }))
    }

    /// Gives a lease back, so that another server can take over at once.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn release(&mut self, lease: &Lease) -> Result<(), StoreError> {
        let sql = "update destinations set holder = null, lease_until = null
             where name = $1 and holder = $2 and epoch = $3";
        let args =
            [lease.destination.as_str().into(), lease.holder.as_str().into(), lease.epoch.into()];
        self.0.execute(sql, &args).await?;
        Ok(())
    }

    /// The exceptions that wait or are to be sent again, the next ones first, at most [`EXCEPTIONS_MAX`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn pending_exceptions(
        &mut self,
        name: &str,
    ) -> Result<Vec<DeliveryException>, StoreError> {
        let sql = format!(
            "select {EXCEPTION_COLUMNS} from delivery_exceptions where destination = $1 and state <> 'dead'
             order by delivery_exceptions.next_at limit {EXCEPTIONS_MAX}"
        );
        let rows: Vec<ExceptionRow> = self.0.rows(&sql, &[name.into()]).await?;
        Ok(rows.into_iter().map(DeliveryException::from).collect())
    }

    /// The dead letters behind the position, which are read from the feed once more, and the number of all.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn dead_letters_ahead(
        &mut self,
        name: &str,
        position: i64,
    ) -> Result<(Vec<DeliveryException>, usize), StoreError> {
        let sql = format!(
            "select {EXCEPTION_COLUMNS} from delivery_exceptions
             where destination = $1 and state = 'dead' and position > $2 limit {EXCEPTIONS_MAX}"
        );
        let rows: Vec<ExceptionRow> = self.0.rows(&sql, &[name.into(), position.into()]).await?;
        let count =
            "select count(*) from delivery_exceptions where destination = $1 and state = 'dead'";
        let dead: Option<(i64,)> = self.0.row(count, &[name.into()]).await?;
        let dead = dead.and_then(|(dead,)| usize::try_from(dead).ok()).unwrap_or_default();
        Ok((rows.into_iter().map(DeliveryException::from).collect(), dead))
    }

    /// How much waits for a destination.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn backlog(&mut self, name: &str) -> Result<Backlog, StoreError> {
        let sql = format!("select {BACKLOG_COLUMNS} from destinations as reader where name = $1");
        let row: Option<BacklogRow> = self.0.row(&sql, &[name.into()]).await?;
        Ok(row.map(Backlog::from).unwrap_or_default())
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.0.close().await;
    }
}

fn in_ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
