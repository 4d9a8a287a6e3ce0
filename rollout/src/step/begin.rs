//! A new revision: ask whether it may be rolled out, then scale the canary up.

use crate::desired::{Desired, ScaleAction};
use crate::effect::Owed;
use crate::observation::{Ask, TargetSeen};
use crate::readiness::Readiness;
use crate::spec::{HookKind, Severity};
use crate::state::Stage;

use super::{Flow, Pass};

impl Pass<'_> {
    /// Begins the rollout of what the target holds, unless the primary is busy or a gate is closed. Nothing of the
    /// new revision is written down before that, so none is lost.
    pub(super) fn begin(&mut self, target: &TargetSeen) -> Flow {
        if let Some(primary) = &self.seen.primary
            && let Readiness::NotYet(why) = &primary.readiness
        {
            self.wait_for_pods("PrimaryNotReady", format!("{} is not ready: {why}", self.spec.primary_name()));
            return Ok(Desired::steady(&self.state));
        }
        if self.has_hooks(HookKind::ConfirmRollout) {
            self.need(&[Ask::Hooks(HookKind::ConfirmRollout)])?;
            if let Some((gate, why)) = self.refusal(HookKind::ConfirmRollout) {
                let (gate, why) = (gate.to_owned(), why.to_owned());
                self.enter_waiting(target, &gate, &why);
                return Ok(self.hold_rollout(target));
            }
            self.tell_passed(HookKind::ConfirmRollout);
        }
        Ok(self.start(target))
    }

    fn enter_waiting(&mut self, target: &TargetSeen, gate: &str, why: &str) {
        self.state.applied = Some(target.revision.clone());
        let before = self.state.stage.weight();
        let weight = self.kept_weight(before);
        self.enter(Stage::Waiting { weight });
        if weight < before {
            self.owe(Owed::ScaleDown);
        }
        self.event(true, format!("Halt {} advancement waiting for approval {gate}", self.canary()));
        if !self.gate_muted(gate) {
            self.alert(Severity::Warn, false, "Canary is waiting for approval.".into());
        }
        self.hold_at_rollout_gate(gate, why);
    }

    fn hold_at_rollout_gate(&mut self, gate: &str, why: &str) {
        self.memory.asked_at = Some(self.now);
        self.wait("ConfirmRollout", format!("gate {gate} is closed: {why}; open it, or take the change back"));
        self.memory.held = self.waiting.last().cloned();
        self.wake_at(self.after(self.now, self.spec.interval));
    }

    pub(super) fn gate_muted(&self, gate: &str) -> bool {
        self.spec.webhooks.iter().any(|hook| hook.name == gate && hook.mute_alert)
    }

    /// Scales the canary up. After a failed promotion the canary keeps the traffic it has: the primary is no
    /// refuge.
    pub(super) fn start(&mut self, target: &TargetSeen) -> Desired {
        let weight = self.kept_weight(self.state.stage.weight());
        self.state.owed.retain(|owed| *owed != Owed::ScaleDown);
        self.state.paused = false;
        self.begin_run(weight, target);
        self.attribute(target);
        self.event(false, format!("New revision detected! Scaling up {}{}", self.target_name(), self.by_source()));
        self.alert(Severity::Info, true, "New revision detected, progressing canary analysis.".into());
        self.memory.scaled_up_at = Some(self.now);
        self.memory.ready_since = None;
        self.wait("CanaryScalingUp", format!("{} is being scaled up", self.spec.target.name));
        Desired { target: ScaleAction::Up, ..Desired::steady(&self.state) }
    }

    /// The confirm-rollout gate is closed.
    pub(super) fn waiting_for_rollout(&mut self, weight: u8, target: &TargetSeen) -> Flow {
        if self.state.promoted.as_ref().is_some_and(|promoted| promoted.id == target.revision.id) {
            self.state.applied = Some(target.revision.clone());
            self.state.paused = false;
            self.enter(match (weight, self.kept_weight(weight)) {
                (0, _) => Stage::Succeeded,
                (_, 0) => Stage::Finalising { reverted: true },
                (_, weight) => Stage::Failed { weight, failed_checks: 0 },
            });
            self.event(false, format!("New revision withdrawn! {} is as promoted", self.target_name()));
            return Ok(Desired::steady(&self.state));
        }
        if self.state.applied.as_ref().is_none_or(|applied| applied.id != target.revision.id) {
            self.state.applied = Some(target.revision.clone());
            self.state.since = Some(self.now);
            self.memory.asked_at = None;
            self.attribute(target);
            let from = self.by_source();
            self.event(false, format!("New revision detected! Waiting for approval of {}{from}", self.target_name()));
        }
        if self.state.paused {
            self.wait("Paused", "paused by command; resume to go on".into());
            return Ok(self.hold_rollout(target));
        }
        let due = self.memory.asked_at.map_or(self.now, |asked| self.after(asked, self.spec.interval));
        if due > self.now {
            self.waiting.extend(self.memory.held.clone());
            self.wake_at(due);
            return Ok(self.hold_rollout(target));
        }
        self.need(&[Ask::Hooks(HookKind::ConfirmRollout), Ask::Hooks(HookKind::Rollback)])?;
        if self.rollback_asked().is_some() {
            return Ok(self.roll_back_by_hook());
        }
        if let Some((gate, why)) = self.refusal(HookKind::ConfirmRollout) {
            let (gate, why) = (gate.to_owned(), why.to_owned());
            self.hold_at_rollout_gate(&gate, &why);
            return Ok(self.hold_rollout(target));
        }
        self.tell_passed(HookKind::ConfirmRollout);
        Ok(self.start(target))
    }

    /// While a gate is closed, the canary of a former rollout may still have to go.
    fn hold_rollout(&mut self, target: &TargetSeen) -> Desired {
        let mut desired = Desired::steady(&self.state);
        if self.state.owed.contains(&Owed::ScaleDown) {
            desired.target = self.pay_scale_down(target);
        }
        desired
    }
}
