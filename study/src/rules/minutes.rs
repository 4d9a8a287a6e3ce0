//! Buckets put together to minutes, and what a rule reads off a minute: the rules of others look once a minute at one number.

use crate::stream::{Arm, BUCKET_SECONDS, Bucket, Histogram};

/// What is read off an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The share of requests that failed.
    ErrorRatio,
    /// The 99th percentile of latencies in seconds, between the bounds of a histogram as Prometheus does it.
    P99,
}

impl Metric {
    /// The number, or none where nothing was asked.
    pub fn of(self, arm: &Arm) -> Option<f64> {
        match self {
            Metric::ErrorRatio => (arm.requests > 0).then(|| f64::from(arm.errors) / f64::from(arm.requests)),
            Metric::P99 => quantile(&arm.latency, 0.99),
        }
    }
}

fn quantile(histogram: &Histogram, share: f64) -> Option<f64> {
    let total: u32 = histogram.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = share * f64::from(total);
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, bound) in histogram.iter().zip(crate::stream::BOUNDS) {
        let count = f64::from(*count);
        if below + count >= rank && count > 0.0 {
            return Some(lower + (bound - lower) * (rank - below) / count);
        }
        below += count;
        lower = bound;
    }
    Some(lower)
}

/// One minute of two arms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Minute {
    /// The new version.
    pub canary: Arm,
    /// The old version's copy of the same size and age.
    pub baseline: Arm,
}

/// Puts buckets together.
#[derive(Clone, Debug, Default)]
pub struct Minutes {
    now: Minute,
}

impl Minutes {
    /// The minute that ended with this bucket, if one did.
    pub fn add(&mut self, bucket: &Bucket) -> Option<Minute> {
        if bucket.at <= 0 {
            return None; // history
        }
        add(&mut self.now.canary, &bucket.canary);
        add(&mut self.now.baseline, &bucket.baseline);
        (bucket.at % (6 * BUCKET_SECONDS) == 0).then(|| std::mem::take(&mut self.now))
    }
}

fn add(to: &mut Arm, arm: &Arm) {
    to.requests += arm.requests;
    to.errors += arm.errors;
    for (bin, count) in to.latency.iter_mut().zip(arm.latency) {
        *bin += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_buckets_are_a_minute() {
        let arm = Arm { requests: 10, errors: 1, ..Arm::default() };
        let mut minutes = Minutes::default();
        let ended: Vec<Option<u32>> = (1..=12)
            .map(|number| Bucket { at: number * BUCKET_SECONDS, canary: arm, ..Bucket::default() })
            .map(|bucket| minutes.add(&bucket).map(|minute| minute.canary.requests))
            .collect();
        assert_eq!(ended.iter().flatten().collect::<Vec<_>>(), [&60, &60]);
        assert_eq!(ended[5], Some(60));
    }

    #[test]
    fn a_quantile_lies_between_bounds_and_nothing_has_none() {
        let mut arm = Arm { requests: 100, ..Arm::default() };
        assert_eq!(Metric::P99.of(&arm), None);
        arm.latency[3] = 98; // up to 75 ms
        arm.latency[9] = 2; // 300 to 400 ms
        assert_eq!(Metric::P99.of(&arm).map(|value| (value * 1000.0).round()), Some(350.0));
        assert_eq!(Metric::ErrorRatio.of(&Arm::default()), None);
    }
}
