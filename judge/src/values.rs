//! One metric of values, window by window: its mean judged sequentially, or its ranks at once.

use crate::means::Signs;
use crate::policy::{Against, Direction, MannWhitney, Rate, Sequential};
use crate::ranks::{self, Alternative, Method};
use crate::verdict::Measured;

/// What has been gathered about a mean.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    rule: Sequential,
    pub(crate) worse: Signs,
    pub(crate) not_worse: Signs,
    canary: f64,
    other: f64,
    pub(crate) windows: u64,
}

impl Means {
    pub(crate) fn new(rule: Sequential, cap: f64, cap_not_worse: f64) -> Self {
        let (worse, not_worse) = (Signs::new(cap), Signs::new(cap_not_worse));
        Self { rule, worse, not_worse, canary: 0.0, other: 0.0, windows: 0 }
    }

    pub(crate) fn feed(&mut self, canary: f64, other: Option<f64>) {
        let other = match self.rule.against() {
            Against::Objective(value) => value,
            Against::Baseline | Against::Primary => match other {
                Some(other) => other,
                None => return,
            },
        };
        self.canary += canary;
        self.other += other;
        self.windows += 1;
        let worse_by = self.sign() * (canary - other);
        self.worse.add(worse_by);
        self.not_worse.add(self.margin() - worse_by);
    }

    fn sign(&self) -> f64 {
        match self.rule.worse() {
            Direction::Higher => 1.0,
            Direction::Lower => -1.0,
        }
    }

    fn margin(&self) -> f64 {
        self.rule.effect().beside(self.other / self.windows.max(1) as f64)
    }

    pub(crate) fn matters(&self) -> bool {
        self.sign() * (self.canary - self.other) >= self.margin() * self.windows as f64 / 2.0
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        (self.other != 0.0).then(|| self.canary / self.other)
    }

    pub(crate) fn measured(&self) -> (Option<Measured>, Option<Measured>) {
        let told = |sum: f64| (self.windows > 0).then(|| Measured::Value(sum / self.windows as f64));
        (told(self.canary), told(self.other))
    }
}

/// The points of both arms.
#[derive(Clone, Debug)]
pub(crate) struct Ranks {
    rule: MannWhitney,
    canary: Vec<f64>,
    other: Vec<f64>,
}

/// What ranks say.
pub(crate) struct Ranked {
    pub(crate) p: f64,
    pub(crate) worse: bool,
    pub(crate) not_worse: bool,
}

/// Points of each arm that are kept; older ones go.
const POINTS: usize = 5000;
/// The part of the false alarm rate for points that lie beyond all of the reference, which ranks alone hardly see.
const BEYOND: f64 = 0.2;

impl Ranks {
    pub(crate) fn new(rule: MannWhitney) -> Self {
        Self { rule, canary: Vec::new(), other: Vec::new() }
    }

    pub(crate) fn feed(&mut self, canary: f64, other: f64) {
        for (points, point) in [(&mut self.canary, canary), (&mut self.other, other)] {
            if points.len() == POINTS {
                points.drain(..POINTS / 5);
            }
            points.push(point);
        }
    }

    pub(crate) fn windows(&self) -> u64 {
        self.canary.len() as u64
    }

    pub(crate) fn quantile(&self) -> Option<Rate> {
        self.rule.quantile
    }

    /// Windows until there are points enough.
    pub(crate) fn lacks(&self) -> u64 {
        u64::from(self.rule.points.get()).saturating_sub(self.windows())
    }

    pub(crate) fn measured(&self) -> (Option<Measured>, Option<Measured>) {
        let mean = |points: &[f64]| points.iter().sum::<f64>() / points.len() as f64;
        let told = |points: &[f64]| (!points.is_empty()).then(|| Measured::Value(mean(points)));
        (told(&self.canary), told(&self.other))
    }

    /// Kayenta's test with what it lacks: the effect is measured against the reference instead of against itself, points
    /// beyond everything the reference had count, and passing takes an interval that excludes what matters.
    pub(crate) fn judge(&self, alpha: f64, beta: f64) -> Option<Ranked> {
        let needed = self.rule.points.get() as usize;
        if self.canary.len() < needed || self.other.len() < needed {
            return None;
        }
        let sign = match self.rule.worse {
            Direction::Higher => 1.0,
            Direction::Lower => -1.0,
        };
        let turned = |points: &[f64]| points.iter().map(|point| sign * point).collect::<Vec<_>>();
        let (canary, other) = (turned(&self.canary), turned(&self.other));
        let test = ranks::mann_whitney(&canary, &other, Alternative::Greater, Method::Auto)?;
        let (shift, _, high) = ranks::shift(&canary, &other, 1.0 - 2.0 * beta)?;
        let mut sorted = other.clone();
        sorted.sort_by(f64::total_cmp);
        let margin = self.rule.effect.beside(ranks::median(&sorted));
        let highest = sorted.last().copied()?;
        let beyond = canary.iter().filter(|point| **point > highest + margin / 2.0).count();
        let by_chance = beyond_by_chance(beyond, canary.len(), other.len());
        let shifted = test.p <= alpha * (1.0 - BEYOND) && shift >= margin / 2.0;
        let worse = shifted || by_chance <= alpha * BEYOND;
        let p = (test.p / (1.0 - BEYOND)).min(by_chance / BEYOND).min(1.0);
        // Nothing differs at all, or not by as much as matters and nothing sticks out.
        let alike = canary.iter().chain(&other).all(|point| *point == highest);
        let not_worse = !worse && (alike || (high < margin && test.p > alpha && by_chance > alpha));
        Some(Ranked { p, worse, not_worse })
    }
}

/// The chance that so many of the canary's points are all above the reference's highest one, if all orders are alike.
fn beyond_by_chance(beyond: usize, canary: usize, other: usize) -> f64 {
    (0..beyond).map(|place| (canary - place) as f64 / (canary + other - place) as f64).product()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::policy::{Effect, Other};

    fn judged(canary: &[f64], other: &[f64]) -> (bool, bool) {
        let effect = Effect::new(0.25, 0.0).unwrap();
        let points = NonZeroU32::MIN.saturating_add(4);
        let rule = MannWhitney { against: Other::Baseline, worse: Direction::Higher, effect, points, quantile: None };
        let mut ranks = Ranks::new(rule);
        canary.iter().zip(other).for_each(|(canary, other)| ranks.feed(*canary, *other));
        let ranked = ranks.judge(0.05, 0.05).unwrap();
        (ranked.worse, ranked.not_worse)
    }

    /// A baseline around 1 and a canary that has 100 times as much in some of its points.
    fn outliers(bad: usize) -> (bool, bool) {
        let other: Vec<f64> = (0..10).map(|n| 1.0 + f64::from(n) / 100.0).collect();
        let canary: Vec<f64> = (0..10).map(|n| if n < bad { 100.0 } else { other[n] - 0.005 }).collect();
        judged(&canary, &other)
    }

    #[test]
    fn most_points_hundredfold_are_worse() {
        for bad in 6..=10 {
            assert_eq!(outliers(bad), (true, false), "{bad} of 10");
        }
        assert_eq!(outliers(0), (false, true));
    }

    #[test]
    fn errors_beside_none_never_pass() {
        assert!(!judged(&[0.0, 1.0, 2.0, 1.0, 0.0, 0.0], &[0.0; 6]).1, "sparse errors");
        assert_eq!(judged(&[3.0, 1.0, 2.0, 1.0, 4.0, 2.0], &[0.0; 6]), (true, false), "errors throughout");
        assert_eq!(judged(&[0.0; 6], &[0.0; 6]), (false, true), "no errors at all");
        assert!(!judged(&[0.0; 6], &[3.0, 1.0, 2.0, 1.0, 4.0, 2.0]).0, "fewer errors");
    }

    #[test]
    fn another_spread_does_not_pass() {
        let other: Vec<f64> = (0..20).map(|n| 100.0 + f64::from(n % 5) - 2.0).collect();
        let canary: Vec<f64> = (0..20).map(|n| 100.0 + 20.0 * (f64::from(n % 5) - 2.0)).collect();
        assert_eq!(judged(&canary, &other), (true, false));
    }

    #[test]
    fn a_small_shift_passes_however_sure_it_is() {
        let other: Vec<f64> = (0..400).map(|n| 100.0 + f64::from(n % 9)).collect();
        let canary: Vec<f64> = other.iter().map(|value| value * 1.01 - 0.06 * (value - 100.0)).collect();
        assert!(!judged(&canary, &other).0);
    }
}
