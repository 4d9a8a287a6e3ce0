//! Whether a canary is worse: a function from what was measured to a verdict. It has no clock, no randomness, no async and
//! no client; the same log and the same policy give the same verdict, bit for bit, however often it was asked for.
//!
//! ```
//! use judge::policy::{Against, Direction, Effect, Measure, Method, Metric, Sequential, Weight};
//! use judge::sample::{Arm, Entry, Kind, Outcome, Sample, Series};
//! use judge::{Decision, Log, Policy};
//!
//! let twice = Effect::new(1.0, 0.0).unwrap();
//! let rule = Sequential::new(Measure::Errors, Direction::Higher, Against::Baseline, twice).unwrap();
//! let method = Method::Sequential(rule);
//! let errors = Metric { name: "errors".into(), weight: Weight::try_from(1.0).unwrap(), method };
//! let policy = Policy::new(vec![errors]).unwrap();
//!
//! let mut log = Log::default();
//! for minute in 0..20 {
//!     let (from, to) = (minute * 60_000, (minute + 1) * 60_000);
//!     for (arm, errors) in [(Arm::Canary, 40.0), (Arm::Baseline, 5.0)] {
//!         let series = Series { metric: "errors".into(), arm, kind: Kind::Counts, query: String::new() };
//!         let series = log.series(series);
//!         let outcome = Outcome::Counts { requests: 1000.0, errors };
//!         log.entries.push(Entry::Sample(Sample { series, from, to, asked: to, newest: Some(to), outcome }));
//!     }
//! }
//! assert!(matches!(judge::judge(&log, &policy).decision, Decision::Worse { .. }));
//! ```

mod answer;
mod burn;
mod compare;
mod decide;
mod events;
pub mod explain;
mod judge;
mod latency;
mod means;
pub mod plan;
pub mod policy;
pub mod ranks;
mod rate;
pub mod sample;
mod state;
mod values;
pub mod verdict;
mod wealth;

pub use crate::judge::{Judge, judge};
pub use policy::Policy;
pub use sample::{Log, Sample};
pub use verdict::{Decision, Verdict};
