//! The ways out: rollback, and giving the target back when the Canary is deleted.

use crate::desired::{Desired, FinalizerAction, ScaleAction};
use crate::effect::Owed;
use crate::readiness::Readiness;
use crate::spec::Severity;
use crate::state::Stage;

use super::{Flow, Pass};

impl Pass<'_> {
    /// Takes the revision back: traffic first, then, when it has drained, the pods.
    pub(super) fn roll_back(&mut self, event: String, severity: Severity, alert: String) -> Desired {
        let run = self.state.stage.run().unwrap_or_default();
        // After a failed promotion there is no working primary to go back to.
        let weight = if run.weight == 100 && self.primary_broken() { 100 } else { 0 };
        self.enter(Stage::Failed { weight, failed_checks: run.failed_checks });
        self.owe_git(&alert);
        self.event(true, event);
        self.alert(severity, false, alert);
        if weight == 0 {
            self.event(true, format!("Canary failed! Scaling down {}", self.canary()));
            self.owe(Owed::ScaleDown);
        }
        self.end(false);
        self.wait_for_traffic(weight);
        Desired::steady(&self.state)
    }

    pub(super) fn roll_back_by_hook(&mut self) -> Desired {
        let event = format!("Rolling back {} manual webhook invoked", self.canary());
        self.roll_back(event, Severity::Warn, "Rolling back manual webhook invoked".into())
    }

    /// The Canary is being deleted. Without our finalizer there is nothing to do: garbage collection takes all
    /// that the Canary owns.
    pub(super) fn terminate(&mut self) -> Flow {
        if !self.seen.finalizer {
            return Ok(Desired::untouched(&self.state));
        }
        if !self.spec.revert_on_deletion && self.state.git.is_some() {
            // The finalizer is there for a hold alone.
            let finalizer = if self.holds() { FinalizerAction::Keep } else { FinalizerAction::Remove };
            return Ok(Desired { finalizer, ..Desired::untouched(&self.state) });
        }
        if self.state.stage != Stage::Terminating {
            self.enter(Stage::Terminating);
            self.event(false, format!("Terminating canary {}", self.canary()));
        }
        let desired = Desired::untouched(&self.state);
        let Some(target) = &self.seen.target else {
            // Nothing is left to be given back.
            self.event(false, format!("Terminated canary {}", self.canary()));
            return Ok(Desired { finalizer: FinalizerAction::Remove, ..desired });
        };
        let name = &self.spec.target.name;
        let desired = Desired { target: ScaleAction::Up, ..desired };
        match &target.readiness {
            Readiness::Ready => {}
            Readiness::NotYet(why) => {
                self.wait_for_pods("TargetNotReady", format!("{name} must serve before its primary goes: {why}"));
                return Ok(desired);
            }
            Readiness::Stuck(why) => {
                self.wait_told(
                    "TargetNotReady",
                    format!("{name} must serve before its primary goes: {why}; mend it, or take the finalizer off"),
                );
                return Ok(desired);
            }
            Readiness::ScaledToZero => {
                self.wait("TargetScalingUp", format!("{name} is being scaled up"));
                return Ok(desired);
            }
        }
        let desired = Desired { revert: true, ..desired };
        if self.seen.apex {
            self.memory.matched_since = None;
            self.wait("Reverting", format!("Service {} is being given back", self.spec.service_name));
            return Ok(desired);
        }
        let since = *self.memory.matched_since.get_or_insert(self.now);
        let drained = self.after(since, self.settings.drain);
        if drained > self.now {
            self.wait("Draining", format!("open requests to {} may end", self.spec.primary_name()));
            self.wake_at(drained);
            return Ok(desired);
        }
        self.event(false, format!("Terminated canary {}", self.canary()));
        Ok(Desired { finalizer: FinalizerAction::Remove, ..desired })
    }
}
