//! The tests of the core, as one binary.

mod hazards;
mod model;
mod support;
mod table;
mod transcripts;
