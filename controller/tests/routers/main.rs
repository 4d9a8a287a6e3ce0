//! Routers by YAML in, YAML out: no client, no cluster.

mod errors;
mod fixtures;
mod golden;
mod observed;
mod support;
