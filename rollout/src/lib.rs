//! What should happen: the pure core of Serin. It has no clock, no randomness, no async and no client.

pub mod parse;
pub mod spec;
