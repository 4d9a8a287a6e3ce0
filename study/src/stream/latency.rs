//! Latencies as a histogram: most requests take the fast path, one in twenty the slow one, which is what the p99 sees.

use libm::{erfc, log};
use rand::Rng;
use rand_distr::{Binomial, Distribution};

/// Upper bounds in seconds, as a service would declare them for Prometheus.
pub const BOUNDS: [f64; 17] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.5, 2.5, 5.0];

/// Bins of a histogram: one per bound and one above.
pub const BINS: usize = BOUNDS.len() + 1;

/// Requests per bin, not cumulated.
pub type Histogram = [u32; BINS];

const FAST: (f64, f64) = (0.06, 0.4); // median in seconds, sigma of the logarithm
const SLOW: (f64, f64) = (0.3, 0.4);

/// The share of requests on the slow path on an ordinary day.
pub(super) const SLOW_SHARE: f64 = 0.05;

/// What the latencies of an arm are drawn from in one bucket.
#[derive(Clone, Copy)]
pub(super) struct Latency {
    /// The share of requests on the slow path.
    pub(super) slow_share: f64,
    /// By how much everything takes longer.
    pub(super) scale: f64,
    /// By how much the slow path takes longer, on top.
    pub(super) slow_path: f64,
}

impl Latency {
    /// The share of requests that take at most `bound` seconds.
    fn below(&self, bound: f64) -> f64 {
        let share = |(median, sigma): (f64, f64), scale: f64| {
            0.5 * erfc(-log(bound / (median * scale)) / sigma * std::f64::consts::FRAC_1_SQRT_2)
        };
        (1.0 - self.slow_share) * share(FAST, self.scale) + self.slow_share * share(SLOW, self.scale * self.slow_path)
    }

    /// The histogram of `requests` requests.
    pub(super) fn draw(&self, requests: u32, rng: &mut impl Rng) -> Histogram {
        draw(requests, |bound| self.below(bound), rng)
    }
}

/// A histogram of `requests` latencies of which the share `below(bound)` takes at most `bound` seconds.
pub(crate) fn draw(requests: u32, below: impl Fn(f64) -> f64, rng: &mut impl Rng) -> Histogram {
    let mut histogram = [0; BINS];
    let (mut left, mut above, mut reached) = (u64::from(requests), 1.0, 0.0);
    for (bin, bound) in BOUNDS.iter().enumerate() {
        if left == 0 {
            break;
        }
        let next = below(*bound);
        let share = if above > 0.0 { ((next - reached) / above).clamp(0.0, 1.0) } else { 1.0 };
        let drawn = Binomial::new(left, share).map_or(0, |binomial| binomial.sample(rng));
        histogram[bin] = u32::try_from(drawn).unwrap_or(u32::MAX);
        left -= drawn;
        above -= next - reached;
        reached = next;
    }
    histogram[BINS - 1] = u32::try_from(left).unwrap_or(u32::MAX);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn every_request_lands_in_one_bin_and_the_slow_path_moves_the_tail() {
        let ordinary = Latency { slow_share: SLOW_SHARE, scale: 1.0, slow_path: 1.0 };
        let slower = Latency { slow_path: 1.5, ..ordinary };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(ordinary.draw(10_000, &mut rng).iter().sum::<u32>(), 10_000);
        let p99 = |latency: &Latency| (1..2000).map(|ms| f64::from(ms) / 1000.0).find(|at| latency.below(*at) >= 0.99);
        assert_eq!((p99(&ordinary), p99(&slower)), (Some(0.421), Some(0.631)));
    }
}
