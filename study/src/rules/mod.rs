//! The rules that are compared: each is shown the same buckets, one after the other, and answers after each of them.

mod argo;
mod flagger;
mod kayenta;
mod mann_whitney;
mod minutes;
mod pipecd;
mod serin;

pub use argo::Argo;
pub use flagger::Flagger;
pub use kayenta::Kayenta;
pub use minutes::{Metric, Minute, Minutes};
pub use pipecd::PipeCd;
pub use serin::{Serin, answer, needs_seconds};

use crate::stream::Bucket;

/// What a rule makes of all it has seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is decided.
    GoOn,
    /// The release is taken back.
    Worse,
    /// The release may go on to everybody.
    NotWorse,
}

/// A rule with its settings.
pub trait Rule {
    /// The name in tables, with the settings that matter.
    fn name(&self) -> String;
    /// What it says first of a rollout, and at which second; none if nothing within it.
    fn play(&self, buckets: &[Bucket]) -> Option<(Answer, i32)>;
}

/// A rule that looks at one bucket after the other.
pub trait Stepwise {
    /// The name in tables, with the settings that matter.
    fn name(&self) -> String;
    /// A rollout begins.
    fn begin(&self) -> Box<dyn Watch>;
}

impl<R: Stepwise> Rule for R {
    fn name(&self) -> String {
        Stepwise::name(self)
    }

    fn play(&self, buckets: &[Bucket]) -> Option<(Answer, i32)> {
        let mut watch = self.begin();
        buckets.iter().map(|bucket| (watch.look(bucket), bucket.at)).find(|(answer, _)| *answer != Answer::GoOn)
    }
}

/// A rule during one rollout.
pub trait Watch {
    /// The next bucket has ended.
    fn look(&mut self, bucket: &Bucket) -> Answer;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Arm, BUCKET_SECONDS};

    /// A rollout from what each minute had: (requests, errors) of the canary and of the baseline, all in its first bucket.
    pub(super) fn minutes(canary: &[(u32, u32)], baseline: &[(u32, u32)]) -> Vec<Bucket> {
        let arm = |(requests, errors): (u32, u32)| Arm { requests, errors, ..Arm::default() };
        let minutes = canary.iter().zip(baseline).enumerate();
        minutes
            .flat_map(|(minute, (canary, baseline))| {
                (0..6).map(move |bucket| {
                    let at = (minute as i32 * 6 + bucket + 1) * BUCKET_SECONDS;
                    let (canary, baseline) =
                        if bucket == 0 { (arm(*canary), arm(*baseline)) } else { Default::default() };
                    Bucket { at, weight: 50, canary, baseline, ..Bucket::default() }
                })
            })
            .collect()
    }

    /// The minute at which a rule takes the release back.
    pub(super) fn play(rule: &dyn Rule, buckets: &[Bucket]) -> Option<u32> {
        rule.play(buckets).filter(|(answer, _)| *answer == Answer::Worse).map(|(_, at)| (at / 60) as u32)
    }
}
