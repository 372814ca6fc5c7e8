//! The rows that derived events are about, as the API gives them, and which facts they hold.

use serde::Serialize;
use tracing::error;

use crate::store::{
    Call, DerivedEvent, LiveRoom, Member, Recording, Room, RoomKey, Store, StoreError,
};
use forward::derived::{DerivedType, row_hash};
use protocol::{AppId, UnixMillis};

/// The results of a call that nobody accepted, though nobody declined it either.
const MISSED: [&str; 3] = ["not_answer", "cancel", "call_busy"];

/// A row of the read models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FactRow {
    /// As the API gives it, as JSON.
    pub(crate) json: String,
    /// A hash of it.
    pub(super) hash: i64,
    /// The facts that it holds.
    pub(super) facts: Vec<DerivedType>,
    pub(super) family: String,
    pub(super) call_id: Option<String>,
    pub(super) room_id: Option<String>,
    /// When it ended or was finished.
    pub(super) happened_at: UnixMillis,
    /// The latest time that an event names for it.
    pub(super) last_at: UnixMillis,
    /// Of a session of a room: from when until when events belong to it, and whether its end was inferred.
    pub(super) span: Option<SessionSpan>,
}

/// Which events belong to a session of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionSpan {
    pub(super) from: UnixMillis,
    pub(super) until: Option<UnixMillis>,
    /// No destroy event came: another session ended it.
    pub(super) is_inferred: bool,
}

impl SessionSpan {
    /// Whether events of these times are among them.
    pub(super) fn meets(&self, (from, until): (UnixMillis, UnixMillis)) -> bool {
        self.from <= until && self.until.is_none_or(|end| end > from)
    }
}

/// A call with its members, by the names of `/api/v1/calls/{app}/{call_id}`.
#[derive(Serialize)]
struct CallRow<'a> {
    #[serde(flatten)]
    call: &'a Call,
    members: &'a [Member],
    lists_cut: &'a [&'a str],
}

/// The row of a derived event, as it is now; `None` where there is none any more.
pub(crate) async fn of(
    store: &dyn Store,
    event: &DerivedEvent,
) -> Result<Option<FactRow>, StoreError> {
    match DerivedType::of_name(&event.r#type) {
        Some(DerivedType::CallMissed | DerivedType::CallEnded) => {
            call(store, event.app, &event.subject).await
        }
        Some(DerivedType::RoomClosed | DerivedType::LiveEnded) => {
            let room_id = event.subject.clone();
            session(store, RoomKey { app: event.app, room_id, session: event.session }).await
        }
        Some(DerivedType::RecordingReady) => recording(store, event.app, &event.subject).await,
        None => Ok(None),
    }
}

pub(super) async fn call(
    store: &dyn Store,
    app: AppId,
    call_id: &str,
) -> Result<Option<FactRow>, StoreError> {
    let Some(call) = store.call(app, call_id).await? else { return Ok(None) };
    let members = store.call_members(app, call_id).await?;
    let lists_cut: &[&str] = if members.is_cut { &["members"] } else { &[] };
    let row = CallRow { call: &call, members: &members.rows, lists_cut };
    let Some(json) = json(&row) else { return Ok(None) };
    let mut facts = Vec::new();
    if call.state == "ended" {
        let result = call.result.as_deref();
        if call.accepted_at.is_none() && result.is_some_and(|result| MISSED.contains(&result)) {
            facts.push(DerivedType::CallMissed);
        }
        facts.push(DerivedType::CallEnded);
    }
    Ok(Some(FactRow {
        hash: row_hash(&json),
        json,
        facts,
        family: "call".to_owned(),
        call_id: Some(call.call_id),
        room_id: call.room_id,
        happened_at: call.ended_at.unwrap_or(call.last_at),
        last_at: call.last_at,
        span: None,
    }))
}

pub(super) async fn session(
    store: &dyn Store,
    key: RoomKey,
) -> Result<Option<FactRow>, StoreError> {
    let Some(room) = store.room(&key).await? else { return Ok(None) };
    let is_live = room.family == "live";
    let live = if is_live { store.live_sessions(&[key]).await?.pop() } else { None };
    let is_over = room.state == "ended";
    let of_family = if is_live { DerivedType::LiveEnded } else { DerivedType::RoomClosed };
    let row = |room: Room| {
        if is_live { json(&LiveRoom { room, live: live.clone() }) } else { json(&room) }
    };
    // Where the sessions before and after are changes nothing in this one.
    let alone = Room { from_at: UnixMillis(0), until_at: None, ..room.clone() };
    let Some((json, alone)) = row(room.clone()).zip(row(alone)) else { return Ok(None) };
    Ok(Some(FactRow {
        json,
        hash: row_hash(&alone),
        facts: is_over.then_some(of_family).into_iter().collect(),
        family: room.family,
        call_id: None,
        room_id: Some(room.room_id),
        happened_at: room.ended_at.unwrap_or(room.last_at),
        last_at: room.last_at,
        span: Some(SessionSpan {
            from: room.from_at,
            until: room.until_at,
            is_inferred: room.inferred,
        }),
    }))
}

pub(super) async fn recording(
    store: &dyn Store,
    app: AppId,
    task_id: &str,
) -> Result<Option<FactRow>, StoreError> {
    let Some(recording) = store.recording(app, task_id).await? else { return Ok(None) };
    let Some(json) = json(&recording) else { return Ok(None) };
    let reported = |reporter: &str| recording.reporters.iter().any(|one| one == reporter);
    let family = match &recording.call_id {
        Some(_) => "call",
        None if reported("live") => "live",
        None => "rtc_recording",
    };
    let ready = is_ready(&recording).then_some(DerivedType::RecordingReady);
    Ok(Some(FactRow {
        hash: row_hash(&json),
        json,
        facts: ready.into_iter().collect(),
        family: family.to_owned(),
        call_id: recording.call_id,
        room_id: recording.room_id,
        happened_at: recording.last_at,
        last_at: recording.last_at,
        span: None,
    }))
}

/// Whether the files are there: all are uploaded, or it is a recording of a web page, whose events end with the stop and name files that
/// are there already.
fn is_ready(recording: &Recording) -> bool {
    let is_there = match recording.state.as_deref() {
        Some("finished") => !recording.files.is_empty(),
        Some("stopped") => {
            recording.files.iter().any(|file| file.url.is_some() && file.state.is_none())
        }
        _ => false,
    };
    is_there && !recording.files_left
}

/// A row as JSON; `None` where a column that should hold JSON does not: somebody else wrote to the store. It stops no other row.
fn json(row: &impl Serialize) -> Option<String> {
    match serde_json::to_string(row) {
        Ok(json) => Some(json),
        Err(error) => {
            error!(%error, "a row of the read models is not JSON: nothing is derived from it");
            None
        }
    }
}
