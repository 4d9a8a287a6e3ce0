//! Whole rollouts in a simulated cluster, with the real controller.

mod chaos;
mod fleet;
mod golden;
mod kills;
mod records;
