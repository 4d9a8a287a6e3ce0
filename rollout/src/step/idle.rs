//! Nothing is under way: keep things as they are, pay what is owed, and notice a new revision.

use crate::desired::{Desired, PrimaryAction, ScaleAction};
use crate::effect::Owed;
use crate::observation::{Ask, History, TargetSeen};
use crate::readiness::Readiness;
use crate::reading::HookAnswer;
use crate::spec::HookKind;
use crate::state::{Promoted, Run, Stage};

use super::{Flow, Pass};

impl Pass<'_> {
    pub(super) fn idle(&mut self, target: &TargetSeen) -> Flow {
        if self.changed(target) {
            return self.begin(target);
        }
        self.leave_bad_canary();
        let mut desired = Desired::steady(&self.state);
        if self.seen.primary.is_none() {
            desired.primary = self.restore_primary(target);
        }
        if self.state.owed.contains(&Owed::ScaleDown) {
            desired.target = self.pay_scale_down(target);
        }
        if let Stage::Failed { weight: 1.., .. } = self.state.stage {
            if target.scaled_down {
                desired.target = self.scale_up_again().target;
            }
            self.wait_for_primary();
        }
        if self.waiting.is_empty() {
            self.wait_for_traffic(self.state.stage.weight());
        }
        Ok(desired)
    }

    /// The canary serves in place of a primary that broke.
    pub(super) fn wait_for_primary(&mut self) {
        let primary = self.spec.primary_name();
        let how = match self.seen.primary.as_ref().map(|primary| &primary.readiness) {
            Some(Readiness::Ready) => "broke and is ready again".into(),
            Some(Readiness::NotYet(why) | Readiness::Stuck(why)) => format!("is not ready: {why}"),
            Some(Readiness::ScaledToZero) => "is scaled to zero".into(),
            None => "is gone".into(),
        };
        let mend = "the canary serves in its place; commit a revision that works, or retry";
        self.wait("PrimaryBroken", format!("{primary} {how}; {mend}"));
    }

    /// A canary that did not pass serves only as long as the primary cannot.
    fn leave_bad_canary(&mut self) {
        if let Stage::Failed { weight: 1.., failed_checks } = self.state.stage
            && !self.state.settled()
            && self.kept_weight(100) == 0
        {
            self.enter(Stage::Failed { weight: 0, failed_checks });
            self.event(false, "Routing all traffic to primary".into());
            self.owe(Owed::ScaleDown);
        }
    }

    /// True when the target holds a revision that was neither rolled out nor promoted. A revision that differs in
    /// its hash alone, as after an upgrade of Kubernetes that adds a default, is taken over silently.
    fn changed(&mut self, target: &TargetSeen) -> bool {
        let current = &target.revision;
        let Some(applied) = &self.state.applied else { return true };
        if applied.id == current.id {
            return false;
        }
        let settled = self.state.settled();
        if self.state.promoted.as_ref().is_some_and(|promoted| promoted.id == current.id) {
            // Taken back by hand. Remember it, so that the bad revision is noticed when it comes again.
            let spec = self.state.promoted.as_ref().map_or_else(|| current.spec.clone(), |p| p.spec.clone());
            self.state.applied = Some(crate::state::Revision { spec, ..current.clone() });
            return false;
        }
        let adopted = applied.id.starts_with("adopted:");
        if settled && !adopted && target.matches_primary && applied.configs == current.configs {
            self.state.promoted = Some(Promoted::from(current));
            self.state.applied = Some(current.clone());
            return false;
        }
        true
    }

    /// Calls the hooks of a rollout that ended, in the pass after its end was written down.
    pub(super) fn pay_hooks(&mut self) -> Result<(), Vec<Ask>> {
        if !self.state.owed.contains(&Owed::PostRollout) {
            return Ok(());
        }
        self.need(&[Ask::Hooks(HookKind::PostRollout)])?;
        self.state.owed.retain(|owed| *owed != Owed::PostRollout);
        for (name, answer) in self.answers.hooks.get(&HookKind::PostRollout).cloned().unwrap_or_default() {
            match answer {
                HookAnswer::Yes => self.event(false, format!("Post-rollout hook {name} passed")),
                HookAnswer::No(why) | HookAnswer::Failed(why) => {
                    self.event(true, format!("Post-rollout hook {name} failed {why}"));
                }
            }
        }
        Ok(())
    }

    /// A primary that someone deleted is made anew only from the revision that was promoted. When the target holds
    /// another, its history may still hold that one.
    pub(super) fn rebuilds_primary(&mut self, target: &TargetSeen) -> Result<bool, Vec<Ask>> {
        let apt = match self.state.stage {
            Stage::Initialized
            | Stage::Succeeded
            | Stage::Failed { .. }
            | Stage::Waiting { .. }
            | Stage::Progressing(_)
            | Stage::WaitingPromotion(_) => true,
            // Until the primary was updated, the promotion itself makes it anew.
            Stage::Promoting { .. } => self.state.settled(),
            Stage::New | Stage::Initializing | Stage::Finalising { .. } | Stage::Terminating | Stage::Terminated => {
                false
            }
        };
        let other = self.state.promoted.as_ref().is_some_and(|promoted| promoted.id != target.revision.id);
        if !apt || !other || self.seen.primary.is_some() {
            return Ok(false);
        }
        self.need(&[Ask::History])?;
        let kept = self.answers.history == Some(History::Kept);
        if kept {
            let (primary, target) = (self.spec.primary_name(), &self.spec.target.name);
            let why = format!("{primary} was deleted and is being created anew from the history of {target}");
            self.wait("PrimaryCreating", why);
        }
        Ok(kept)
    }

    /// From the target itself, when it holds the promoted revision.
    fn restore_primary(&mut self, target: &TargetSeen) -> PrimaryAction {
        let name = self.spec.primary_name();
        if self.state.promoted.as_ref().is_some_and(|promoted| promoted.id == target.revision.id) {
            self.wait("PrimaryCreating", format!("{name} was deleted and is being created anew"));
            return PrimaryAction::Create;
        }
        let unreadable = match &self.answers.history {
            Some(History::Kept) => return PrimaryAction::Keep,
            Some(History::Unreadable(why)) => {
                let why = format!(", and its history cannot be read: {why}");
                self.wake_at(self.after(self.now, self.spec.interval));
                why
            }
            Some(History::Gone) | None => String::new(),
        };
        self.wait_told(
            "PrimaryMissing",
            format!(
                "{name} was deleted and {} holds a revision that was not promoted{unreadable}; put the promoted \
                 revision back, or commit one that should be rolled out",
                self.spec.target.name
            ),
        );
        PrimaryAction::Keep
    }

    pub(super) fn pay_scale_down(&mut self, target: &TargetSeen) -> ScaleAction {
        if target.scaled_down {
            self.state.owed.retain(|owed| *owed != Owed::ScaleDown);
            return ScaleAction::Keep;
        }
        match self.drained_at() {
            Some(at) if at <= self.now => {
                self.wait("CanaryScalingDown", format!("{} is being scaled to zero", self.spec.target.name));
                ScaleAction::Down
            }
            Some(at) => {
                self.wait("Draining", format!("open requests to {} may end", self.spec.target.name));
                self.wake_at(at);
                ScaleAction::Keep
            }
            None => {
                self.wait_for_traffic(0);
                ScaleAction::Keep
            }
        }
    }

    /// True when the primary cannot serve and waiting will not mend it: then a new revision is the mend.
    pub(super) fn primary_broken(&self) -> bool {
        match &self.seen.primary {
            Some(primary) => match primary.readiness {
                Readiness::Stuck(_) | Readiness::ScaledToZero => true,
                Readiness::Ready | Readiness::NotYet(_) => false,
            },
            None => true,
        }
    }

    /// What the canary keeps of its traffic when its analysis starts anew or is called off: nothing, unless the
    /// primary cannot take it back.
    pub(super) fn kept_weight(&self, weight: u8) -> u8 {
        match self.seen.primary.as_ref().map(|primary| &primary.readiness) {
            Some(Readiness::Ready) => 0,
            Some(Readiness::NotYet(_) | Readiness::ScaledToZero) if weight < 100 => 0,
            Some(Readiness::NotYet(_) | Readiness::ScaledToZero | Readiness::Stuck(_)) | None => weight,
        }
    }

    /// The target is gone. The primary takes its traffic until it is back.
    pub(super) fn without_target(&mut self) -> Desired {
        let (kind, name) = (self.spec.target.kind.as_str(), &self.spec.target.name);
        self.wait_told("TargetMissing", format!("{kind} {name} does not exist; create it or mend spec.targetRef"));
        let moved = match self.state.stage {
            Stage::Progressing(run) | Stage::WaitingPromotion(run) if run != Run::default() => {
                self.state.checked_at = None;
                Stage::Progressing(Run::default())
            }
            Stage::Promoting { weight: 1.. } => Stage::Promoting { weight: 0 },
            Stage::Progressing(_) | Stage::WaitingPromotion(_) | Stage::Promoting { .. } => {
                return Desired { routes: true, ..Desired::untouched(&self.state) };
            }
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Waiting { .. }
            | Stage::Finalising { .. }
            | Stage::Succeeded
            | Stage::Failed { .. }
            | Stage::Terminating
            | Stage::Terminated => return Desired::untouched(&self.state),
        };
        if self.kept_weight(self.state.stage.weight()) == 0 {
            self.enter(moved);
            self.event(true, "Routing all traffic to primary".into());
        }
        Desired { routes: true, ..Desired::untouched(&self.state) }
    }
}
