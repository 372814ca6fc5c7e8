//! What the store knows of derived events.

use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::from_row::{from_row, id};
use protocol::{AppId, UnixMillis};

/// A derived event: which row of the read models it is about, and what is known of that since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedEvent {
    /// Its id.
    pub id: Uuid,
    /// Its type, such as `trtc.call.ended`.
    pub r#type: String,
    /// The family of what it is about.
    pub family: String,
    /// The app.
    pub app: AppId,
    /// Call id, room id or task id.
    pub subject: String,
    /// Of a room: which session; else 0.
    pub session: i64,
    /// 1, and one more whenever a late event changed the fact.
    pub revision: i64,
    /// Whether the fact holds no longer.
    pub withdrawn: bool,
    /// A hash of the row: the same row makes no new revision.
    pub hash: i64,
    /// The call.
    pub call_id: Option<String>,
    /// The room.
    pub room_id: Option<String>,
    /// When it ended or was finished.
    pub happened_at: UnixMillis,
    /// The latest time that an event names for it.
    pub last_at: UnixMillis,
    /// When it was derived.
    pub created_at: UnixMillis,
}

/// What a derived event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DerivedKind {
    /// A call.
    Call,
    /// A room, with all its sessions.
    Room,
    /// A recording task.
    Recording,
}

impl DerivedKind {
    /// Its name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Room => "room",
            Self::Recording => "recording",
        }
    }
}

/// A call, room or recording of which there are new events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DerivedSubject {
    /// What it is.
    pub kind: DerivedKind,
    /// The app.
    pub app: AppId,
    /// Its id.
    pub id: String,
    /// Of a room: the day of its new events, so that those of one day and of another do not make all between them look new; else 0.
    pub day: i64,
}

/// One that is to be looked at now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueSubject {
    /// Which one.
    pub subject: DerivedSubject,
    /// The times of the earliest and the latest new event.
    pub span: (UnixMillis, UnixMillis),
    /// Whether the read models have all of the new events, and may hold a fact.
    pub is_ready: bool,
    /// Whether something was derived from it before.
    pub is_known: bool,
}

/// The columns of `derived_events` in the order of [`Row`], as a template.
pub(crate) const COLUMNS: &str = "@text(id) as id, type as name, family, sdk_app_id, subject, session, revision,
     case when withdrawn then 1 else 0 end as withdrawn, hash, call_id, room_id, @ms(happened_at) as happened_at,
     @ms(last_at) as last_at, @ms(created_at) as created_at";

/// A row of `derived_events`.
pub(crate) struct Row {
    id: Uuid,
    name: String,
    family: String,
    sdk_app_id: i64,
    subject: String,
    session: i64,
    revision: i64,
    withdrawn: i32,
    hash: i64,
    call_id: Option<String>,
    room_id: Option<String>,
    happened_at: i64,
    last_at: i64,
    created_at: i64,
}

/// A row of `derived_pending`.
pub(crate) struct DueRow {
    kind: String,
    sdk_app_id: i64,
    subject: String,
    day: i64,
    from_at: i64,
    until_at: i64,
    is_ready: i32,
    is_known: i32,
}

from_row! {
    Row: id = id, name, family, sdk_app_id, subject, session, revision, withdrawn, hash, call_id, room_id, happened_at,
        last_at, created_at;
    DueRow: kind, sdk_app_id, subject, day, from_at, until_at, is_ready, is_known;
}

impl TryFrom<Row> for DerivedEvent {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            r#type: row.name,
            family: row.family,
            app: app(row.sdk_app_id)?,
            subject: row.subject,
            session: row.session,
            revision: row.revision,
            withdrawn: row.withdrawn != 0,
            hash: row.hash,
            call_id: row.call_id,
            room_id: row.room_id,
            happened_at: UnixMillis(row.happened_at),
            last_at: UnixMillis(row.last_at),
            created_at: UnixMillis(row.created_at),
        })
    }
}

impl TryFrom<DueRow> for DueSubject {
    type Error = StoreError;

    fn try_from(row: DueRow) -> Result<Self, StoreError> {
        let kind = match row.kind.as_str() {
            "call" => DerivedKind::Call,
            "recording" => DerivedKind::Recording,
            _ => DerivedKind::Room,
        };
        Ok(Self {
            subject: DerivedSubject {
                kind,
                app: app(row.sdk_app_id)?,
                id: row.subject,
                day: row.day,
            },
            span: (UnixMillis(row.from_at), UnixMillis(row.until_at)),
            is_ready: row.is_ready != 0,
            is_known: row.is_known != 0,
        })
    }
}

fn app(number: i64) -> Result<AppId, StoreError> {
    let broken = || StoreError::Refused(sqlx::Error::Decode(format!("{number} is no app").into()));
    AppId::parse(&number.to_string()).ok_or_else(broken)
}
