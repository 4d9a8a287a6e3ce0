//! One file per experiment: what is played, and what is said of it.

mod detection;
mod false_alarms;
mod family;
mod field;
mod harm;
mod low_traffic;
mod promotion;
mod real;
mod speed;

use std::path::PathBuf;

use crate::report::Report;

/// What all experiments share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The seed all rollouts follow from.
    pub seed: u64,
    /// The part of the rollouts that is played; one for the figures that are published, less for a first look.
    pub part: f64,
    /// Where tables and plots go.
    pub folder: PathBuf,
}

impl Settings {
    /// How many of `full` rollouts are played; never fewer than fifty.
    fn rollouts(&self, full: u64) -> u64 {
        ((full as f64 * self.part) as u64).max(50)
    }

    /// The command that makes a report again.
    fn command(&self, name: &str) -> String {
        let part = if self.part == 1.0 { String::new() } else { format!(" --part {}", self.part) };
        format!("cargo run --profile study -p study -- {name} --seed {}{part}", self.seed)
    }
}

/// An experiment: its subcommand, what it is about, and what does it.
pub type Experiment = (&'static str, &'static str, fn(&Settings) -> anyhow::Result<Report>);

/// All experiments, in the order of the bars.
pub const ALL: &[Experiment] = &[
    ("false-alarms", "How often good releases are taken back", false_alarms::run),
    ("detection", "How soon bad releases are taken back", detection::run),
    ("harm", "How many requests fail before a bad release is taken back", harm::run),
    ("low-traffic", "One request a second", low_traffic::run),
    ("promotion", "How often a bad release is let through", promotion::run),
    ("family", "Twenty metrics at once", family::run),
    ("real", "Real incidents", real::run),
    ("speed", "How long it takes", speed::run),
];

const RATES: [f64; 4] = [60.0, 600.0, 6_000.0, 60_000.0];
