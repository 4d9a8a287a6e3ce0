//! What counts as worse, and how sure one wants to be. A policy that exists can be judged by.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sample::Millis;
use crate::verdict::Then;

/// Why a policy cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Wrong {
    /// A rate has to be possible and uncertain.
    #[error("{0} is no rate: give a number above 0 and below 1")]
    Rate(f64),
    /// A weight has to weigh something.
    #[error("{0} is no weight: give a number above 0")]
    Weight(f64),
    /// Nobody can find differences of any size.
    #[error(
        "the smallest effect {relative} (relative), {absolute} (absolute) is none: give numbers from 0, one of them above"
    )]
    Effect {
        /// As given.
        relative: f64,
        /// As given.
        absolute: f64,
    },
    /// No number lies between.
    #[error("no number is at least {min} and at most {max}")]
    Range {
        /// As given.
        min: f64,
        /// As given.
        max: f64,
    },
    /// A metric would be judged twice.
    #[error("the metric {0} is there twice: give each its own name")]
    Twice(String),
    /// An objective that no measurement can be compared with.
    #[error("{value} is no objective for {measure}: give {want}")]
    Objective {
        /// As given.
        value: f64,
        /// What is measured.
        measure: &'static str,
        /// What it has to be.
        want: &'static str,
    },
    /// A burn rate needs windows to burn in.
    #[error("a burn rate needs at least one pair of windows, the short one shorter than the long one")]
    Windows,
}

/// A number between 0 and 1, neither of them.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate(f64);

/// A finite number above 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Weight(f64);

/// The smallest difference that matters: the larger of the two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawEffect", into = "RawEffect")]
pub struct Effect {
    relative: f64,
    absolute: f64,
}

/// Which values are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRange", into = "RawRange")]
pub struct Range {
    min: Option<f64>,
    max: Option<f64>,
}

/// What counts as worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPolicy", into = "RawPolicy")]
pub struct Policy {
    metrics: Vec<Metric>,
    /// How often a good canary may be called worse, over all metrics and looks together.
    pub false_alarm_rate: Rate,
    /// How often a canary may be called not worse that is worse by as much as matters.
    pub false_promotion_rate: Rate,
    /// Failed checks that make a canary worse, over all metrics that are judged by thresholds.
    pub failed_checks: NonZeroU32,
    /// How long after a start of its pods an arm is not judged.
    pub warm_up: Millis,
    /// How old the newest point behind a sample may be when it is asked.
    pub max_age: Millis,
    /// What to do about metrics that cannot be read.
    pub missing: Missing,
}

/// What to do about metrics that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Missing {
    /// How long to hold, from the last usable sample on.
    pub hold_for: Millis,
    /// What then.
    pub then: Then,
}

/// A metric and how it is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// As in the series of the log.
    pub name: String,
    /// Its part of the false alarm rate, beside those of the others.
    #[serde(default = "one")]
    pub weight: Weight,
    /// How it is judged.
    pub method: Method,
}

/// How a metric is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// Each value within a range, as Flagger has it.
    Threshold(Range),
    /// Evidence that may be looked at as often as one likes.
    Sequential(Sequential),
    /// The ranks of two samples, as Kayenta has it. Valid for one look only; here to compare with.
    MannWhitney(MannWhitney),
    /// How fast the budget of an objective is used up, over a long and a short window each.
    BurnRate(BurnRate),
}

/// Evidence that may be looked at as often as one likes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSequential", into = "RawSequential")]
pub struct Sequential {
    measure: Measure,
    worse: Direction,
    against: Against,
    effect: Effect,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// The share of failed requests, out of counts.
    Errors,
    /// A quantile of a histogram, by the share of requests beyond where the reference has it.
    Quantile(Rate),
    /// The mean of a histogram or of values.
    Mean,
}

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More is worse, as with errors and latency.
    Higher,
    /// Less is worse, as with orders per minute. Only for means.
    Lower,
}

/// What the canary is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Against {
    /// A copy of the primary of the canary's size and age.
    Baseline,
    /// The primary itself.
    Primary,
    /// A number: an error rate from 0 to 1, or a limit in the metric's own unit.
    Objective(f64),
}

/// The ranks of two samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MannWhitney {
    /// The arm that the canary is compared with.
    pub against: Other,
    /// Which way is worse.
    pub worse: Direction,
    /// The smallest shift that matters; the relative one is of the reference's median.
    pub effect: Effect,
    /// How many points each arm must have.
    pub points: NonZeroU32,
    /// What of a histogram is a point: its quantile, or the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<Rate>,
}

/// An arm to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Other {
    /// A copy of the primary of the canary's size and age.
    Baseline,
    /// The primary itself.
    Primary,
}

/// How fast the budget of an objective is used up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBurnRate", into = "RawBurnRate")]
pub struct BurnRate {
    budget: Rate,
    windows: Vec<BurnWindow>,
}

/// The budget burns if it does so over the long window and still does over the short one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnWindow {
    /// Over how long.
    pub long: Millis,
    /// And over how long of its end.
    pub short: Millis,
    /// How many times as fast as the budget lasts.
    pub factor: Weight,
}

fn one() -> Weight {
    Weight(1.0)
}

impl TryFrom<f64> for Rate {
    type Error = Wrong;
    fn try_from(value: f64) -> Result<Self, Wrong> {
        if value > 0.0 && value < 1.0 { Ok(Self(value)) } else { Err(Wrong::Rate(value)) }
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> f64 {
        rate.0
    }
}

impl TryFrom<f64> for Weight {
    type Error = Wrong;
    fn try_from(value: f64) -> Result<Self, Wrong> {
        if value > 0.0 && value.is_finite() { Ok(Self(value)) } else { Err(Wrong::Weight(value)) }
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> f64 {
        weight.0
    }
}

impl Rate {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Weight {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Effect {
    /// `relative` 0.5 is half as much again; `absolute` is in the metric's unit, of error rates from 0 to 1.
    pub fn new(relative: f64, absolute: f64) -> Result<Self, Wrong> {
        let fine = relative >= 0.0 && absolute >= 0.0 && relative + absolute > 0.0 && (relative + absolute).is_finite();
        if fine { Ok(Self { relative, absolute }) } else { Err(Wrong::Effect { relative, absolute }) }
    }

    /// Part of the reference.
    pub fn relative(self) -> f64 {
        self.relative
    }

    /// In the metric's unit.
    pub fn absolute(self) -> f64 {
        self.absolute
    }

    /// The smallest difference that matters from a reference, in the metric's unit.
    pub fn beside(self, reference: f64) -> f64 {
        (self.relative * reference.abs()).max(self.absolute)
    }
}

impl Range {
    /// At least `min`, at most `max`.
    pub fn new(min: Option<f64>, max: Option<f64>) -> Result<Self, Wrong> {
        let (low, high) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
        if low <= high { Ok(Self { min, max }) } else { Err(Wrong::Range { min: low, max: high }) }
    }

    /// Whether it has the value.
    pub fn contains(self, value: f64) -> bool {
        !self.min.is_some_and(|min| value < min) && !self.max.is_some_and(|max| value > max)
    }

    /// At least.
    pub fn min(self) -> Option<f64> {
        self.min
    }

    /// At most.
    pub fn max(self) -> Option<f64> {
        self.max
    }
}

impl Sequential {
    /// `worse` is for means alone: of errors and latency more is worse.
    pub fn new(measure: Measure, worse: Direction, against: Against, effect: Effect) -> Result<Self, Wrong> {
        if let Against::Objective(value) = against {
            let (fine, name, want) = match measure {
                Measure::Errors => (value > 0.0 && value < 1.0, "errors", "a share above 0 and below 1"),
                Measure::Quantile(_) => (value > 0.0 && value.is_finite(), "a quantile", "a limit above 0"),
                Measure::Mean => (value.is_finite(), "a mean", "a finite number"),
            };
            if !fine {
                return Err(Wrong::Objective { value, measure: name, want });
            }
        }
        Ok(Self { measure, worse, against, effect })
    }

    /// What is measured.
    pub fn measure(self) -> Measure {
        self.measure
    }

    /// Which way is worse.
    pub fn worse(self) -> Direction {
        self.worse
    }

    /// What the canary is compared with.
    pub fn against(self) -> Against {
        self.against
    }

    /// The smallest effect that matters.
    pub fn effect(self) -> Effect {
        self.effect
    }
}

impl BurnRate {
    /// `budget` is the share of requests that may fail.
    pub fn new(budget: Rate, windows: Vec<BurnWindow>) -> Result<Self, Wrong> {
        let fine = !windows.is_empty() && windows.iter().all(|window| window.short > 0 && window.short < window.long);
        if fine { Ok(Self { budget, windows }) } else { Err(Wrong::Windows) }
    }

    /// The share of requests that may fail.
    pub fn budget(&self) -> Rate {
        self.budget
    }

    /// At least one.
    pub fn windows(&self) -> &[BurnWindow] {
        &self.windows
    }
}

impl Policy {
    /// Five false alarms and five false promotions in a hundred, five failed checks, no warm-up, five minutes of age,
    /// ten minutes of holding and then a rollback; all of it may be changed afterwards.
    pub fn new(metrics: Vec<Metric>) -> Result<Self, Wrong> {
        let mut names = BTreeSet::new();
        if let Some(twice) = metrics.iter().find(|metric| !names.insert(&metric.name)) {
            return Err(Wrong::Twice(twice.name.clone()));
        }
        Ok(Self {
            metrics,
            false_alarm_rate: Rate(0.05),
            false_promotion_rate: Rate(0.05),
            failed_checks: NonZeroU32::MIN.saturating_add(4),
            warm_up: 0,
            max_age: 5 * 60_000,
            missing: Missing { hold_for: 10 * 60_000, then: Then::Rollback },
        })
    }

    /// What is judged; each has its own name.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The part of the false alarm rate that a metric has for itself.
    pub fn share(&self, metric: &Metric) -> f64 {
        metric.weight.0 / self.metrics.iter().map(|metric| metric.weight.0).sum::<f64>()
    }
}

#[path = "policy_raw.rs"]
mod raw;
use raw::{RawBurnRate, RawEffect, RawPolicy, RawRange, RawSequential};
