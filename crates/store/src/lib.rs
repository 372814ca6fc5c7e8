//! The only crate with SQL: PostgreSQL and SQLite behind one trait.

pub(crate) mod backup;
pub(crate) mod column_values;
pub(crate) mod database_error;
pub mod deadline;
pub(crate) mod derived;
pub(crate) mod erase;
pub(crate) mod error;
pub(crate) mod forwarding;
pub(crate) mod inspection;
pub(crate) mod migrations;
pub(crate) mod model;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod postgres;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod rebuild;
pub(crate) mod repair;
pub(crate) mod sessions;
pub(crate) mod spool;
pub(crate) mod sql;
pub(crate) mod sqlite;
pub(crate) mod traits;
pub(crate) mod url;

pub use crate::backup::{Backup, BackupError};
pub use crate::column_values::*;
pub use crate::derived::connection::{DUE_MAX, DerivedConnection, DerivedLease, Touched};
pub use crate::derived::model::{DerivedEvent, DerivedKind, DerivedSubject, DueSubject};
pub use crate::derived::progress::DerivedProgress;
pub use crate::derived::settle::{DerivedSettlement, DerivedWaits};
pub use crate::erase::accounts::{Accounts, Change, Key, Record, Scan, Table};
pub use crate::erase::projections::{Erased as ErasedRows, Erasing, RowKey, model_tables};
pub use crate::error::StoreError;
pub use crate::forwarding::connection::{EXCEPTIONS_MAX, ForwardingConnection, Lease};
pub use crate::forwarding::control::RetryOf;
pub use crate::forwarding::model::{
    Backlog, Control, DeliveryException, DeliveryState, DestinationRow, DestinationStateRow,
    DestinationWrite, Skipped,
};
pub use crate::forwarding::replay::{
    QueuedReplay, REPLAYS_MAX, Replay, ReplayCounts, ReplayEvent, ReplayStep,
};
pub use crate::forwarding::view::{
    EventDeliveries, EventPlace, ExceptionFilter, ExceptionView, FeedFigures,
};
pub use crate::inspection::{COUNT_MAX, Examination, Kind, Migrations, PostgresState, SqliteState};
pub use crate::model::call_summary::call_summary;
pub use crate::model::event::StoredEvent;
pub use crate::model::position::{Position, PositionError};
pub use crate::model::read_models::{
    Anomaly, Battle, BattleRoom, Call, Count, GiftRow, JsonText, Live, LiveRoom, Member, Room,
    RoomChangeRow, SearchHit, Stay, TopAccount, UserCall, UserVisit, Visit,
};
pub use crate::model::recording::{Recording, RecordingStep};
pub use crate::model::recording_file::RecordingFile;
pub use crate::model::rtc::comparison::{
    CONNECTION_LOST_MEANING, RtcComparison, compare, connected_at,
};
pub use crate::model::rtc::room::{
    RtcPublishInterval, RtcRole, RtcRoomSession, RtcSessionKey, RtcStay,
};
pub use crate::model::rtc::task::{RtcTask, RtcTaskStep};
pub use crate::model::rtc::words::{EXIT_TIMED_OUT, ended_by_meaning, flag_meaning};
pub use crate::model::timeline::{CallStep, arrivals, steps};
pub use crate::open::{accounts, examine, open};
pub use crate::options::{PartitionSpan, StoreOptions};
pub use crate::query::conditions::{
    Condition, ConditionError, ConditionKind, ConditionValue, Filter, TimeRange,
};
pub use crate::query::events::{EventFilter, Order};
pub use crate::query::filters::{
    AnomalyFilter, CallFilter, CountBy, CountFilter, DetailFilter, DetailPage, DetailPlace,
    RecordingFilter, RoomFilter, RoomKey, RtcTaskFilter, Step, Subject, UserCallFilter,
    UserVisitFilter,
};
pub use crate::query::limits::*;
pub use crate::query::list::{Behind, Gifts, List, LiveSessions, Part, Visits};
pub use crate::query::page::{
    Details, EventPage, FeedLimit, FeedPage, FeedRead, FeedSpan, RecordingPage, RtcTaskPage,
    VisitPage,
};
pub use crate::query::rtc_joins::{
    JOINED_MAX, RtcSubjects, rtc_sessions_of_call, rtc_sessions_of_room, rtc_subjects,
};
pub use crate::query::rtc_rooms::{
    RtcPublishFilter, RtcPublishIntervals, RtcRoomFilter, RtcSessionPlace, RtcStays, RtcStaysOf,
};
pub use crate::rebuild::tables::{Progress, Rebuilding, Scope, Stage, Tally};
pub use crate::repair::{REPAIR_FACTS_MAX, RepairConnection, RepairKind, RepairedMark, RoomFact};
pub use crate::sessions::destinations::FailingDestination;
pub use crate::sessions::facts::{Attendance, LiveFacts, SettledSession, Span};
pub use crate::sessions::queue::{
    QUEUE_COUNTED_MAX, Queued, RoomId, RoomQueue, SLOT_MS, SettlerConnection,
};
pub use crate::sessions::rtc::marks::RtcMarks;
pub use crate::sessions::rtc::robots::RTC_HOUR_MS;
pub use crate::sessions::rtc::rows::{RtcIntervalRow, RtcSessionRow, RtcStayRow};
pub use crate::sessions::rtc::write::{RtcRows, RtcSettlement};
pub use crate::sessions::sweep::{OpenCall, OpenOutage, Overdue, SWEEP_ROWS};
pub use crate::sessions::task_sweep::{
    FILES_LEFT, MarkPlace, OverdueTask, OverdueTasks, RECORDINGS, RTC_TASKS, TaskSearch,
};
pub use crate::sessions::windows::Window;
pub use crate::sessions::write::{Finding, OpenAnomaly, Settlement};
pub use crate::spool::error::SpoolError;
pub use crate::spool::handle::{Batch, Spool};
pub use crate::spool::inspect::{SpoolExamination, examine_spool};
pub use crate::spool::record::{Record as EventRecord, Size, Spooled, recorded_event};
pub use crate::spool::salvage::Salvage;
pub use crate::traits::{EventInsert, Inserted, ReadModels, Store};
pub use crate::url::{check_direct_url, check_url, display_url, file};
