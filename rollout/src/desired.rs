//! What should be true of the cluster. The shell renders it into objects and writes what differs.

use crate::spec::Spec;
use crate::state::{Cookies, Stage, State};

/// What should be true after this pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Where traffic should go.
    pub intent: Intent,
    /// The primary and canary Services should exist.
    pub services: bool,
    /// The apex Service should send to the primary, and the routes express the intent.
    pub routes: bool,
    /// What to do with the primary workload.
    pub primary: PrimaryAction,
    /// What to do with the target's scale.
    pub target: ScaleAction,
    /// What to do with the copy of the primary that the canary is compared with.
    pub baseline: BaselineAction,
    /// The target should be given back: apex Service and routes as before Serin.
    pub revert: bool,
    /// What to do with the finalizer.
    pub finalizer: FinalizerAction,
    /// What to do with who applies the target from Git.
    pub hold: HoldAction,
}

/// Where traffic should go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// Percent of the traffic for the canary, 0 to 100. In A/B testing 100 means: those who match, all of them.
    pub canary_weight: u8,
    /// Percent of the traffic for the copy of the primary that the canary is compared with.
    pub baseline_weight: u8,
    /// The canary gets a copy of the traffic.
    pub mirrored: bool,
    /// Session cookies, as whole `name=value` pairs.
    pub cookies: Cookies,
}

/// What to do with the primary workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryAction {
    /// Leave it alone.
    Keep,
    /// Create it from the target when it is missing.
    Create,
    /// Make it run the target's template.
    Promote,
    /// Make it anew from the promoted revision, out of the target's history.
    Rebuild,
}

/// What to do with the target's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleAction {
    /// Leave it alone.
    Keep,
    /// From zero to what the primary or the autoscaler says.
    Up,
    /// To zero.
    Down,
}

/// What to do with the copy of the primary that the canary is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaselineAction {
    /// Leave it alone.
    Keep,
    /// It runs as large as the canary.
    Run {
        /// The revision of the canary: its pods are as old as those of that revision.
        beside: String,
    },
    /// It goes, and its Service.
    Remove,
}

/// What to do with the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalizerAction {
    /// Leave it as it is.
    Keep,
    /// Put it on.
    Add,
    /// Take it off; the Canary then goes.
    Remove,
}

/// What to do with who applies the target from Git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldAction {
    /// Leave it alone.
    Keep,
    /// Keep it from applying what it has applied.
    Set,
    /// Let it go on.
    Lift,
}

impl Intent {
    /// Where traffic should go in this state.
    pub fn of(spec: &Spec, state: &State) -> Intent {
        Intent { baseline_weight: baseline_weight(spec, state), ..Desired::untouched(state).intent }
    }
}

fn baseline_weight(spec: &Spec, state: &State) -> u8 {
    let takes_part = state.baseline.is_some() && spec.runs_baseline() && state.stage.analyses();
    if takes_part { share_beside(state.stage.weight()) } else { 0 }
}

/// Percent of the traffic for a baseline that takes part: the same as the canary; where that is more than half, what the
/// canary leaves.
pub(crate) fn share_beside(canary_weight: u8) -> u8 {
    canary_weight.min(100_u8.saturating_sub(canary_weight))
}

impl Desired {
    /// What a state wants when nothing is under way but keeping things as they are.
    pub fn steady(state: &State) -> Desired {
        Desired { services: true, routes: true, ..Desired::untouched(state) }
    }

    /// Nothing is to be written.
    pub fn untouched(state: &State) -> Desired {
        let weight = state.stage.weight();
        let mut cookies = state.cookies.clone();
        match state.stage {
            // The cookies of a run under way are those of its state.
            Stage::Waiting { .. }
            | Stage::Progressing(_)
            | Stage::WaitingPromotion(_)
            | Stage::Promoting { .. }
            | Stage::Failed { .. } => {}
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Finalising { .. }
            | Stage::Succeeded
            | Stage::Terminating
            | Stage::Terminated => {
                cookies.canary = None;
                cookies.primary = None;
            }
        }
        Desired {
            intent: Intent { canary_weight: weight, baseline_weight: 0, mirrored: state.stage.mirrored(), cookies },
            services: false,
            routes: false,
            primary: PrimaryAction::Keep,
            target: ScaleAction::Keep,
            baseline: BaselineAction::Keep,
            revert: false,
            finalizer: FinalizerAction::Keep,
            hold: HoldAction::Keep,
        }
    }
}
