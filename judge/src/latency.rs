//! Latencies as events: a request is slow if it took longer than an edge of the histogram near the reference's quantile.

/// The histogram of arms that are not in question, and the edge that follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Calm {
    quantile: f64,
    counts: Vec<f64>,
    total: f64,
}

/// So many requests beyond the quantile are expected before an edge is chosen, and before it stays.
const ENOUGH: f64 = 5.0;
const PLENTY: f64 = 300.0;

impl Calm {
    pub(crate) fn new(quantile: f64) -> Self {
        Self { quantile, counts: Vec::new(), total: 0.0 }
    }

    /// Learns from a window, until there is plenty.
    pub(crate) fn learn(&mut self, counts: &[f64]) {
        if self.total * (1.0 - self.quantile) >= PLENTY {
            return;
        }
        self.counts.resize(counts.len(), 0.0);
        self.counts.iter_mut().zip(counts).for_each(|(known, more)| *known += more);
        self.total += counts.iter().sum::<f64>();
    }

    /// The place of the edge beyond which about as much lies as beyond the quantile, once enough was seen; and how many
    /// times as many requests lie beyond it when all take longer by the `effect` that matters at the edge.
    pub(crate) fn edge(&self, edges: &[f64], effect: impl Fn(f64) -> f64) -> Option<(usize, f64)> {
        let beyond = 1.0 - self.quantile;
        if self.total * beyond < ENOUGH {
            return None;
        }
        let mut above = self.total;
        let far = |share: f64| if share > 0.0 { libm::fabs(libm::log(share / beyond)) } else { f64::INFINITY };
        let mut best = (f64::INFINITY, 0, 0.0);
        for (place, count) in self.counts.iter().take(edges.len()).enumerate() {
            above -= count;
            let distance = far(above / self.total);
            if distance < best.0 {
                best = (distance, place, above);
            }
        }
        let (distance, place, above) = best;
        let edge = *edges.get(place)?;
        let shifted = edge * edge / (edge + effect(edge));
        let ratio = self.above(edges, shifted) / above;
        distance.is_finite().then(|| (place, if ratio.is_finite() { ratio.clamp(1.1, 20.0) } else { 2.0 }))
    }

    /// How many took longer, spread evenly between edges.
    fn above(&self, edges: &[f64], limit: f64) -> f64 {
        let mut low = 0.0;
        let mut sum = 0.0;
        for (place, count) in self.counts.iter().enumerate() {
            let high = edges.get(place).copied().unwrap_or(f64::INFINITY);
            sum += if low >= limit {
                *count
            } else if high > limit && high.is_finite() {
                count * (high - limit) / (high - low)
            } else {
                0.0
            };
            low = high;
        }
        sum
    }
}

/// The time that this part of a histogram's requests took at most, spread evenly between edges as Prometheus has it.
pub(crate) fn quantile(counts: &[f64], edges: &[f64], quantile: f64) -> Option<f64> {
    let mut left = quantile * counts.iter().sum::<f64>();
    if left <= 0.0 {
        return None;
    }
    let mut low = 0.0;
    for (edge, count) in edges.iter().zip(counts) {
        if left <= *count {
            return Some(low + (edge - low) * left / count);
        }
        left -= count;
        low = *edge;
    }
    edges.last().copied()
}

/// How many requests of a histogram took longer than its edge at this place.
pub(crate) fn slower(counts: &[f64], place: usize) -> f64 {
    counts.iter().skip(place + 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_edges() {
        let (edges, counts) = ([10.0, 20.0, 40.0], [50.0, 30.0, 20.0, 0.0]);
        let of = |part| quantile(&counts, &edges, part);
        assert_eq!((of(0.5), of(0.65), of(0.9), of(1.0)), (Some(10.0), Some(15.0), Some(30.0), Some(40.0)));
        assert_eq!(quantile(&[0.0, 0.0, 1.0, 9.0], &edges, 0.99), Some(40.0), "beyond the last edge nothing is known");
        assert_eq!(quantile(&[0.0; 4], &edges, 0.5), None);
    }
}
