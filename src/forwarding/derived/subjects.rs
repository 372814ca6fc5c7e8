//! Which calls, rooms and recordings events are about.

use std::collections::HashMap;

use uuid::Uuid;

use crate::store::{DerivedKind, DerivedSubject, Position, StoredEvent, Touched};
use protocol::UnixMillis;

/// The commands that report steps of a recording.
const RECORDING_COMMANDS: [&str; 2] =
    ["Call.CallbackAfterRecordChanged", "Live.CallbackAfterCloudRecordingChanged"];
/// The families whose events all do.
const RECORDING_FAMILIES: [&str; 2] = ["rtc_recording", "rtc_web_recording"];
/// The families of which the sessions of rooms are made.
const ROOM_FAMILIES: [&str; 3] = ["room", "mic", "live"];

/// The length of a day.
const DAY_MS: i64 = 86_400_000;

/// The subjects of some events, each once, with the times of its earliest and latest event.
#[derive(Default)]
pub(super) struct Subjects(HashMap<DerivedSubject, (UnixMillis, UnixMillis)>);

impl Subjects {
    /// Those of these events, but for recordings.
    pub(super) fn of(events: &[(Position, StoredEvent)]) -> Self {
        let mut subjects = Self::default();
        for (_, event) in events {
            let (app, at) = (event.app, event.event_time);
            let family = event.family.as_str();
            let found = match (&event.call_id, &event.room_id) {
                (Some(call), _) if family == "call" => Some((DerivedKind::Call, call)),
                (_, Some(room)) if ROOM_FAMILIES.contains(&family) => {
                    Some((DerivedKind::Room, room))
                }
                _ => None,
            };
            if let Some((kind, id)) = found {
                let day = if kind == DerivedKind::Room { at.0.div_euclid(DAY_MS) } else { 0 };
                subjects.add(DerivedSubject { kind, app, id: id.clone(), day }, at);
            }
        }
        subjects
    }

    pub(super) fn add(&mut self, subject: DerivedSubject, at: UnixMillis) {
        let span = self.0.entry(subject).or_insert((at, at));
        *span = (span.0.min(at), span.1.max(at));
    }

    pub(super) fn into_touched(self) -> Vec<Touched> {
        self.0.into_iter().collect()
    }
}

/// The events that report steps of recordings.
pub(super) fn recording_steps(events: &[(Position, StoredEvent)]) -> Vec<Uuid> {
    let is_step = |event: &StoredEvent| {
        RECORDING_COMMANDS.contains(&event.command.as_str())
            || RECORDING_FAMILIES.contains(&event.family.as_str())
    };
    events
        .iter()
        .map(|(_, event)| event)
        .filter(|event| is_step(event))
        .map(|event| event.id)
        .collect()
}
