//! What the judge is worth. Rollouts are made from seeds, every rule is shown the same ones, and what comes of it is written as
//! tables, plots and JSON, each figure with its 95 % interval. docs/statistics.md says what the figures mean.

pub mod experiments;
pub mod interval;
mod plot;
pub mod report;
pub mod rules;
pub mod stream;
pub mod tournament;
