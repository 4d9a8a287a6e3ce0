//! Policies as they are written down, on the way to those that can be judged by.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{
    Against, BurnRate, BurnWindow, Direction, Effect, Measure, Metric, Millis, Missing, Policy, Range, Rate,
    Sequential, Wrong,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawEffect {
    #[serde(default)]
    relative: f64,
    #[serde(default)]
    absolute: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawRange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawSequential {
    measure: Measure,
    #[serde(default = "higher")]
    worse: Direction,
    against: Against,
    effect: Effect,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawBurnRate {
    budget: Rate,
    windows: Vec<BurnWindow>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPolicy {
    metrics: Vec<Metric>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    false_alarm_rate: Option<Rate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    false_promotion_rate: Option<Rate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed_checks: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warm_up: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing: Option<Missing>,
}

fn higher() -> Direction {
    Direction::Higher
}

impl TryFrom<RawEffect> for Effect {
    type Error = Wrong;
    fn try_from(raw: RawEffect) -> Result<Self, Wrong> {
        Self::new(raw.relative, raw.absolute)
    }
}

impl From<Effect> for RawEffect {
    fn from(effect: Effect) -> Self {
        Self { relative: effect.relative, absolute: effect.absolute }
    }
}

impl TryFrom<RawRange> for Range {
    type Error = Wrong;
    fn try_from(raw: RawRange) -> Result<Self, Wrong> {
        Self::new(raw.min, raw.max)
    }
}

impl From<Range> for RawRange {
    fn from(range: Range) -> Self {
        Self { min: range.min, max: range.max }
    }
}

impl TryFrom<RawSequential> for Sequential {
    type Error = Wrong;
    fn try_from(raw: RawSequential) -> Result<Self, Wrong> {
        Self::new(raw.measure, raw.worse, raw.against, raw.effect)
    }
}

impl From<Sequential> for RawSequential {
    fn from(rule: Sequential) -> Self {
        Self { measure: rule.measure, worse: rule.worse, against: rule.against, effect: rule.effect }
    }
}

impl TryFrom<RawBurnRate> for BurnRate {
    type Error = Wrong;
    fn try_from(raw: RawBurnRate) -> Result<Self, Wrong> {
        Self::new(raw.budget, raw.windows)
    }
}

impl From<BurnRate> for RawBurnRate {
    fn from(rule: BurnRate) -> Self {
        Self { budget: rule.budget, windows: rule.windows }
    }
}

impl TryFrom<RawPolicy> for Policy {
    type Error = Wrong;
    fn try_from(raw: RawPolicy) -> Result<Self, Wrong> {
        let plain = Self::new(raw.metrics)?;
        Ok(Self {
            false_alarm_rate: raw.false_alarm_rate.unwrap_or(plain.false_alarm_rate),
            false_promotion_rate: raw.false_promotion_rate.unwrap_or(plain.false_promotion_rate),
            failed_checks: raw.failed_checks.unwrap_or(plain.failed_checks),
            warm_up: raw.warm_up.unwrap_or(plain.warm_up),
            max_age: raw.max_age.unwrap_or(plain.max_age),
            missing: raw.missing.unwrap_or(plain.missing),
            metrics: plain.metrics,
        })
    }
}

impl From<Policy> for RawPolicy {
    fn from(policy: Policy) -> Self {
        Self {
            metrics: policy.metrics,
            false_alarm_rate: Some(policy.false_alarm_rate),
            false_promotion_rate: Some(policy.false_promotion_rate),
            failed_checks: Some(policy.failed_checks),
            warm_up: Some(policy.warm_up),
            max_age: Some(policy.max_age),
            missing: Some(policy.missing),
        }
    }
}
