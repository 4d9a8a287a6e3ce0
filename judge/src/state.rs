//! One metric of a policy on its way through a log.

use std::collections::BTreeMap;

use crate::answer::Answer;
use crate::burn::Burn;
use crate::events::Events;
use crate::latency::quantile;
use crate::policy::{Against, Measure, Method, Metric, Other, Policy};
use crate::sample::{Arm, Millis};
use crate::values::{Means, Ranks};

/// What has been gathered about a metric.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) name: String,
    /// Its part of the false alarm rate.
    pub(crate) share: f64,
    pub(crate) way: Way,
    /// The arm that the canary is compared with.
    pub(crate) other: Option<Arm>,
    pub(crate) edges: Vec<f64>,
    /// Windows of which not all arms are known, by end and begin.
    waiting: BTreeMap<(Millis, Millis), Answers>,
    /// Up to where each arm was measured.
    until: [Millis; 3],
    /// When the last usable answer was asked for, and the last unusable one.
    pub(crate) good: Option<Millis>,
    pub(crate) bad: Option<Millis>,
    pub(crate) unusable: u64,
    pub(crate) warming: u64,
    /// When it was first shown to be not worse.
    pub(crate) not_worse_since: Option<Millis>,
    pub(crate) traffic: Traffic,
}

/// Requests to the arms since the traffic was last split anew.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) canary: f64,
    pub(crate) other: f64,
    pub(crate) windows: f64,
    pub(crate) millis: f64,
}

pub(crate) type Answers = [Option<Answer>; 3];

/// How a metric is judged, with what was gathered for it.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Threshold(Checks),
    Events(Box<Events>),
    Means(Means),
    Ranks(Ranks),
    Burn(Burn),
}

/// Values held against a range.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    pub(crate) range: crate::policy::Range,
    pub(crate) last: Option<f64>,
    pub(crate) last_failed: bool,
    pub(crate) failed: u32,
    pub(crate) made: u64,
}

/// Windows that wait for other arms; the oldest go first.
const WAITING: usize = 512;

pub(crate) fn place(arm: Arm) -> usize {
    match arm {
        Arm::Canary => 0,
        Arm::Primary => 1,
        Arm::Baseline => 2,
    }
}

impl State {
    pub(crate) fn new(policy: &Policy, metric: &Metric) -> Self {
        let share = policy.share(metric);
        let cap = 1.0 / (policy.false_alarm_rate.get() * share);
        let enough = 1.0 / policy.false_promotion_rate.get();
        let (way, other) = match &metric.method {
            Method::Threshold(range) => {
                let checks = Checks { range: *range, last: None, last_failed: false, failed: 0, made: 0 };
                (Way::Threshold(checks), None)
            }
            Method::Sequential(rule) => {
                let other = match rule.against() {
                    Against::Baseline => Some(Arm::Baseline),
                    Against::Primary => Some(Arm::Primary),
                    Against::Objective(_) => None,
                };
                let events = |quantile| Way::Events(Box::new(Events::new(*rule, quantile, cap, enough, 1.0 / share)));
                let way = match rule.measure() {
                    Measure::Errors => events(0.5),
                    Measure::Quantile(quantile) => events(quantile.get()),
                    Measure::Mean => Way::Means(Means::new(*rule, cap, enough)),
                };
                (way, other)
            }
            Method::MannWhitney(rule) => {
                let other = match rule.against {
                    Other::Baseline => Arm::Baseline,
                    Other::Primary => Arm::Primary,
                };
                (Way::Ranks(Ranks::new(*rule)), Some(other))
            }
            Method::BurnRate(rule) => (Way::Burn(Burn::new(rule.clone())), None),
        };
        Self {
            name: metric.name.clone(),
            share,
            way,
            other,
            edges: Vec::new(),
            waiting: BTreeMap::new(),
            until: [0; 3],
            good: None,
            bad: None,
            unusable: 0,
            warming: 0,
            not_worse_since: None,
            traffic: Traffic::default(),
        }
    }

    /// Puts an answer to those of the other arms; false if the arm was measured over that time before.
    pub(crate) fn put(&mut self, arm: Arm, from: Millis, to: Millis, answer: Answer) -> bool {
        let until = &mut self.until[place(arm)];
        if from < *until || to <= from {
            return false;
        }
        *until = to;
        self.waiting.entry((to, from)).or_default()[place(arm)] = Some(answer);
        true
    }

    /// Takes out the windows of which the arms that are compared are known, and drops those that wait for too long; how
    /// many these were.
    pub(crate) fn ready(&mut self, ready: &mut Vec<(Millis, Millis, usize, Answers)>, metric: usize) -> u64 {
        let other = self.other.map(place);
        let complete = |answers: &Answers| answers[0].is_some() && other.is_none_or(|place| answers[place].is_some());
        ready.extend(
            self.waiting
                .extract_if(.., |_, answers| complete(answers))
                .map(|((to, from), answers)| (to, from, metric, answers)),
        );
        let mut dropped = 0;
        while self.waiting.len() > WAITING {
            let oldest = self.waiting.pop_first();
            dropped += u64::from(oldest.is_some_and(|(_, answers)| answers[0].is_some()));
        }
        dropped
    }

    /// Takes a window in; pods of a `young` canary have just started.
    pub(crate) fn feed(&mut self, from: Millis, to: Millis, answers: &Answers, young: bool) {
        let [Some(canary), primary, baseline] = answers else { return };
        let (other, beside) = match self.other {
            Some(Arm::Baseline) => (baseline.as_ref(), primary.as_ref()),
            Some(Arm::Primary) => (primary.as_ref(), None),
            Some(Arm::Canary) | None => (None, primary.as_ref()),
        };
        let requests = |answer: Option<&Answer>| answer.and_then(Answer::requests).unwrap_or(0.0);
        self.traffic.canary += requests(Some(canary));
        self.traffic.other += requests(other);
        self.traffic.windows += 1.0;
        self.traffic.millis += (to - from) as f64;
        match &mut self.way {
            Way::Threshold(_) => {}
            Way::Events(events) => events.feed(canary, other, beside, &self.edges, young),
            Way::Means(means) => {
                if let Some(canary) = canary.mean() {
                    means.feed(canary, other.and_then(Answer::mean));
                }
            }
            Way::Ranks(ranks) => {
                let edges = &self.edges;
                let point = |answer: &Answer| match (answer, ranks.quantile()) {
                    (Answer::Counts(arm), _) => Some(arm.rate()),
                    (Answer::Histogram { counts, .. }, Some(part)) => quantile(counts, edges, part.get()),
                    (Answer::Value(_) | Answer::Histogram { .. }, _) => answer.mean(),
                };
                if let Some((canary, other)) = point(canary).zip(other.and_then(point)) {
                    ranks.feed(canary, other);
                }
            }
            Way::Burn(burn) => {
                if let Answer::Counts(arm) = canary {
                    burn.feed(from, to, *arm);
                }
            }
        }
    }

    /// The evidence that it is worse, as odds; nothing for methods that do not bet, or where what is shown does not matter.
    pub(crate) fn odds(&self) -> f64 {
        match &self.way {
            Way::Events(events) if events.matters() => events.worse(),
            Way::Means(means) if means.matters() => means.worse.wealth.total(),
            Way::Events(_) | Way::Means(_) | Way::Threshold(_) | Way::Ranks(_) | Way::Burn(_) => 0.0,
        }
    }

    /// The evidence that it is not worse, as odds.
    pub(crate) fn odds_not_worse(&self) -> f64 {
        match &self.way {
            Way::Events(events) => events.not_worse(),
            Way::Means(means) => means.not_worse.wealth.total(),
            Way::Threshold(_) | Way::Ranks(_) | Way::Burn(_) => 0.0,
        }
    }

    /// Windows that were compared.
    pub(crate) fn windows(&self) -> u64 {
        match &self.way {
            Way::Threshold(checks) => checks.made,
            Way::Events(events) => events.windows,
            Way::Means(means) => means.windows,
            Way::Ranks(ranks) => ranks.windows(),
            Way::Burn(burn) => burn.windows,
        }
    }
}
