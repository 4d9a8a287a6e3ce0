//! The rules that are compared: each is shown the same buckets, one after the other, and answers after each of them.

mod argo;
mod flagger;
mod kayenta;
mod mann_whitney;
mod minutes;
mod pipecd;

pub use argo::Argo;
pub use flagger::Flagger;
pub use kayenta::Kayenta;
pub use minutes::{Metric, Minute, Minutes};
pub use pipecd::PipeCd;

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
    /// A rollout begins.
    fn begin(&self) -> Box<dyn Watch>;
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
                    let at = (minute as u32 * 6 + bucket + 1) * BUCKET_SECONDS;
                    let (canary, baseline) =
                        if bucket == 0 { (arm(*canary), arm(*baseline)) } else { Default::default() };
                    Bucket { at, weight: 50, canary, baseline, ..Bucket::default() }
                })
            })
            .collect()
    }

    /// The minute at which a rule takes the release back.
    pub(super) fn play(rule: &dyn Rule, buckets: &[Bucket]) -> Option<u32> {
        let mut watch = rule.begin();
        buckets.iter().find(|bucket| watch.look(bucket) == Answer::Worse).map(|bucket| bucket.at.div_ceil(60))
    }
}
