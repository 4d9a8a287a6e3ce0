//! Makes it happen: watches, asks, writes, tells. The deciding is in `rollout`.

pub mod http;
#[cfg(test)]
mod loopback;
pub mod notifiers;
pub mod objects;
pub mod providers;
pub mod routers;
#[cfg(test)]
mod spec_fixture;
pub mod webhooks;
pub mod workloads;
