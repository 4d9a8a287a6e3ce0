//! A Kubernetes that fits in a process.
//!
//! [`Cluster`] is an API server in memory: a state machine without waiting, deterministic for the same clock, seed and
//! calls. Tests and actors of the same process – controllers, a kubelet, a world – call it directly; what is to talk to a
//! Kubernetes gets a real client or a real port. What it pretends and what not is in `ARCHITECTURE.md`.

mod access;
mod actions;
mod admission;
mod apply;
mod asked;
mod changes;
mod clock;
mod cluster;
pub mod controllers;
mod definitions;
mod documents;
mod faults;
mod foundation;
mod gc;
mod http;
mod ids;
mod jsonpath;
pub mod networking;
mod openapi;
mod patch;
mod path;
mod registry;
mod reviews;
mod schema;
mod selector;
mod service;
mod shape;
mod state;
mod status;
mod store;
mod table;
mod verbs;
mod views;
mod watching;
pub mod world;

pub use access::Attempt;
pub use admission::selector_matches;
pub use changes::Changes;
pub use clock::{Clock, ManualClock, RuntimeClock, SystemClock};
pub use cluster::Cluster;
pub use faults::{Call, Fault, Faults};
pub use registry::{Kind, kinds};
pub use status::Status;
pub use store::{Change, ChangeKind};
