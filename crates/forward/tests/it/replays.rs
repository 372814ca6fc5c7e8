//! Dead letters that are put back, and replays: neither for nor against the destination.

use std::time::Duration;

use forward::breaker::{DestinationState, PauseReason};
use forward::window::{Exception, ExceptionState, Start, Window};

use crate::exceptions::{answered, end, feed, id, row, rules, sent, window};
use crate::world::START;

fn replay(number: usize) -> Exception {
    let replay = row(number, ExceptionState::Replay, START);
    Exception { position: 0, attempts: 0, first_failed_at: None, ..replay }
}

fn replays(numbers: std::ops::Range<usize>) -> Window {
    window(Start { exceptions: numbers.map(replay).collect(), ..Start::at(5_000) })
}

#[test]
fn a_dead_letter_put_back_on_schedule_is_sent_at_once() {
    let mut window = window(Start::at(0));
    feed(&mut window, 0..1);
    assert_eq!(sent(&mut window, START), [id(0)]);
    end(&mut window, 0, answered(400, START), START);
    // The schedule has one pause only.
    let later = START.plus(Duration::from_secs(10));
    assert_eq!(sent(&mut window, later), [id(0)]);
    end(&mut window, 0, answered(400, later), later);
    assert_eq!(window.dead(), 1);
    let put_back = Exception { attempts: 0, ..row(0, ExceptionState::Waiting, later) };
    // The row was read before the dead letter was written.
    window.take_exceptions([put_back.clone()], later);
    assert!(sent(&mut window, later).is_empty());
    let dead = window.write_now(later).unwrap().upserts;
    assert_eq!((dead.len(), dead[0].state), (1, ExceptionState::Dead));
    window.written(true);
    // Now somebody put it back, although no other event was delivered since.
    window.take_exceptions([put_back], later);
    assert_eq!((window.dead(), window.waiting()), (0, 1));
    let sends = window.sends(later);
    assert_eq!((sends[0].id, sends[0].attempt, sends[0].replay), (id(0), 1, false));
    end(&mut window, 0, answered(200, later), later);
    assert_eq!(window.write_now(later).unwrap().removals, [id(0)]);
}

#[test]
fn dead_letters_are_counted_as_the_store_has_them() {
    let mut window = window(Start { dead: 7, ..Start::at(5_000) });
    window.take_exceptions([row(1, ExceptionState::Waiting, START)], START);
    assert_eq!(sent(&mut window, START), [id(1)]);
    end(&mut window, 1, answered(400, START), START);
    assert_eq!(window.dead(), 8);
    window.count_dead(6);
    assert_eq!(window.dead(), 7, "one is not written yet");
}

#[test]
fn a_failing_replay_opens_no_breaker_and_costs_no_live_event() {
    let mut window = replays(100..120);
    feed(&mut window, 10_000..10_001);
    let mut now = START;
    let mut tries = 0;
    for step in 0..60 {
        let sends = window.sends(now);
        for send in sends {
            let number = usize::try_from(send.id.as_u128() - 1).unwrap();
            tries += usize::from(send.replay);
            let status = if send.replay { 503 } else { 200 };
            end(&mut window, number, answered(status, now), now);
        }
        assert_eq!(window.state().state, DestinationState::Running, "{step}");
        now = now.plus(Duration::from_secs(10));
    }
    // In ten minutes, of 20 events: the first ones at once, then one at a time after growing pauses.
    assert!((10..30).contains(&tries), "{tries}");
    assert!(window.is_idle() && !window.is_empty(), "the live event was delivered");
}

#[test]
fn a_replay_that_is_taken_closes_no_breaker() {
    let mut window = replays(100..102);
    feed(&mut window, 10_000..10_001);
    let sends = window.sends(START);
    assert_eq!(sends.len(), 3);
    end(&mut window, 10_000, answered(503, START), START);
    assert!(matches!(window.state().state, DestinationState::Failing(_)));
    end(&mut window, 100, answered(200, START), START);
    assert!(matches!(window.state().state, DestinationState::Failing(_)));
    // The probe is the live event.
    let later = START.plus(Duration::from_mins(2));
    assert_eq!(sent(&mut window, later), [id(10_000)]);
}

#[test]
fn the_answer_410_to_a_replay_pauses_the_destination() {
    let mut window = replays(100..101);
    assert_eq!(sent(&mut window, START), [id(100)]);
    end(&mut window, 100, answered(410, START), START);
    assert_eq!(window.state().state, DestinationState::Paused(PauseReason::Gone));
    window.resume(START);
    assert_eq!(sent(&mut window, START), [id(100)], "the probe, as nothing else is left");
    end(&mut window, 100, answered(200, START), START);
    assert_eq!(window.state().state, DestinationState::Running);
}

#[test]
fn a_replay_refused_by_itself_becomes_a_dead_letter() {
    let mut window = replays(100..101);
    let mut now = START;
    for status in [400, 400] {
        assert_eq!(sent(&mut window, now), [id(100)]);
        end(&mut window, 100, answered(status, now), now);
        now = now.plus(Duration::from_secs(10));
    }
    let write = window.write_now(now).unwrap();
    assert_eq!((write.upserts[0].state, write.upserts[0].attempts), (ExceptionState::Dead, 2));
    assert_eq!(window.state().state, DestinationState::Running);
}

#[test]
fn an_event_replayed_before_its_turn_is_sent_once_in_its_order() {
    let mut window = window(Start::at(0));
    feed(&mut window, 0..3);
    window.take_exceptions([replay(1)], START);
    for number in 0..3 {
        assert_eq!(sent(&mut window, START), [id(number)]);
        end(&mut window, number, answered(200, START), START);
    }
    let write = window.write_now(START).unwrap();
    assert_eq!(write.removals, [id(1)]);
    assert!(window.is_empty() && window.waiting() == 0);
}

#[test]
fn replays_have_half_of_the_rate_beside_live_events() {
    let slow = forward::window::Rules { rate_max: 10, in_flight_max: 64, ..rules() };
    let exceptions = (100..200).map(replay).collect();
    let start = Start { exceptions, ..Start::at(5_000) };
    let mut window = Window::new(slow, start, START);
    feed(&mut window, 10_000..10_400);
    let (mut live, mut again) = (0, 0);
    for step in 0..100_u64 {
        let now = START.plus(Duration::from_millis(step * 100));
        for send in window.sends(now) {
            if send.replay {
                again += 1;
            } else {
                live += 1;
            }
            let number = usize::try_from(send.id.as_u128() - 1).unwrap();
            end(&mut window, number, answered(200, now), now);
        }
    }
    assert!((95..=105).contains(&(live + again)), "{live} and {again} in 10 s");
    assert!((20..=55).contains(&again), "{live} and {again}: neither waits for the other");
}
