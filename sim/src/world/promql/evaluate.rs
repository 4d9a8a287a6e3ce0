//! A tree at a point in time.

use super::super::series::{Labels, NAME, Point, Store, Wanted};
use super::syntax::{Expression, Function, Selector};
use super::{Answer, QueryError, Sample, aggregate, binary, functions};

/// How long a series lives on after its last point, in milliseconds.
const LOOK_BACK: i64 = 5 * 60_000;

pub(super) fn evaluate(expression: &Expression, store: &Store, at: i64) -> Result<Answer, QueryError> {
    Ok(match expression {
        Expression::Number(number) => Answer::Scalar(*number),
        Expression::Instant(selector) => Answer::Vector(instant(selector, store, at)),
        Expression::Range(selector, range) => {
            let own = |(labels, points): (&Labels, Vec<Point>)| (labels.clone(), points);
            Answer::Matrix(self::range(selector, *range, store, at).map(own).collect())
        }
        Expression::Negated(inner) => match evaluate(inner, store, at)? {
            Answer::Scalar(value) => Answer::Scalar(-value),
            Answer::Vector(samples) => Answer::Vector(unnamed(samples, |value| -value)?),
            Answer::Matrix(_) => return Err(misshapen()),
        },
        Expression::Binary(inner) => {
            let (left, right) = (evaluate(&inner.left, store, at)?, evaluate(&inner.right, store, at)?);
            binary::apply(inner, left, right)?
        }
        Expression::Aggregation(aggregation) => {
            let samples = vector(&aggregation.of, store, at)?;
            Answer::Vector(aggregate::apply(aggregation.operator, &aggregation.grouping, samples))
        }
        Expression::Call(function, arguments) => functions::call(*function, arguments, store, at)?,
    })
}

/// An argument that the parser made sure is a vector.
pub(super) fn vector(expression: &Expression, store: &Store, at: i64) -> Result<Vec<Sample>, QueryError> {
    match evaluate(expression, store, at)? {
        Answer::Vector(samples) => Ok(samples),
        Answer::Scalar(_) | Answer::Matrix(_) => Err(misshapen()),
    }
}

/// An argument that the parser made sure is a scalar.
pub(super) fn scalar(expression: &Expression, store: &Store, at: i64) -> Result<f64, QueryError> {
    match evaluate(expression, store, at)? {
        Answer::Scalar(value) => Ok(value),
        Answer::Vector(_) | Answer::Matrix(_) => Err(misshapen()),
    }
}

/// Each series with its points in the window, which is open on the left; series without any are left out.
pub(super) fn range<'a>(
    selector: &'a Selector,
    range: i64,
    store: &'a Store,
    at: i64,
) -> impl Iterator<Item = (&'a Labels, Vec<Point>)> {
    let end = at.saturating_sub(selector.offset);
    let start = end.saturating_sub(range);
    store.select(&selector.matchers).filter_map(move |(labels, points)| {
        let from = points.partition_point(|point| point.at <= start);
        let to = points.partition_point(|point| point.at <= end).max(from);
        let points: Vec<Point> = points[from..to].iter().filter(|point| !point.is_stale()).copied().collect();
        (!points.is_empty()).then_some((labels, points))
    })
}

/// The same without names. Prometheus refuses what can then no longer be told apart.
pub(super) fn unnamed(mut samples: Vec<Sample>, value: impl Fn(f64) -> f64) -> Result<Vec<Sample>, QueryError> {
    for sample in &mut samples {
        sample.labels = sample.labels.without(&[NAME]);
        sample.value = value(sample.value);
    }
    distinct(samples)
}

pub(super) fn distinct(samples: Vec<Sample>) -> Result<Vec<Sample>, QueryError> {
    let mut seen: Vec<&Labels> = samples.iter().map(|sample| &sample.labels).collect();
    seen.sort_unstable();
    if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        let what = format!("without their names two series have the same labels {}", pair[0]);
        return Err(QueryError::Execution(what));
    }
    Ok(samples)
}

/// What the parser lets through never ends here.
pub(super) fn misshapen() -> QueryError {
    QueryError::Execution("an argument has another type than its place needs".into())
}

/// Labels that the matchers of a selector fix, for the answer to what is absent.
pub(super) fn fixed(expression: &Expression) -> Labels {
    let Expression::Instant(selector) = expression else { return Labels::default() };
    let equal = selector.matchers.iter().filter_map(|matcher| match &matcher.wanted {
        Wanted::Equal(value) if matcher.label != NAME => Some((matcher.label.as_str(), value.as_str())),
        Wanted::Equal(_) | Wanted::NotEqual(_) | Wanted::Matches(_) | Wanted::MatchesNot(_) => None,
    });
    let once = |label: &str| selector.matchers.iter().filter(|matcher| matcher.label == label).count() == 1;
    Labels::new(equal.filter(|(label, _)| once(label)))
}

/// The range vector that a function of one is called with, its window, and the end of it.
pub(super) fn window(
    function: Function,
    arguments: &[Expression],
    at: i64,
) -> Result<(&Selector, i64, i64), QueryError> {
    match arguments.first() {
        Some(Expression::Range(selector, range)) => Ok((selector, *range, at.saturating_sub(selector.offset))),
        Some(
            Expression::Number(_)
            | Expression::Instant(_)
            | Expression::Negated(_)
            | Expression::Binary(_)
            | Expression::Aggregation(_)
            | Expression::Call(..),
        )
        | None => Err(QueryError::Execution(format!("{} has no range vector", function.name()))),
    }
}

fn instant(selector: &Selector, store: &Store, at: i64) -> Vec<Sample> {
    let at = at.saturating_sub(selector.offset);
    let last = |(labels, points): (&Labels, &[Point])| {
        let point = points.get(points.partition_point(|point| point.at <= at).checked_sub(1)?)?;
        let lives = point.at > at.saturating_sub(LOOK_BACK) && !point.is_stale();
        lives.then(|| Sample { labels: labels.clone(), value: point.value })
    };
    store.select(&selector.matchers).filter_map(last).collect()
}
