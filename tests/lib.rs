//! Has tests only: `cargo test -p scenarios`.
