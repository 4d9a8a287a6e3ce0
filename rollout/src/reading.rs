//! What metrics and hooks answered.

use std::time::Duration;

/// The answer of a metrics server to one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A finite number, in the metric's own unit.
    Value(f64),
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
