//! How fast the error budget of an objective is used up by the canary.

use std::collections::VecDeque;

use crate::compare::Arm;
use crate::policy::BurnRate;
use crate::sample::Millis;

/// Windows as far back as the longest of the rule.
#[derive(Clone, Debug)]
pub(crate) struct Burn {
    rule: BurnRate,
    seen: VecDeque<(Millis, Millis, Arm)>,
    first: Option<Millis>,
    pub(crate) windows: u64,
    /// When it first burnt too fast.
    pub(crate) since: Option<Millis>,
    /// How fast it burns now, in the pair of windows where that is nearest to too fast, as a share of too fast.
    pub(crate) rate: f64,
}

impl Burn {
    pub(crate) fn new(rule: BurnRate) -> Self {
        Self { rule, seen: VecDeque::new(), first: None, windows: 0, since: None, rate: 0.0 }
    }

    pub(crate) fn feed(&mut self, from: Millis, to: Millis, arm: Arm) {
        self.windows += 1;
        self.first.get_or_insert(from);
        self.seen.push_back((from, to, arm));
        let longest = self.rule.windows().iter().map(|window| window.long).max().unwrap_or(0);
        while self.seen.front().is_some_and(|(from, _, _)| from.saturating_add(longest) < to) {
            self.seen.pop_front();
        }
        let over = |length: Millis| {
            let mut sum = Arm::default();
            self.seen
                .iter()
                .rev()
                .take_while(|(from, _, _)| from.saturating_add(length) >= to)
                .for_each(|(_, _, arm)| sum.add(*arm));
            sum.rate() / self.rule.budget().get()
        };
        let pairs = self.rule.windows().iter();
        self.rate = pairs.map(|pair| over(pair.long).min(over(pair.short)) / pair.factor.get()).fold(0.0, f64::max);
        // One bad minute at the beginning is all of a long window; it counts once the short one is full.
        let shortest = self.rule.windows().iter().map(|pair| pair.short).min().unwrap_or(0);
        if self.rate >= 1.0 && self.first.is_some_and(|first| first.saturating_add(shortest) <= to) {
            self.since.get_or_insert(to);
        }
    }

    /// Whether as much was seen as the shortest of the long windows asks for, and the budget does not burn.
    pub(crate) fn fine(&self) -> bool {
        let enough = self.rule.windows().iter().map(|pair| pair.long).min().unwrap_or(0);
        let seen =
            self.first.zip(self.seen.back()).is_some_and(|(first, (_, to, _))| first.saturating_add(enough) <= *to);
        let requests: f64 = self.seen.iter().map(|(_, _, arm)| arm.requests).sum();
        self.since.is_none() && seen && requests > 0.0 && self.rate < 1.0
    }
}
