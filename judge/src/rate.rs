//! Events of the canary alone against a rate that is given.
//!
//! *Worse*: bets that lose at most all when nothing fails, and pay in proportion to what does. Valid whenever the mean rate
//! is at most the objective, however errors clump. *Not worse*: a binomial likelihood ratio against the rate that would
//! matter, weakened by how much errors were seen to clump; valid for independent errors, and as far as that guard goes.

use libm::{exp, log};

use crate::compare::Arm;
use crate::wealth::Wealth;

const RATIOS: [f64; 5] = [1.3, 2.0, 4.0, 10.0, 50.0];
const RATIO_SHARES: [f64; 5] = [0.1, 0.2, 0.38, 0.2, 0.07];
const PARTS: [f64; 5] = [0.7, 0.5, 0.3, 0.1, 0.02];
const PART_SHARES: [f64; 5] = [0.15, 0.25, 0.25, 0.2, 0.1];

/// Whether a rate is above what it should be.
pub(crate) fn worse(cap: f64) -> Wealth {
    Wealth::new(&RATIO_SHARES, cap)
}

/// Whether a rate is below what would matter.
pub(crate) fn not_worse(cap: f64) -> Wealth {
    Wealth::new(&PART_SHARES, cap)
}

/// Bets on more than `objective`.
pub(crate) fn bet_worse(wealth: &mut Wealth, seen: Arm, objective: f64) {
    let expected = seen.requests * objective;
    if expected > 0.0 {
        wealth.multiply(|place| {
            let more = RATIOS[place] - 1.0;
            1.0 + more / (1.0 + more * expected) * (seen.events - expected)
        });
    }
}

/// Bets on less than `limit`; `clump` is how many errors come at once.
pub(crate) fn bet_not_worse(wealth: &mut Wealth, seen: Arm, limit: f64, clump: f64) {
    if seen.requests > 0.0 && limit < 1.0 {
        wealth.multiply(|place| {
            let believed = PARTS[place] * limit;
            let failed = seen.events * log(PARTS[place]);
            let fine = (seen.requests - seen.events) * log((1.0 - believed) / (1.0 - limit));
            exp(((failed + fine) / clump).min(50.0))
        });
    }
}

/// How fast that evidence grows with requests at a rate.
pub(crate) fn growth(rate: f64, limit: f64, clump: f64) -> f64 {
    let grows = |part: f64| (rate * log(part) + (1.0 - rate) * log((1.0 - part * limit) / (1.0 - limit))) / clump;
    if limit < 1.0 { PARTS.into_iter().map(grows).fold(0.0, f64::max) } else { 0.0 }
}

/// How many events come at once, from what blocks had.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clumps {
    events: f64,
    surplus: f64,
}

impl Clumps {
    /// Takes a block in whose `expected` number of events was known beforehand.
    pub(crate) fn add(&mut self, events: f64, expected: f64) {
        self.events += events;
        self.surplus += (events * (events - 1.0 - expected)).max(0.0);
    }

    /// At least 1; a little more while little was seen.
    pub(crate) fn size(self) -> f64 {
        1.0 + (1.0 + self.surplus) / (4.0 + self.events)
    }
}
