//! Tests of whole samples, made once: Mann–Whitney, the shift of Hodges and Lehmann, the binomial test. The numbers are
//! those of SciPy.

use libm::{erfc, exp, fabs, lgamma, log, log1p, sqrt};

/// Which way the first sample, or the number of hits, is thought to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alternative {
    /// Either way.
    TwoSided,
    /// It is larger.
    Greater,
    /// It is smaller.
    Less,
}

/// How a p-value is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By counting all orders; takes samples without ties.
    Exact,
    /// By the normal curve, corrected for ties and continuity.
    Asymptotic,
    /// Exactly for samples without ties of which one has at most 8 points, otherwise by the normal curve.
    Auto,
}

/// What came out of Mann–Whitney.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// How often a point of the first sample is above one of the second; ties count half.
    pub u: f64,
    /// The chance of one as far out, if the samples are alike.
    pub p: f64,
    /// `u` as a share of all pairs: the chance that a point of the first is above one of the second.
    pub effect: f64,
}

/// Mann–Whitney's test of two samples without NaN; nothing for an empty one.
pub fn mann_whitney(x: &[f64], y: &[f64], alternative: Alternative, method: Method) -> Option<MannWhitney> {
    let (n1, n2) = (x.len() as f64, y.len() as f64);
    if x.is_empty() || y.is_empty() || x.iter().chain(y).any(|value| value.is_nan()) {
        return None;
    }
    let mut all: Vec<(f64, bool)> = x.iter().map(|v| (*v, true)).chain(y.iter().map(|v| (*v, false))).collect();
    all.sort_by(|one, two| one.0.total_cmp(&two.0));
    let (mut rank_sum, mut ties, mut place) = (0.0, 0.0, 0);
    while place < all.len() {
        let same = all[place..].iter().take_while(|(value, _)| *value == all[place].0).count();
        let rank = place as f64 + (same as f64 + 1.0) / 2.0;
        rank_sum += rank * all[place..place + same].iter().filter(|(_, first)| *first).count() as f64;
        let t = same as f64;
        ties += t * t * t - t;
        place += same;
    }
    let u1 = rank_sum - n1 * (n1 + 1.0) / 2.0;
    let u2 = n1 * n2 - u1;
    let (u, twice) = match alternative {
        Alternative::Greater => (u1, 1.0),
        Alternative::Less => (u2, 1.0),
        Alternative::TwoSided => (u1.max(u2), 2.0),
    };
    let exact = match method {
        Method::Exact => true,
        Method::Asymptotic => false,
        Method::Auto => ties == 0.0 && (x.len() <= 8 || y.len() <= 8),
    };
    let p = if exact {
        exact_above(u, x.len(), y.len())
    } else {
        let n = n1 + n2;
        let spread = sqrt(n1 * n2 / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0))));
        // All alike: no order is further out than another.
        if spread > 0.0 { erfc((u - n1 * n2 / 2.0 - 0.5) / spread / std::f64::consts::SQRT_2) / 2.0 } else { 1.0 }
    };
    Some(MannWhitney { u: u1, p: (p * twice).clamp(0.0, 1.0), effect: u1 / (n1 * n2) })
}

/// The chance of at least `u` among all orders of `m` and `n` points.
fn exact_above(u: f64, m: usize, n: usize) -> f64 {
    // Orders by u, as shares: those of m and n points follow from those of one point less.
    let size = m * n + 1;
    let mut shares = vec![0.0; size];
    shares[0] = 1.0;
    for part in 1..=m {
        // times (1 - q^(n+part)) / (1 - q^part)
        for place in (n + part..size).rev() {
            shares[place] -= shares[place - (n + part)];
        }
        for place in part..size {
            shares[place] += shares[place - part];
        }
        let scale = part as f64 / (n + part) as f64;
        shares.iter_mut().for_each(|share| *share *= scale);
    }
    // The distribution is the same from both ends, and its lower end has no cancellation.
    let from = u as usize; // half a rank too much is cut off, as by SciPy
    if from >= size { 0.0 } else { shares[..size - from].iter().sum() }
}

/// The median of all differences between points of the first and the second sample, and the interval that has the shift
/// with the confidence given, by the normal curve. At most the 400 last points of each are looked at.
pub fn shift(x: &[f64], y: &[f64], confidence: f64) -> Option<(f64, f64, f64)> {
    let (x, y) = (&x[x.len().saturating_sub(400)..], &y[y.len().saturating_sub(400)..]);
    let mut differences: Vec<f64> = x.iter().flat_map(|one| y.iter().map(move |two| one - two)).collect();
    if differences.is_empty() || differences.iter().any(|difference| difference.is_nan()) {
        return None;
    }
    differences.sort_by(f64::total_cmp);
    let (n1, n2) = (x.len() as f64, y.len() as f64);
    let z = normal_quantile(0.5 + confidence / 2.0);
    let outside = libm::floor(n1 * n2 / 2.0 - 0.5 - z * sqrt(n1 * n2 * (n1 + n2 + 1.0) / 12.0)).max(0.0) as usize;
    let last = differences.len() - 1;
    Some((median(&differences), differences[outside.min(last)], differences[last - outside.min(last)]))
}

/// The middle of sorted numbers.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[half],
        _ => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

/// Where the normal curve has this share to its left.
pub(crate) fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..80 {
        let middle: f64 = (low + high) / 2.0;
        if erfc(-middle / std::f64::consts::SQRT_2) / 2.0 < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The chance of `hits` out of `of`, or of something further out, if each hits with a chance of `share`.
pub fn binomial_test(hits: u64, of: u64, share: f64, alternative: Alternative) -> f64 {
    let at_most = |hits: u64| (0..=hits.min(of)).map(|hits| binomial(hits, of, share)).sum::<f64>();
    let at_least = |hits: u64| (hits..=of).map(|hits| binomial(hits, of, share)).sum::<f64>();
    let p = match alternative {
        Alternative::Greater => at_least(hits),
        Alternative::Less => at_most(hits),
        Alternative::TwoSided => {
            let seen = binomial(hits, of, share) * (1.0 + 1e-7);
            (0..=of).map(|hits| binomial(hits, of, share)).filter(|chance| *chance <= seen).sum()
        }
    };
    p.clamp(0.0, 1.0)
}

fn binomial(hits: u64, of: u64, share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        let sure = if share <= 0.0 { 0 } else { of };
        return f64::from(u8::from(hits == sure));
    }
    let (k, n) = (hits as f64, of as f64);
    let misses = n - k;
    exp(log_choose(n, k) + k * log(share) + misses * log1p(-share))
}

fn log_choose(n: f64, k: f64) -> f64 {
    lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0)
}

/// The logarithm of the evidence that hits do not come with a chance of `share`, mixed over all other chances by a Beta
/// distribution of `a` and `b`; valid at every moment.
pub fn beta_binomial_log_mixture(hits: f64, of: f64, share: f64, a: f64, b: f64) -> f64 {
    let log_beta = |a: f64, b: f64| lgamma(a) + lgamma(b) - lgamma(a + b);
    let misses = of - hits;
    let against = if fabs(hits) > 0.0 { hits * log(share) } else { 0.0 }
        + if misses > 0.0 { misses * log1p(-share) } else { 0.0 };
    log_beta(a + hits, b + misses) - log_beta(a, b) - against
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_scipy() {
        let x = [19.0, 22.0, 16.0, 29.0, 24.0];
        let y = [20.0, 11.0, 17.0, 12.0];
        let both = mann_whitney(&x, &y, Alternative::TwoSided, Method::Exact).unwrap();
        assert_eq!(both.u, 17.0);
        assert!((both.p - 0.111_111_111_111_111_1).abs() < 1e-12, "{}", both.p);
        let curve = mann_whitney(&x, &y, Alternative::TwoSided, Method::Asymptotic).unwrap();
        assert!((curve.p - 0.111_346_886_533_140_41).abs() < 1e-9, "{}", curve.p);
        let hits = binomial_test(3, 15, 0.1, Alternative::Greater);
        assert!((hits - 0.184_061_069_106_391_1).abs() < 1e-9, "{hits}");
    }
}
