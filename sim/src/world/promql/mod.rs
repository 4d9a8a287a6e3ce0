//! The part of Prometheus' query language that rollouts are judged by: instant queries over counters, gauges and
//! classic histograms. What is left out is refused by name. The reasons are in `docs/adr/0011`.

mod aggregate;
mod binary;
mod evaluate;
mod functions;
mod histogram;
mod lexer;
mod parser;
mod syntax;

use super::series::{Labels, Point, Store};
use syntax::Expression;

/// A query that was understood.
#[derive(Clone, Debug)]
pub struct Query(Expression);

impl Query {
    /// Reads a query. Errors say where and what.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        parser::parse(text).map(Query)
    }

    /// The answer at that time, in milliseconds since 1970. Errors are those that Prometheus has at this point too,
    /// as for series that cannot be paired.
    pub fn at(&self, store: &Store, at: i64) -> Result<Answer, QueryError> {
        evaluate::evaluate(&self.0, store, at)
    }
}

/// What a query gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number without labels.
    Scalar(f64),
    /// One number per series, all of the time of the query.
    Vector(Vec<Sample>),
    /// The points in a range, per series.
    Matrix(Vec<(Labels, Vec<Point>)>),
}

/// One element of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Of which series.
    pub labels: Labels,
    /// How much.
    pub value: f64,
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is no PromQL.
    #[error("parsing the query at character {at}: {what}")]
    Syntax {
        /// Characters before the place.
        at: usize,
        /// What is wrong there.
        what: String,
    },
    /// It is PromQL that is not spoken here.
    #[error("{0} is not supported by this metrics server: it knows what rollouts use of PromQL")]
    Unsupported(String),
    /// It was understood, but these series have no answer.
    #[error("evaluating the query: {0}")]
    Execution(String),
}

#[cfg(test)]
mod tests;
