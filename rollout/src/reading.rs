//! What metrics and hooks answered.

use std::time::Duration;

use jiff::Timestamp;

/// The answer of a metrics server to one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A finite number, in the metric's own unit.
    Value(f64),
    /// How many requests took at most so long: rising edges in the metric's own unit, the last one infinite. Only where a
    /// histogram was asked for.
    Buckets(Vec<(f64, f64)>),
    /// The server answered that it knows no such series, or none with a number.
    NoValue,
    /// The server could not be asked: unreachable, overloaded, timed out, or not letting us in. With the mend.
    Unavailable(String),
    /// The answer is older than the window of the query.
    Stale {
        /// Age of the sample.
        age: Duration,
        /// Window of the query.
        window: Duration,
    },
    /// The query, the template or its answer cannot be used; the user must mend it.
    Invalid(String),
}

/// The answer to the question behind a metric, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Name of the metric.
    pub metric: String,
    /// What was answered.
    pub reading: Reading,
    /// What was asked, in the provider's language; `None` when no question could be made.
    pub query: Option<String>,
    /// When it was asked.
    pub asked: Timestamp,
    /// Window of the query; a value is never older.
    pub window: Duration,
}

/// The answer of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAnswer {
    /// Success.
    Yes,
    /// It answered no; with its reason, cut short.
    No(String),
    /// It could not be asked or broke down; with the reason.
    Failed(String),
}
