//! What a network does to deliveries: late, twice, never.

use std::time::Duration;

use crate::simulate::dice::Dice;
use crate::simulate::timed_delivery::TimedDelivery;

/// How many of the deliveries suffer, each a share from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Disturbance {
    /// Which share comes behind some of those that happened later.
    pub disorder: f64,
    /// Which share comes twice. The vendor repeats no "before" command, so none is repeated here.
    pub duplicates: f64,
    /// Which share never comes.
    pub losses: f64,
}

/// How many deliveries a late one lets pass at most.
const PASSED_MAX: u64 = 8;

/// What comes of `deliveries`, which are in order: their times of posting changed, their bodies never, but that a second try of the
/// RTC Engine tells its own time. In the order of the new times; the same seed does the same.
#[must_use]
pub fn disturbed(
    deliveries: Vec<TimedDelivery>,
    disturbance: Disturbance,
    seed: u64,
) -> Vec<TimedDelivery> {
    let mut dice = Dice::new(seed);
    let times: Vec<_> = deliveries.iter().map(|delivery| delivery.at).collect();
    let mut out = Vec::with_capacity(deliveries.len());
    for (place, mut delivery) in deliveries.into_iter().enumerate() {
        if dice.chance(disturbance.losses) {
            continue;
        }
        // Behind one of the next; behind the last one a little.
        let later = |dice: &mut Dice| {
            let passed = usize::try_from(dice.number(1, PASSED_MAX)).unwrap_or(1);
            let behind = times.get(place + passed).or(times.last()).copied();
            behind.unwrap_or_default().plus(Duration::from_millis(1))
        };
        let asked = delivery.command.contains("Before");
        if dice.chance(disturbance.duplicates) && !asked {
            let at = later(&mut dice);
            out.push(delivery.tried_again(at));
        }
        if dice.chance(disturbance.disorder) {
            delivery.at = later(&mut dice);
        }
        out.push(delivery);
    }
    out.sort_by_key(|delivery| delivery.at);
    out
}
