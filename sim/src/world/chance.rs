//! Draws that are made for many requests at once.

use rand::Rng;
use rand_distr::{Binomial, Distribution, Poisson};

/// How many of so many, each with that chance.
pub(super) fn binomial(of: u64, share: f64, rng: &mut impl Rng) -> u64 {
    if of == 0 || share <= 0.0 {
        return 0;
    }
    match Binomial::new(of, share.min(1.0)) {
        Ok(chance) => chance.sample(rng).min(of),
        // NaN is no chance.
        Err(_) => 0,
    }
}

/// Deals so many out by shares that are one in sum; the last share takes what rounding leaves.
pub(super) fn deal(
    mut of: u64,
    shares: impl IntoIterator<Item = f64, IntoIter: ExactSizeIterator>,
    rng: &mut impl Rng,
) -> Vec<u64> {
    let shares = shares.into_iter();
    let mut left = 1.0;
    let mut dealt = vec![0; shares.len()];
    let mut places = dealt.iter_mut();
    for share in shares {
        let Some(place) = places.next().filter(|_| of > 0) else { break };
        let last = places.len() == 0;
        *place = if last { of } else { binomial(of, if left > 0.0 { share / left } else { 1.0 }, rng) };
        of -= *place;
        left -= share;
    }
    dealt
}

/// How many come, when so many are expected.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a draw of it is whole and not negative")]
pub(super) fn poisson(mean: f64, rng: &mut impl Rng) -> u64 {
    Poisson::new(mean).map_or(0, |chance| chance.sample(rng) as u64)
}

/// As a number for shares.
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
