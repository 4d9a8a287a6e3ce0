//! Operators between two sides, and which series of one side belongs to which of the other.

use std::collections::{BTreeMap, BTreeSet};

use super::super::series::{Labels, NAME};
use super::evaluate::{distinct, misshapen};
use super::syntax::{Arithmetic, Binary, Comparison, Matching, Operator, SetOperator};
use super::{Answer, QueryError, Sample};

pub(super) fn apply(binary: &Binary, left: Answer, right: Answer) -> Result<Answer, QueryError> {
    match (left, right) {
        (Answer::Scalar(left), Answer::Scalar(right)) => {
            let (value, kept) = calculate(binary.operator, left, right);
            Ok(Answer::Scalar(if is_comparison(binary) { f64::from(u8::from(kept)) } else { value }))
        }
        (Answer::Vector(samples), Answer::Scalar(scalar)) => {
            with_scalar(binary, samples, |value| (calculate(binary.operator, value, scalar), value))
        }
        (Answer::Scalar(scalar), Answer::Vector(samples)) => {
            with_scalar(binary, samples, |value| (calculate(binary.operator, scalar, value), value))
        }
        (Answer::Vector(left), Answer::Vector(right)) => match binary.operator {
            Operator::Set(operator) => Ok(Answer::Vector(set(operator, &binary.matching, left, right))),
            Operator::Arithmetic(_) | Operator::Comparison(_) => pairs(binary, left, right).map(Answer::Vector),
        },
        (Answer::Matrix(_), _) | (_, Answer::Matrix(_)) => Err(misshapen()),
    }
}

fn is_comparison(binary: &Binary) -> bool {
    matches!(binary.operator, Operator::Comparison(_))
}

/// What comes out, and whether a comparison holds (true for all else).
fn calculate(operator: Operator, left: f64, right: f64) -> (f64, bool) {
    match operator {
        Operator::Arithmetic(operator) => {
            let value = match operator {
                Arithmetic::Add => left + right,
                Arithmetic::Subtract => left - right,
                Arithmetic::Multiply => left * right,
                Arithmetic::Divide => left / right,
                Arithmetic::Remainder => left % right,
                Arithmetic::Power => left.powf(right),
            };
            (value, true)
        }
        #[expect(clippy::float_cmp, reason = "PromQL compares exactly")]
        Operator::Comparison(operator) => {
            let holds = match operator {
                Comparison::Equal => left == right,
                Comparison::NotEqual => left != right,
                Comparison::Less => left < right,
                Comparison::LessOrEqual => left <= right,
                Comparison::Greater => left > right,
                Comparison::GreaterOrEqual => left >= right,
            };
            (left, holds)
        }
        Operator::Set(_) => (left, true),
    }
}

/// `calculated` gives what [`calculate`] does, and the value of the vector's side.
fn with_scalar(
    binary: &Binary,
    samples: Vec<Sample>,
    calculated: impl Fn(f64) -> ((f64, bool), f64),
) -> Result<Answer, QueryError> {
    let filters = is_comparison(binary) && !binary.returns_bool;
    let mut kept = Vec::with_capacity(samples.len());
    for sample in samples {
        let ((value, holds), own) = calculated(sample.value);
        if filters {
            if holds {
                kept.push(Sample { value: own, ..sample });
            }
            continue;
        }
        let value = if binary.returns_bool { f64::from(u8::from(holds)) } else { value };
        kept.push(Sample { labels: sample.labels.without(&[NAME]), value });
    }
    if filters { Ok(Answer::Vector(kept)) } else { distinct(kept).map(Answer::Vector) }
}

/// The labels by which two sides are matched.
fn signature(matching: &Matching, labels: &Labels) -> Labels {
    match matching {
        Matching::On(names) => labels.only(&names.iter().map(String::as_str).collect::<Vec<_>>()),
        Matching::Ignoring(names) => {
            labels.without(&names.iter().map(String::as_str).chain([NAME]).collect::<Vec<_>>())
        }
    }
}

/// One with one.
fn pairs(binary: &Binary, left: Vec<Sample>, right: Vec<Sample>) -> Result<Vec<Sample>, QueryError> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let mut others: BTreeMap<Labels, Sample> = BTreeMap::new();
    for sample in right {
        let signature = signature(&binary.matching, &sample.labels);
        if let Some(twin) = others.get(&signature) {
            let what = format!(
                "on the right hand-side {} and {} belong to the same group {signature}: matching labels must be unique",
                sample.labels, twin.labels
            );
            return Err(QueryError::Execution(what));
        }
        others.insert(signature, sample);
    }
    let mut taken = BTreeSet::new();
    let mut results = Vec::new();
    for sample in left {
        let signature = signature(&binary.matching, &sample.labels);
        let Some(other) = others.get(&signature) else { continue };
        let (value, holds) = calculate(binary.operator, sample.value, other.value);
        if !holds && !binary.returns_bool {
            continue;
        }
        let value = if binary.returns_bool { f64::from(u8::from(holds)) } else { value };
        let keeps_name = is_comparison(binary) && !binary.returns_bool;
        let labels = match &binary.matching {
            // Of an explicit match nothing else is left, also not the name.
            Matching::On(_) => signature.clone(),
            Matching::Ignoring(names) => {
                let mut gone: Vec<&str> = names.iter().map(String::as_str).collect();
                if !keeps_name {
                    gone.push(NAME);
                }
                sample.labels.without(&gone)
            }
        };
        if !taken.insert(signature) {
            let what =
                "several series of the left hand-side match one of the right: many-to-one matching is not supported";
            return Err(QueryError::Execution(what.into()));
        }
        results.push(Sample { labels, value });
    }
    Ok(results)
}

fn set(operator: SetOperator, matching: &Matching, left: Vec<Sample>, right: Vec<Sample>) -> Vec<Sample> {
    let signatures = |samples: &[Sample]| -> BTreeSet<Labels> {
        samples.iter().map(|sample| signature(matching, &sample.labels)).collect()
    };
    let both = |sample: &Sample, others: &BTreeSet<Labels>| others.contains(&signature(matching, &sample.labels));
    match operator {
        SetOperator::And => {
            let others = signatures(&right);
            left.into_iter().filter(|sample| both(sample, &others)).collect()
        }
        SetOperator::Unless => {
            let others = signatures(&right);
            left.into_iter().filter(|sample| !both(sample, &others)).collect()
        }
        SetOperator::Or => {
            let others = signatures(&left);
            let rest = right.into_iter().filter(|sample| !both(sample, &others));
            left.into_iter().chain(rest).collect()
        }
    }
}
