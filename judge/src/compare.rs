//! Events (errors, slow requests) of two arms, block by block: is the one worse, is it not worse?
//!
//! *Of equal size* ([`Tests::swap`]): given a block's two pairs of numbers, which of them the canary has is a fair coin if
//! the arms behave alike. This holds whatever the errors of a block do: drift, clumps, swings of traffic. It rests on the
//! arms being exchangeable block by block given what was before; a burst that outlasts a block would break it, so the
//! block after one in which the arms differed strongly is not betted on. A canary that is better than that only loses.
//!
//! *Of other sizes* ([`Tests::share`]): the canary's part of a block's events is a number from 0 to 1 whose mean is its
//! part of the requests. This needs bursts to hit the arms in proportion to their traffic, but nothing about their size.
//!
//! *Not worse*: the same bet on the part of the events, against a canary with `ratio` times the reference's rate.

use libm::{log, sqrt, tanh};

use crate::wealth::Wealth;

/// What happened in a block: requests and events of both arms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Block {
    pub(crate) canary: Arm,
    pub(crate) other: Arm,
}

/// Requests and how many of them failed or were slow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Arm {
    pub(crate) requests: f64,
    pub(crate) events: f64,
}

impl Block {
    pub(crate) fn add(&mut self, more: Block) {
        self.canary.add(more.canary);
        self.other.add(more.other);
    }

    fn requests(self) -> f64 {
        self.canary.requests + self.other.requests
    }

    pub(crate) fn events(self) -> f64 {
        self.canary.events + self.other.events
    }
}

impl Arm {
    pub(crate) fn add(&mut self, more: Arm) {
        self.requests += more.requests;
        self.events += more.events;
    }

    pub(crate) fn rate(self) -> f64 {
        if self.requests > 0.0 { self.events / self.requests } else { 0.0 }
    }
}

/// Ratios, as logarithms, that bettors believe in; a small one is also what clumps of errors need.
const TILTS: [f64; 6] = [0.1, 0.2, 0.4, 0.8, 1.4, 2.2];
const TILT_SHARES: [f64; 6] = [0.02, 0.04, 0.08, 0.2, 0.52, 0.1];
const RATIOS: [f64; 4] = [2.0, 4.0, 10.0, 50.0];
const RATIO_SHARES: [f64; 4] = [0.18, 0.62, 0.12, 0.08];
/// What bettors against a worse canary believe of its ratio, as a power of the one that matters; and one with all in.
const POWERS: [f64; 5] = [0.5, 0.0, -1.0, -2.0, -8.0];
const POWER_SHARES: [f64; 5] = [0.15, 0.45, 0.2, 0.1, 0.05];
/// Pods differ a little for good, on faster and slower nodes; a canary that has so many times the events of the other arm
/// wins nothing on average yet. Of many metrics the largest such difference is larger: of twenty, the square of this.
const TOLERATED: f64 = 1.12;
/// So small a difference comes to nothing among so few events; the quick test tolerates it only by and by.
const EARLY: f64 = 70.0;
/// Differences of so many standard deviations may be one burst, which may not be over yet.
const STRONG: f64 = 1.8;
/// An event among fewer requests of an arm may have been the first of a burst that found no more of them.
const FEW: f64 = 5.0;
/// Fewer requests are put together with those of the next window: what is rare tells nothing sooner, and bursts stay whole.
const BLOCK: f64 = 16.0;

/// How arms are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// They are of equal size.
    Swap,
    /// They are of other sizes.
    Share,
    /// The same, but soon: beside another test that has no hurry.
    QuickShare,
}

/// The two questions about one metric.
#[derive(Clone, Debug)]
pub(crate) struct Tests {
    pub(crate) worse: Wealth,
    pub(crate) not_worse: Wealth,
    by: By,
    tolerated: f64,
    /// Those of all blocks that were betted on.
    events: f64,
    pending: Block,
    after_burst: bool,
    pub(crate) blocks: u64,
}

impl Tests {
    pub(crate) fn swap(cap: f64, cap_not_worse: f64, metrics: f64) -> Self {
        Self::new(By::Swap, Wealth::new(&TILT_SHARES, cap), cap_not_worse, metrics)
    }

    pub(crate) fn share(cap: f64, cap_not_worse: f64, metrics: f64) -> Self {
        Self::new(By::Share, Wealth::new(&RATIO_SHARES, cap), cap_not_worse, metrics)
    }

    pub(crate) fn quick(cap: f64, metrics: f64) -> Self {
        Self { by: By::QuickShare, ..Self::share(cap, 1.0, metrics) }
    }

    fn new(by: By, worse: Wealth, cap_not_worse: f64, metrics: f64) -> Self {
        let not_worse = Wealth::new(&POWER_SHARES, cap_not_worse);
        let tolerated = libm::pow(TOLERATED, 1.0 + log(metrics.max(1.0)) / log(20.0));
        let pending = Block::default();
        Self { worse, not_worse, by, tolerated, events: 0.0, pending, after_burst: false, blocks: 0 }
    }

    /// Takes a window in; `ratio` is the smallest that matters, above 1. The block that it completes.
    pub(crate) fn add(&mut self, window: Block, ratio: f64) -> Option<Block> {
        self.pending.add(window);
        if !self.enough(self.pending) {
            return None;
        }
        let block = std::mem::take(&mut self.pending);
        self.add_whole(block, ratio);
        Some(block)
    }

    /// Takes a window in that is not to be put together with others; one of few requests tells nothing.
    pub(crate) fn add_whole(&mut self, block: Block, ratio: f64) {
        if !self.enough(block) {
            return;
        }
        self.blocks += 1;
        let skip = self.after_burst;
        self.after_burst = !skip && strong(block);
        if !skip && block.canary.requests > 0.0 && block.other.requests > 0.0 && block.events() > 0.0 {
            self.bet(block, ratio);
        }
    }

    /// Beside a much larger arm, a burst of the canary's is whole only if the canary has requests enough itself.
    fn enough(&self, block: Block) -> bool {
        block.requests() >= BLOCK && (self.by != By::QuickShare || block.canary.requests >= FEW)
    }

    fn bet(&mut self, block: Block, ratio: f64) {
        let tolerated = self.tolerated;
        match self.by {
            By::Swap => self.worse.fair(|place| swap_gain(block, TILTS[place], tolerated)),
            By::Share => self.bet_on_share(block, tolerated),
            By::QuickShare => {
                self.bet_on_share(block, libm::pow(tolerated, (self.events / EARLY).min(1.0)));
                self.events += block.events();
            }
        }
        let (share, seen) = shares(block, ratio);
        self.not_worse.multiply(|place| 1.0 + not_worse_stake(block, ratio, place) * (share - seen));
    }

    fn bet_on_share(&mut self, block: Block, tolerated: f64) {
        let (share, seen) = shares(block, tolerated);
        let stake = |place: usize| (scaled(share, RATIOS[place]) - share) / (share * (1.0 - share));
        // A single event is the canary's or not; what it would win beyond the cap is not staked.
        let single = block.events() <= 1.0;
        let part = if single { self.worse.needed(|place| stake(place) * (1.0 - share)) } else { 1.0 };
        self.worse.multiply(|place| 1.0 + part * stake(place) * (seen - share));
    }

    /// How fast the evidence for not being worse grows with the canary's requests, if it is as good as the other arm and
    /// the two have these requests in a block, of which `rate` come to events.
    pub(crate) fn growth(canary: f64, other: f64, rate: f64, ratio: f64) -> f64 {
        let times = (BLOCK / (canary + other)).max(1.0);
        let (canary, other) = (canary * times, other * times);
        let block =
            Block { canary: Arm { requests: canary, events: 0.0 }, other: Arm { requests: other, events: 0.0 } };
        let (share, _) = shares(block, ratio);
        let fair = canary / (canary + other);
        let events = (canary + other) * rate;
        // The events of a block that has any, and its part of them: mean and standard deviation, by two points.
        let some = 1.0 - libm::exp(-events);
        let spread = sqrt(fair * (1.0 - fair) / (events / some).max(1.0));
        let tip = sqrt((1.0 - fair) / fair);
        let (high, low) = ((fair + spread * tip).min(1.0), (fair - spread / tip).max(0.0));
        let grows = |place| {
            let stake = not_worse_stake(block, ratio, place);
            let won = |seen: f64| log((1.0 + stake * (share - seen)).max(1e-9));
            fair * won(high) + (1.0 - fair) * won(low)
        };
        let best = (0..POWERS.len()).map(grows).fold(0.0, f64::max);
        if events > 0.0 { some * best / canary } else { 0.0 }
    }
}

/// The arms of a block are so far apart that it may be a burst. A single event among several requests is none.
fn strong(block: Block) -> bool {
    let (share, seen) = shares(block, 1.0);
    let Block { canary, other } = block;
    let most = if seen > share { canary } else { other };
    let several = most.events > 1.0 || most.events * FEW > most.requests;
    several && (seen - share).abs() * sqrt(block.events()) > STRONG * sqrt(share * (1.0 - share))
}

/// The canary's part of the events if its rate is `ratio` times the other's, and its real part.
fn shares(block: Block, ratio: f64) -> (f64, f64) {
    let share = scaled(block.canary.requests / block.requests(), ratio);
    let events = block.events();
    (share.clamp(1e-9, 1.0 - 1e-9), if events > 0.0 { block.canary.events / events } else { share })
}

fn scaled(share: f64, ratio: f64) -> f64 {
    ratio * share / (ratio * share + 1.0 - share)
}

fn not_worse_stake(block: Block, ratio: f64, place: usize) -> f64 {
    let (share, _) = shares(block, ratio);
    let (believed, _) = shares(block, libm::pow(ratio, POWERS[place]));
    (share - believed) / (share * (1.0 - share)) * 0.99
}

/// What somebody who believes in a ratio stakes on the arm with more events being the canary: the likelihood of that
/// against the opposite, given both arms' numbers of requests. It changes its sign when the arms are swapped.
fn swap_gain(block: Block, tilt: f64, tolerated: f64) -> f64 {
    let Block { canary, other } = block;
    let ratio = libm::exp(tilt);
    let tolerated = tolerated * canary.requests;
    let sizes = log((tolerated + ratio * other.requests) / (ratio * tolerated + other.requests));
    tanh((tilt * (canary.events - other.events) + (canary.events + other.events) * sizes) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arm() -> impl Strategy<Value = Arm> {
        (15_u32..1000, 0.0..1.0_f64).prop_map(|(requests, rate)| Arm {
            requests: requests.into(),
            events: (rate * f64::from(requests)).floor(),
        })
    }

    fn after(blocks: &[Block], cap: f64) -> Tests {
        let mut tests = Tests::swap(cap, 20.0, 1.0);
        for block in blocks {
            tests.add(*block, 2.0);
        }
        tests
    }

    proptest! {
        #[test]
        fn swapping_arms_wins_nothing_on_average(
            pairs in prop::collection::vec((arm(), arm()), 1..7),
            cap in prop::sample::select(vec![1.5, 20.0, 1e6]),
        ) {
            let ways = 1_u32 << pairs.len();
            let total: f64 = (0..ways).map(|way| {
                let blocks: Vec<_> = pairs.iter().enumerate().map(|(place, (one, two))| {
                    let (canary, other) = if way >> place & 1 == 0 { (*one, *two) } else { (*two, *one) };
                    Block { canary, other }
                }).collect();
                after(&blocks, cap).worse.total()
            }).sum();
            prop_assert!(total / f64::from(ways) < 1.0 + 1e-9, "{}", total / f64::from(ways));
        }

        #[test]
        fn more_errors_of_the_canary_are_never_better(block in (arm(), arm()), more in 1.0..20.0_f64) {
            let block = Block { canary: block.0, other: block.1 };
            let mut worse = block;
            worse.canary.events = (worse.canary.events + more).min(worse.canary.requests);
            prop_assert!(after(&[worse], 1e6).worse.total() >= after(&[block], 1e6).worse.total() - 1e-12);
            prop_assert!(after(&[worse], 1e6).not_worse.total() <= after(&[block], 1e6).not_worse.total() + 1e-12);
        }

        #[test]
        fn what_is_not_needed_is_not_staked(blocks in prop::collection::vec((15.0..500.0_f64, 15.0..5000.0_f64), 1..9), cap in 1.5..40.0_f64) {
            // Every sequence of outcomes with its chance: the capital is fair, and never more than the cap.
            let tolerated = |canary: f64, other: f64| scaled(canary / (canary + other), TOLERATED);
            let mean: f64 = (0..1_u32 << blocks.len()).map(|outcomes| {
                let mut tests = Tests::share(cap, 20.0, 1.0);
                let mut chance = 1.0;
                for (place, (canary, other)) in blocks.iter().enumerate() {
                    let of_canary = f64::from(outcomes >> place & 1);
                    let share = tolerated(*canary, *other);
                    chance *= if of_canary > 0.0 { share } else { 1.0 - share };
                    let canary = Arm { requests: *canary, events: of_canary };
                    tests.add(Block { canary, other: Arm { requests: *other, events: 1.0 - of_canary } }, 2.0);
                }
                chance * tests.worse.total()
            }).sum();
            prop_assert!((mean - 1.0).abs() < 1e-9, "{mean}");
        }

        #[test]
        fn single_events_by_share_win_nothing_on_average(canary in 15.0..500.0_f64, other in 15.0..5000.0_f64) {
            let share = canary / (canary + other);
            let outcome = |of_canary: f64| {
                let mut tests = Tests::share(1e6, 20.0, 1.0);
                let canary = Arm { requests: canary, events: of_canary };
                tests.add(Block { canary, other: Arm { requests: other, events: 1.0 - of_canary } }, 2.0);
                tests.worse.total()
            };
            let tolerated = scaled(share, TOLERATED);
            prop_assert!((tolerated * outcome(1.0) + (1.0 - tolerated) * outcome(0.0) - 1.0).abs() < 1e-9);
            prop_assert!(share * outcome(1.0) + (1.0 - share) * outcome(0.0) < 1.0);
        }
    }
}
