//! What the tests of the core share: builders, one call of the machine, and a small world.

pub(crate) mod build;
pub(crate) mod look;
pub(crate) mod world;
