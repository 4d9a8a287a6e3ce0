//! Many series into one per group.

use std::collections::BTreeMap;

use super::super::series::{Labels, NAME};
use super::Sample;
use super::functions::{count, maximum, minimum, sum};
use super::syntax::{Aggregate, Grouping};

pub(super) fn apply(operator: Aggregate, grouping: &Grouping, samples: Vec<Sample>) -> Vec<Sample> {
    let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    let names: Vec<&str> = match grouping {
        Grouping::By(names) => names.iter().map(String::as_str).collect(),
        Grouping::Without(names) => names.iter().map(String::as_str).chain([NAME]).collect(),
    };
    for sample in samples {
        let group = match grouping {
            Grouping::By(_) => sample.labels.only(&names),
            Grouping::Without(_) => sample.labels.without(&names),
        };
        groups.entry(group).or_default().push(sample.value);
    }
    let of_group = |values: Vec<f64>| match operator {
        Aggregate::Sum => sum(values),
        Aggregate::Average => {
            let many = count(values.len());
            sum(values) / many
        }
        Aggregate::Minimum => values.into_iter().reduce(minimum).unwrap_or(f64::NAN),
        Aggregate::Maximum => values.into_iter().reduce(maximum).unwrap_or(f64::NAN),
        Aggregate::Count => count(values.len()),
    };
    groups.into_iter().map(|(labels, values)| Sample { labels, value: of_group(values) }).collect()
}
