//! How samples become a verdict.

use std::num::NonZeroU64;
use std::time::Duration;

use crds::{AfterHold, Baseline, Worse};

/// How samples become a verdict on the canary.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    /// The rule.
    pub method: Method,
    /// What runs beside the canary to be compared with.
    pub baseline: Baseline,
    /// What follows when metrics cannot be read; `None` means as Flagger has it, with [`Method::Threshold`] alone.
    pub missing_data: Option<MissingData>,
    /// How long after a start of its pods the canary is not judged.
    pub warm_up: Duration,
}

impl Default for Judge {
    /// As Flagger has it.
    fn default() -> Self {
        Judge { method: Method::Threshold, baseline: Baseline::Primary, missing_data: None, warm_up: Duration::ZERO }
    }
}

/// The rule of a verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Each value within its range.
    Threshold,
    /// Evidence that may be looked at as often as one likes.
    Sequential {
        /// How often a good canary may be called worse.
        false_alarm_rate: Rate,
        /// How often a canary may be promoted that is worse by as much as matters.
        false_promotion_rate: Rate,
    },
    /// The ranks of two samples.
    MannWhitney {
        /// How often a good canary may be called worse.
        false_alarm_rate: Rate,
    },
}

/// Above 0, at most 0.5: rarer than the toss of a coin.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// One in twenty.
    pub const USUAL: Rate = Rate(0.05);

    /// `None` when it is no such rate.
    pub fn new(rate: f64) -> Option<Rate> {
        (rate > 0.0 && rate <= 0.5).then_some(Rate(rate))
    }

    /// As a number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// What follows when metrics cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingData {
    /// How long the rollout is held for them.
    pub hold_for: Duration,
    /// What then.
    pub then: AfterHold,
}

impl Default for MissingData {
    fn default() -> Self {
        MissingData { hold_for: Duration::from_secs(600), then: AfterHold::Rollback }
    }
}

/// Against what a metric is compared, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// What is measured.
    pub measure: Measure,
    /// Which way is worse.
    pub worse: Worse,
    /// What it is compared with.
    pub against: Against,
    /// The smallest difference that matters.
    pub smallest_effect: Effect,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// The share of requests that failed, 0 to 1.
    Errors,
    /// A quantile of the time that requests take, in milliseconds.
    Quantile(Quantile),
    /// The mean of the values, in the metric's own unit.
    Mean,
}

/// Above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Quantile(f64);

impl Quantile {
    /// 99 of 100 are below.
    pub const USUAL: Quantile = Quantile(0.99);

    /// `None` when it is no such number.
    pub fn new(quantile: f64) -> Option<Quantile> {
        (quantile > 0.0 && quantile < 1.0).then_some(Quantile(quantile))
    }

    /// As a number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// What a metric of the canary is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Against {
    /// The same metric of the copy of the primary.
    Baseline,
    /// The same metric of the primary.
    Primary,
    /// A number, in the unit of the [`Measure`].
    Objective(f64),
}

/// A difference: the larger of its two parts, of which at least one is above 0; both are finite, none is negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    relative: f64,
    absolute: f64,
}

impl Effect {
    /// `None` when it is no such difference.
    pub fn new(relative: f64, absolute: f64) -> Option<Effect> {
        let parts = [relative, absolute];
        let possible =
            parts.iter().all(|part| part.is_finite() && *part >= 0.0) && parts.iter().any(|part| *part > 0.0);
        possible.then_some(Effect { relative, absolute })
    }

    /// As a part of what is compared with: 0.5 is half as much again.
    pub const fn relative(self) -> f64 {
        self.relative
    }

    /// In the unit of the [`Measure`].
    pub const fn absolute(self) -> f64 {
        self.absolute
    }
}

/// The shares of traffic are derived from the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPlan {
    /// How many requests of users a bad canary may fail.
    pub failed_requests: NonZeroU64,
}
