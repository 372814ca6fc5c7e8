//! Pure computation of the rooms of the RTC Engine: sessions, stays and publishing, from the events of groups 1 and 2.
//!
//! # Design
//!
//! One event is one [`mark::RtcMark`], and one row of marks, keyed by the event's id, so that a repeat adds nothing. A
//! row keeps what the event says and decides nothing. The rows that users read, `rtc_room_sessions`, `rtc_stays` and
//! `rtc_publish_intervals`, are computed from all marks of a room and replaced as a whole, as the settler does with
//! `room_sessions`: a mark queues its room, and the settler computes the room anew. So the result depends on the set of
//! marks alone, and a late event repairs what its absence made wrong.
//!
//! A room is an app, an id and the kind of that id: 123 and "123" are two rooms. The one event whose kind cannot be
//! trusted is the dismissal, which comes as text for a numeric room too. So the settler takes the two rooms of one text
//! together: [`room_kind::compute_both`]. Of ids that no numeric room can have, [`compute::compute`] is enough.
//!
//! A robot is known by events of other groups ([`robot::robot`]), which may come much later. They are to be rows of
//! their own, (app, account), and a new one queues the rooms in which that account stayed.
//!
//! Keys: a session is keyed by the time of its create (else of its first event), a stay and an interval by the event
//! that opened it. So a key changes only where the event comes late that really began what it names.
//!
//! A room is computed from at most its 100,000 earliest marks, and says where it had more.
//!
//! # Not connected yet
//!
//! Nothing calls this module: there are no tables, no settler and no API for it. Missing beside them: the clock that
//! closes a session whose dismissal was lost ([`session::RtcSession::close_overdue`] is the pure part), reading only the
//! marks since the last session that ended, and the anomalies of [`session::RtcSession::findings`].

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
