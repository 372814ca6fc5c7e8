//! What is written down, and when.

use std::time::Duration;

use uuid::Uuid;

use protocol::UnixMillis;

use crate::window::core::Window;
use crate::window::exception::{WAITING_MAX, Write};
use crate::window::item::{ItemState, Row};
use crate::window::model::DONE_AHEAD_MAX;

/// The shortest time between two writes, unless [`WRITE_EVENTS`] are done.
const WRITE_PAUSE: Duration = Duration::from_millis(250);
/// So many events are done before something is written at once.
const WRITE_EVENTS: usize = 500;
/// So many rows there may be of events that did not fail alone. Beyond it the front of the window is waited for.
const FRONT_ROWS_MAX: usize = WAITING_MAX / 2;

impl Window {
    /// What is to be written now, in one transaction; nothing while the last one is under way, or where it is too early.
    /// The result is reported to [`Window::written`].
    #[must_use]
    pub fn write(&mut self, now: UnixMillis) -> Option<Write> {
        self.write_at().filter(|at| *at <= now)?;
        self.write_now(now)
    }

    /// What is to be written before the forwarder ends.
    #[must_use]
    pub fn write_now(&mut self, now: UnixMillis) -> Option<Write> {
        if self.writing.is_some() {
            return None;
        }
        self.pass_the_front(now);
        if !self.is_changed() {
            return None;
        }
        let changes = std::mem::take(&mut self.changes);
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        for (id, change) in changes {
            match change {
                Some(row) => {
                    // Whatever is said of this write, the store may have the row from now on.
                    if let Some(item) = self.items.get_mut(&id) {
                        item.row = Row::Stored;
                    }
                    upserts.push(row);
                }
                None => removals.push(id),
            }
        }
        let state = Some(self.state()).filter(|state| *state != self.written_state);
        let write = Write { position: self.cursor.position(), upserts, removals, state };
        self.writing = Some(write.clone());
        (self.written_at, self.done_since) = (now, 0);
        Some(write)
    }

    /// The write under way is committed, or is not known to be: then it is written again.
    pub fn written(&mut self, is_committed: bool) {
        let Some(write) = self.writing.take() else { return };
        self.write_failed = !is_committed;
        if is_committed {
            self.written_position = write.position;
            self.written_state = write.state.unwrap_or(self.written_state);
            return;
        }
        for row in write.upserts {
            self.changes.entry(row.id).or_insert(Some(row));
        }
        for id in write.removals {
            self.changes.entry(id).or_insert(None);
        }
    }

    /// When there is something to write; absent where there is nothing, or a write is under way.
    pub(super) fn write_at(&self) -> Option<UnixMillis> {
        let is_idle = self.writing.is_none() && (self.is_changed() || self.is_front_passed());
        let is_much = self.done_since >= WRITE_EVENTS || self.changes.len() >= WRITE_EVENTS;
        // A store that refused the last one is not asked in a hurry.
        let pause = if is_much && !self.write_failed { Duration::ZERO } else { WRITE_PAUSE };
        is_idle.then(|| self.written_at.plus(pause))
    }

    fn is_changed(&self) -> bool {
        !self.changes.is_empty()
            || self.cursor.position() != self.written_position
            || self.state() != self.written_state
    }

    fn is_front_passed(&self) -> bool {
        self.cursor.done_ahead() >= DONE_AHEAD_MAX && self.waiting < FRONT_ROWS_MAX
    }

    /// Gives rows to the first events of the window that are not done, while too many behind them are.
    fn pass_the_front(&mut self, now: UnixMillis) {
        while self.is_front_passed() {
            let Some(id) = self.cursor.front() else { return };
            self.give_row(id, now);
            if self.cursor.front() == Some(id) {
                return;
            }
        }
    }

    /// The event gets a row among the exceptions, or its row is changed, and the cursor passes it.
    pub(super) fn give_row(&mut self, id: Uuid, now: UnixMillis) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.row == Row::None {
            item.row = Row::New;
            self.bytes -= std::mem::take(&mut item.bytes);
            self.waiting += usize::from(!item.replay);
            let position = item.place.position;
            self.cursor.done(position);
        }
        self.note_change(id, now);
    }

    /// The row of an event, where it has one, is written again.
    pub(super) fn note_change(&mut self, id: Uuid, now: UnixMillis) {
        let Some(item) = self.items.get(&id) else { return };
        if item.row != Row::None && item.state != ItemState::Dead {
            self.changes.insert(id, Some(item.exception(now)));
        }
    }
}
