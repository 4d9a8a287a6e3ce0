//! Taking over from another controller: no pod and no weight moves because of it.

use crate::effect::Effect;
use crate::observation::{TargetSeen, Traffic};
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
            Stage::Waiting => {
                self.state.promoted = Some(other(promoted_spec));
                self.state.applied = Some(current);
            }
            Stage::Progressing(run) => {
                self.adopt_run(current, other(promoted_spec));
                let run = self.adopted_weight(run);
                self.state.stage = Stage::Progressing(run);
            }
            Stage::WaitingPromotion(run) => {
                self.adopt_run(current, other(promoted_spec));
                let run = self.adopted_weight(run);
                self.state.stage = Stage::WaitingPromotion(run);
            }
            Stage::Promoting { weight } => {
                self.adopt_run(current.clone(), other(promoted_spec));
                if target.matches_primary {
                    self.state.promoted = Some(Promoted::from(&current));
                }
                let run = self.adopted_weight(Run { weight, ..Run::default() });
                self.state.stage = Stage::Promoting { weight: run.weight };
            }
            Stage::Finalising { .. } => self.adopt_run(current, other(promoted_spec)),
        }
        self.effects.push(Effect::Event {
            warning: false,
            message: format!("Adopted {} in phase {}", self.canary(), self.state.stage.phase().as_str()),
        });
    }

    fn adopt_run(&mut self, current: Revision, promoted: Promoted) {
        self.state.applied = Some(current);
        self.state.promoted = Some(promoted);
    }

    /// Flagger wrote the route first and the status after it: the route is what users get, so it is the truth.
    fn adopted_weight(&self, run: Run) -> Run {
        match self.seen.traffic {
            Traffic::Split { weight, mirrored } => Run { weight, mirrored, ..run },
            Traffic::Pending(_) | Traffic::Missing | Traffic::Broken(_) => run,
        }
    }
}
