//! Kayenta: from ten minutes on, every five minutes, a Mann–Whitney confidence interval over all minutes so far. High if its lower
//! end is above a quarter of the estimated shift itself, and the mean has grown.

use super::{Answer, Metric, Minutes, Stepwise, Watch};
use crate::stream::Bucket;

const INTERVAL: usize = 5;
const FIRST: usize = 10;

/// Kayenta's rule.
#[derive(Clone, Copy, Debug)]
pub struct Kayenta {
    /// What is compared.
    pub metric: Metric,
    /// The quantile of the normal distribution that spans the interval; 2.326 for Kayenta's 98 %.
    pub z: f64,
    /// The part of the estimated shift that the interval must clear; a quarter in Kayenta.
    pub tolerance: f64,
}

/// What Kayenta says of two series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classification {
    /// No difference that it would name.
    Pass,
    /// The canary's values are the higher ones.
    High,
    /// The canary's values are the lower ones.
    Low,
}

impl Kayenta {
    /// As Kayenta is set unless told otherwise.
    pub fn usual(metric: Metric) -> Kayenta {
        Kayenta { metric, z: 2.326_347_874, tolerance: 0.25 }
    }

    /// What it says of a canary's and a baseline's points.
    pub fn classify(&self, canary: &[f64], baseline: &[f64]) -> Classification {
        let one_value = |values: &[f64]| values.windows(2).all(|pair| pair[0] == pair[1]);
        if canary.is_empty() || baseline.is_empty() || canary == baseline {
            return Classification::Pass;
        }
        if one_value(canary) && one_value(baseline) && canary[0] == baseline[0] {
            return Classification::Pass;
        }
        let mut shifts: Vec<f64> = canary.iter().flat_map(|a| baseline.iter().map(move |b| a - b)).collect();
        shifts.sort_unstable_by(f64::total_cmp);
        let (estimate, lower, upper) = self.interval(&shifts, canary.len(), baseline.len());
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let ratio = mean(canary) / mean(baseline);
        let slack = self.tolerance * estimate.abs();
        if lower > slack && (ratio >= 1.0 || ratio.is_nan()) {
            Classification::High
        } else if upper < -slack && (ratio <= 1.0 || ratio.is_nan()) {
            Classification::Low
        } else {
            Classification::Pass
        }
    }

    /// The Hodges–Lehmann shift and its interval, out of all sorted differences.
    fn interval(&self, shifts: &[f64], first: usize, second: usize) -> (f64, f64, f64) {
        let pairs = shifts.len();
        let estimate = (shifts[(pairs - 1) / 2] + shifts[pairs / 2]) / 2.0;
        let deviation = (pairs as f64 * (first + second + 1) as f64 / 12.0).sqrt();
        let cut = ((pairs as f64 / 2.0 - self.z * deviation).floor().max(1.0) as usize).min(pairs);
        (estimate, shifts[cut - 1], shifts[pairs - cut])
    }
}

impl Stepwise for Kayenta {
    fn name(&self) -> String {
        "Kayenta".to_owned()
    }

    fn begin(&self) -> Box<dyn Watch> {
        Box::new(Watching { rule: *self, minutes: Minutes::default(), points: Default::default(), seen: 0 })
    }
}

struct Watching {
    rule: Kayenta,
    minutes: Minutes,
    points: (Vec<f64>, Vec<f64>),
    seen: usize,
}

impl Watch for Watching {
    fn look(&mut self, bucket: &Bucket) -> Answer {
        let Some(minute) = self.minutes.add(bucket) else { return Answer::GoOn };
        self.points.0.extend(self.rule.metric.of(&minute.canary));
        self.points.1.extend(self.rule.metric.of(&minute.baseline));
        self.seen += 1;
        if self.seen < FIRST || !self.seen.is_multiple_of(INTERVAL) {
            return Answer::GoOn;
        }
        match self.rule.classify(&self.points.0, &self.points.1) {
            Classification::High => Answer::Worse,
            Classification::Pass | Classification::Low => Answer::GoOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Kayenta = Kayenta { metric: Metric::ErrorRatio, z: 2.326_347_874, tolerance: 0.25 };

    fn around_one(count: usize) -> Vec<f64> {
        (0..count).map(|number| 1.0 + 0.01 * number as f64).collect()
    }

    /// spinnaker #6278: most of the canary's points are a hundred times the baseline's, and it passes.
    #[test]
    fn it_is_blind_to_seven_points_of_ten() {
        let baseline = around_one(10);
        let canary = |high: usize| -> Vec<f64> {
            around_one(10)
                .iter()
                .enumerate()
                .map(|(number, value)| if number < high { 100.0 * value } else { *value })
                .collect()
        };
        assert_eq!(RULE.classify(&canary(7), &baseline), Classification::Pass);
        assert_eq!(RULE.classify(&canary(9), &baseline), Classification::High);
    }

    /// kayenta #426 and #377: errors where there were none.
    #[test]
    fn it_is_blind_to_sparse_errors() {
        assert_eq!(RULE.classify(&[0.0, 1.0, 2.0, 1.0, 0.0, 0.0], &[0.0; 6]), Classification::Pass);
    }

    /// kayenta #780: the same median, another spread.
    #[test]
    fn it_is_blind_to_spread() {
        let canary: Vec<f64> = (0..20).map(|number| if number % 2 == 0 { 1.0 } else { 100.0 }).collect();
        assert_eq!(RULE.classify(&canary, &[50.0, 51.0].repeat(10)), Classification::Pass);
    }

    /// Its tolerance is a part of the shift, so a harmless shift is High once there are points enough.
    #[test]
    fn it_flags_one_percent_once_there_are_points_enough() {
        let noise = |number: usize| (number as f64 * 0.618_034).fract() - 0.5;
        let arm = |shift: f64, count: usize| -> Vec<f64> {
            (0..count).map(|number| 1.0 + shift + 0.069 * noise(number * if shift > 0.0 { 7 } else { 3 })).collect()
        };
        assert_eq!(RULE.classify(&arm(0.01, 10), &arm(0.0, 10)), Classification::Pass);
        assert_eq!(RULE.classify(&arm(0.01, 400), &arm(0.0, 400)), Classification::High);
    }

    #[test]
    fn a_plain_shift_is_seen_either_way() {
        let (low, high) = (around_one(10), around_one(10).iter().map(|value| value + 1.0).collect::<Vec<_>>());
        assert_eq!(RULE.classify(&high, &low), Classification::High);
        assert_eq!(RULE.classify(&low, &high), Classification::Low);
        assert_eq!(RULE.classify(&low, &low), Classification::Pass);
    }
}
