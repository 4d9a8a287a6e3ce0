//! One metric of events – errors, or requests slower than the reference's quantile – judged sequentially.

use libm::{log, sqrt};

use crate::answer::Answer;
use crate::compare::{Arm, Block, Tests};
use crate::latency::{Calm, slower};
use crate::policy::{Against, Measure, Sequential};
use crate::rate::{self, Clumps};
use crate::verdict::Measured;
use crate::wealth::Wealth;

/// What has been gathered about a metric.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    rule: Sequential,
    tests: Tests,
    /// Beside all that is not the canary, where there is a baseline and a primary.
    quick: Tests,
    /// Against a rate instead of an arm: the objective, or the absolute effect.
    worse_than_rate: Wealth,
    below_rate: Wealth,
    clumps: Clumps,
    calm: Calm,
    /// How the reference usually is, from before the analysis on.
    usual: Arm,
    /// What was compared; halved now and then, so that what is late counts.
    recent: Block,
    /// The same beside all that is not the canary.
    recent_quick: Block,
    all: Block,
    /// The smallest ratio that matters, at the last window.
    ratio: f64,
    pub(crate) windows: u64,
}

/// The part of the false alarm rate that is betted on the quick test. It needs half the failed requests, and may be wrong
/// where bursts do not hit arms in proportion to their traffic; the rest is safe from that.
const QUICK: f64 = 0.75;
/// Both arms together; beyond that, old events count half.
const LONG_AGO: f64 = 4000.0;

impl Events {
    /// As one of so many `metrics` of equal weight.
    pub(crate) fn new(rule: Sequential, quantile: f64, cap: f64, cap_not_worse: f64, metrics: f64) -> Self {
        // Where not being worse is shown in two ways, the mean of both has to be enough.
        let ways = if rule.measure() == Measure::Errors && rule.effect().absolute() > 0.0 { 2.0 } else { 1.0 };
        let cap_not_worse = match rule.against() {
            Against::Objective(_) => cap_not_worse,
            Against::Baseline | Against::Primary => ways * cap_not_worse,
        };
        let tests = match rule.against() {
            Against::Baseline => Tests::swap(cap / (1.0 - QUICK), cap_not_worse, metrics),
            Against::Primary | Against::Objective(_) => Tests::share(cap, cap_not_worse, metrics),
        };
        let quick = Tests::quick(cap / QUICK, metrics);
        Self {
            rule,
            tests,
            quick,
            worse_than_rate: rate::worse(cap),
            below_rate: rate::not_worse(cap_not_worse),
            clumps: Clumps::default(),
            calm: Calm::new(quantile),
            usual: Arm::default(),
            recent: Block::default(),
            recent_quick: Block::default(),
            all: Block::default(),
            ratio: 1.0 + rule.effect().relative().max(0.01),
            windows: 0,
        }
    }

    /// Learns from a window of the time before the analysis.
    pub(crate) fn remember(&mut self, before: &Answer) {
        match before {
            Answer::Counts(arm) => self.usual.add(*arm),
            Answer::Histogram { counts, .. } => self.calm.learn(counts),
            Answer::Value(_) => {}
        }
    }

    /// Takes a window in. `other` is the arm it is compared with, `beside` one that tells how things usually are; beside that,
    /// a `young` canary is not compared.
    pub(crate) fn feed(
        &mut self,
        canary: &Answer,
        other: Option<&Answer>,
        beside: Option<&Answer>,
        edges: &[f64],
        young: bool,
    ) {
        let effect = self.rule.effect();
        match (self.rule.measure(), canary) {
            (Measure::Errors, Answer::Counts(seen)) => {
                let counts = |answer: Option<&Answer>| match answer {
                    Some(Answer::Counts(arm)) => *arm,
                    Some(Answer::Histogram { .. } | Answer::Value(_)) | None => Arm::default(),
                };
                let block = Block { canary: *seen, other: counts(other) };
                // Never more than the real effect in units of the usual rate, so a little more than what was seen of it.
                let usual = (self.usual.events + 3.0) / (self.usual.requests + 1.0);
                self.ratio = 1.0 + effect.relative().max(effect.absolute() / usual).max(0.01);
                self.take(block);
                self.take_quick(block, counts(beside), young);
                self.usual.add(block.other);
                self.usual.add(counts(beside));
            }
            (Measure::Quantile(quantile), Answer::Histogram { counts, .. }) => {
                let found = match self.rule.against() {
                    Against::Objective(limit) => {
                        let place = edges.iter().position(|edge| *edge >= limit);
                        place.map(|place| (place, 1.0 + effect.beside(1.0 - quantile.get()) / (1.0 - quantile.get())))
                    }
                    Against::Baseline | Against::Primary => self.calm.edge(edges, |edge| effect.beside(edge)),
                };
                let arm = |counts: &[f64], place| Arm { requests: counts.iter().sum(), events: slower(counts, place) };
                let histogram = |answer: Option<&Answer>| match answer {
                    Some(Answer::Histogram { counts, .. }) => Some(counts.clone()),
                    Some(Answer::Counts(_) | Answer::Value(_)) | None => None,
                };
                let (other, beside) = (histogram(other), histogram(beside));
                if let Some((place, ratio)) = found {
                    self.ratio = ratio;
                    let other = other.as_deref().map_or_else(Arm::default, |counts| arm(counts, place));
                    let block = Block { canary: arm(counts, place), other };
                    self.take(block);
                    let beside = beside.as_deref().map_or_else(Arm::default, |counts| arm(counts, place));
                    self.take_quick(block, beside, young);
                    self.usual.add(other);
                }
                other.iter().chain(&beside).for_each(|counts| self.calm.learn(counts));
            }
            (Measure::Errors | Measure::Quantile(_) | Measure::Mean, _) => {}
        }
    }

    fn take(&mut self, block: Block) {
        self.windows += 1;
        self.all.add(block);
        add_fading(&mut self.recent, block);
        let expected = block.canary.requests * self.usual_rate();
        self.clumps.add(block.canary.events, expected);
        if let Some(objective) = self.objective() {
            rate::bet_worse(&mut self.worse_than_rate, block.canary, objective);
            let limit = objective + self.margin(objective);
            rate::bet_not_worse(&mut self.below_rate, block.canary, limit, self.clumps.size());
            return;
        }
        self.clumps.add(block.other.events, block.other.requests * self.usual_rate());
        let absolute = self.absolute();
        if absolute > 0.0 {
            rate::bet_not_worse(&mut self.below_rate, block.canary, absolute, self.clumps.size());
        }
        self.tests.add(block, self.ratio);
    }

    /// Young pods are compared with those of their age alone, and never in one block with older ones.
    fn take_quick(&mut self, mut block: Block, beside: Arm, young: bool) {
        if self.rule.against() != Against::Baseline {
            return;
        }
        if young || beside.requests == 0.0 {
            self.quick.add_whole(block, self.ratio);
        } else {
            block.other.add(beside);
            self.quick.add(block, self.ratio);
        }
        add_fading(&mut self.recent_quick, block);
    }

    /// The rate that events may have, if that is what the canary is compared with.
    fn objective(&self) -> Option<f64> {
        match (self.rule.against(), self.rule.measure()) {
            (Against::Objective(_), Measure::Quantile(quantile)) => Some(1.0 - quantile.get()),
            (Against::Objective(value), Measure::Errors | Measure::Mean) => Some(value),
            (Against::Baseline | Against::Primary, _) => None,
        }
    }

    fn margin(&self, objective: f64) -> f64 {
        match self.rule.measure() {
            Measure::Quantile(_) => self.rule.effect().relative() * objective,
            Measure::Errors | Measure::Mean => self.rule.effect().beside(objective),
        }
    }

    fn absolute(&self) -> f64 {
        match self.rule.measure() {
            Measure::Errors => self.rule.effect().absolute(),
            Measure::Quantile(_) | Measure::Mean => 0.0,
        }
    }

    fn usual_rate(&self) -> f64 {
        if self.usual.requests > 0.0 { self.usual.rate() } else { self.all.canary.rate() }
    }

    pub(crate) fn worse(&self) -> f64 {
        match self.rule.against() {
            Against::Objective(_) => self.worse_than_rate.total(),
            Against::Primary => self.tests.worse.total(),
            Against::Baseline => (1.0 - QUICK) * self.tests.worse.total() + QUICK * self.quick.worse.total(),
        }
    }

    pub(crate) fn not_worse(&self) -> f64 {
        match self.objective() {
            Some(_) => self.below_rate.total(),
            // Both disprove the same, so their mean does.
            None if self.absolute() > 0.0 => (self.tests.not_worse.total() + self.below_rate.total()) / 2.0,
            None => self.tests.not_worse.total(),
        }
    }

    /// Whether the difference looks at least half as large as what matters. What is proven may still be small.
    pub(crate) fn matters(&self) -> bool {
        match self.objective() {
            Some(objective) => self.recent.canary.rate() >= objective + self.margin(objective) / 2.0,
            None => {
                let large = |block: Block| {
                    let error = sqrt(1.0 / (block.canary.events + 0.5) + 1.0 / (block.other.events + 0.5));
                    log(ratio_of(block)) >= log(self.ratio) / 2.0 + error
                };
                large(self.recent) || large(self.recent_quick)
            }
        }
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        if self.windows == 0 {
            return None;
        }
        Some(match self.objective() {
            Some(objective) => self.all.canary.rate() / objective,
            None => ratio_of(self.all),
        })
    }

    pub(crate) fn measured(&self) -> (Option<Measured>, Option<Measured>) {
        if self.windows == 0 {
            return (None, None);
        }
        let told = |arm: Arm| Measured::Counts { requests: arm.requests, events: arm.events };
        let reference = self.objective().map_or_else(|| told(self.all.other), Measured::Value);
        (Some(told(self.all.canary)), Some(reference))
    }

    /// Requests of the canary until it is shown not to be worse, if it is as good as the reference, has `canary` of them in
    /// a window and the reference `other`.
    pub(crate) fn needs(&self, canary: f64, other: f64, enough: f64) -> Option<f64> {
        let usual = self.usual_rate();
        let growth = match self.objective() {
            Some(objective) => {
                let rate = if self.usual.requests > 0.0 { usual } else { self.all.canary.rate() };
                rate::growth(rate, objective + self.margin(objective), self.clumps.size())
            }
            None => {
                let limit = self.absolute();
                let alone = if limit > 0.0 { rate::growth(usual, limit, self.clumps.size()) } else { 0.0 };
                let beside =
                    if canary > 0.0 && other > 0.0 { Tests::growth(canary, other, usual, self.ratio) } else { 0.0 };
                alone.max(beside)
            }
        };
        if growth <= 0.0 {
            return None;
        }
        // What the traffic so far was worth on average, and what it came to: luck is believed the more, the later it is. What
        // bettors lose who believe in something else is about what half of all rollouts are luckier by than the mean.
        let total = log(enough) / growth;
        let late = (self.all.canary.requests / total).min(1.0);
        let (by_plan, by_luck) = (total * (1.0 - late), log(enough / self.not_worse().max(1e-9)).max(0.0) / growth);
        Some(by_plan * (1.0 - late * late) + by_luck * late * late)
    }
}

fn add_fading(sum: &mut Block, block: Block) {
    sum.add(block);
    if sum.events() > LONG_AGO {
        for arm in [&mut sum.canary, &mut sum.other] {
            *arm = Arm { requests: arm.requests / 2.0, events: arm.events / 2.0 };
        }
    }
}

/// How many times as often the canary has events, drawn a little to 1 by half an event each.
fn ratio_of(block: Block) -> f64 {
    let rate = |arm: Arm, beside: Arm| {
        let half =
            if arm.requests + beside.requests > 0.0 { arm.requests / (arm.requests + beside.requests) } else { 0.5 };
        (arm.events + half) / arm.requests.max(1e-9)
    };
    if block.canary.requests > 0.0 && block.other.requests > 0.0 {
        rate(block.canary, block.other) / rate(block.other, block.canary)
    } else {
        1.0
    }
}
