//! What is to be told, and what is owed after the status was written.

use std::fmt;

use crate::spec::Severity;

/// Something to tell after the status was written. Lost when the process dies in between; what must not be lost
/// is [`Owed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A Kubernetes event on the Canary.
    Event {
        /// Warning or Normal.
        warning: bool,
        /// A sentence of the contract's families.
        message: String,
    },
    /// A rollout ended: counts it.
    Ended {
        /// Promoted or not.
        success: bool,
        /// Without analysis.
        skipped: bool,
    },
    /// Revert in Git what [`crate::State::git`] says, unless that is under way; acknowledged through
    /// [`crate::Memory::git_outcome`].
    RevertInGit,
    /// Find the revert that was made of what [`crate::State::git`] says, but make none; acknowledged in the same way.
    FindRevertInGit,
    /// Send what is owed as an alert; acknowledged through [`crate::Memory::delivered`].
    Deliver(Owed),
}

/// What was decided together with a status write and must happen at least once. Kept in the status until it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owed {
    /// Scale the target down once its traffic is gone.
    ScaleDown,
    /// Call the post-rollout hooks.
    PostRollout,
    /// Send an alert.
    Alert {
        /// How bad it is.
        severity: Severity,
        /// With the fields that describe the Canary.
        fields: bool,
        /// What happened.
        message: String,
    },
}

impl fmt::Display for Owed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owed::ScaleDown => out.write_str("scale-down"),
            Owed::PostRollout => out.write_str("post-rollout"),
            Owed::Alert { severity, fields, message } => {
                write!(out, "alert/{}/{}/{message}", severity.as_str(), if *fields { "fields" } else { "plain" })
            }
        }
    }
}

impl Owed {
    /// Reads what [`fmt::Display`] wrote; `None` for what another version may have written.
    pub fn parse(text: &str) -> Option<Owed> {
        match text {
            "scale-down" => return Some(Owed::ScaleDown),
            "post-rollout" => return Some(Owed::PostRollout),
            _ => {}
        }
        let mut parts = text.strip_prefix("alert/")?.splitn(3, '/');
        let severity = match parts.next()? {
            "info" => Severity::Info,
            "warn" => Severity::Warn,
            "error" => Severity::Error,
            _ => return None,
        };
        let fields = parts.next()? == "fields";
        Some(Owed::Alert { severity, fields, message: parts.next()?.to_owned() })
    }
}
