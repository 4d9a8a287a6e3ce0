//! What may go on around a rollout without the new version being to blame.

use std::fmt;

/// A kind of weather. In each of them, the arms of a good release answer alike but for chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// Every request fails on its own.
    Independent,
    /// The error ratio of all arms wanders together, by a factor of about 1.6 either way within minutes.
    SharedDrift,
    /// Errors come in bursts of five on average, in each arm at its own times, while the ratio wanders.
    Clumped,
    /// Traffic swings by 60 % over an hour, and errors rise with the load.
    Diurnal,
    /// Every pod has an error ratio of its own (20 % apart), so that the arms differ a little for good.
    UnequalPods,
    /// Young pods fail more at each step, and now and then a pod of some arm restarts and fails a fifth of its requests.
    RestartSpike,
}

impl Scenario {
    /// All of them, in the order of the tables.
    pub const ALL: [Scenario; 6] = [
        Scenario::Independent,
        Scenario::SharedDrift,
        Scenario::Clumped,
        Scenario::Diurnal,
        Scenario::UnequalPods,
        Scenario::RestartSpike,
    ];

    /// The name in tables and file names.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Independent => "independent",
            Scenario::SharedDrift => "shared drift",
            Scenario::Clumped => "clumped",
            Scenario::Diurnal => "diurnal",
            Scenario::UnequalPods => "unequal pods",
            Scenario::RestartSpike => "restart spike",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
