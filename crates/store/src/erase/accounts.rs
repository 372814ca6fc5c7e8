//! Erasure of an account from events and dead letters.
//!
//! Another table that may hold accounts needs a variant of [`Table`], of [`Record`] and of [`Change`]. Tables of the
//! read models are derived from their descriptions; see [`model_tables`](crate::model_tables).

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};
use uuid::Uuid;

use crate::erase::projections;
use crate::erase::projections::{Erased as ErasedRows, Erasing, RowKey, Statement};
use crate::error::StoreError;
use crate::model::event::{Row as EventRow, StoredEvent};
use crate::sql::connection::{Arg, DbConnection};
use protocol::UnixMillis;
use protocol::event::Payload;
use protocol::redact::{Erased, Erasure, without_operator};
use protocol::{AppId, Delivery, Query};

/// How often a step is tried after a deadlock or serialization failure.
const TRIES_MAX: u32 = 5;

/// A table that may hold accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Events, by their time.
    Events,
    /// Dead letters, by their id.
    Parked,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Events, Self::Parked];
}

/// The position of a row in its table: its time, where it has one, and its id.
pub type Key = (UnixMillis, Uuid);

/// Before the first row.
const BEGIN: Key = (UnixMillis(-1), Uuid::nil());

/// A candidate row, which may hold the account; [`Record::erased`] tells whether it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A row of [`Table::Events`].
    Event(Box<StoredEvent>),
    /// A row of [`Table::Parked`].
    Parked {
        /// Its id.
        id: Uuid,
        /// The recorded request, on one line.
        delivery: String,
    },
}

/// The change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Replaces payload, operator, subject, address, platform and query of an event.
    Event(Box<StoredEvent>),
    /// Deletes an event.
    DeleteEvent(Key),
    /// Replaces a dead letter.
    Parked {
        /// Its id.
        id: Uuid,
        /// The recorded request, on one line.
        delivery: String,
    },
    /// Deletes a dead letter.
    DeleteParked(Uuid),
}

/// The result of one step through a table.
#[derive(Debug)]
pub struct Scan {
    /// The candidate rows.
    pub records: Vec<Record>,
    /// The number of rows read.
    pub passed: u64,
    /// The last row that was read; `None` at the end of the table.
    pub last: Option<Key>,
}

/// A connection that finds and changes the rows of a store that may hold an account.
#[derive(Debug)]
pub struct Accounts(pub(crate) DbConnection);

/// A row of which every column was read as text.
struct TextRow(Vec<Option<String>>);

impl<'r, R: Row> FromRow<'r, R> for TextRow
where
    usize: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        (0..row.len()).map(|place| row.try_get(place)).collect::<Result<_, _>>().map(Self)
    }
}

impl Accounts {
    /// The number of rows of a table.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rows(&mut self, table: Table) -> Result<u64, StoreError> {
        let sql = match table {
            Table::Events => "select count(*) from events",
            Table::Parked => "select count(*) from dead_letter_events",
        };
        let rows: Option<(i64,)> = self.0.row(sql, &[]).await?;
        Ok(rows.map_or(0, |rows| rows.0.unsigned_abs()))
    }

    /// Reads at most `limit` rows after `after` and returns the candidates.
    ///
    /// # Errors
    /// When the store does not answer, or a row cannot be read.
    pub async fn scan(
        &mut self,
        table: Table,
        account: &str,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Scan, StoreError> {
        let after = after.unwrap_or(BEGIN);
        match table {
            Table::Events => self.events(account, after, limit).await,
            Table::Parked => self.parked(account, after, limit).await,
        }
    }

    async fn events(&mut self, account: &str, after: Key, limit: u32) -> Result<Scan, StoreError> {
        let (time, id) = (Arg::from(after.0.0), Arg::from(after.1.to_string().as_str()));
        // The bound on the time alone lets PostgreSQL skip partitions.
        let page = "with page as materialized (
                 select event_time, id from events
                 where event_time >= @at(1) and (event_time, id) > (@at(1), @id(2))
                 order by event_time, id limit $3)
             select (select count(*) from page), @ms(event_time), @text(id)
             from page order by event_time desc, id desc limit 1";
        let last: Option<(i64, i64, String)> =
            self.0.row(page, &[time.clone(), id.clone(), i64::from(limit).into()]).await?;
        let Some((passed, last_time, last_id)) = last else {
            return Ok(Scan { records: Vec::new(), passed: 0, last: None });
        };
        let dialect = self.0.dialect();
        let select = format!(
            "{} where event_time >= @at(2) and event_time <= @at(4)
                and (event_time, id) > (@at(2), @id(3)) and (event_time, id) <= (@at(4), @id(5))
                and ({} or @raw_holds(1) or $1 in (operator, call_id, room_id))
            order by event_time, id",
            dialect.select_events,
            (dialect.may_hold)("payload")
        );
        let args = [account.into(), time, id, last_time.into(), last_id.as_str().into()];
        let rows: Vec<EventRow> = self.0.rows(&select, &args).await?;
        let events = rows.into_iter().map(StoredEvent::try_from);
        Ok(Scan {
            records: events
                .map(|event| Ok(Record::Event(Box::new(event?))))
                .collect::<Result<_, StoreError>>()?,
            passed: passed.unsigned_abs(),
            last: Some((UnixMillis(last_time), uuid(&last_id)?)),
        })
    }

    async fn parked(&mut self, account: &str, after: Key, limit: u32) -> Result<Scan, StoreError> {
        let sql = format!(
            "select @text(id), case when {} or @strpos(delivery, 'body_base64') > 0 then delivery end
             from dead_letter_events where id > @id(2) order by id limit $3",
            (self.0.dialect().may_hold)("delivery")
        );
        let args = [account.into(), after.1.to_string().as_str().into(), i64::from(limit).into()];
        let rows: Vec<(String, Option<String>)> = self.0.rows(&sql, &args).await?;
        let mut scan = Scan { records: Vec::new(), passed: rows.len() as u64, last: None };
        for (id, delivery) in rows {
            let id = uuid(&id)?;
            scan.last = Some((UnixMillis(0), id));
            scan.records.extend(delivery.map(|delivery| Record::Parked { id, delivery }));
        }
        Ok(scan)
    }

    /// Makes all changes in one transaction. A row that was deleted meanwhile stays deleted.
    ///
    /// # Errors
    /// When the store refuses them.
    pub async fn change(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.write(changes.iter().flat_map(statements).collect()).await
    }

    /// Forgets what destinations answered to derived events: it may repeat what was sent, and nobody knows of which account that was.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn forget_answers(&mut self) -> Result<(), StoreError> {
        let sql = "update delivery_exceptions set last_error = null where last_error is not null
             and exists (select 1 from derived_events where derived_events.id = delivery_exceptions.event_id)";
        self.0.execute(sql, &[]).await.map(|_| ())
    }

    /// Erases the account from the next rows of a read model's table, in one transaction.
    ///
    /// # Errors
    /// When the store does not answer or refuses the change.
    pub async fn erase_rows(
        &mut self,
        erasing: &Erasing<'_>,
        account: &str,
        after: Option<&RowKey>,
    ) -> Result<ErasedRows, StoreError> {
        let mut tries = 1;
        loop {
            match self.erase_once(erasing, account, after).await {
                Err(error) if is_deadlock(&error) && tries < TRIES_MAX => tries += 1,
                done => return done,
            }
        }
    }

    async fn erase_once(
        &mut self,
        erasing: &Erasing<'_>,
        account: &str,
        after: Option<&RowKey>,
    ) -> Result<ErasedRows, StoreError> {
        let dialect = self.0.dialect();
        let Statement { sql, texts } = projections::candidates(dialect, erasing, account, after);
        let rows: Vec<TextRow> = self.0.rows(&sql, &args(&texts)).await?;
        let (mut erased, mut all) = (ErasedRows::default(), Vec::new());
        for TextRow(row) in rows {
            let statements = projections::taking_out(dialect, erasing, &row);
            erased.rows += u64::from(!statements.is_empty());
            all.extend(
                statements.into_iter().map(|statement| (statement.sql, args(&statement.texts))),
            );
            erased.last = Some(projections::key(erasing.table, &row));
        }
        if !erasing.dry_run && !all.is_empty() {
            self.write(all).await?;
        }
        Ok(erased)
    }

    /// Runs all statements in one transaction.
    async fn write(&mut self, statements: Vec<(String, Vec<Arg>)>) -> Result<(), StoreError> {
        self.0.begin().await?;
        for (sql, args) in &statements {
            if let Err(error) = self.0.execute(sql, args).await {
                // The database may have ended the transaction already; the first error has the cause.
                let _ = self.0.execute("rollback", &[]).await;
                return Err(error);
            }
        }
        self.0.commit().await
    }
}

/// The statements of a change, with their parameters.
fn statements(change: &Change) -> Vec<(String, Vec<Arg>)> {
    let mut statements = vec![statement(change)];
    // What a destination answered to the event may repeat what is in it.
    let exceptions = match change {
        Change::Event(event) => {
            ("update delivery_exceptions set last_error = null where event_id = @id(1)", event.id)
        }
        Change::DeleteEvent((_, id)) => {
            ("delete from delivery_exceptions where event_id = @id(1)", *id)
        }
        Change::Parked { .. } | Change::DeleteParked(_) => return statements,
    };
    let (sql, id) = exceptions;
    statements.push((sql.to_owned(), vec![id.to_string().as_str().into()]));
    statements
}

/// The statement of a change of its row.
fn statement(change: &Change) -> (String, Vec<Arg>) {
    let id_of = |id: &Uuid| Arg::from(id.to_string().as_str());
    let (sql, args) = match change {
        Change::Event(event) => return update(event),
        Change::DeleteEvent((time, id)) => (
            "delete from events where event_time = @at(1) and id = @id(2)",
            vec![time.0.into(), id_of(id)],
        ),
        Change::Parked { id, delivery } => (
            "update dead_letter_events set delivery = $2 where id = @id(1)",
            vec![id_of(id), delivery.as_str().into()],
        ),
        Change::DeleteParked(id) => {
            ("delete from dead_letter_events where id = @id(1)", vec![id_of(id)])
        }
    };
    (sql.to_owned(), args)
}

fn update(event: &StoredEvent) -> (String, Vec<Arg>) {
    let sql = "update events set payload = @json(3), raw = @unhex(4), operator = $5, call_id = $6, room_id = $7,
             client_ip = $8, platform = $9, query = $10
         where event_time = @at(1) and id = @id(2)";
    let (payload, raw) = event.payload.columns();
    let mut args = vec![
        event.event_time.0.into(),
        event.id.to_string().as_str().into(),
        payload.as_deref().into(),
        raw.map(hex::encode).as_deref().into(),
    ];
    let columns = [
        &event.operator,
        &event.call_id,
        &event.room_id,
        &event.client_ip,
        &event.platform,
        &event.query,
    ];
    args.extend(columns.map(|column| Arg::from(column.as_deref())));
    (sql.to_owned(), args)
}

fn args(texts: &[String]) -> Vec<Arg> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

fn uuid(id: &str) -> Result<Uuid, StoreError> {
    let broken = |_| StoreError::Refused(sqlx::Error::Decode(format!("`{id}` is no UUID").into()));
    id.parse().map_err(broken)
}

fn is_deadlock(error: &StoreError) -> bool {
    let StoreError::Unavailable(error) = error else { return false };
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("40P01")
}

impl Record {
    /// The app of the row; `None` where the row does not name one.
    #[must_use]
    pub fn app(&self) -> Option<AppId> {
        match self {
            Self::Event(event) => Some(event.app),
            Self::Parked { delivery, .. } => {
                let query = Query::parse(&Delivery::parse(delivery).ok()?.query);
                AppId::parse(query.sdk_app_id.as_deref()?)
            }
        }
    }

    /// The change that erases the account from this row; `None` where the row does not hold it. `delete`: rows in
    /// which the account is the operator are deleted.
    #[must_use]
    pub fn erased(&self, erasure: &Erasure, delete: bool) -> Option<Change> {
        match self {
            Self::Event(event) => {
                let acted = event.operator.as_deref().is_some_and(|name| erasure.is_account(name));
                if acted && delete {
                    return Some(Change::DeleteEvent((event.event_time, event.id)));
                }
                let erased = erased_event(event, erasure, acted);
                (erased != **event).then(|| Change::Event(Box::new(erased)))
            }
            Self::Parked { id, delivery } => match erasure.delivery(delivery) {
                Erased::Unchanged => None,
                Erased::ByOperator(_) if delete => Some(Change::DeleteParked(*id)),
                Erased::ByOperator(delivery) | Erased::Changed(delivery) => {
                    Some(Change::Parked { id: *id, delivery })
                }
            },
        }
    }
}

fn erased_event(event: &StoredEvent, erasure: &Erasure, acted: bool) -> StoredEvent {
    let mut erased = event.clone();
    match &event.payload {
        Payload::Json(text) => {
            if let Some(text) = erasure.json(text) {
                erased.payload = Payload::Json(text);
            }
        }
        Payload::Raw(bytes) => {
            if let Some(bytes) = erasure.raw(bytes) {
                erased.payload = Payload::Raw(bytes);
            }
        }
    }
    // The subject too: its column repeats a value of the payload.
    for column in [&mut erased.operator, &mut erased.call_id, &mut erased.room_id] {
        if column.as_deref().is_some_and(|name| erasure.is_account(name)) {
            *column = Some(erasure.pseudonym().to_owned());
        }
    }
    if acted {
        (erased.client_ip, erased.platform) = (None, None);
        erased.query = event.query.as_deref().map(without_operator);
    }
    erased
}
