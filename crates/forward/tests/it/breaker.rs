//! The breaker by itself: table of its states, pauses, slow start, and any sequence of what may happen.

use std::time::Duration;

use forward::answer::DestinationMeaning;
use forward::breaker::{
    Allowance, Breaker, DestinationState, OpenReason, PROBE_PAUSE_MAX, PROBE_PAUSE_MIN,
    PauseReason, SUCCESSES_TO_DOUBLE,
};
use proptest::prelude::*;
use protocol::UnixMillis;
use uuid::Uuid;

const START: UnixMillis = UnixMillis(1_795_943_259_000);
const COUNTS: DestinationMeaning = DestinationMeaning::Counts { of_several: false };
const REJECTS: DestinationMeaning = DestinationMeaning::Counts { of_several: true };

/// A breaker with its time and randomness.
struct Bench {
    breaker: Breaker,
    now: UnixMillis,
    random: fastrand::Rng,
}

impl Bench {
    fn new() -> Self {
        let breaker = Breaker::new(8, START);
        Self { breaker, now: START, random: fastrand::Rng::with_seed(7) }
    }

    fn ended(&mut self, event: u128, meaning: DestinationMeaning) {
        self.breaker.ended(Uuid::from_u128(event), meaning, self.now, &mut self.random);
    }

    /// Waits for the next probe, which ends so; returns how long it waited.
    fn probe(&mut self, event: u128, meaning: DestinationMeaning) -> Duration {
        let probe_at = self.breaker.probe_at().unwrap();
        let waited = probe_at.since(self.now);
        if waited > Duration::ZERO {
            assert_eq!(self.breaker.allowance(0, self.now), Allowance::Nothing);
        }
        self.now = self.now.max(probe_at);
        assert_eq!(self.breaker.allowance(0, self.now), Allowance::Probe);
        self.breaker.probe_sent(Uuid::from_u128(event));
        assert_eq!(self.breaker.allowance(1, self.now), Allowance::Nothing, "one at a time");
        self.ended(event, meaning);
        waited
    }
}

#[test]
fn a_failed_probe_leaves_a_full_table_the_reason() {
    let mut bench = Bench::new();
    bench.breaker.overflow(bench.now, &mut bench.random);
    bench.probe(1, REJECTS);
    assert_eq!(bench.breaker.state(), DestinationState::Failing(OpenReason::TooManyWaiting));
    bench.probe(1, DestinationMeaning::Misconfigured);
    assert_eq!(bench.breaker.state(), DestinationState::Failing(OpenReason::Misconfigured));
    bench.probe(1, DestinationMeaning::Works);
    assert_eq!(bench.breaker.state(), DestinationState::Running);
}

#[test]
fn five_failures_in_a_row_open_it_and_rejections_need_two_events() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.ended(1, COUNTS);
    }
    bench.ended(2, DestinationMeaning::Works);
    for _ in 0..4 {
        bench.ended(1, COUNTS);
    }
    assert!(bench.breaker.is_closed());
    bench.ended(1, COUNTS);
    assert_eq!(bench.breaker.state(), DestinationState::Failing(OpenReason::Failing));
    bench.probe(1, COUNTS);
    assert!(!bench.breaker.several_failed(), "it may be the one event");
    bench.probe(2, COUNTS);
    assert!(bench.breaker.several_failed());
    let mut bench = Bench::new();
    for _ in 0..9 {
        bench.ended(1, REJECTS);
    }
    assert!(bench.breaker.is_closed());
    bench.ended(2, REJECTS);
    assert!(!bench.breaker.is_closed() && bench.breaker.several_failed());
    bench.probe(3, DestinationMeaning::Works);
    assert!(!bench.breaker.several_failed());
}

#[test]
fn not_now_opens_it_at_once_for_as_long_as_it_asks() {
    let mut bench = Bench::new();
    let wait = Duration::from_mins(10);
    bench.ended(1, DestinationMeaning::Fails(Some(wait)));
    assert_eq!(bench.breaker.probe_at(), Some(START.plus(wait)));
    assert_eq!(bench.breaker.failing_since(), Some(START));
    // One that was sent before.
    bench.ended(2, DestinationMeaning::Works);
    assert_eq!(bench.breaker.probe_at(), Some(START.plus(wait)));
    bench.ended(3, DestinationMeaning::Fails(Some(wait * 2)));
    assert_eq!(bench.breaker.probe_at(), Some(START.plus(wait * 2)));
    let waited = bench.probe(3, DestinationMeaning::Works);
    assert_eq!(waited, wait * 2);
    assert_eq!(bench.breaker.failing_since(), None);
}

#[test]
fn pauses_between_probes_grow_to_a_minute_and_are_random() {
    let longest = |probe: usize| {
        let waits = (0..200).map(|seed| {
            let mut bench = Bench::new();
            bench.random = fastrand::Rng::with_seed(seed);
            bench.ended(1, DestinationMeaning::Fails(None));
            for _ in 0..probe {
                bench.probe(1, COUNTS);
            }
            bench.breaker.probe_at().unwrap().since(bench.now)
        });
        let waits: Vec<Duration> = waits.collect();
        let shortest = waits.iter().min().unwrap();
        assert!(*shortest < Duration::from_secs(2) && *shortest >= PROBE_PAUSE_MIN);
        waits.into_iter().max().unwrap().as_secs_f64()
    };
    for (probe, most) in [(0, 1.0), (1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (20, 60.0)] {
        let longest = longest(probe);
        assert!(longest <= most && longest > 0.9 * most, "{probe}: {longest}");
    }
}

#[test]
fn after_an_outage_it_begins_with_one_and_doubles() {
    let mut bench = Bench::new();
    assert_eq!(bench.breaker.allowance(0, START), Allowance::Events(8));
    bench.ended(1, DestinationMeaning::Fails(None));
    bench.probe(1, DestinationMeaning::Works);
    for limit in [1, 2, 4, 8, 8] {
        for success in 0..SUCCESSES_TO_DOUBLE {
            let allowed = bench.breaker.allowance(0, bench.now);
            assert_eq!(allowed, Allowance::Events(limit), "after {success}");
            bench.ended(2, DestinationMeaning::Works);
        }
    }
    assert_eq!(bench.breaker.allowance(8, bench.now), Allowance::Nothing);
    assert_eq!(bench.breaker.allowance(usize::MAX, bench.now), Allowance::Nothing);
}

#[test]
fn failing_again_at_once_goes_on_with_longer_pauses() {
    let mut bench = Bench::new();
    let mut longest = Duration::ZERO;
    bench.ended(1, DestinationMeaning::Fails(None));
    for _ in 0..50 {
        longest = longest.max(bench.probe(1, DestinationMeaning::Works));
        bench.ended(2, DestinationMeaning::Fails(None));
    }
    assert!(longest > Duration::from_secs(30), "{longest:?}");
    bench.probe(1, DestinationMeaning::Works);
    bench.now = bench.now.plus(PROBE_PAUSE_MAX);
    bench.ended(2, DestinationMeaning::Fails(None));
    assert!(bench.probe(1, COUNTS) <= Duration::from_secs(1), "it had worked for a while");
}

#[test]
fn a_410_pauses_it_until_it_is_resumed() {
    let mut bench = Bench::new();
    bench.ended(1, DestinationMeaning::Gone);
    assert_eq!(bench.breaker.state(), DestinationState::Paused(PauseReason::Gone));
    for meaning in [DestinationMeaning::Works, COUNTS, DestinationMeaning::Misconfigured] {
        bench.ended(2, meaning);
    }
    bench.now = bench.now.plus(Duration::from_hours(1000));
    assert_eq!(bench.breaker.allowance(0, bench.now), Allowance::Nothing);
    assert_eq!(bench.breaker.probe_at(), None);
    bench.breaker.resume(bench.now);
    bench.probe(3, DestinationMeaning::Works);
    assert_eq!(bench.breaker.state(), DestinationState::Running);
    bench.breaker.resume(bench.now);
    assert!(bench.breaker.is_closed(), "resuming what runs changes nothing");
}

#[test]
fn a_misconfigured_destination_is_looked_at_once_a_minute() {
    let mut bench = Bench::new();
    bench.ended(1, DestinationMeaning::Misconfigured);
    let state = DestinationState::Failing(OpenReason::Misconfigured);
    assert_eq!(bench.breaker.state(), state);
    let mut waited = Duration::ZERO;
    for _ in 0..100 {
        waited += bench.probe(1, DestinationMeaning::Misconfigured);
    }
    assert!(waited > Duration::from_mins(40) && waited < Duration::from_hours(1));
    bench.probe(1, DestinationMeaning::Works);
    assert!(bench.breaker.is_closed());
}

#[test]
fn a_restored_breaker_begins_with_a_probe_where_it_was_failing() {
    for (state, allowed) in [
        (DestinationState::Running, Allowance::Events(8)),
        (DestinationState::Failing(OpenReason::TooManyWaiting), Allowance::Probe),
        (DestinationState::Paused(PauseReason::ByHand), Allowance::Nothing),
    ] {
        let breaker = Breaker::restored(8, state, None, START);
        assert_eq!((breaker.allowance(0, START), breaker.state()), (allowed, state));
    }
}

/// What may happen to a breaker.
#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Send,
    End(usize, DestinationMeaning),
    Overflow,
    Pause,
    Resume,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let meaning = prop_oneof![
        3 => Just(DestinationMeaning::Works),
        2 => any::<bool>().prop_map(|of_several| DestinationMeaning::Counts { of_several }),
        2 => prop::option::of(0..3600_u64)
            .prop_map(|wait| DestinationMeaning::Fails(wait.map(Duration::from_secs))),
        1 => Just(DestinationMeaning::Misconfigured),
        1 => Just(DestinationMeaning::Nothing),
        1 => Just(DestinationMeaning::Gone),
    ];
    let step = prop_oneof![
        3 => (0..100_000_u64).prop_map(Step::Wait),
        6 => Just(Step::Send),
        6 => (any::<usize>(), meaning).prop_map(|(which, meaning)| Step::End(which, meaning)),
        1 => Just(Step::Overflow),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn it_is_never_stuck_and_never_sends_two_probes(steps in steps(), seed in any::<u64>()) {
        let mut bench = Bench::new();
        bench.random = fastrand::Rng::with_seed(seed);
        let (mut flying, mut probe, mut sent) = (Vec::<Uuid>::new(), None, 0_u128);
        for step in steps {
            match step {
                Step::Wait(ms) => bench.now = bench.now.plus(Duration::from_millis(ms)),
                Step::Send => {
                    sent += 1;
                    let event = Uuid::from_u128(sent);
                    match bench.breaker.allowance(flying.len(), bench.now) {
                        Allowance::Nothing => {}
                        Allowance::Probe => {
                            prop_assert_eq!(probe, None);
                            bench.breaker.probe_sent(event);
                            probe = Some(event);
                            flying.push(event);
                        }
                        Allowance::Events(more) => {
                            prop_assert!(more as usize + flying.len() <= 8);
                            flying.push(event);
                        }
                    }
                }
                Step::End(which, meaning) => {
                    if !flying.is_empty() {
                        let event = flying.swap_remove(which % flying.len());
                        probe = probe.filter(|probe| *probe != event);
                        bench.breaker.ended(event, meaning, bench.now, &mut bench.random);
                    }
                }
                Step::Overflow => bench.breaker.overflow(bench.now, &mut bench.random),
                Step::Pause => bench.breaker.pause(PauseReason::ByHand, bench.now),
                Step::Resume => bench.breaker.resume(bench.now),
            }
            // Once all answers are here and nobody pauses it, it sends again within an hour.
            let mut later = bench.breaker.clone();
            let mut random = fastrand::Rng::with_seed(1);
            for event in &flying {
                later.ended(*event, DestinationMeaning::Nothing, bench.now, &mut random);
            }
            later.resume(bench.now);
            let allowed = later.allowance(0, bench.now.plus(Duration::from_hours(1)));
            prop_assert_ne!(allowed, Allowance::Nothing);
        }
    }
}
