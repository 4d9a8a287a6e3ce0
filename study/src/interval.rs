//! What a figure is worth: 95 % intervals of shares and of medians.

use serde::Serialize;

const Z: f64 = 1.959_963_985;

/// How many of how many, with Wilson's interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// How many it was so for.
    pub hits: u64,
    /// Out of how many.
    pub of: u64,
}

impl Share {
    /// Counts the items for which it is so.
    pub fn count<T>(items: &[T], so: impl Fn(&T) -> bool) -> Share {
        Share { hits: items.iter().filter(|item| so(item)).count() as u64, of: items.len() as u64 }
    }

    /// The share itself; zero of nothing.
    pub fn value(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.hits as f64 / self.of as f64 }
    }

    /// The lower and upper end of the 95 % interval.
    pub fn interval(self) -> (f64, f64) {
        if self.of == 0 {
            return (0.0, 1.0);
        }
        let (n, p) = (self.of as f64, self.value());
        let middle = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
    }
}

/// A median with its distribution-free 95 % interval; what never happened counts as later than everything else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Median {
    /// The median; none if it never happened in half of the cases.
    pub value: Option<f64>,
    /// The lower end.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

impl Median {
    /// The median of what happened in `times` out of `of` cases.
    pub fn of(mut times: Vec<f64>, of: usize) -> Median {
        times.sort_unstable_by(f64::total_cmp);
        let at = |rank: usize| times.get(rank.saturating_sub(1)).copied();
        let half = Z * (of as f64).sqrt() / 2.0;
        let low = (of as f64 / 2.0 - half).floor().max(1.0) as usize;
        let high = (of as f64 / 2.0 + half).ceil() as usize + 1;
        Median { value: at(of.div_ceil(2)), low: at(low), high: at(high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_as_in_the_books() {
        let (low, high) = Share { hits: 10, of: 100 }.interval();
        assert!((low - 0.05522914).abs() < 1e-7 && (high - 0.17436566).abs() < 1e-7, "{low} {high}");
        assert_eq!(Share { hits: 0, of: 0 }.interval(), (0.0, 1.0));
    }

    #[test]
    fn a_median_of_rare_things_is_never() {
        let times: Vec<f64> = (1..=99).map(f64::from).collect();
        let median = Median::of(times.clone(), 99);
        assert_eq!((median.value, median.low, median.high), (Some(50.0), Some(39.0), Some(61.0)));
        assert_eq!(Median::of(times, 300).value, None);
    }
}
