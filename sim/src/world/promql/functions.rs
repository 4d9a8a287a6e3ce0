//! What each function does.

use super::super::series::{Labels, NAME, Point, Store};
use super::evaluate::{self, distinct, fixed, misshapen, range, scalar, unnamed, vector, window};
use super::histogram;
use super::syntax::{Expression, Function};
use super::{Answer, QueryError, Sample};

pub(super) fn call(function: Function, arguments: &[Expression], store: &Store, at: i64) -> Result<Answer, QueryError> {
    let vector_of = |index: usize| arguments.get(index).ok_or_else(misshapen).and_then(|of| vector(of, store, at));
    let scalar_of = |index: usize| arguments.get(index).ok_or_else(misshapen).and_then(|of| scalar(of, store, at));
    Ok(Answer::Vector(match function {
        Function::Rate
        | Function::Increase
        | Function::InstantRate
        | Function::Delta
        | Function::AverageOverTime
        | Function::SumOverTime
        | Function::MinimumOverTime
        | Function::MaximumOverTime
        | Function::CountOverTime
        | Function::LastOverTime => over_window(function, arguments, store, at)?,
        Function::HistogramQuantile => histogram::quantile(scalar_of(0)?, vector_of(1)?),
        Function::Absent => match vector_of(0)?.is_empty() {
            true => vec![Sample { labels: arguments.first().map(fixed).unwrap_or_default(), value: 1.0 }],
            false => Vec::new(),
        },
        Function::Clamp => {
            let (least, most) = (scalar_of(1)?, scalar_of(2)?);
            if most < least {
                Vec::new()
            } else {
                unnamed(vector_of(0)?, |value| at_least(at_most(value, most), least))?
            }
        }
        Function::ClampMinimum => {
            let least = scalar_of(1)?;
            unnamed(vector_of(0)?, |value| at_least(value, least))?
        }
        Function::ClampMaximum => {
            let most = scalar_of(1)?;
            unnamed(vector_of(0)?, |value| at_most(value, most))?
        }
        Function::Round => {
            // Prometheus multiplies by the inverse, which gives other last digits than dividing.
            let inverse = if arguments.len() > 1 { 1.0 / scalar_of(1)? } else { 1.0 };
            unnamed(vector_of(0)?, |value| (value * inverse + 0.5).floor() / inverse)?
        }
        Function::Absolute => unnamed(vector_of(0)?, f64::abs)?,
        Function::Ceiling => unnamed(vector_of(0)?, f64::ceil)?,
        Function::Floor => unnamed(vector_of(0)?, f64::floor)?,
        Function::Scalar => {
            let samples = vector_of(0)?;
            return Ok(Answer::Scalar(if samples.len() == 1 { samples[0].value } else { f64::NAN }));
        }
        Function::Vector => {
            vec![Sample { labels: Labels::default(), value: scalar_of(0)? }]
        }
        Function::Time => return Ok(Answer::Scalar(seconds(at))),
    }))
}

/// A sum that loses no small parts beside great ones, as Prometheus' (Neumaier).
pub(super) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        if next.is_infinite() {
            lost = 0.0;
        } else if sum.abs() >= value.abs() {
            lost += (sum - next) + value;
        } else {
            lost += (value - next) + sum;
        }
        sum = next;
    }
    if sum.is_infinite() { sum } else { sum + lost }
}

/// The smaller that is a number.
pub(super) fn minimum(left: f64, right: f64) -> f64 {
    if left > right || left.is_nan() { right } else { left }
}

/// The greater that is a number.
pub(super) fn maximum(left: f64, right: f64) -> f64 {
    if left < right || left.is_nan() { right } else { left }
}

fn over_window(
    function: Function,
    arguments: &[Expression],
    store: &Store,
    at: i64,
) -> Result<Vec<Sample>, QueryError> {
    let (selector, length, end) = window(function, arguments, at)?;
    let mut samples = Vec::new();
    for (labels, points) in range(selector, length, store, at) {
        let values = || points.iter().map(|point| point.value);
        let value = match function {
            Function::Rate => extrapolated(&points, length, end, true).map(|value| value / seconds(length)),
            Function::Increase => extrapolated(&points, length, end, true),
            Function::Delta => extrapolated(&points, length, end, false),
            Function::InstantRate => instant_rate(&points),
            Function::AverageOverTime => Some(sum(values()) / count(points.len())),
            Function::SumOverTime => Some(sum(values())),
            Function::MinimumOverTime => values().reduce(minimum),
            Function::MaximumOverTime => values().reduce(maximum),
            Function::CountOverTime => Some(count(points.len())),
            Function::LastOverTime => values().next_back(),
            Function::HistogramQuantile
            | Function::Absent
            | Function::Clamp
            | Function::ClampMinimum
            | Function::ClampMaximum
            | Function::Round
            | Function::Absolute
            | Function::Ceiling
            | Function::Floor
            | Function::Scalar
            | Function::Vector
            | Function::Time => return Err(evaluate::misshapen()),
        };
        let Some(value) = value else { continue };
        // It alone gives what was measured, not something made of it.
        let labels = if function == Function::LastOverTime { labels.clone() } else { labels.without(&[NAME]) };
        samples.push(Sample { labels, value });
    }
    distinct(samples)
}

/// How much a series grew over the whole window, of which the points cover a part: `None` for less than two points.
///
/// The growth between the first and the last point is stretched to the ends of the window where a point is as near
/// to them as points are to each other (and a tenth), else by half that distance; a counter was never below zero.
fn extrapolated(points: &[Point], length: i64, end: i64, counter: bool) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let mut growth = last.value - first.value;
    if counter {
        growth += points.windows(2).filter(|pair| pair[1].value < pair[0].value).map(|pair| pair[0].value).sum::<f64>();
    }
    let covered = seconds(last.at - first.at);
    let between = covered / count(points.len() - 1);
    let near = between * 1.1;
    let reach = |distance: f64| if distance >= near { between / 2.0 } else { distance };
    let mut before = reach(seconds(first.at - (end - length)));
    if counter && growth > 0.0 && first.value >= 0.0 {
        before = before.min(covered * (first.value / growth));
    }
    let after = reach(seconds(end - last.at));
    Some(growth * ((covered + before + after) / covered))
}

fn instant_rate(points: &[Point]) -> Option<f64> {
    let [.., before, last] = points else { return None };
    let growth = if last.value < before.value { last.value } else { last.value - before.value };
    Some(growth / seconds(last.at - before.at))
}

fn at_least(value: f64, least: f64) -> f64 {
    if value.is_nan() || least.is_nan() { f64::NAN } else { value.max(least) }
}

fn at_most(value: f64, most: f64) -> f64 {
    if value.is_nan() || most.is_nan() { f64::NAN } else { value.min(most) }
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 milliseconds")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a series has far less than 2^53 points")]
pub(super) fn count(of: usize) -> f64 {
    of as f64
}
