//! The copy of the primary that the canary is compared with: it lives as long as the analysis, and takes part from the
//! moment that it serves.

use crate::desired::{BaselineAction, Desired, Intent};
use crate::readiness::Readiness;
use crate::spec::Strategy;
use crate::state::Run;

use super::Pass;

impl Pass<'_> {
    /// Says what should be true of the baseline beside what `desired` says of all else.
    pub(super) fn with_baseline(&mut self, desired: &mut Desired) {
        let compares = self.compares_with_baseline() && self.seen.target.is_some();
        let beside = self.state.applied.as_ref().filter(|_| compares).map(|applied| applied.id.clone());
        if beside.is_none() {
            self.state.baseline = None;
        }
        desired.intent = Intent::of(self.spec, &self.state);
        if desired.intent.baseline_weight != Intent::of(self.spec, self.former).baseline_weight {
            self.memory.matched_since = None;
            self.memory.matched = None;
        }
        desired.baseline = if let Some(beside) = beside {
            BaselineAction::Run { beside }
        } else if self.seen.baseline.is_some() {
            self.remove_baseline()
        } else {
            BaselineAction::Keep
        };
    }

    /// Its users first, its pods when they have gone.
    fn remove_baseline(&mut self) -> BaselineAction {
        match self.drained_at() {
            Some(at) if at <= self.now => BaselineAction::Remove,
            Some(at) => {
                self.wake_at(at);
                BaselineAction::Keep
            }
            None => BaselineAction::Keep,
        }
    }

    /// A primary that is broken is nothing to compare with.
    fn compares_with_baseline(&self) -> bool {
        self.spec.runs_baseline() && self.state.stage.analyses() && !self.primary_broken()
    }

    /// True when the analysis has to wait for the baseline, with the reason. It joins when all of its pods are ready, and
    /// leaves when none serves: users must not be sent to pods that are not there for the sake of a comparison.
    pub(super) fn awaits_baseline(&mut self, run: Run) -> bool {
        if !self.compares_with_baseline() {
            return self.leave_baseline(run);
        }
        let name = self.spec.baseline_name();
        let Some(seen) = &self.seen.baseline else {
            self.leave_baseline(run);
            self.wait("BaselineCreating", format!("{name}, a copy of the primary to compare with, is being created"));
            return true;
        };
        let why = match &seen.readiness {
            Readiness::Ready if self.state.baseline.as_ref() == Some(&seen.cost) => return false,
            Readiness::Ready => {
                let joins = self.state.baseline.is_none();
                self.state.baseline = Some(seen.cost.clone());
                if joins {
                    let minutes = self.minutes_left(run);
                    self.event(
                        false,
                        format!("Baseline {name} is ready, it costs {} for at least {minutes} min", seen.cost),
                    );
                    // It is no look, and so no part of the record: pods are not on record.
                    self.wait("BaselineJoining", format!("{name} takes part from now on"));
                }
                return joins;
            }
            Readiness::NotYet(why) => why.clone(),
            Readiness::ScaledToZero => "it is scaled to zero".into(),
            Readiness::Stuck(why) => format!("{why}; mend it, or write baseline: Primary to go on without it"),
        };
        if !seen.serves {
            self.leave_baseline(run);
        }
        let stuck = matches!(seen.readiness, Readiness::Stuck(_));
        let message = format!("{name}, a copy of the primary to compare with, is not ready: {why}");
        if stuck {
            self.wait_told("BaselineNotReady", message);
        } else {
            self.wait_for_pods("BaselineNotReady", message);
        }
        true
    }

    /// True when its users have to go to the primary first.
    fn leave_baseline(&mut self, run: Run) -> bool {
        self.state.baseline.take().is_some() && self.shares_anew(run)
    }

    /// True when the traffic is shared among others than before.
    fn shares_anew(&mut self, run: Run) -> bool {
        if run.weight == 0 {
            return false;
        }
        self.wait("TrafficShifting", "the traffic is shared anew among primary, canary and baseline".into());
        true
    }

    /// How long the analysis takes at least, if nothing holds it.
    fn minutes_left(&self, run: Run) -> u64 {
        let steps = match &self.spec.strategy {
            Strategy::Canary { weights, .. } => weights.iter().filter(|weight| **weight > run.weight).count(),
            Strategy::AbTesting { .. } | Strategy::BlueGreen { .. } => 0,
        };
        let seconds = self.spec.interval.as_secs().saturating_mul(steps as u64 + u64::from(run.weight > 0));
        seconds.div_ceil(60).max(1)
    }
}
