//! The only module with SQL: PostgreSQL and SQLite behind one trait.

pub(crate) mod backup;
pub(crate) mod column_values;
pub(crate) mod database_error;
pub(crate) mod deadline;
pub(crate) mod erase;
pub(crate) mod error;
pub(crate) mod inspection;
pub(crate) mod model;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod postgres;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod rebuild;
pub(crate) mod sessions;
pub(crate) mod spool;
pub(crate) mod sql;
pub(crate) mod sqlite;
pub(crate) mod traits;
pub(crate) mod url;

pub use crate::store::backup::{Backup, BackupError};
pub use crate::store::column_values::*;
pub use crate::store::erase::accounts::{Accounts, Change, Key, Record, Scan, Table};
pub use crate::store::erase::projections::{Erased as ErasedRows, Erasing, RowKey, model_tables};
pub use crate::store::error::StoreError;
pub use crate::store::inspection::{
    COUNT_MAX, Examination, Kind, Migrations, PostgresState, SqliteState,
};
pub use crate::store::model::event::StoredEvent;
pub use crate::store::model::read_models::{
    Anomaly, Battle, BattleRoom, Call, Count, GiftRow, JsonText, Live, LiveRoom, Member, Recording,
    Room, RoomChangeRow, SearchHit, Stay, TopAccount, UserCall, UserVisit, Visit,
};
pub use crate::store::model::recording_file::RecordingFile;
pub use crate::store::model::timeline::{CallStep, arrivals, steps};
pub use crate::store::open::{accounts, examine, open};
pub use crate::store::options::StoreOptions;
pub(crate) use crate::store::query::conditions::filter;
pub use crate::store::query::conditions::{
    Condition, ConditionError, ConditionKind, ConditionValue, Filter, TimeRange,
};
pub use crate::store::query::events::{EventFilter, Order};
pub use crate::store::query::filters::{
    AnomalyFilter, CallFilter, CountBy, CountFilter, DetailFilter, DetailPage, DetailPlace,
    RoomFilter, RoomKey, Step, Subject, UserCallFilter, UserVisitFilter,
};
pub use crate::store::query::limits::*;
pub use crate::store::query::list::{Behind, Gifts, List, LiveSessions, Part, Visits};
pub use crate::store::query::page::{Details, EventPage, VisitPage};
pub use crate::store::rebuild::tables::{Progress, Rebuilding, Scope, Stage, Tally};
pub use crate::store::sessions::facts::{Attendance, LiveFacts, SettledSession, Span};
pub use crate::store::sessions::queue::{
    QUEUE_COUNTED_MAX, Queued, RoomId, SLOT_MS, SettlerConnection,
};
pub use crate::store::sessions::sweep::{Drift, OpenCall, Overdue, SWEEP_ROWS};
pub use crate::store::sessions::windows::Window;
pub use crate::store::sessions::write::{Finding, OpenAnomaly, Settlement};
pub use crate::store::spool::error::SpoolError;
pub use crate::store::spool::handle::{Batch, Spool};
pub use crate::store::spool::inspect::{SpoolExamination, examine_spool};
pub use crate::store::spool::record::{Size, Spooled};
pub use crate::store::spool::salvage::Salvage;
pub use crate::store::traits::{EventInsert, Inserted, ReadModels, Store};
pub use crate::store::url::{check_url, display_url, file};
