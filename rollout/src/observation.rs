//! What was seen: plain values, gathered by the shell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::{BaselineStatus, RunEntry, Source, WaitingFor};
use jiff::Timestamp;

use crate::effect::Owed;
use crate::evidence::Gathered;
use crate::readiness::Readiness;
use crate::reading::{HookAnswer, Measured};
use crate::spec::HookKind;
use crate::state::Revision;

/// One look at the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Uid of the Canary.
    pub uid: String,
    /// Namespace of the Canary.
    pub namespace: String,
    /// Name of the Canary.
    pub name: String,
    /// Generation of the Canary.
    pub generation: i64,
    /// The Canary is being deleted.
    pub deleting: bool,
    /// The Canary carries our finalizer.
    pub finalizer: bool,
    /// A command stands on the Canary.
    pub command: Option<Command>,
    /// The target, when it exists.
    pub target: Option<TargetSeen>,
    /// The primary, when it exists.
    pub primary: Option<PrimarySeen>,
    /// The copy of the primary that the canary is compared with, or what is left of one.
    pub baseline: Option<BaselineSeen>,
    /// The apex Service sends to the primary.
    pub apex: bool,
    /// What the routes express.
    pub traffic: Traffic,
    /// Who applies the target from Git, as long as it is held or to be.
    pub deployer: Option<DeployerSeen>,
    /// What keeps the shell from seeing or writing, each with reason and message.
    pub problems: Vec<(String, String)>,
}

/// Who applies the target from Git.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeployerSeen {
    /// The newest commit that its source shows.
    pub head: Option<String>,
    /// This Canary keeps it from applying.
    pub held: bool,
    /// Somebody else does.
    pub suspended: bool,
}

/// What came of a revert in Git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitOutcome {
    /// It was pushed.
    Reverted {
        /// The new commit.
        commit: String,
    },
    /// It waits in a pull request.
    Proposed {
        /// Its page.
        url: String,
        /// Why it was not pushed, where that was asked for.
        why: Option<String>,
    },
    /// Git asks for something else already.
    MovedOn {
        /// What was found.
        message: String,
    },
    /// It cannot be done by a program; with the mend.
    Blocked {
        /// Why, and what a person can do.
        message: String,
    },
    /// It is tried again.
    Delayed {
        /// Why.
        message: String,
    },
}

/// The target workload.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSeen {
    /// The revision that it holds now.
    pub revision: Revision,
    /// It is scaled to zero.
    pub scaled_down: bool,
    /// Are its pods ready?
    pub readiness: Readiness,
    /// Its template, after the primary's renames, is the primary's.
    pub matches_primary: bool,
    /// Where it comes from, as far as that can be seen.
    pub source: Option<SourceSeen>,
}

/// What is seen of where the target comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSeen {
    /// As who applies it says. Its `revision` tells one state of what they apply from another.
    pub source: Source,
    /// They are still at work: this is what they are applying, and it may not be in the cluster yet.
    pub at_work: bool,
}

/// What stood applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// In the words of who applied it.
    pub word: String,
    /// When it was first seen.
    pub since: Timestamp,
}

/// The primary workload.
#[derive(Clone, Debug, PartialEq)]
pub struct PrimarySeen {
    /// The revision written on it; `None` when another controller made it.
    pub revision: Option<String>,
    /// Are its pods ready?
    pub readiness: Readiness,
}

/// The copy of the primary that the canary is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineSeen {
    /// Are its pods ready?
    pub readiness: Readiness,
    /// At least one pod of it serves.
    pub serves: bool,
    /// How many pods it has, and what they request.
    pub cost: BaselineStatus,
}

/// What the routes express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// In force.
    Split {
        /// Percent for the canary.
        weight: u8,
        /// The canary gets a copy.
        mirrored: bool,
    },
    /// Written, but not in force; with the reason.
    Pending(String),
    /// No route yet.
    Missing,
    /// Routes cannot be read or rendered; with the mend.
    Broken(String),
}

/// A command as it stands on the Canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Unique id.
    pub id: String,
    /// What is asked.
    pub verb: String,
    /// Who asks.
    pub by: Option<String>,
}

/// What may be lost when the process dies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// A look was had before.
    pub looked: bool,
    /// Since when the routes express what the state wants.
    pub matched_since: Option<Timestamp>,
    /// What that was; nothing when this process has just moved it.
    pub matched: Option<Traffic>,
    /// Since when the pods are ready that get their first users next.
    pub ready_since: Option<Timestamp>,
    /// When a gate was last asked without the state moving.
    pub asked_at: Option<Timestamp>,
    /// When the target was last told to scale up.
    pub scaled_up_at: Option<Timestamp>,
    /// The sentences told last as events, so that a wait is told once.
    pub told: Vec<String>,
    /// Why the last look did not lead on: a closed gate, or metrics that cannot be read.
    pub held: Option<WaitingFor>,
    /// What came of the revert in Git of that revision.
    pub git_outcome: Option<(String, GitOutcome)>,
    /// What stood applied while the target held nothing new, older first; two at most.
    pub applied_then: Vec<Applied>,
    /// What stood applied before the revision was noticed whose source is not certain yet.
    pub applied_before: Option<String>,
    /// The revision noticed last, and when.
    pub noticed: Option<(String, Timestamp)>,
    /// What the judge knows of a rollout, by the name of its record.
    pub evidence: Option<(String, Arc<judge::Log>)>,
    /// Alerts sent since the last status write.
    pub delivered: Vec<Owed>,
}

/// A question that the shell must put to the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// All hooks of this kind.
    Hooks(HookKind),
    /// All metrics.
    Metrics,
    /// What the judge compares.
    Evidence {
        /// Of each arm, from then until now.
        since: Timestamp,
        /// How the primary was in the hours until then, too.
        usual: bool,
    },
    /// The record of the rollout so far.
    Past,
    /// Is the template of the promoted revision still kept?
    History,
}

/// Whether the target's history holds the template of the promoted revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// It does.
    Kept,
    /// It does not.
    Gone,
    /// It could not be read; with the reason.
    Unreadable(String),
}

/// What the world answered, within one pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// For each kind asked: name of the hook and its answer.
    pub hooks: BTreeMap<HookKind, Vec<(String, HookAnswer)>>,
    /// The metrics, in the order of the spec.
    pub metrics: Option<Vec<Measured>>,
    /// What the judge compares.
    pub gathered: Option<Vec<Gathered>>,
    /// The record of the rollout so far; empty when it cannot be read.
    pub past: Option<Vec<RunEntry>>,
    /// What the target's history holds.
    pub history: Option<History>,
}

/// The controller's own settings that decide something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time between traffic having left the canary and its scale-down.
    pub drain: Duration,
    /// Time between pods being ready and their first users.
    pub settle: Duration,
    /// Alerts go somewhere even when the Canary names nobody.
    pub global_notifier: bool,
}
