//! The Git agent in a cluster in memory, with repositories in memory and real ones.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod applying;
mod drift;
mod faults;
mod real;
mod rendering;
mod round;
mod whole;
mod world;
