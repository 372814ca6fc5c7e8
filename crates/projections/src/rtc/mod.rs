//! Pure computation of the rooms of the RTC Engine: sessions, stays and publishing, from the events of groups 1 and 2.
//!
//! # Design
//!
//! One event is one [`mark::RtcMark`], and one row of `rtc_room_marks`, keyed by the event's id, so that a repeat adds
//! nothing. A row keeps what the event says and decides nothing. The rows that users read, `rtc_room_sessions`,
//! `rtc_stays` and `rtc_publish_intervals`, are computed from the marks of a room: a mark queues its room, and the settler
//! computes it anew and writes what changed. So the result depends on the set of marks alone, and a late event repairs
//! what its absence made wrong. What the vendor's REST API told of lost events are marks too
//! ([`mark::RtcMark::is_repaired`]); one that a real mark stands beside does not count.
//!
//! A room is an app, an id and the kind of that id: 123 and "123" are two rooms. The one event whose kind cannot be
//! trusted is the dismissal, which comes as text for a numeric room too. So the two rooms of one text are computed
//! together: [`room_kind::compute_both`].
//!
//! A robot is known by events of other groups ([`robot::robot`]), which may come much later. Robots are rows of their own,
//! (app, account) in `rtc_robots`, and a new one queues the rooms in which that account stayed.
//!
//! Keys: a session is keyed by the time of its create (else of its first event), a stay and an interval by the event
//! that opened it. So a key changes only where the event comes late that really began what it names.
//!
//! A room is computed from the last [`cut`](mod@cut) before its earliest new mark on: nothing before matters from then on. Where
//! there are more than [`MARKS_MAX`] marks between two cuts, the session says that its latest ones are left out.
//!
//! A session whose dismissal was lost is closed by the clock: [`session::RtcSession::close_overdue`].

pub mod compute;
pub mod cut;
pub mod mark;
pub(crate) mod order;
pub(crate) mod presence;
pub mod publish;
pub mod robot;
pub mod room_kind;
pub mod session;
pub mod stay;

pub use order::MARKS_MAX;

#[cfg(test)]
mod tests;
