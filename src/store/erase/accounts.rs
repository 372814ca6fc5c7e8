//! Every row that may name an account, for taking one out of them all.
//!
//! A further table that names accounts is one variant of [`Table`], of [`Record`] and of [`Change`], and its arms. The
//! tables of the read models are found by their descriptions; see [`model_tables`](crate::store::model_tables).

use async_trait::async_trait;
use uuid::Uuid;

use crate::callback::event::Payload;
use crate::callback::redact::{Erased, Erasure, without_operator};
use crate::callback::{AppId, Delivery, Query};
use crate::clock::UnixMillis;
use crate::store::erase::projections::{Erased as ErasedRows, Erasing, RowKey};
use crate::store::error::StoreError;
use crate::store::model::event::StoredEvent;

/// A table that may name accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Events, by their time.
    Events,
    /// Parked events, by their id.
    Parked,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Events, Self::Parked];
}

/// Where a row stands in the order of its table: its time, where it has one, and its id.
pub type Key = (UnixMillis, Uuid);

/// Before every row.
pub(crate) const BEGIN: Key = (UnixMillis(-1), Uuid::nil());

/// A row that may name the account; whether it does is for [`Record::erased`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A row of [`Table::Events`].
    Event(Box<StoredEvent>),
    /// A row of [`Table::Parked`].
    Parked {
        /// Its id.
        id: Uuid,
        /// The delivery, on one line.
        delivery: String,
    },
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It gets this one's payload, operator, subject, address, platform and query.
    Event(Box<StoredEvent>),
    /// It is deleted.
    DeleteEvent(Key),
    /// It gets this delivery.
    Parked {
        /// Its id.
        id: Uuid,
        /// The delivery, on one line.
        delivery: String,
    },
    /// It is deleted.
    DeleteParked(Uuid),
}

/// One step through a table.
#[derive(Debug)]
pub struct Scan {
    /// The rows that may name the account.
    pub records: Vec<Record>,
    /// How many rows were passed.
    pub passed: u64,
    /// The last of them; `None` at the table's end.
    pub last: Option<Key>,
}

/// The rows of a store that may name an account.
#[async_trait]
pub trait Accounts: Send {
    /// How many rows a table has.
    async fn rows(&mut self, table: Table) -> Result<u64, StoreError>;

    /// Passes at most `limit` rows behind `after` and returns those that may name the account.
    async fn scan(
        &mut self,
        table: Table,
        account: &str,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Scan, StoreError>;

    /// Makes all of the changes, or none. A row that is gone meanwhile stays gone.
    async fn change(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Takes the account out of the next rows of a read model's table behind `after`: of all of them, or of none.
    async fn erase_rows(
        &mut self,
        erasing: &Erasing<'_>,
        account: &str,
        after: Option<&RowKey>,
    ) -> Result<ErasedRows, StoreError>;
}

impl Record {
    /// The app whose user the account is; `None` where the row does not say.
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

    /// What takes the account out of this row; `None` when it does not name it. `delete`: where the account acted, the
    /// row goes.
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
    // The subject too: its column says what stands in the payload.
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
