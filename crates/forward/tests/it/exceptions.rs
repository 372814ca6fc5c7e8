//! What the window does with rows of the store, and with tries that were none.

use std::time::Duration;

use forward::answer::{Failure, Response};
use forward::breaker::{DestinationState, OpenReason, PauseReason};
use forward::destination::settings::OrderRule;
use forward::filter::{Filter, Words};
use forward::schedule::Schedule;
use forward::window::exception::{DEAD_MAX, WAITING_MAX};
use forward::window::{
    Exception, ExceptionState, FeedContent, FeedEvent, Outcome, Rules, Send, Start, Tallies,
    WINDOW_BYTES_MAX, Window,
};
use protocol::UnixMillis;
use uuid::Uuid;

use crate::world::{START, event};

pub(crate) fn rules() -> Rules {
    Rules {
        filter: Filter::default(),
        in_flight_max: 8,
        rate_max: 0,
        order: OrderRule::Subject,
        order_wait: Duration::from_mins(1),
        schedule: Schedule::of_seconds(&[5]).unwrap(),
        window_bytes: WINDOW_BYTES_MAX,
    }
}

pub(crate) fn window(start: Start) -> Window {
    Window::new(rules(), start, START)
}

/// Gives the window events of these numbers, all of one room.
pub(crate) fn feed(window: &mut Window, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        let event = event(number, None, Some("a"));
        let (position, id) = (event.columns.position, event.columns.id);
        let content = FeedContent::Columns(&event.columns);
        window.take_events([FeedEvent { position, id, content }]);
    }
}

pub(crate) fn id(number: usize) -> Uuid {
    event(number, None, None).columns.id
}

pub(crate) fn row(number: usize, state: ExceptionState, next_at: UnixMillis) -> Exception {
    Exception {
        id: id(number),
        position: event(number, None, None).columns.position,
        subject: None,
        attempts: 1,
        next_at,
        state,
        last_status: Some(400),
        last_error: None,
        first_failed_at: Some(START.minus(Duration::from_hours(1))),
    }
}

pub(crate) fn answered(status: u16, now: UnixMillis) -> Outcome {
    let meaning = Response::Status { status, retry_after: None }.meaning(now);
    Outcome::Sent { meaning, status: Some(status), error: Some("no".repeat(1_000)) }
}

pub(crate) fn end(window: &mut Window, number: usize, outcome: Outcome, now: UnixMillis) {
    window.ended(id(number), outcome, now, &mut fastrand::Rng::with_seed(1));
}

pub(crate) fn sent(window: &mut Window, now: UnixMillis) -> Vec<Uuid> {
    window.sends(now).into_iter().map(|send| send.id).collect()
}

#[test]
fn what_somebody_wants_again_is_sent_beside_the_others() {
    let mut window = window(Start::at(0));
    feed(&mut window, 100..102);
    let rows = (0..3).map(|number| row(number, ExceptionState::Replay, START));
    window.take_exceptions(rows, START);
    assert_eq!(window.replays(), 3);
    let sends = window.sends(START);
    assert_eq!(sends.iter().filter(|send| send.replay).count(), 3);
    let live: Vec<&Send> = sends.iter().filter(|send| !send.replay).collect();
    assert_eq!((live.len(), live[0].id, live[0].attempt), (1, id(100), 1), "one of its room");
    assert_eq!(sends.iter().find(|send| send.replay).unwrap().attempt, 2);
    end(&mut window, 0, answered(200, START), START);
    end(&mut window, 1, answered(400, START), START);
    let write = window.write_now(START).unwrap();
    assert_eq!(write.removals, [id(0)]);
    // Its only pause is over, so it has no other attempt.
    let [dead] = &write.upserts[..] else { panic!("one row") };
    assert_eq!((dead.id, dead.state, dead.attempts), (id(1), ExceptionState::Dead, 2));
    assert_eq!(dead.last_error.as_ref().unwrap().len(), 1_024);
    assert_eq!(window.waiting(), 0, "replays are counted by themselves");
}

#[test]
fn a_dead_letter_is_sent_only_when_it_is_put_back() {
    // It is ahead of the cursor: the last process got further than what it wrote.
    let dead = row(1, ExceptionState::Dead, START);
    let mut window = window(Start { exceptions: vec![dead], dead: 1, ..Start::at(0) });
    feed(&mut window, 0..2);
    assert_eq!(sent(&mut window, START), [id(0)]);
    end(&mut window, 0, answered(200, START), START);
    assert!(sent(&mut window, START).is_empty() && window.is_empty());
    let retry = Exception { attempts: 0, ..row(1, ExceptionState::Waiting, START) };
    window.take_exceptions([retry], START);
    assert_eq!(sent(&mut window, START), [id(1)]);
}

#[test]
fn a_row_of_a_known_event_changes_when_it_is_tried_again() {
    let later = START.plus(Duration::from_hours(1));
    let waiting = row(1, ExceptionState::Waiting, later);
    let mut window = window(Start { exceptions: vec![waiting.clone()], ..Start::at(5_000) });
    assert_eq!(window.waiting(), 1);
    assert!(sent(&mut window, START).is_empty());
    assert_eq!(window.wake_at(START), Some(later));
    window.take_exceptions([Exception { attempts: 0, next_at: START, ..waiting.clone() }], START);
    assert_eq!(sent(&mut window, START), [id(1)]);
    end(&mut window, 1, answered(200, START), START);
    // One that was read before it was removed.
    window.take_exceptions([Exception { next_at: START, ..waiting }], START);
    assert!(sent(&mut window, START).is_empty() && window.is_empty());
}

#[test]
fn too_many_that_wait_open_the_breaker_and_lose_nothing() {
    let later = START.plus(Duration::from_hours(1));
    let full = (0..WAITING_MAX).map(|number| row(number, ExceptionState::Waiting, later));
    let mut window = window(Start { exceptions: full.collect(), ..Start::at(20_000) });
    feed(&mut window, [30_000, 30_001]);
    assert_eq!(sent(&mut window, START), [id(30_000)]);
    end(&mut window, 30_000, answered(400, START), START);
    assert_eq!(window.state().state, DestinationState::Failing(OpenReason::TooManyWaiting));
    let write = window.write_now(START).unwrap();
    assert_eq!((write.position, write.upserts.len()), (20_000, 0), "the cursor waits");
    assert_eq!(window.waiting(), WAITING_MAX);
}

#[test]
fn dead_letters_are_never_dropped_for_want_of_room() {
    let due = row(0, ExceptionState::Waiting, START);
    let mut window = window(Start { exceptions: vec![due], dead: DEAD_MAX, ..Start::at(5_000) });
    assert_eq!(sent(&mut window, START), [id(0)]);
    end(&mut window, 0, answered(400, START), START);
    let write = window.write_now(START).unwrap();
    let [waiting] = &write.upserts[..] else { panic!("one row") };
    assert_eq!((waiting.state, waiting.attempts), (ExceptionState::Waiting, 2));
    assert_eq!(waiting.next_at, START.plus(Duration::from_secs(5)));
}

#[test]
fn what_is_deleted_or_cannot_be_sent_is_done() {
    let mut window = window(Start::at(0));
    feed(&mut window, 0..2);
    let gone = event(2, None, None).columns;
    let event = FeedEvent { position: gone.position, id: gone.id, content: FeedContent::Gone };
    window.take_events([event, event]);
    assert_eq!(sent(&mut window, START), [id(0)]);
    end(&mut window, 0, Outcome::Gone, START);
    assert_eq!(sent(&mut window, START), [id(1)]);
    end(&mut window, 1, Outcome::Unsendable("it panicked".to_owned()), START);
    // Nothing is known of it any more.
    end(&mut window, 1, answered(200, START), START);
    let write = window.write_now(START).unwrap();
    assert_eq!(write.position, gone.position);
    assert_eq!(write.upserts[0].last_error.as_deref(), Some("it panicked"));
    let tallies = Tallies { delivered: 0, filtered: 0, gone: 2, dead: 1 };
    assert_eq!((window.take_tallies(), window.dead()), (tallies, 1));
    assert_eq!(window.take_tallies(), Tallies::default());
}

#[test]
fn an_event_that_cannot_be_read_passes_any_filter_and_is_dead() {
    let families = Words::compile(&["call"]).unwrap();
    let only_calls = Filter { families, ..Filter::default() };
    let mut window = Window::new(Rules { filter: only_calls, ..rules() }, Start::at(0), START);
    let unreadable = event(0, None, Some("a")).columns;
    let (position, id) = (unreadable.position, unreadable.id);
    window.take_events([FeedEvent { position, id, content: FeedContent::Unreadable }]);
    assert_eq!(sent(&mut window, START), [id]);
    end(&mut window, 0, Outcome::Unsendable("its row cannot be read".to_owned()), START);
    let write = window.write_now(START).unwrap();
    assert_eq!((write.position, write.upserts[0].state), (position, ExceptionState::Dead));
}

#[test]
fn a_write_that_failed_is_written_again() {
    let mut window = window(Start::at(0));
    feed(&mut window, 0..1);
    assert_eq!(sent(&mut window, START), [id(0)]);
    end(&mut window, 0, answered(400, START), START);
    assert_eq!(window.write(START), None, "it is too early");
    let now = START.plus(Duration::from_millis(250));
    let write = window.write(now).unwrap();
    assert_eq!(window.write_now(now), None, "one at a time");
    window.written(false);
    let later = now.plus(Duration::from_millis(250));
    assert_eq!(window.wake_at(now), Some(later));
    assert_eq!(window.write(later).unwrap(), write);
    window.written(true);
    assert_eq!(window.write_now(later), None);
}

#[test]
fn a_pause_by_hand_is_written_down_and_ends_by_hand() {
    let mut window = window(Start::at(0));
    feed(&mut window, 0..2);
    window.pause(PauseReason::ByHand, START);
    assert!(sent(&mut window, START).is_empty());
    let state = window.write_now(START).unwrap().state.unwrap();
    assert_eq!(state.state, DestinationState::Paused(PauseReason::ByHand));
    assert_eq!(state.failing_since, Some(START));
    window.written(true);
    window.resume(START);
    assert_eq!(sent(&mut window, START), [id(0)], "a probe");
    end(&mut window, 0, answered(200, START), START);
    assert_eq!(window.state().state, DestinationState::Running);
}

#[test]
fn an_answer_that_is_never_about_the_event_costs_no_attempt() {
    for status in [410, 0] {
        let due = row(0, ExceptionState::Waiting, START);
        let mut window = window(Start { exceptions: vec![due], ..Start::at(5_000) });
        assert_eq!(sent(&mut window, START), [id(0)]);
        let blocked = Response::Failure(Failure::BlockedAddress).meaning(START);
        let outcome = match status {
            0 => Outcome::Sent { meaning: blocked, status: None, error: None },
            status => answered(status, START),
        };
        end(&mut window, 0, outcome, START);
        assert_ne!(window.state().state, DestinationState::Running);
        let write = window.write_now(START).unwrap();
        assert_eq!(write.upserts[0].attempts, 1, "as before");
    }
}

#[test]
fn a_window_with_less_memory_has_room_for_fewer_events() {
    let rules = Rules { window_bytes: 100 * 1024, ..rules() };
    let mut window = Window::new(rules, Start::at(0), START);
    assert_eq!(window.room().events, 100);
    feed(&mut window, 0..60);
    let room = window.room();
    assert!(room.events <= 40 && room.bytes < 40 * 1024, "{room:?}");
    feed(&mut window, 60..100);
    assert_eq!((window.room().events, window.room().bytes), (0, 0));
}
