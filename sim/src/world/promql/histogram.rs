//! Quantiles of classic histograms.

use std::collections::BTreeMap;

use super::super::series::{Labels, NAME};
use super::Sample;

/// Buckets whose counts differ by less than this part are taken as equal: sums of floats are not exact.
const NEGLIGIBLE: f64 = 1e-12;

/// The quantile of each histogram, a histogram being the series that differ in `le` alone.
pub(super) fn quantile(q: f64, samples: Vec<Sample>) -> Vec<Sample> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in samples {
        let Some(bound) = bound(sample.labels.get("le")) else { continue };
        histograms.entry(sample.labels.without(&[NAME, "le"])).or_default().push((bound, sample.value));
    }
    histograms.into_iter().map(|(labels, buckets)| Sample { labels, value: of_buckets(q, buckets) }).collect()
}

/// As an exposition writes the bound of a bucket.
fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" | "inf" | "+inf" => Some(f64::INFINITY),
        other => other.parse().ok(),
    }
}

/// Of bounds and the counts up to them. Within a bucket the values are taken as evenly spread.
fn of_buckets(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
    if buckets.last().is_none_or(|last| last.0 != f64::INFINITY) {
        return f64::NAN;
    }
    let mut merged: Vec<(f64, f64)> = Vec::with_capacity(buckets.len());
    for (bound, count) in buckets {
        match merged.last_mut() {
            Some(last) if last.0 == bound => last.1 += count,
            Some(_) | None => merged.push((bound, count)),
        }
    }
    let mut least = merged[0].1;
    for (_, count) in &mut merged {
        if *count < least || nearly(*count, least) {
            *count = least;
        }
        least = *count;
    }
    let (last, total) = (merged.len() - 1, merged[merged.len() - 1].1);
    if last == 0 || total == 0.0 {
        return f64::NAN;
    }
    let rank = q * total;
    // NaN is below nothing, so a histogram of NaN ends in the last bucket, as Prometheus has it.
    let found = merged[..last].iter().position(|(_, count)| *count >= rank).unwrap_or(last);
    if found == last {
        return merged[last - 1].0;
    }
    let (end, count) = merged[found];
    if found == 0 {
        return if end <= 0.0 { end } else { end * (rank / count) };
    }
    let (start, before) = merged[found - 1];
    start + (end - start) * ((rank - before) / (count - before))
}

fn nearly(left: f64, right: f64) -> bool {
    if left == right {
        return true;
    }
    if left == 0.0 || right == 0.0 {
        return false;
    }
    (left - right).abs() / (left.abs() + right.abs()).min(f64::MAX) < NEGLIGIBLE
}
