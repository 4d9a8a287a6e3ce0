//! What should happen: the pure core of Serin. It has no clock, no randomness, no async and no client: `now` and
//! what was seen are arguments, and the same arguments give the same answer.

mod cookie;
pub mod desired;
pub mod effect;
pub mod observation;
pub mod parse;
pub mod readiness;
pub mod reading;
pub mod report;
pub mod revision;
pub mod spec;
pub mod state;
pub mod step;

pub use desired::Desired;
pub use effect::{Effect, Owed};
pub use observation::{Answers, Ask, Command, Memory, Observation, PrimarySeen, Settings, TargetSeen, Traffic};
pub use readiness::Readiness;
pub use reading::{HookAnswer, Reading};
pub use spec::Spec;
pub use state::{Cookies, Revision, Run, Stage, State};
pub use step::{Input, Outcome, Step, step};
