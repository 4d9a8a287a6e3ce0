//! A cluster that fits in a test.

pub mod world;
