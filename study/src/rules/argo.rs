//! Argo Rollouts: a measurement a minute; more failed ones than the limit, or five errors in a row, end the rollout.

use super::{Answer, Metric, Minutes, Stepwise, Watch};
use crate::stream::Bucket;

/// Argo Rollouts' rule.
#[derive(Clone, Copy, Debug)]
pub struct Argo {
    /// What is measured.
    pub metric: Metric,
    /// The greatest number that succeeds.
    pub max: f64,
    /// How many measurements may fail; zero is what it does unless told otherwise.
    pub failure_limit: u32,
}

/// Measurements without an answer that may follow one another.
const CONSECUTIVE_ERROR_LIMIT: u32 = 4;

impl Stepwise for Argo {
    fn name(&self) -> String {
        format!("Argo Rollouts, failureLimit {}", self.failure_limit)
    }

    fn begin(&self) -> Box<dyn Watch> {
        Box::new(Watching { rule: *self, minutes: Minutes::default(), failed: 0, errors: 0 })
    }
}

struct Watching {
    rule: Argo,
    minutes: Minutes,
    failed: u32,
    errors: u32,
}

impl Watch for Watching {
    fn look(&mut self, bucket: &Bucket) -> Answer {
        let Some(minute) = self.minutes.add(bucket) else { return Answer::GoOn };
        match self.rule.metric.of(&minute.canary) {
            Some(value) => {
                self.errors = 0;
                self.failed += u32::from(value > self.rule.max);
            }
            None => self.errors += 1,
        }
        if self.failed > self.rule.failure_limit || self.errors > CONSECUTIVE_ERROR_LIMIT {
            Answer::Worse
        } else {
            Answer::GoOn
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{minutes, play};

    #[test]
    fn the_first_breach_aborts_unless_some_are_allowed() {
        let canary: Vec<(u32, u32)> = (0..30).map(|minute| (100, if minute % 3 == 2 { 2 } else { 0 })).collect();
        let rule = |failure_limit| Argo { metric: Metric::ErrorRatio, max: 0.01, failure_limit };
        assert_eq!(play(&rule(0), &minutes(&canary, &canary)), Some(3));
        assert_eq!(play(&rule(2), &minutes(&canary, &canary)), Some(9));
    }

    #[test]
    fn the_fifth_measurement_without_an_answer_aborts() {
        let rule = Argo { metric: Metric::ErrorRatio, max: 0.01, failure_limit: 0 };
        assert_eq!(play(&rule, &minutes(&[(0, 0); 30], &[(100, 0); 30])), Some(5));
        let canary: Vec<(u32, u32)> = (0..30).map(|minute| (if minute % 5 == 4 { 100 } else { 0 }, 0)).collect();
        assert_eq!(play(&rule, &minutes(&canary, &canary)), None, "one answer in between is enough");
    }
}
