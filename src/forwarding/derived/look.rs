//! Looks at the rows of what is due, and says which derived events follow.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use crate::forwarding::derived::facts::{self, FactRow};
use crate::forwarding::derived::revisions::{Known, Revision, revisions};
use crate::store::deadline::within;
use crate::store::{
    DerivedConnection, DerivedEvent, DerivedKind, DerivedSettlement, DerivedSubject, DueSubject,
    RoomKey, Store, StoreError,
};
use protocol::diagnostic::Diagnostic;
use protocol::{AppId, UnixMillis, event_id};

/// How long looking at one subject may take.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// After so long the rest waits until what follows so far is written, which also renews the lease.
const STEP: Duration = Duration::from_secs(1);

/// A call, recording or session of a room, as it is now.
struct Looked {
    session: i64,
    row: Option<FactRow>,
    may_be_new: bool,
}

/// What follows from the rows of what is due, or of some of it where it takes long.
pub(super) async fn settlement(
    store: &dyn Store,
    connection: &mut DerivedConnection,
    due: &[DueSubject],
    now: UnixMillis,
) -> Result<DerivedSettlement, Diagnostic> {
    let mut settlement = DerivedSettlement::default();
    let mut seen = HashSet::new();
    let begun = Instant::now();
    for one in due {
        if begun.elapsed() >= STEP {
            break;
        }
        let subject = one.subject.clone();
        // Another day of the same room has its turn when what follows from this one is written.
        if !seen.insert((subject.kind, subject.app, subject.id.clone())) {
            continue;
        }
        if subject.kind == DerivedKind::Room && !one.is_ready {
            settlement.postponed.push(subject);
            continue;
        }
        // A call that goes on holds no fact, and its next event is noted again.
        if one.is_ready {
            let derived = async {
                match derive(store, connection, one, now).await {
                    // What cannot be read as it is must not keep all others.
                    Err(error @ StoreError::Refused(_)) => {
                        error!(%error, "nothing is derived from rows that cannot be read");
                        Ok(Vec::new())
                    }
                    derived => derived,
                }
            };
            settlement.events.extend(within(LOOK_MAX, derived).await?);
        }
        settlement.done.push(subject);
    }
    Ok(settlement)
}

/// The derived events that follow from one subject.
async fn derive(
    store: &dyn Store,
    connection: &mut DerivedConnection,
    due: &DueSubject,
    now: UnixMillis,
) -> Result<Vec<DerivedEvent>, StoreError> {
    let subject = &due.subject;
    let all = look(store, connection, due).await?;
    let key = |one: &Looked| (subject.app, subject.id.as_str(), one.session);
    let keys: Vec<(AppId, &str, i64)> = all.iter().map(key).collect();
    let latest = if due.is_known {
        connection.latest(subject.kind, &keys).await?
    } else {
        vec![Vec::new(); all.len()]
    };
    let mut events = Vec::new();
    for (one, latest) in all.iter().zip(&latest) {
        let known = Known {
            row: one.row.as_ref(),
            latest,
            may_be_new: one.may_be_new,
            is_replaced: latest.iter().any(|event| has_other(&all, event)),
        };
        let made = revisions(&known).into_iter().filter_map(|revision| {
            let before = latest.iter().find(|event| event.r#type == revision.r#type.name());
            event(subject, one, before, &revision, now)
        });
        events.extend(made);
    }
    Ok(events)
}

/// The rows of one subject that its new events may have changed.
async fn look(
    store: &dyn Store,
    connection: &mut DerivedConnection,
    due: &DueSubject,
) -> Result<Vec<Looked>, StoreError> {
    let DerivedSubject { kind, app, id, .. } = &due.subject;
    let alone = |row| vec![Looked { session: 0, row, may_be_new: true }];
    match kind {
        DerivedKind::Call => Ok(alone(facts::call(store, *app, id).await?)),
        DerivedKind::Recording => Ok(alone(facts::recording(store, *app, id).await?)),
        DerivedKind::Room => {
            let mut all = Vec::new();
            for session in connection.sessions((*app, id), due.span).await? {
                let key = RoomKey { app: *app, room_id: id.clone(), session };
                let row = facts::session(store, key).await?;
                let span = row.as_ref().and_then(|row| row.span);
                // One before that was destroyed is over since then, and was derived then.
                let may_be_new = span.is_some_and(|span| span.is_inferred || span.meets(due.span));
                all.push(Looked { session, row, may_be_new });
            }
            Ok(all)
        }
    }
}

/// Whether the moment at which a session ended belongs to another session now.
fn has_other(all: &[Looked], event: &DerivedEvent) -> bool {
    let mut spans = all.iter().filter_map(|one| one.row.as_ref()?.span);
    spans.any(|span| span.meets((event.happened_at, event.happened_at)))
}

/// A derived event; `None` where nothing is known of what it is about.
fn event(
    subject: &DerivedSubject,
    one: &Looked,
    before: Option<&DerivedEvent>,
    revision: &Revision,
    now: UnixMillis,
) -> Option<DerivedEvent> {
    let new = DerivedEvent {
        id: event_id::unique(now),
        r#type: revision.r#type.name().to_owned(),
        family: String::new(),
        app: subject.app,
        subject: subject.id.clone(),
        session: one.session,
        revision: revision.number,
        withdrawn: revision.withdrawn,
        hash: 0,
        call_id: None,
        room_id: None,
        happened_at: now,
        last_at: now,
        created_at: now,
    };
    match (&one.row, before) {
        (Some(row), _) => Some(DerivedEvent {
            family: row.family.clone(),
            hash: row.hash,
            call_id: row.call_id.clone(),
            room_id: row.room_id.clone(),
            happened_at: row.happened_at,
            last_at: row.last_at,
            ..new
        }),
        (None, Some(before)) => Some(DerivedEvent {
            family: before.family.clone(),
            call_id: before.call_id.clone(),
            room_id: before.room_id.clone(),
            happened_at: before.happened_at,
            last_at: before.last_at,
            ..new
        }),
        (None, None) => None,
    }
}
