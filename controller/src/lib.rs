//! Makes it happen: watches, asks, writes, tells. The deciding is in `rollout`.

pub mod notifiers;
pub mod objects;
pub mod providers;
pub mod routers;
pub mod webhooks;
pub mod workloads;
