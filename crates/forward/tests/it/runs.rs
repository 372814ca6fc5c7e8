//! Whole runs of a forwarder: receivers that fail in every way, crashes at any moment, poison.

use std::collections::HashSet;
use std::time::Duration;

use forward::answer::Failure;
use forward::destination::settings::OrderRule;
use forward::filter::{Filter, Words};
use forward::schedule::Schedule;
use forward::window::{Rules, WINDOW_BYTES_MAX};
use proptest::prelude::*;

use crate::world::{Answer, Event, Receiver, World, event};

const DAY: Duration = Duration::from_hours(24);

fn rules() -> Rules {
    Rules {
        filter: Filter::default(),
        in_flight_max: 8,
        rate_max: 0,
        order: OrderRule::Subject,
        order_wait: Duration::from_mins(1),
        schedule: Schedule::default(),
        window_bytes: WINDOW_BYTES_MAX,
    }
}

/// Events of a few calls and rooms, some of neither.
fn events(count: usize, random: &mut fastrand::Rng) -> Vec<Event> {
    let of = |number: usize, random: &mut fastrand::Rng| {
        let name = random.u32(0..6).to_string();
        match random.u32(0..5) {
            0 => event(number, None, None),
            1 | 2 => event(number, None, Some(&name)),
            _ => event(number, Some(&name), Some("a")),
        }
    };
    (0..count).map(|number| of(number, random)).collect()
}

fn times(unit: Duration, count: usize) -> Duration {
    unit * u32::try_from(count).unwrap()
}

/// A receiver that takes everything.
fn takes_all() -> Receiver {
    Box::new(|_, _, _| Answer::Status(204))
}

/// A receiver that fails while this holds.
fn fails_while(answer: Answer, while_: impl Fn(Duration) -> bool + 'static) -> Receiver {
    Box::new(move |_, after, _| if while_(after) { answer } else { Answer::Status(200) })
}

const WAYS: [Answer; 11] = [
    Answer::Status(500),
    Answer::Status(503),
    Answer::Status(502),
    Answer::Throttled("3"),
    Answer::Status(400),
    Answer::Status(404),
    Answer::Status(302),
    Answer::Failed(Failure::Timeout),
    Answer::Failed(Failure::Connect),
    Answer::Failed(Failure::Reset),
    Answer::Failed(Failure::BlockedAddress),
];

#[test]
fn a_receiver_that_works_gets_each_event_once_and_in_order() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut world = World::new(events(5_000, &mut random), rules(), takes_all(), 1);
    world.run(DAY);
    assert_eq!(world.undelivered(), [0_usize; 0]);
    assert!(world.seen.iter().all(|seen| seen.deliveries == 1));
    assert_eq!(world.tallies.delivered, 5_000);
    assert_eq!((world.in_flight_most, world.waiting_most), (8, 0));
}

#[test]
fn one_poison_event_among_10_000_is_dead_and_holds_nobody_up() {
    for way in [400, 500, 502, 503, 504, 429] {
        let mut random = fastrand::Rng::with_seed(2);
        let poison = 4_321;
        let receiver: Receiver =
            Box::new(move |number, _, _| Answer::Status(if number == poison { way } else { 200 }));
        // And some more on the days that follow: whether it is the event is only known where others go well.
        let mut world = World::new(events(10_200, &mut random), rules(), receiver, 2);
        world.latency_ms = 20;
        world.stored_after = Box::new(|number| {
            let later = times(Duration::from_mins(30), number.saturating_sub(10_000));
            Duration::from_millis(20 * number as u64) + later
        });
        world.run(30 * DAY);
        assert_eq!(world.undelivered(), [poison], "{way}");
        assert_eq!(world.dead(), HashSet::from([poison]), "{way}");
        assert_eq!((world.tallies.delivered, world.tallies.dead), (10_199, 1), "{way}");
        // Those of other subjects wait for next to nothing, those of its own for `order_wait`.
        let subject = world.events[poison].columns.subject();
        let mut slowest = [Duration::ZERO; 2];
        for (number, seen) in world.seen.iter().enumerate().filter(|(number, _)| *number != poison)
        {
            assert_eq!(seen.deliveries, 1, "{way}: {number}");
            let stored = crate::world::START.plus((world.stored_after)(number));
            let delay = seen.delivered_at.unwrap().since(stored);
            let is_own = subject.is_some() && world.events[number].columns.subject() == subject;
            let slowest = &mut slowest[usize::from(is_own)];
            *slowest = delay.max(*slowest);
        }
        let [others, own] = slowest;
        assert!(own < Duration::from_secs(75), "{way}: its own {own:?}");
        assert!(others < Duration::from_secs(25), "{way}: others {others:?}");
    }
}

#[test]
fn an_outage_uses_up_no_attempt_and_keeps_the_order() {
    let outage = |after: Duration| (10..3_610).contains(&after.as_secs());
    for way in WAYS {
        let mut random = fastrand::Rng::with_seed(3);
        let mut rules = rules();
        rules.order_wait = Duration::from_hours(1) + Duration::from_mins(5);
        let receiver = fails_while(way, outage);
        let mut world = World::new(events(6_000, &mut random), rules, receiver, 3);
        world.stored_after = Box::new(|number| Duration::from_millis(1_000 * number as u64));
        world.run_for(Duration::from_mins(62));
        let rows = world.waiting_most;
        world.run(DAY);
        assert_eq!(world.undelivered(), [0_usize; 0], "{way:?}");
        assert_eq!(world.tallies.dead, 0);
        assert!(world.seen.iter().all(|seen| seen.deliveries == 1), "{way:?}");
        let most = match way {
            // Until a probe shows that it is an outage, these count.
            Answer::Status(300..=499) => 5,
            _ => 0,
        };
        assert!(rows <= most, "{way:?}: {rows} rows");
        assert!(world.attempts_most <= u32::from(most > 0), "{way:?}");
        // Few tries: the probes and what began it.
        let failures: u32 = world.seen.iter().map(|seen| seen.failures).sum();
        assert!(failures < 250, "{way:?}: {failures} failures");
    }
}

#[test]
fn after_an_outage_it_begins_slowly_and_never_exceeds_its_rate() {
    let outage = |after: Duration| after.as_secs() < 600;
    let receiver = fails_while(Answer::Status(503), outage);
    let mut random = fastrand::Rng::with_seed(4);
    let mut rules = rules();
    (rules.rate_max, rules.in_flight_max) = (50, 64);
    let mut world = World::new(events(6_000, &mut random), rules, receiver, 4);
    world.latency_ms = 200;
    world.run(DAY);
    let sent: Vec<i64> = world.sent_at.iter().map(|at| at.0).collect();
    for (place, at) in sent.iter().enumerate() {
        let within = sent[place..].iter().take_while(|other| **other < at + 1_000).count();
        assert!(within <= 56, "{within} within one second");
    }
    let back = crate::world::START.0 + 600_000;
    let first = sent.iter().position(|at| *at >= back).unwrap();
    let second = sent[first..].iter().take_while(|at| **at < sent[first] + 2_000).count();
    assert!(second < 40, "{second} in the first two seconds");
}

#[test]
fn a_backlog_is_caught_up_at_the_rate_and_live_events_follow() {
    // An hour at 20/s, of which nothing gets through for half of it; then all goes on at 20/s while at most 60/s are sent.
    let (rate, count) = (20, 72_000);
    let outage = |after: Duration| (60..1_860).contains(&after.as_secs());
    let mut rules = rules();
    (rules.rate_max, rules.in_flight_max) = (60, 64);
    let mut random = fastrand::Rng::with_seed(10);
    let receiver = fails_while(Answer::Failed(Failure::Connect), outage);
    let mut world = World::new(events(count, &mut random), rules, receiver, 10);
    world.stored_after = Box::new(move |number| Duration::from_millis(number as u64 * 1000 / rate));
    world.run(DAY);
    assert_eq!(world.undelivered(), [0_usize; 0]);
    assert_eq!((world.attempts_most, world.waiting_most, world.tallies.dead), (0, 0, 0));
    assert!(world.seen.iter().all(|seen| seen.deliveries == 1));
    // A backlog of half an hour goes in a quarter of an hour at twice its rate beside the live ones: then they come at once.
    let delay = |number: usize| {
        let stored = crate::world::START.plus((world.stored_after)(number));
        world.seen[number].delivered_at.unwrap().since(stored)
    };
    let caught_up = (0..count).rposition(|number| delay(number) > Duration::from_secs(2)).unwrap();
    let after = (world.stored_after)(caught_up);
    assert!(after < Duration::from_secs(1_860 + 1_000), "caught up after {after:?}");
    // Meanwhile each waits less than the one before it: nobody is starved.
    let waits: Vec<_> = (38_000..caught_up).step_by(1_200).map(delay).collect();
    assert!(waits.is_sorted_by(|one, next| one >= next), "{waits:?}");
}

#[test]
fn a_410_pauses_and_loses_nothing() {
    let receiver = fails_while(Answer::Status(410), |after| after.as_secs() < 100);
    let mut random = fastrand::Rng::with_seed(5);
    let mut world = World::new(events(500, &mut random), rules(), receiver, 5);
    world.run_for(Duration::from_hours(2));
    let sent = world.sent_at.len();
    assert!((1..=8).contains(&sent), "only what was under way: {sent}");
    world.now = world.now.plus(Duration::from_hours(1));
    world.window.resume(world.now);
    world.run(DAY);
    assert_eq!(world.undelivered(), [0_usize; 0]);
    assert_eq!(world.attempts_most, 0);
}

#[test]
fn a_kill_costs_at_most_500_deliveries_twice() {
    let mut random = fastrand::Rng::with_seed(6);
    let mut world = World::new(events(20_000, &mut random), rules(), takes_all(), 6);
    world.latency_ms = 2;
    world.crash = 0.002;
    world.run(DAY);
    let twice: u32 = world.seen.iter().map(|seen| seen.deliveries - 1).sum();
    let most = 510 * u32::try_from(world.crashes).unwrap();
    assert!(world.crashes > 5 && twice <= most, "{} crashes, {twice} twice", world.crashes);
}

#[test]
fn a_slow_front_does_not_hold_the_cursor_back() {
    let receiver: Receiver = Box::new(|number, after, _| {
        let is_poison = number == 0 && after < Duration::from_mins(50);
        Answer::Status(if is_poison { 500 } else { 200 })
    });
    let mut rules = rules();
    rules.order_wait = Duration::from_hours(1);
    let mut random = fastrand::Rng::with_seed(7);
    let mut events = events(20_000, &mut random);
    events[0] = event(0, Some("alone"), None);
    let mut world = World::new(events, rules, receiver, 7);
    world.run_for(Duration::from_mins(20));
    assert!(world.tallies.delivered > 19_000, "{:?}", world.tallies);
    world.crash();
    world.run(DAY);
    let twice: u32 = world.seen.iter().map(|seen| seen.deliveries - 1).sum();
    assert!(twice <= 510, "{twice}");
    assert_eq!(world.attempts_most, 0, "it was tried again within `order_wait`");
}

#[test]
fn poison_of_one_kind_in_the_only_room_never_stops_the_others() {
    // A receiver that cannot take one kind of event, and no other room that would show that it works.
    for (way, run) in [(500, 2), (500, 7), (400, 7), (503, 1), (502, 7)] {
        let is_poison =
            move |number: usize| number < 120 && number % 40 >= 5 && number % 40 < 5 + run;
        let receiver: Receiver =
            Box::new(move |number, _, _| Answer::Status(if is_poison(number) { way } else { 200 }));
        let events: Vec<Event> = (0..400).map(|number| event(number, None, Some("a"))).collect();
        let mut world = World::new(events, rules(), receiver, 8);
        world.stored_after = Box::new(|number| {
            Duration::from_secs(number.min(120) as u64 * 10)
                + times(Duration::from_hours(1), number.saturating_sub(120))
        });
        world.run(60 * DAY);
        let all: HashSet<usize> = (0..120).filter(|number| is_poison(*number)).collect();
        assert_eq!(world.dead(), all, "{way}, {run}");
        assert_eq!(world.undelivered().len(), all.len(), "{way}, {run}");
    }
}

#[test]
fn without_order_nobody_waits_for_a_failing_event() {
    let receiver: Receiver =
        Box::new(|number, _, _| Answer::Status(if number == 0 { 500 } else { 200 }));
    let events: Vec<Event> = (0..500).map(|number| event(number, None, Some("a"))).collect();
    let mut rules = rules();
    rules.order = OrderRule::None;
    let mut world = World::new(events, rules, receiver, 9);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.undelivered(), [0]);
}

/// How a receiver behaves in a random run.
#[derive(Debug, Clone)]
struct Behaviour {
    /// How often a try fails, by itself.
    noise: f64,
    /// The ways in which it does.
    ways: Vec<usize>,
    /// The way in which events of poison do: one in which an event may be at fault.
    poison: usize,
    /// Every so many events is poison for it.
    poison_every: Option<usize>,
    /// Seconds of outages.
    outages: Vec<(u64, u64)>,
}

fn behaviours() -> impl Strategy<Value = Behaviour> {
    let ways = prop::collection::vec(0..WAYS.len(), 1..4);
    let outages = prop::collection::vec((0..3_000_u64, 1..1_000_u64), 0..4);
    let noise = prop_oneof![Just(0.0), 0.0..0.5_f64];
    let poison = prop::sample::select(vec![0_usize, 1, 2, 4, 5, 6, 7, 9]);
    (noise, ways, poison, prop::option::of(10..80_usize), outages).prop_map(
        |(noise, ways, poison, poison_every, outages)| Behaviour {
            noise,
            ways,
            poison,
            poison_every,
            outages,
        },
    )
}

fn behaving(behaviour: Behaviour, count: usize) -> Receiver {
    Box::new(move |number, after, random| {
        let way = WAYS[behaviour.ways[number % behaviour.ways.len()]];
        let outage = |(from, long): &(u64, u64)| (*from..from + long).contains(&after.as_secs());
        let is_poison =
            number < count && behaviour.poison_every.is_some_and(|every| number % every == 1);
        if let Some(place) = behaviour.outages.iter().position(outage) {
            return WAYS[behaviour.ways[place % behaviour.ways.len()]];
        }
        // Noise ends one day, as everything does: else luck alone would make dead letters.
        let is_noise = after < Duration::from_hours(1) && random.f64() < behaviour.noise;
        match (is_poison, is_noise) {
            (true, _) => WAYS[behaviour.poison],
            (false, true) => way,
            (false, false) => Answer::Status(200),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_delivered_or_dead_whatever_fails(
        seed in any::<u64>(),
        behaviour in behaviours(),
        count in 1..400_usize,
        gone in prop::option::of(2..9_usize),
        is_filtered in any::<bool>(),
        in_flight_max in 1..12_u32,
        order_wait in prop_oneof![Just(0), Just(60), 1..600_u64],
        crash in prop_oneof![Just(0.0), 0.0..0.02_f64],
        write_failure in prop_oneof![Just(0.0), 0.0..0.3_f64],
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut events = events(count, &mut random);
        // Some of other calls on the days that follow, which are never poison.
        let later = |number: usize| event(number, Some(&format!("3-{number}")), None);
        events.extend((count..count + 150).map(later));
        for (number, event) in events.iter_mut().enumerate() {
            event.gone = gone.is_some_and(|every| number % every == 0);
        }
        let mut rules = rules();
        (rules.in_flight_max, rules.order_wait) = (in_flight_max, Duration::from_secs(order_wait));
        rules.schedule = Schedule::of_seconds(&[5, 60, 600, 3_600, 7_200]).unwrap();
        if is_filtered {
            rules.filter.calls = Words::compile(&["1", "2", "3*"]).unwrap();
        }
        let mut world = World::new(events, rules.clone(), behaving(behaviour, count), seed);
        world.stored_after =
            Box::new(move |number| times(Duration::from_hours(1), number.saturating_sub(count)));
        (world.crash, world.write_failure) = (crash, write_failure);
        world.run_for(Duration::from_hours(3));
        // In the end all is well but poison.
        world.crash = 0.0;
        world.write_failure = 0.0;
        world.run(60 * DAY);
        let dead = world.dead();
        for (number, event) in world.events.iter().enumerate() {
            let seen = world.seen[number];
            if event.gone || !rules.filter.fits(&event.columns) {
                prop_assert_eq!(seen.deliveries + seen.failures, 0);
            } else {
                prop_assert!(seen.delivered_at.is_some() || dead.contains(&number), "{}", number);
            }
        }
    }
}
