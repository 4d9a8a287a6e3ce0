//! The repository as the agent sees it: a commit and its files. All of it blocks.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::problem::Problem;
use super::source::{Reference, SourceKey};

/// Where commits come from.
pub trait Upstream: Send + Sync + 'static {
    /// Brings the newest commit of what is followed; blocks, no longer than the deadline.
    ///
    /// # Errors
    /// When it cannot be had, with the mend.
    fn fetch(&self, request: &Request) -> Result<Commit, Problem>;

    /// All files below `under` in a commit that was fetched; blocks.
    ///
    /// # Errors
    /// When they cannot be read, or are more than the limits allow.
    fn files(&self, request: &Request, commit: &str, under: &str) -> Result<Vec<File>, Problem>;

    /// Forgets what is kept of a repository.
    fn forget(&self, key: &SourceKey);

    /// Forgets what is kept of all repositories but these.
    fn keep_only(&self, keys: &[SourceKey]);
}

/// What is asked for, and with which credentials.
#[derive(Clone, Debug)]
pub struct Request {
    /// For whom.
    pub key: SourceKey,
    /// URL of the repository.
    pub url: String,
    /// What of it is followed.
    pub reference: Reference,
    /// Content of the Secret.
    pub credentials: Secrets,
    /// Public keys of which one must have signed the commit; `None` when that is not asked for.
    pub keys: Option<Secrets>,
    /// How long it may take.
    pub deadline: Duration,
}

/// Values of a Secret. Its `Debug` shows the keys alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(pub BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// A commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// In hexadecimal digits.
    pub id: String,
    /// Who wrote it.
    pub author_name: String,
    /// Their address.
    pub author_mail: String,
    /// The whole message.
    pub message: String,
    /// When it was committed.
    pub time: Option<Timestamp>,
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// From the root of the repository, with forward slashes.
    pub path: String,
    /// What kind of thing it is.
    pub mode: Mode,
    /// The content; of a symbolic link, its target.
    pub bytes: Vec<u8>,
}

/// What kind of thing a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// Another repository.
    Submodule,
}

impl Commit {
    /// As people write it: its first twelve digits.
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}
