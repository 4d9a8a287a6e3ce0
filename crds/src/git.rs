//! What happens in Git when a revision is taken back.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AppliedBy, SecretReference};

/// Serin: what happens in Git.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitPolicy {
    /// What follows when a revision is taken back; `None` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_rollback: Option<OnRollback>,
    /// A Secret in the namespace of the Canary with what may write to the repository: `username` and `password`, `bearerToken`, or
    /// `identity` and `known_hosts`; the credentials of who applies the repository, if they are in the same namespace, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// What the repository is on, where its address does not tell: `github`, `gitlab`, `gitea`, `bitbucket`, `bitbucketserver` or
    /// `azuredevops`. Pull requests need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<String>,
    /// Who applies the repository may go on applying the revision that was taken back, until Git has moved on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_hold: bool,
}

/// What follows in Git when a revision is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRollback {
    /// Nothing.
    #[default]
    None,
    /// A commit that reverts the change is pushed to the branch; where that is not allowed, a pull request.
    Revert,
    /// A pull request that reverts the change.
    PullRequest,
}

/// How it stands in Git with a revision that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitRollback {
    /// The revision, as in `appliedRevision`.
    pub revision: String,
    /// The commit that brought it; absent as long as none is known for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_commit: Option<String>,
    /// The commit of the revision that serves again, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_commit: Option<String>,
    /// Why the revision was taken back, in a sentence.
    pub why: String,
    /// When it was taken back.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// What has come of it.
    pub state: GitRollbackState,
    /// The commit that reverts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert_commit: Option<String>,
    /// URL of the pull request that reverts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
    /// What stands in the way, or was found, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who is kept from applying the revision again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Who asked for it by `serin undo`; absent when Serin took the revision back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}

/// A revision that was promoted once, and the commit that brought it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotedCommit {
    /// The revision, as in `promotedRevision`.
    pub revision: String,
    /// The commit, whole, in hexadecimal digits.
    pub commit: String,
    /// The images of the revision, in the order of its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// When that was known.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
}

/// `4f2c1e9 (acme/shop:1)`.
impl std::fmt::Display for PromotedCommit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.commit.get(..7).unwrap_or(&self.commit))?;
        if self.images.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.images.join(", ")) }
    }
}

/// What has come of a revert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GitRollbackState {
    /// It is being made.
    Pending,
    /// A commit was pushed.
    Reverted,
    /// A pull request is open.
    Proposed,
    /// Git asks for something else already.
    MovedOn,
    /// A person has to do it; the message says what.
    Blocked,
}

/// Who is kept from applying a revision again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Who.
    pub object: AppliedBy,
    /// The newest commit of its source when it was held; the hold is lifted when there is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Where that stands.
    pub state: HoldState,
}

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HoldState {
    /// It is being set.
    Wanted,
    /// It is set.
    Held,
    /// It is being lifted.
    Lifting,
    /// It is lifted, by Serin or by somebody else.
    Lifted,
    /// Somebody else had suspended it before.
    NotOurs,
}

impl GitRollback {
    /// `commit 4f2c1e9 is reverted by commit 0ddba11; Kustomization flux-system/shop is held`.
    pub fn sentence(&self) -> String {
        let short = |commit: &str| commit.get(..7).unwrap_or(commit).to_owned();
        let failed = match &self.failed_commit {
            Some(commit) => format!("commit {}", short(commit)),
            None => "the change".into(),
        };
        let because =
            |words: &str| self.message.as_ref().map_or_else(String::new, |message| format!("{words}{message}"));
        let mut sentence = match self.state {
            GitRollbackState::Pending => format!("{failed} is being reverted{}", because("; delayed: ")),
            GitRollbackState::Reverted => {
                let by = self.revert_commit.as_deref().map(short).unwrap_or_default();
                format!("{failed} is reverted by commit {by}")
            }
            GitRollbackState::Proposed => {
                format!("{failed} is reverted by {}", self.pull_request.as_deref().unwrap_or("a pull request"))
            }
            GitRollbackState::MovedOn => format!("nothing to revert of {failed}{}", because(": ")),
            GitRollbackState::Blocked => format!("{failed} cannot be reverted{}", because(": ")),
        };
        if let Some(hold) = &self.hold {
            let words = match hold.state {
                HoldState::Wanted => "is being held",
                HoldState::Held => "is held until Git has moved on",
                HoldState::Lifting => "is being let go",
                HoldState::Lifted | HoldState::NotOurs => "",
            };
            if !words.is_empty() {
                sentence.push_str(&format!("; {} {words}", hold.object));
            }
        }
        sentence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_is_told_in_a_sentence() {
        let object = AppliedBy {
            api_version: "kustomize.toolkit.fluxcd.io/v1".into(),
            kind: "Kustomization".into(),
            namespace: "flux-system".into(),
            name: "shop".into(),
        };
        let mut git = GitRollback {
            revision: "r".into(),
            failed_commit: Some("4f2c1e9a0c6f".into()),
            good_commit: None,
            why: "it failed".into(),
            since: Timestamp::UNIX_EPOCH,
            state: GitRollbackState::Pending,
            revert_commit: None,
            pull_request: None,
            message: None,
            hold: Some(Hold { object, commit: None, state: HoldState::Held }),
            undone_by: None,
        };
        let held = "Kustomization flux-system/shop is held until Git has moved on";
        assert_eq!(git.sentence(), format!("commit 4f2c1e9 is being reverted; {held}"));
        (git.state, git.revert_commit) = (GitRollbackState::Reverted, Some("0ddba11ffff".into()));
        assert_eq!(git.sentence(), format!("commit 4f2c1e9 is reverted by commit 0ddba11; {held}"));
        (git.state, git.hold, git.message) = (GitRollbackState::Blocked, None, Some("revert it by hand".into()));
        assert_eq!(git.sentence(), "commit 4f2c1e9 cannot be reverted: revert it by hand");
        git.failed_commit = None;
        assert_eq!(git.sentence(), "the change cannot be reverted: revert it by hand");
    }
}
