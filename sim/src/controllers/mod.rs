//! The small controller set of the simulated cluster: what turns Deployments into pods that run, and tells of it.
//!
//! Each controller is a function from objects and a time to writes. The desk decides which of them looks at what; nothing here
//! knows a clock or draws lots, so a run can be had twice alike.

mod autoscaler;
mod behaviour;
mod daemon_set;
mod deployment;
mod desk;
mod endpoint_slices;
mod kubelet;
mod object;
mod placement;
mod pods;
mod replica_set;
mod routes;
mod run;
#[cfg(test)]
mod tests;
mod view;
mod write;

pub use self::{
    behaviour::{Behaviour, Life, WellBehaved},
    run::{Controllers, make_nodes},
};
