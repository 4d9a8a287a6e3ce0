//! What should happen: the pure core of Serin. It has no clock, no randomness, no async and no client: `now` and
//! what was seen are arguments, and the same arguments give the same answer.
//!
//! A Canary that is seen for the first time gets its primary:
//!
//! ```
//! use rollout::desired::PrimaryAction;
//! use rollout::spec::{Defaults, RouterAbility};
//! use rollout::{Answers, Input, Memory, Observation, Outcome, Readiness, Revision, Settings, State, TargetSeen, Traffic};
//!
//! let canary = rollout::parse::from_value(&serde_json::json!({
//!     "apiVersion": "flagger.app/v1beta1",
//!     "kind": "Canary",
//!     "metadata": {"name": "shop", "namespace": "eve"},
//!     "spec": {
//!         "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
//!         "service": {"port": 80},
//!         "analysis": {"interval": "1m", "threshold": 5, "stepWeight": 10, "maxWeight": 50},
//!     },
//! }))
//! .unwrap();
//! let router =
//!     RouterAbility { name: "traefik", weights: true, matches: false, mirror: false, affinity: false, baseline: false };
//! let second = std::time::Duration::from_secs(1);
//! let defaults =
//!     Defaults { provider: "traefik", routers: &[router], min_interval: 10 * second, no_cross_namespace_refs: false };
//! let spec = rollout::parse::parse(&canary, &defaults).unwrap();
//!
//! let target = TargetSeen {
//!     revision: Revision { id: "1f0c".into(), spec: "77ab".into(), configs: Default::default() },
//!     scaled_down: false,
//!     readiness: Readiness::Ready,
//!     matches_primary: false,
//!     source: None,
//! };
//! let seen = Observation {
//!     uid: "6ec5".into(),
//!     namespace: "eve".into(),
//!     name: "shop".into(),
//!     generation: 1,
//!     deleting: false,
//!     finalizer: false,
//!     command: None,
//!     target: Some(target),
//!     primary: None,
//!     baseline: None,
//!     apex: false,
//!     traffic: Traffic::Missing,
//!     deployer: None,
//!     problems: Vec::new(),
//! };
//! let outcome = rollout::step(Input {
//!     spec: &spec,
//!     state: &State::default(),
//!     seen: &seen,
//!     memory: &Memory::default(),
//!     answers: &Answers::default(),
//!     settings: &Settings { drain: 5 * second, settle: 3 * second, global_notifier: false },
//!     now: "2026-03-01T12:00:00Z".parse().unwrap(),
//! });
//! let Outcome::Step(step) = outcome else { panic!("nothing has to be asked yet") };
//! assert_eq!(step.state.to_status().phase.as_str(), "Initializing");
//! assert_eq!(step.desired.primary, PrimaryAction::Create);
//! assert_eq!(step.waiting[0].message, "shop-primary is being created");
//! ```

mod cookie;
pub mod desired;
pub mod effect;
pub mod evidence;
pub mod forecast;
pub mod log;
pub mod observation;
pub mod parse;
mod plan;
pub mod readiness;
pub mod reading;
pub mod replay;
pub mod report;
pub mod revision;
pub mod spec;
pub mod state;
pub mod step;
pub mod times;

pub use desired::Desired;
pub use effect::{Effect, Owed};
pub use observation::{
    Answers, Applied, Ask, BaselineSeen, Command, DeployerSeen, GitOutcome, History, Memory, Observation, PrimarySeen,
    Settings, SourceSeen, TargetSeen, Traffic,
};
pub use readiness::Readiness;
pub use reading::{HookAnswer, Measured, Reading};
pub use spec::Spec;
pub use state::{Cookies, Revision, Run, Stage, State};
pub use step::{Input, Outcome, Step, step};
pub use times::Times;
