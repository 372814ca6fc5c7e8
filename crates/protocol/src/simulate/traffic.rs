//! Many scenarios at once, as one stream.

use std::collections::BTreeMap;
use std::vec;

use crate::simulate::disturbance::{Disturbance, disturbed};
use crate::simulate::generator::Generator;
use crate::simulate::scenario::Kind;
use crate::simulate::timed_delivery::TimedDelivery;
use crate::time::UnixMillis;

/// One delivery of the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What its scenario plays.
    pub kind: Kind,
    /// Whether it is the last of its scenario.
    pub is_last: bool,
    /// What is to be posted, and when.
    pub delivery: TimedDelivery,
}

/// The deliveries of a generator's scenarios, in the order of their times of posting.
///
/// It holds what the scenarios under way have still to say, and no more.
#[derive(Debug)]
pub struct Traffic {
    generator: Generator,
    disturbance: Disturbance,
    seed: u64,
    end: UnixMillis,
    /// The rest of each scenario, by the time of its next delivery and its own number.
    under_way: BTreeMap<(UnixMillis, u64), (Kind, vec::IntoIter<TimedDelivery>)>,
    begun: u64,
    over: bool,
}

impl Traffic {
    /// The traffic of `generator` until `end`: scenarios that would last longer are not begun. Each is disturbed by
    /// itself, by this seed.
    #[must_use]
    pub fn new(generator: Generator, end: UnixMillis, disturbance: Disturbance, seed: u64) -> Self {
        let under_way = BTreeMap::new();
        Self { generator, disturbance, seed, end, under_way, begun: 0, over: false }
    }

    /// Begins what begins before anything else happens.
    fn begin(&mut self) {
        while !self.over {
            let first = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let due = self.generator.next_start();
            if first.is_some_and(|first| first < due) {
                return;
            }
            match self.generator.next_until(self.end) {
                Some(scenario) => {
                    let seed = self.seed.wrapping_add(self.begun);
                    let deliveries = disturbed(scenario.deliveries, self.disturbance, seed);
                    self.insert(self.begun, scenario.kind, deliveries.into_iter());
                    self.begun += 1;
                }
                None => self.over = true,
            }
        }
    }

    fn insert(&mut self, number: u64, kind: Kind, rest: vec::IntoIter<TimedDelivery>) {
        if let Some(next) = rest.as_slice().first() {
            self.under_way.insert((next.at, number), (kind, rest));
        }
    }
}

impl Iterator for Traffic {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        self.begin();
        let ((_, number), (kind, mut rest)) = self.under_way.pop_first()?;
        let delivery = rest.next()?;
        let is_last = rest.as_slice().is_empty();
        self.insert(number, kind, rest);
        Some(Due { kind, is_last, delivery })
    }
}
