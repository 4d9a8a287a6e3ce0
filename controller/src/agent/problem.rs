//! Why a GitSource is not applied, in a word for programs and a sentence with the mend.

use std::fmt;

use crate::problem::{ApiProblem, Class};

/// Why a pass over a GitSource came to no good end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Reason of the `Ready` condition.
    pub reason: Reason,
    /// What was being tried, what went wrong and what to do; holds no credentials.
    pub message: String,
}

/// Reasons of the `Ready` condition when it is not true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The spec cannot be used.
    InvalidSpec,
    /// A Secret is missing, or a key in it.
    InvalidSecret,
    /// The repository did not answer.
    Unreachable,
    /// The repository refuses the credentials.
    CredentialsRefused,
    /// There is no such repository, branch, tag or commit.
    NotFound,
    /// The commit is not signed by a known key.
    NotVerified,
    /// The repository is larger than the limits allow.
    TooLarge,
    /// A symbolic link, a submodule or a path that is not followed.
    NotFollowed,
    /// A file is no manifest.
    InvalidManifest,
    /// Kustomize or Helm is not installed, or refuses the files.
    RenderFailed,
    /// The API server has no such kind.
    UnknownKind,
    /// Another GitSource applies the object.
    ClaimedByAnother,
    /// An admission policy or webhook refuses the object.
    Denied,
    /// A right is missing.
    Forbidden,
    /// The API server refuses the object.
    Refused,
    /// Something passing: it is tried again.
    Retrying,
}

impl Reason {
    /// True when trying again may help, though Git and the GitSource stay as they are.
    pub const fn may_pass(self) -> bool {
        match self {
            Reason::InvalidSecret
            | Reason::Unreachable
            | Reason::CredentialsRefused
            | Reason::NotFound
            | Reason::NotVerified
            | Reason::UnknownKind
            | Reason::ClaimedByAnother
            | Reason::Denied
            | Reason::Forbidden
            | Reason::Refused
            | Reason::Retrying => true,
            Reason::InvalidSpec
            | Reason::TooLarge
            | Reason::NotFollowed
            | Reason::InvalidManifest
            | Reason::RenderFailed => false,
        }
    }

    /// As it stands in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidSpec => "InvalidSpec",
            Reason::InvalidSecret => "InvalidSecret",
            Reason::Unreachable => "Unreachable",
            Reason::CredentialsRefused => "CredentialsRefused",
            Reason::NotFound => "NotFound",
            Reason::NotVerified => "NotVerified",
            Reason::TooLarge => "TooLarge",
            Reason::NotFollowed => "NotFollowed",
            Reason::InvalidManifest => "InvalidManifest",
            Reason::RenderFailed => "RenderFailed",
            Reason::UnknownKind => "UnknownKind",
            Reason::ClaimedByAnother => "ClaimedByAnother",
            Reason::Denied => "PolicyDenied",
            Reason::Forbidden => "Forbidden",
            Reason::Refused => "Refused",
            Reason::Retrying => "Retrying",
        }
    }
}

impl Problem {
    /// A problem for that reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Problem {
        Problem { reason, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl From<ApiProblem> for Problem {
    fn from(problem: ApiProblem) -> Problem {
        let reason = match problem.class {
            Class::Denied { .. } => Reason::Denied,
            Class::Forbidden { .. } => Reason::Forbidden,
            Class::Invalid | Class::Gone | Class::NotFound => Reason::Refused,
            Class::Conflict | Class::Unreachable => Reason::Retrying,
        };
        Problem { reason, message: problem.to_string() }
    }
}
