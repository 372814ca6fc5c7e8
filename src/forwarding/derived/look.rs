//! Looks at the rows of what is due, and says which derived events follow.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use crate::forwarding::derived::facts::{self, FactRow};
use crate::forwarding::derived::revisions::{Known, Revision, revisions};
use crate::store::{
    DerivedConnection, DerivedEvent, DerivedKind, DerivedSettlement, DerivedSubject, DueSubject,
    RoomKey, Store, StoreError,
};
use protocol::diagnostic::{Diagnostic, Hint};
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
#[derive(Default)]
pub(super) struct Settled {
    pub(super) settlement: DerivedSettlement,
    /// A room that has more sessions than are looked at in one step: its place among what is due, and the session after which to go
    /// on. It goes on before anything new is noted.
    pub(super) rest: Option<(usize, i64)>,
}

/// Looks at what is due. `after`: the first is a room, and goes on after this session. Where one is slow, nothing else is looked at,
/// and the connection must not be used any more.
pub(super) async fn settlement(
    store: &dyn Store,
    connection: &mut DerivedConnection,
    (due, mut after): (&[DueSubject], Option<i64>),
    now: UnixMillis,
) -> Result<Settled, Diagnostic> {
    let mut settled = Settled::default();
    let settlement = &mut settled.settlement;
    let mut seen = HashSet::new();
    let begun = Instant::now();
    for (place, one) in due.iter().enumerate() {
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
            let derived = derive(store, connection, (one, after.take()), now);
            match timeout(LOOK_MAX, derived).await {
                Ok(Ok((events, next))) => {
                    settlement.events.extend(events);
                    if let Some(next) = next {
                        settled.rest = Some((place, next));
                        break;
                    }
                }
                // What cannot be read as it is must not keep all others, nor what cannot be read in time.
                Ok(Err(error)) if error.is_unreadable() => {
                    error!(%error, "nothing is derived from rows that cannot be read");
                }
                Ok(Err(error)) if !error.is_timeout() => return Err(error.diagnostic()),
                _ => {
                    warn!(
                        app = %subject.app,
                        kind = subject.kind.as_str(),
                        hint = "see what keeps the database from answering",
                        "rows that events are derived from cannot be read in time; trying again in a minute"
                    );
                    settlement.slow.push(subject);
                    break;
                }
            }
        }
        settlement.done.push(subject);
    }
    Ok(settled)
}

/// The derived events that follow from one subject, and the session after which to go on where a room has more.
async fn derive(
    store: &dyn Store,
    connection: &mut DerivedConnection,
    (due, after): (&DueSubject, Option<i64>),
    now: UnixMillis,
) -> Result<(Vec<DerivedEvent>, Option<i64>), StoreError> {
    let subject = &due.subject;
    let (all, next) = look(store, connection, (due, after)).await?;
    let key = |one: &Looked| (subject.app, subject.id.as_str(), one.session);
    let keys: Vec<(AppId, &str, i64)> = all.iter().map(key).collect();
    let latest = if due.is_known {
        connection.latest(subject.kind, &keys).await?
    } else {
        vec![Vec::new(); all.len()]
    };
    let mut events = Vec::new();
    for (one, latest) in all.iter().zip(&latest) {
        let mut is_replaced = false;
        if one.row.is_none() && subject.kind == DerivedKind::Room {
            // The moment at which the session ended may belong to another one now.
            for event in latest.iter().filter(|event| !event.withdrawn) {
                let room = (subject.app, subject.id.as_str());
                is_replaced |= connection.has_session_at(room, event.happened_at).await?;
            }
        }
        let (row, may_be_new) = (one.row.as_ref(), one.may_be_new);
        let known = Known { row, latest, may_be_new, is_replaced };
        let made = revisions(&known).into_iter().filter_map(|revision| {
            let before = latest.iter().find(|event| event.r#type == revision.r#type.name());
            event(subject, one, before, &revision, now)
        });
        events.extend(made);
    }
    Ok((events, next))
}

/// The rows of one subject that its new events may have changed, and the session after which to go on.
async fn look(
    store: &dyn Store,
    connection: &mut DerivedConnection,
    (due, after): (&DueSubject, Option<i64>),
) -> Result<(Vec<Looked>, Option<i64>), StoreError> {
    let DerivedSubject { kind, app, id, .. } = &due.subject;
    let alone = |row| (vec![Looked { session: 0, row, may_be_new: true }], None);
    match kind {
        DerivedKind::Call => Ok(alone(facts::call(store, *app, id).await?)),
        DerivedKind::Recording => Ok(alone(facts::recording(store, *app, id).await?)),
        DerivedKind::Room => {
            let mut all = Vec::new();
            let (sessions, next) = connection.sessions((*app, id), due.span, after).await?;
            for session in sessions {
                let key = RoomKey { app: *app, room_id: id.clone(), session };
                let row = facts::session(store, key).await?;
                let span = row.as_ref().and_then(|row| row.span);
                // One before that was destroyed is over since then, and was derived then.
                let may_be_new = span.is_some_and(|span| span.is_inferred || span.meets(due.span));
                all.push(Looked { session, row, may_be_new });
            }
            Ok((all, next))
        }
    }
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
