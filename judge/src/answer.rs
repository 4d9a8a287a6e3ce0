//! From a sample to numbers that can be compared, or to what is wrong with it.

use crate::compare::Arm;
use crate::sample::{Kind, Millis, Outcome, Sample};
use crate::verdict::Trouble;

/// Numbers of one window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Counts(Arm),
    Histogram { counts: Vec<f64>, sum: Option<f64> },
    Value(f64),
}

pub(crate) fn read(sample: &Sample, kind: &Kind, max_age: Millis) -> Result<Answer, Trouble> {
    if sample.newest.is_some_and(|newest| newest.saturating_add(max_age) < sample.asked) {
        return Err(Trouble::Stale);
    }
    let amount = |value: f64| value.is_finite() && value >= 0.0;
    match (&sample.outcome, kind) {
        (Outcome::Empty, _) => Err(Trouble::Empty),
        (Outcome::NotANumber, _) => Err(Trouble::NotANumber),
        (Outcome::Outage(why), _) => Err(Trouble::Outage(why.clone())),
        (Outcome::Reset, _) => Err(Trouble::Reset),
        (Outcome::Counts { requests, errors }, Kind::Counts) if amount(*requests) && amount(*errors) => {
            // What servers extrapolate may be a little more than all.
            Ok(Answer::Counts(Arm { requests: *requests, events: errors.min(*requests) }))
        }
        (Outcome::Histogram { counts, sum }, Kind::Histogram { edges })
            if counts.len() == edges.len() + 1 && counts.iter().all(|count| amount(*count)) =>
        {
            Ok(Answer::Histogram { counts: counts.clone(), sum: *sum })
        }
        (Outcome::Value(value), Kind::Value) if value.is_finite() => Ok(Answer::Value(*value)),
        (Outcome::Counts { .. } | Outcome::Histogram { .. } | Outcome::Value(_), _) => Err(Trouble::NotANumber),
    }
}

impl Answer {
    /// Requests behind it, if it tells.
    pub(crate) fn requests(&self) -> Option<f64> {
        match self {
            Self::Counts(arm) => Some(arm.requests),
            Self::Histogram { counts, .. } => Some(counts.iter().sum()),
            Self::Value(_) => None,
        }
    }

    /// The mean of what was measured.
    pub(crate) fn mean(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Histogram { counts, sum } => {
                let requests: f64 = counts.iter().sum();
                sum.filter(|_| requests > 0.0).map(|sum| sum / requests)
            }
            Self::Counts(_) => None,
        }
    }
}
