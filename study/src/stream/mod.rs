//! What three arms of a rollout are asked and answer, bucket by bucket of ten seconds, from a seed.
//!
//! One rollout is a pure function of (seed, plan, scenario, effect, its number): it can be made again alone, and every rule is
//! shown the same one.

mod generator;
mod latency;
mod scenario;

pub use generator::Generator;
pub(crate) use latency::draw as draw_histogram;
pub use latency::{BINS, BOUNDS, Histogram};
pub use scenario::Scenario;

/// How long one bucket is, in seconds: ten seconds is the step between two scrapes that most rules see at best.
pub const BUCKET_SECONDS: i32 = 10;

/// What one arm answered in one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arm {
    /// Requests that ended in this bucket.
    pub requests: u32,
    /// How many of them failed; never more than `requests`.
    pub errors: u32,
    /// Requests by latency, one count per bin of [`BOUNDS`] and one above; all zero where the plan asks for no latencies.
    pub latency: Histogram,
}

/// Ten seconds of a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The end of the bucket, in seconds since the analysis began; up to zero it is history.
    pub at: i32,
    /// The canary's share of all requests, in percent; the baseline has the same. Nothing in history.
    pub weight: u8,
    /// The new version.
    pub canary: Arm,
    /// As many pods of the old version, started with the canary's and given the same share.
    pub baseline: Arm,
    /// The old version that serves the rest.
    pub primary: Arm,
}

/// The shape of a rollout, without what happens in it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests a minute over all arms.
    pub rate: f64,
    /// Buckets before it, in which the primary serves everything.
    pub history: u32,
    /// How many buckets it is watched for.
    pub buckets: u32,
    /// The canary's weights in percent, each held for an equal part of the buckets.
    pub weights: &'static [u8],
    /// The share of requests of the old version that fail on an ordinary day.
    pub base: f64,
    /// Whether latencies are drawn too; they cost ten times what counts cost.
    pub latencies: bool,
}

/// Half an hour in five steps: what all figures use that do not say otherwise.
pub const STEPS: &[u8] = &[10, 20, 30, 40, 50];

impl Plan {
    /// Half an hour at `rate` requests a minute with 0.5 % errors, from 10 % to 50 %, after half an hour of the primary alone.
    pub fn half_hour(rate: f64) -> Plan {
        Plan { rate, history: 180, buckets: 180, weights: STEPS, base: 0.005, latencies: false }
    }

    /// The canary's weight in percent in the bucket of this number.
    pub fn weight(&self, bucket: u32) -> u8 {
        let steps = self.weights.len();
        let step = (bucket as usize * steps / self.buckets.max(1) as usize).min(steps - 1);
        self.weights[step]
    }
}

/// What the new version does differently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Its errors, as a multiple of the old version's.
    pub errors: f64,
    /// How much longer its slow path takes, as a multiple; the slow path is what the p99 sees.
    pub slow_path: f64,
}

impl Effect {
    /// Nothing: a good release.
    pub const NONE: Effect = Effect { errors: 1.0, slow_path: 1.0 };

    /// Errors multiplied.
    pub fn errors(factor: f64) -> Effect {
        Effect { errors: factor, ..Effect::NONE }
    }

    /// The slow path takes `factor` times as long.
    pub fn slow_path(factor: f64) -> Effect {
        Effect { slow_path: factor, ..Effect::NONE }
    }
}
