//! Whether a canary is worse: a function from what was measured to a verdict.

pub mod policy;
pub mod sample;
pub mod verdict;

pub use policy::Policy;
pub use sample::{Log, Sample};
pub use verdict::{Decision, Verdict};
