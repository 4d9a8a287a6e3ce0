//! Workloads: what the target and the primary are, and what the primary should be. Objects in, objects out.
