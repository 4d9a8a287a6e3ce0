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
    /// `identity` and `known_hosts`; the credentials of who applies the repository when absent.
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
