//! Commits as they are read.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::{Error, Mirror};

/// The id of a commit: 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub(crate) gix::ObjectId);

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// Who made the change.
    pub author: Person,
    /// Who made the commit of it.
    pub committer: Person,
    /// When it was committed.
    pub time: Timestamp,
    /// The whole message; bytes that are no UTF-8 are replaced.
    pub message: String,
    /// The commits before it; they need not be in a shallow mirror.
    pub parents: Vec<CommitId>,
}

/// A name and an address, as Git records them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// As in `Ada Lovelace`.
    pub name: String,
    /// As in `ada@example.com`; nobody checks it.
    pub email: String,
}

impl Commit {
    /// The first line of the message.
    pub fn subject(&self) -> &str {
        self.message.trim_start().lines().next().unwrap_or_default().trim_end()
    }
}

impl Mirror {
    /// One commit of the mirror.
    pub fn read_commit(&self, id: &CommitId) -> Result<Commit, Error> {
        self.read_commit_in(&self.repository()?, id)
    }

    /// The last commits of what is followed, newest first, along first parents; at most `limit`, and no more than the mirror has.
    pub fn log(&self, limit: usize) -> Result<Vec<Commit>, Error> {
        let repository = self.repository()?;
        let mut next = self.head(&repository)?;
        let mut commits = Vec::new();
        while let Some(id) = next
            && commits.len() < limit
        {
            let commit = self.read_commit_in(&repository, &id)?;
            next = commit.parents.first().copied().filter(|parent| repository.has_object(parent.0));
            commits.push(commit);
        }
        if commits.is_empty() && limit > 0 { Err(Error::Empty) } else { Ok(commits) }
    }

    pub(crate) fn read_commit_in(&self, repository: &gix::Repository, id: &CommitId) -> Result<Commit, Error> {
        if !repository.has_object(id.0) {
            return Err(Error::NoCommit { commit: *id });
        }
        let read = || -> gix::Result<Commit> {
            let commit = repository.find_commit(id.0)?;
            let person = |signature: gix::actor::SignatureRef<'_>| Person {
                name: signature.name.to_string(),
                email: signature.email.to_string(),
            };
            Ok(Commit {
                id: *id,
                author: person(commit.author()?),
                committer: person(commit.committer()?),
                time: Timestamp::from_second(commit.time()?.seconds).unwrap_or(Timestamp::UNIX_EPOCH),
                message: commit.message_raw()?.to_string(),
                parents: commit.parent_ids().map(|parent| CommitId(parent.detach())).collect(),
            })
        };
        read().map_err(|error| self.damaged(&error))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_hex())
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CommitId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match gix::ObjectId::from_hex(text.as_bytes()) {
            Ok(id) if text.len() == 40 => Ok(Self(id)),
            Ok(_) | Err(_) => Err(Error::Name { name: text.to_owned() }),
        }
    }
}
