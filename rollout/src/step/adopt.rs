//! Taking over from another controller: no pod and no weight moves because of it.

use crate::effect::Effect;
use crate::observation::{TargetSeen, Traffic};
use crate::spec::Strategy;
use crate::state::{Foreign, Promoted, Revision, Run, Stage};

use super::Pass;

impl Pass<'_> {
    /// Believes a status that Flagger wrote. Its hash of the template cannot be recomputed, so templates are
    /// compared instead; its hash is kept as long as the revision stands, so that it can be handed back.
    pub(super) fn adopt(&mut self, foreign: Foreign, target: &TargetSeen) {
        let Foreign { applied: spec, promoted, configs: tracked } = foreign;
        let same_configs = tracked.as_ref().is_none_or(|tracked| *tracked == target.revision.configs);
        let current = Revision { spec: spec.clone(), ..target.revision.clone() };
        // An identity that no template has: whatever the target holds differs from it.
        let other = |spec: String| Promoted { id: format!("adopted:{spec}"), spec };
        let promoted_spec = promoted.unwrap_or_else(|| spec.clone());
        // What was being rolled out, unless its configs show that the target moved on.
        let under_way = if same_configs {
            current.clone()
        } else {
            let other = other(spec.clone());
            Revision { id: other.id, spec: other.spec, configs: tracked.clone().unwrap_or_default() }
        };
        match self.state.stage.clone() {
            Stage::New | Stage::Initializing | Stage::Terminating | Stage::Terminated => {}
            Stage::Initialized | Stage::Succeeded if target.matches_primary && same_configs => {
                self.state.promoted = Some(Promoted { id: current.id.clone(), spec: promoted_spec });
                self.state.applied = Some(current);
            }
            Stage::Initialized | Stage::Succeeded => {
                // Changed while no controller was looking: a rollout is due.
                let promoted = other(promoted_spec);
                self.state.applied =
                    Some(Revision { id: promoted.id.clone(), spec, configs: tracked.unwrap_or_default() });
                self.state.promoted = Some(promoted);
            }
            Stage::Failed { .. } => {
                self.state.promoted = Some(if target.matches_primary && same_configs {
                    Promoted { id: current.id.clone(), spec: promoted_spec }
                } else {
                    other(promoted_spec)
                });
                self.state.applied = Some(current);
            }
            Stage::Waiting { .. } => {
                self.state.promoted = Some(other(promoted_spec));
                self.state.applied = Some(current);
            }
            Stage::Progressing(run) => {
                self.adopt_run(under_way, other(promoted_spec));
                let run = self.adopted_weight(run);
                self.state.stage = Stage::Progressing(run);
            }
            Stage::WaitingPromotion(run) => {
                self.adopt_run(under_way, other(promoted_spec));
                let run = self.adopted_weight(run);
                self.state.stage = Stage::WaitingPromotion(run);
            }
            Stage::Promoting { weight } => {
                self.adopt_copied(under_way, target);
                let run = self.adopted_weight(Run { weight, ..Run::default() });
                self.state.stage = Stage::Promoting { weight: run.weight };
            }
            Stage::Finalising { .. } => self.adopt_copied(under_way, target),
        }
        self.effects.push(Effect::Event {
            warning: false,
            message: format!("Adopted {} in phase {}", self.canary(), self.state.stage.phase().as_str()),
        });
    }

    fn adopt_run(&mut self, current: Revision, promoted: Promoted) {
        self.state.applied = Some(current);
        self.state.promoted = Some(promoted);
        // Nobody knows when the other controller looked last: a whole interval passes before we do.
        self.state.checked_at = Some(self.now);
    }

    /// Flagger copied the template before it wrote this phase: what the primary holds is what was analysed. When
    /// the target differs from it, the target moved on, and is due after this rollout.
    fn adopt_copied(&mut self, under_way: Revision, target: &TargetSeen) {
        let applied = if target.matches_primary {
            under_way
        } else {
            Revision { id: format!("adopted:{}", under_way.spec), ..under_way }
        };
        self.adopt_run(applied.clone(), Promoted::from(&applied));
    }

    /// Flagger wrote the route first and the status after it: the route is what users get, so it is the truth.
    fn adopted_weight(&self, run: Run) -> Run {
        match self.seen.traffic {
            Traffic::Split { weight, mirrored } => {
                Run { weight, mirrored, iterations: self.adopted_iterations(weight, run), ..run }
            }
            Traffic::Pending(_) | Traffic::Missing | Traffic::Broken(_) => run,
        }
    }

    /// Flagger takes one iteration off while it waits for approval; all traffic on the canary tells the truth.
    fn adopted_iterations(&self, weight: u8, run: Run) -> u32 {
        match &self.spec.strategy {
            Strategy::BlueGreen { iterations, .. } if weight == 100 => run.iterations.max(iterations + 1),
            Strategy::Canary { .. } => 0,
            Strategy::AbTesting { .. } | Strategy::BlueGreen { .. } => run.iterations,
        }
    }
}
