//! Whether the pods of a workload serve.

/// Whether the pods of a workload serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Enough updated pods are available.
    Ready,
    /// Not yet; with what is missing.
    NotYet(String),
    /// Not within its deadline; with what is missing.
    Stuck(String),
    /// It is scaled to zero.
    ScaledToZero,
}
