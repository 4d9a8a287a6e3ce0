//! How long answers take: lognormal, counted into the buckets of all histograms that are exported.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::chance::{deal, float};

/// Upper bounds of the buckets that data planes and applications export, in seconds.
pub const BOUNDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 1.2, 2.5, 5.0, 10.0];

const CELLS: usize = BOUNDS.len() + 1;

/// Of the standard normal distribution.
const QUANTILE_99: f64 = 2.326_347_874_040_840_8;

/// A lognormal distribution.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Distributed {
    mu: f64,
    sigma: f64,
    /// The part of each cell.
    parts: [f64; CELLS],
    /// The mean within each cell, in seconds.
    means: [f64; CELLS],
}

impl Distributed {
    /// In seconds; the 99th percentile is not below the median, and both are above zero.
    pub(super) fn new(median: f64, p99: f64) -> Distributed {
        let mu = median.ln();
        // Without any spread every bound would be at infinity.
        let sigma = ((p99 / median).ln() / QUANTILE_99).max(1e-9);
        let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let mean = (mu + sigma * sigma / 2.0).exp();
        let up_to = |bound: f64| (bound.ln() - mu) / sigma;
        let (mut parts, mut means) = ([0.0; CELLS], [0.0; CELLS]);
        let (mut part_before, mut mean_before, mut start) = (0.0, 0.0, 0.0);
        for cell in 0..CELLS {
            let end = BOUNDS.get(cell).copied();
            let part = end.map_or(1.0, |end| below(up_to(end)));
            let partial = end.map_or(mean, |end| mean * below(up_to(end) - sigma));
            parts[cell] = (part - part_before).max(0.0);
            // Too rare to divide by: anything in the cell will do.
            let within = (partial - mean_before) / parts[cell];
            let (least, most) = (start, end.unwrap_or(f64::MAX));
            means[cell] = if parts[cell] > 1e-9 { within.clamp(least, most) } else { end.unwrap_or(start) };
            (part_before, mean_before, start) = (part, partial, end.unwrap_or(start));
        }
        Distributed { mu, sigma, parts, means }
    }

    /// Slower by that factor.
    pub(super) fn slower(&self, factor: f64) -> Distributed {
        let median = self.mu.exp() * factor;
        Distributed::new(median, median * (self.sigma * QUANTILE_99).exp())
    }

    /// So many draws. The sum of many is the one that their cells lead to expect.
    pub(super) fn draw(&self, many: u64, rng: &mut impl Rng) -> Latencies {
        let mut latencies = Latencies::default();
        if many <= 4 {
            for _ in 0..many {
                let normal: f64 = StandardNormal.sample(rng);
                latencies.add((self.mu + self.sigma * normal).exp());
            }
            return latencies;
        }
        for (cell, count) in deal(many, self.parts, rng).into_iter().enumerate() {
            latencies.cells[cell] = count;
            latencies.sum += float(count) * self.means[cell];
        }
        latencies
    }
}

/// How long some answers took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    cells: [u64; CELLS],
    sum: f64,
}

impl Latencies {
    /// One more, in seconds.
    pub fn add(&mut self, seconds: f64) {
        self.cells[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum += seconds;
    }

    /// So many of the same time.
    pub(super) fn same(many: u64, seconds: f64) -> Latencies {
        let mut latencies = Latencies::default();
        latencies.cells[BOUNDS.partition_point(|bound| *bound < seconds)] = many;
        latencies.sum = float(many) * seconds;
        latencies
    }

    /// Both together.
    pub fn merge(&mut self, other: &Latencies) {
        for (own, more) in self.cells.iter_mut().zip(other.cells) {
            *own += more;
        }
        self.sum += other.sum;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// All together, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The mean, in seconds; none of none.
    pub fn mean(&self) -> Option<f64> {
        Some(self.sum / float(self.count())).filter(|mean| mean.is_finite())
    }

    /// Bounds and how many were at most that.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        BOUNDS.iter().chain([&f64::INFINITY]).zip(self.cells).map(move |(bound, count)| {
            below += count;
            (*bound, below)
        })
    }

    /// An estimate of a quantile (0 to 1), in seconds, as evenly spread within a bucket; none of none.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * float(self.count());
        let (mut start, mut before) = (0.0, 0);
        for (bound, below) in self.cumulative() {
            if below > 0 && float(below) >= rank {
                let part = (rank - float(before)) / float(below - before).max(1.0);
                return Some(if bound.is_finite() { start + (bound - start) * part.max(0.0) } else { start });
            }
            (start, before) = (bound, below);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn many_at_once_are_as_many_one_by_one() {
        for (median, p99) in [(0.03, 0.12), (0.4, 9.0), (0.0001, 0.0002), (50.0, 60.0), (0.2, 0.2)] {
            let shape = Distributed::new(median, p99);
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let (many, mut single) = (shape.draw(200_000, &mut rng), Latencies::default());
            for _ in 0..200_000 {
                single.merge(&shape.draw(1, &mut rng));
            }
            assert_eq!((many.count(), single.count()), (200_000, 200_000));
            let (mean, other) = (many.mean().unwrap(), single.mean().unwrap());
            assert!((mean / other - 1.0).abs() < 0.02, "{median} {p99}: {mean} {other}");
            for (left, right) in many.cells.iter().zip(single.cells) {
                let tolerance = 5.0 * (float(*left).max(4.0)).sqrt() * 1.5;
                assert!((float(*left) - float(right)).abs() < tolerance, "{median}: {many:?} {single:?}");
            }
        }
    }

    #[test]
    fn quantiles_are_where_they_were_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn = Distributed::new(0.05, 1.0).draw(100_000, &mut rng);
        assert!((drawn.quantile(0.5).unwrap() - 0.05).abs() < 0.002, "{drawn:?}");
        assert!((drawn.quantile(0.99).unwrap() - 1.0).abs() < 0.1, "{drawn:?}");
        assert_eq!(Latencies::default().quantile(0.5), None);
        assert_eq!(Latencies::default().mean(), None);
        let slower = Distributed::new(0.05, 1.0).slower(10.0).draw(100_000, &mut rng);
        assert!((slower.quantile(0.5).unwrap() - 0.5).abs() < 0.02, "{slower:?}");
    }
}
