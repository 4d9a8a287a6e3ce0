//! What tells one revision from another.
