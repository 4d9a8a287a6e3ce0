//! The promotion: the primary takes the analysed template, then the traffic, then the canary goes.

use crate::desired::{Desired, PrimaryAction, ScaleAction};
use crate::effect::{Effect, Owed};
use crate::observation::{TargetSeen, Traffic};
use crate::readiness::Readiness;
use crate::spec::{Severity, Strategy};
use crate::state::{Promoted, Run, Stage};

use super::{Flow, Pass};

impl Pass<'_> {
    pub(super) fn promotion_writes(&mut self) -> Desired {
        self.wait("PrimaryUpdating", format!("{} is being updated", self.spec.primary_name()));
        Desired { primary: PrimaryAction::Promote, ..Desired::steady(&self.state) }
    }

    pub(super) fn promote(&mut self, weight: u8, target: &TargetSeen) -> Flow {
        let Some(applied) = self.state.applied.clone() else {
            // A status that names no revision cannot be promoted; analyse what is there.
            self.state.applied = Some(target.revision.clone());
            self.enter(Stage::Progressing(Run { weight, ..Run::default() }));
            return Ok(Desired::steady(&self.state));
        };
        let updated = self.state.promoted.as_ref().is_some_and(|promoted| promoted.id == applied.id)
            || self.seen.primary.as_ref().is_some_and(|primary| primary.revision.as_deref() == Some(&applied.id));
        if !updated {
            if target.revision.id == applied.id {
                return Ok(self.promotion_writes());
            }
            // The target moved on before the primary was touched: what it holds now was never analysed.
            return Ok(self.changed_under_way(Run { weight, ..Run::default() }, target));
        }
        if weight > 0 && target.scaled_down {
            return Ok(self.scale_up_again());
        }
        let primary_name = self.spec.primary_name();
        match self.seen.primary.as_ref().map(|primary| &primary.readiness) {
            Some(Readiness::Ready) => Ok(self.shift_back(weight)),
            Some(Readiness::NotYet(why)) => {
                self.wait_for_pods("PrimaryNotReady", format!("{primary_name} is not ready: {why}"));
                Ok(Desired::steady(&self.state))
            }
            Some(Readiness::ScaledToZero) => {
                self.wait("PrimaryNotReady", format!("{primary_name} is scaled to zero; scale it up"));
                Ok(Desired::steady(&self.state))
            }
            Some(Readiness::Stuck(why)) => {
                let why = why.clone();
                Ok(self.fail_promotion(&why))
            }
            None => {
                if target.revision.id == applied.id {
                    self.wait("PrimaryCreating", format!("{primary_name} was deleted and is being created anew"));
                    return Ok(Desired { primary: PrimaryAction::Create, ..Desired::steady(&self.state) });
                }
                self.wait("PrimaryMissing", format!("{primary_name} was deleted; put the promoted revision back"));
                Ok(Desired::steady(&self.state))
            }
        }
    }

    fn shift_back(&mut self, weight: u8) -> Desired {
        let step = match &self.spec.strategy {
            Strategy::Canary { promotion_step, .. } => *promotion_step,
            Strategy::AbTesting { .. } | Strategy::BlueGreen { .. } => None,
        };
        if let Some(step) = step
            && weight > 0
        {
            let Some(matched) = self.memory.matched_since else {
                self.wait_for_traffic(weight);
                return Desired::steady(&self.state);
            };
            let since = self.state.since.map_or(matched, |since| since.max(matched));
            let due = self.after(since, self.spec.interval);
            if due > self.now {
                let more = due.strftime("%H:%M:%S");
                self.wait("Soaking", format!("the primary has {} % of the traffic, more at {more} UTC", 100 - weight));
                self.wake_at(due);
                return Desired::steady(&self.state);
            }
            let weight = weight.saturating_sub(step);
            self.event(false, format!("Advance {} primary weight {}", self.canary(), 100 - weight));
            if weight > 0 {
                self.enter(Stage::Promoting { weight });
                self.wait_for_traffic(weight);
                self.wake_at(self.after(self.now, self.spec.interval));
                return Desired::steady(&self.state);
            }
        }
        self.enter(Stage::Finalising { reverted: false });
        self.event(false, "Routing all traffic to primary".into());
        self.wait_for_traffic(0);
        Desired::steady(&self.state)
    }

    fn remember_promoted(&mut self) {
        self.state.promoted = self.state.applied.as_ref().map(Promoted::from);
    }

    /// The primary broke while it took the new template. The canary runs the same revision and is ready: it gets
    /// all traffic and is kept.
    fn fail_promotion(&mut self, why: &str) -> Desired {
        let message = format!("Promotion failed, primary not ready: {why}");
        self.enter(Stage::Failed { weight: 100, failed_checks: 0 });
        self.remember_promoted();
        self.event(true, message.clone());
        self.event(true, "Routing all traffic to canary".into());
        self.alert(Severity::Error, false, message);
        self.end(false);
        self.wait_for_primary();
        Desired::steady(&self.state)
    }

    pub(super) fn finalise(&mut self, reverted: bool, target: &TargetSeen) -> Flow {
        if self.seen.traffic != (Traffic::Split { weight: 0, mirrored: false }) {
            self.wait_for_traffic(0);
            return Ok(Desired::steady(&self.state));
        }
        if !target.scaled_down {
            return Ok(match self.drained_at() {
                Some(at) if at > self.now => {
                    self.wait("Draining", format!("open requests to {} may end", self.spec.target.name));
                    self.wake_at(at);
                    Desired::steady(&self.state)
                }
                Some(_) | None => {
                    self.wait("CanaryScalingDown", format!("{} is being scaled to zero", self.spec.target.name));
                    Desired { target: ScaleAction::Down, ..Desired::steady(&self.state) }
                }
            });
        }
        self.remember_promoted();
        self.enter(Stage::Succeeded);
        if reverted {
            self.event(
                false,
                format!("Analysis of {} ended without promotion, its revision was taken back", self.canary()),
            );
            return Ok(Desired::steady(&self.state));
        }
        let skipped = self.spec.skip_analysis;
        if skipped {
            self.event(false, format!("Promotion completed! Canary analysis was skipped for {}", self.target_name()));
            self.alert(Severity::Info, false, "Canary analysis was skipped, promotion finished.".into());
        } else {
            self.event(false, format!("Promotion completed! Scaling down {}", self.target_name()));
            self.alert(Severity::Info, false, "Canary analysis completed successfully, promotion finished.".into());
        }
        self.end(true);
        Ok(Desired::steady(&self.state))
    }

    /// A rollout ended: counts it, and owes the hooks.
    pub(super) fn end(&mut self, success: bool) {
        self.state.paused = false;
        self.effects.push(Effect::Ended { success, skipped: success && self.spec.skip_analysis });
        if self.has_hooks(crate::spec::HookKind::PostRollout) {
            self.owe(Owed::PostRollout);
        }
    }
}
