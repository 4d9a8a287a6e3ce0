//! Where a rollout stands, with the data on the variant that needs it. Total, and round-tripping to the flat status
//! that other programs read.

use std::collections::BTreeMap;

use crds::{BaselineStatus, CanaryStatus, Check, CommandTaken, GitRollback, Phase, PromotedCommit, Source};
use jiff::Timestamp;

use crate::effect::Owed;

/// What a revision is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Identity: template and tracked configs.
    pub id: String,
    /// What stands in `lastAppliedSpec`; Flagger's own hash as long as an adopted revision stands.
    pub spec: String,
    /// Checksums of the tracked configs.
    pub configs: BTreeMap<String, String>,
}

/// The revision that the primary runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// Identity, as in [`Revision::id`].
    pub id: String,
    /// What stands in `lastPromotedSpec`.
    pub spec: String,
}

impl From<&Revision> for Promoted {
    fn from(revision: &Revision) -> Self {
        Promoted { id: revision.id.clone(), spec: revision.spec.clone() }
    }
}

/// Session cookies, as `name=value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cookies {
    /// Users on the canary.
    pub canary: Option<String>,
    /// Users on the primary.
    pub primary: Option<String>,
    /// Users of the last rollout, whose cookie is to be expired.
    pub previous: Option<String>,
}

/// An analysis under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Percent of the traffic meant for the canary.
    pub weight: u8,
    /// Iterations done.
    pub iterations: u32,
    /// Checks that failed.
    pub failed_checks: u32,
    /// The canary gets a copy of the traffic.
    pub mirrored: bool,
}

/// One arm per phase of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not looked at yet.
    New,
    /// The primary is being made.
    Initializing,
    /// The primary serves; nothing was rolled out yet.
    Initialized,
    /// The confirm-rollout gate is closed.
    Waiting {
        /// 0, or 100 when the primary is broken and the canary keeps serving.
        weight: u8,
    },
    /// The canary is analysed.
    Progressing(Run),
    /// The confirm-promotion gate is closed; the analysis goes on.
    WaitingPromotion(Run),
    /// The primary is being updated.
    Promoting {
        /// Percent still on the canary.
        weight: u8,
    },
    /// Traffic goes back to the primary; then the canary is scaled down.
    Finalising {
        /// Because the revision was taken back, not promoted.
        reverted: bool,
    },
    /// The revision is the primary.
    Succeeded,
    /// The revision was taken back.
    Failed {
        /// 0, or 100 when the primary broke during promotion and the canary keeps serving.
        weight: u8,
        /// Checks that had failed.
        failed_checks: u32,
    },
    /// The target is being given back.
    Terminating,
    /// The target was given back.
    Terminated,
}

impl Stage {
    /// The phase of the contract.
    pub const fn phase(&self) -> Phase {
        match self {
            Stage::New => Phase::New,
            Stage::Initializing => Phase::Initializing,
            Stage::Initialized => Phase::Initialized,
            Stage::Waiting { .. } => Phase::Waiting,
            Stage::Progressing(_) => Phase::Progressing,
            Stage::WaitingPromotion(_) => Phase::WaitingPromotion,
            Stage::Promoting { .. } => Phase::Promoting,
            Stage::Finalising { .. } => Phase::Finalising,
            Stage::Succeeded => Phase::Succeeded,
            Stage::Failed { .. } => Phase::Failed,
            Stage::Terminating => Phase::Terminating,
            Stage::Terminated => Phase::Terminated,
        }
    }

    /// The analysis under way; at the gate before it, with what the canary has kept of its traffic.
    pub const fn run(&self) -> Option<Run> {
        match self {
            Stage::Progressing(run) | Stage::WaitingPromotion(run) => Some(*run),
            Stage::Waiting { weight } => {
                Some(Run { weight: *weight, iterations: 0, failed_checks: 0, mirrored: false })
            }
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Promoting { .. }
            | Stage::Finalising { .. }
            | Stage::Succeeded
            | Stage::Failed { .. }
            | Stage::Terminating
            | Stage::Terminated => None,
        }
    }

    /// Checks that failed in the analysis under way, or had failed when the revision was taken back.
    pub const fn failed_checks(&self) -> u32 {
        match self {
            Stage::Progressing(run) | Stage::WaitingPromotion(run) => run.failed_checks,
            Stage::Failed { failed_checks, .. } => *failed_checks,
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Waiting { .. }
            | Stage::Promoting { .. }
            | Stage::Finalising { .. }
            | Stage::Succeeded
            | Stage::Terminating
            | Stage::Terminated => 0,
        }
    }

    /// Percent of the traffic meant for the canary.
    pub const fn weight(&self) -> u8 {
        match self {
            Stage::Progressing(run) | Stage::WaitingPromotion(run) => run.weight,
            Stage::Waiting { weight } | Stage::Promoting { weight } | Stage::Failed { weight, .. } => *weight,
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Finalising { .. }
            | Stage::Succeeded
            | Stage::Terminating
            | Stage::Terminated => 0,
        }
    }

    /// The canary is analysed.
    pub const fn analyses(&self) -> bool {
        match self {
            Stage::Progressing(_) | Stage::WaitingPromotion(_) => true,
            Stage::New
            | Stage::Initializing
            | Stage::Initialized
            | Stage::Waiting { .. }
            | Stage::Promoting { .. }
            | Stage::Finalising { .. }
            | Stage::Succeeded
            | Stage::Failed { .. }
            | Stage::Terminating
            | Stage::Terminated => false,
        }
    }

    /// The canary gets a copy of the traffic.
    pub const fn mirrored(&self) -> bool {
        match self.run() {
            Some(run) => run.mirrored,
            None => false,
        }
    }
}

/// All that Serin remembers of a Canary.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Where the rollout stands.
    pub stage: Stage,
    /// The revision rolled out now, or last.
    pub applied: Option<Revision>,
    /// The revision that the primary runs.
    pub promoted: Option<Promoted>,
    /// Where the revision comes from that is rolled out now, or last.
    pub source: Option<Source>,
    /// Where the revision comes from that the primary runs.
    pub promoted_source: Option<Source>,
    /// The commits that brought what was promoted, newest last.
    pub promoted_commits: Vec<PromotedCommit>,
    /// Session cookies.
    pub cookies: Cookies,
    /// Held by a command.
    pub paused: bool,
    /// What is still to be done or told.
    pub owed: Vec<Owed>,
    /// When the stage, weight or iteration last changed.
    pub since: Option<Timestamp>,
    /// When checks were last made in this run.
    pub checked_at: Option<Timestamp>,
    /// Until when the canary had traffic before this analysis; `since` as long as it may still have some of that.
    pub former_traffic: Option<Timestamp>,
    /// Since when metrics of this run cannot be read.
    pub unavailable_since: Option<Timestamp>,
    /// The copy of the primary that the canary is compared with, as long as it takes part.
    pub baseline: Option<BaselineStatus>,
    /// The checks of the last look.
    pub checks: Vec<Check>,
    /// Name of the record of the rollout under way, or of the last.
    pub run: Option<String>,
    /// The command taken last.
    pub last_command: Option<CommandTaken>,
    /// How it stands in Git with the revision that was taken back last.
    pub git: Option<GitRollback>,
    /// What another controller left in the status, until it was adopted.
    pub foreign: Option<Foreign>,
}

/// Marks of a revision that another controller wrote and that cannot be recomputed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// `lastAppliedSpec`.
    pub applied: String,
    /// `lastPromotedSpec`.
    pub promoted: Option<String>,
    /// `trackedConfigs`; their format is known.
    pub configs: Option<BTreeMap<String, String>>,
}

impl Default for State {
    fn default() -> Self {
        State {
            stage: Stage::New,
            applied: None,
            promoted: None,
            source: None,
            promoted_source: None,
            promoted_commits: Vec::new(),
            cookies: Cookies::default(),
            paused: false,
            owed: Vec::new(),
            since: None,
            checked_at: None,
            former_traffic: None,
            unavailable_since: None,
            baseline: None,
            checks: Vec::new(),
            run: None,
            last_command: None,
            git: None,
            foreign: None,
        }
    }
}

impl State {
    /// Reads the flat status. Numbers out of range are brought into it: a status is not user input.
    pub fn from_status(status: &CanaryStatus) -> State {
        let percent = |value: i32| u8::try_from(value.clamp(0, 100)).unwrap_or(0);
        let count = |value: i32| u32::try_from(value).unwrap_or(0);
        let run = Run {
            weight: percent(status.canary_weight),
            iterations: count(status.iterations),
            failed_checks: count(status.failed_checks),
            mirrored: status.mirrored,
        };
        let stage = match status.phase {
            Phase::New => Stage::New,
            Phase::Initializing => Stage::Initializing,
            Phase::Initialized => Stage::Initialized,
            Phase::Waiting => Stage::Waiting { weight: run.weight },
            Phase::Progressing => Stage::Progressing(run),
            Phase::WaitingPromotion => Stage::WaitingPromotion(run),
            Phase::Promoting => Stage::Promoting { weight: run.weight },
            Phase::Finalising => Stage::Finalising { reverted: status.reverted },
            Phase::Succeeded => Stage::Succeeded,
            Phase::Failed => Stage::Failed { weight: run.weight, failed_checks: run.failed_checks },
            Phase::Terminating => Stage::Terminating,
            Phase::Terminated => Stage::Terminated,
        };
        let spec = status.last_applied_spec.clone().filter(|spec| !spec.is_empty());
        let id = status.applied_revision.clone();
        // The other controller writes the whole status and so drops the fields that only Serin knows.
        let foreign = spec.clone().filter(|_| id.is_none()).map(|applied| Foreign {
            applied,
            promoted: status.last_promoted_spec.clone().filter(|spec| !spec.is_empty()),
            configs: status.tracked_configs.clone(),
        });
        State {
            stage,
            applied: id.zip(spec).map(|(id, spec)| Revision {
                id,
                spec,
                configs: status.tracked_configs.clone().unwrap_or_default(),
            }),
            promoted: status
                .promoted_revision
                .clone()
                .map(|id| Promoted { id, spec: status.last_promoted_spec.clone().unwrap_or_default() }),
            source: status.source.clone(),
            promoted_source: status.promoted_source.clone(),
            promoted_commits: status.promoted_commits.clone(),
            cookies: Cookies {
                canary: status.session_affinity_cookie.clone(),
                primary: status.primary_session_affinity_cookie.clone(),
                previous: status.previous_session_affinity_cookie.clone(),
            },
            paused: status.paused,
            owed: status.owed.iter().filter_map(|owed| Owed::parse(owed)).collect(),
            since: status.last_transition_time,
            checked_at: status.last_check_time,
            former_traffic: status.former_traffic_time,
            unavailable_since: status.unavailable_since,
            baseline: status.baseline.clone(),
            checks: status.checks.clone(),
            run: status.run.clone(),
            last_command: status.last_command.clone(),
            git: status.git.clone(),
            foreign,
        }
    }

    /// Writes the flat status. Conditions, `observedGeneration` and `waitingFor` are the report's: see
    /// [`crate::report`].
    pub fn to_status(&self) -> CanaryStatus {
        let mut run = self.stage.run().unwrap_or_default();
        if let Stage::Failed { failed_checks, .. } = self.stage {
            run.failed_checks = failed_checks;
        }
        CanaryStatus {
            phase: self.stage.phase(),
            failed_checks: i32::try_from(run.failed_checks).unwrap_or(i32::MAX),
            canary_weight: i32::from(self.stage.weight()),
            iterations: i32::try_from(run.iterations).unwrap_or(i32::MAX),
            session_affinity_cookie: self.cookies.canary.clone(),
            primary_session_affinity_cookie: self.cookies.primary.clone(),
            previous_session_affinity_cookie: self.cookies.previous.clone(),
            tracked_configs: match (&self.applied, &self.foreign) {
                (Some(revision), _) => Some(revision.configs.clone()),
                (None, Some(foreign)) => foreign.configs.clone(),
                (None, None) => None,
            },
            last_applied_spec: match (&self.applied, &self.foreign) {
                (Some(revision), _) => Some(revision.spec.clone()),
                (None, Some(foreign)) => Some(foreign.applied.clone()),
                (None, None) => None,
            },
            last_promoted_spec: match (&self.promoted, &self.foreign) {
                (Some(promoted), _) => Some(promoted.spec.clone()),
                (None, Some(foreign)) => foreign.promoted.clone(),
                (None, None) => None,
            },
            last_transition_time: self.since,
            applied_revision: self.applied.as_ref().map(|revision| revision.id.clone()),
            promoted_revision: self.promoted.as_ref().map(|promoted| promoted.id.clone()),
            source: self.source.clone(),
            promoted_source: self.promoted_source.clone(),
            promoted_commits: self.promoted_commits.clone(),
            mirrored: run.mirrored,
            reverted: matches!(self.stage, Stage::Finalising { reverted: true }),
            paused: self.paused,
            checks: self.checks.clone(),
            last_check_time: self.checked_at,
            former_traffic_time: self.former_traffic,
            unavailable_since: self.unavailable_since,
            baseline: self.baseline.clone(),
            owed: self.owed.iter().map(ToString::to_string).collect(),
            run: self.run.clone(),
            last_command: self.last_command.clone(),
            git: self.git.clone(),
            conditions: None,
            observed_generation: None,
            waiting_for: Vec::new(),
        }
    }

    /// True when the revision rolled out last is the one that the primary runs.
    pub fn settled(&self) -> bool {
        match (&self.applied, &self.promoted) {
            (Some(applied), Some(promoted)) => applied.id == promoted.id,
            (Some(_), None) | (None, Some(_)) | (None, None) => false,
        }
    }
}
