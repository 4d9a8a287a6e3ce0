//! The end-to-end harness: a real Kubernetes, a real gateway, a real Prometheus, a real Git repository, and `serin run`
//! as a process beside them. Tests see what a user sees: what Git says, what the API server holds, what answers on the wire.
//!
//! `e2e/run` is the way in; `README.md` says what it needs and what each part is for.

pub mod audit;
pub mod canary;
pub mod cluster;
pub mod fake;
pub mod fleet;
pub mod forge;
pub mod gate;
pub mod git;
pub mod objects;
pub mod prometheus;
pub mod runner;
pub mod scene;
pub mod serin;
pub mod traffic;
pub mod wait;
pub mod way;
pub mod wire;
pub mod workload;

pub use canary::Observed;
pub use cluster::Cluster;
pub use forge::{Forge, ForgeRepository};
pub use gate::Gate;
pub use git::GitRepository;
pub use runner::{Test, main};
pub use scene::Scene;
pub use serin::{Serin, flagger};
pub use traffic::{Counts, Plan, Traffic};
pub use wait::{holds_for, wait_for};
pub use way::Way;
