//! Flagger: every minute a check fails if the number is above a threshold, or if there is none; the fifth failed check ends the
//! rollout. Failed checks are never forgotten.

use super::{Answer, Metric, Minutes, Stepwise, Watch};
use crate::stream::Bucket;

/// Flagger's rule.
#[derive(Clone, Copy, Debug)]
pub struct Flagger {
    /// What is checked.
    pub metric: Metric,
    /// The greatest number that passes.
    pub max: f64,
    /// How many failed checks end the rollout.
    pub threshold: u32,
}

impl Stepwise for Flagger {
    fn name(&self) -> String {
        match self.metric {
            Metric::ErrorRatio => format!("Flagger {} × over {:.2} %", self.threshold, self.max * 100.0),
            Metric::P99 => format!("Flagger {} × over {:.0} ms", self.threshold, self.max * 1000.0),
        }
    }

    fn begin(&self) -> Box<dyn Watch> {
        Box::new(Watching { rule: *self, minutes: Minutes::default(), failed: 0 })
    }
}

struct Watching {
    rule: Flagger,
    minutes: Minutes,
    failed: u32,
}

impl Watch for Watching {
    fn look(&mut self, bucket: &Bucket) -> Answer {
        let Some(minute) = self.minutes.add(bucket) else { return Answer::GoOn };
        if self.rule.metric.of(&minute.canary).is_none_or(|value| value > self.rule.max) {
            self.failed += 1;
        }
        if self.failed >= self.rule.threshold { Answer::Worse } else { Answer::GoOn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{minutes, play};

    const RULE: Flagger = Flagger { metric: Metric::ErrorRatio, max: 0.01, threshold: 5 };

    #[test]
    fn the_fifth_failed_check_ends_it_however_far_they_lie_apart() {
        // Every other minute at 2 %, which four passes between them do not heal.
        let canary: Vec<(u32, u32)> = (0..20).map(|minute| (100, if minute % 2 == 0 { 2 } else { 0 })).collect();
        assert_eq!(play(&RULE, &minutes(&canary, &canary)), Some(9));
    }

    #[test]
    fn at_the_threshold_it_passes_and_without_an_answer_it_fails() {
        assert_eq!(play(&RULE, &minutes(&[(100, 1); 30], &[(100, 1); 30])), None);
        assert_eq!(play(&RULE, &minutes(&[(0, 0); 30], &[(100, 1); 30])), Some(5));
    }
}
