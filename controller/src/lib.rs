//! Makes it happen: watches, asks, writes, tells. The deciding is in `rollout`.

pub mod agent;
pub mod announce;
pub mod args;
pub mod assembly;
pub mod attribution;
pub mod cache;
#[cfg(test)]
mod cache_tests;
pub mod clock;
pub mod command;
pub mod configs;
pub mod connect;
pub mod context;
pub mod converge;
pub mod dashboard;
pub mod denial;
pub mod events;
#[cfg(test)]
mod fake;
pub mod forges;
pub mod gather;
pub mod git_rollback;
pub mod go_style;
pub mod http;
pub mod image;
pub mod leader;
#[cfg(test)]
mod loopback;
pub mod metrics;
pub mod notifiers;
pub mod objects;
pub mod observe;
pub mod opt_in;
pub mod outside;
mod ownership;
mod pointers;
pub mod problem;
pub mod providers;
pub mod queue;
pub mod reconcile;
#[cfg(test)]
mod reconcile_tests;
pub mod record;
#[cfg(test)]
mod record_tests;
pub mod rest;
pub mod rollout_view;
pub mod routers;
mod run;
mod schedule;
pub mod server;
#[cfg(test)]
mod spec_fixture;
mod store;
pub mod telemetry;
pub mod view;
mod watch;
pub mod webhooks;
pub mod workloads;
pub mod writer;
#[cfg(test)]
mod writer_tests;

pub use run::{arguments, lead, main, resources, run, settings};
pub use watch::Ownership;
