//! New commits, built without a checkout.

use gix::objs::tree::EntryKind;
use jiff::Timestamp;

use crate::{CommitId, Error, Mirror, Mode, Person, path};

/// What becomes of one path.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// From the root of the repository, with forward slashes.
    pub path: String,
    /// The new content; `None` removes the file.
    pub bytes: Option<Vec<u8>>,
    /// The new mode; `None` keeps that of the file there is.
    pub mode: Option<Mode>,
}

/// A commit that is to be made.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// The commit before it, whose tree is changed.
    pub parent: CommitId,
    /// What differs from the parent; each path once.
    pub changes: Vec<Change>,
    /// Who made the change.
    pub author: Person,
    /// Who makes the commit.
    pub committer: Person,
    /// When, in whole seconds. The same commit made twice with the same time has the same id.
    pub time: Timestamp,
    /// The whole message.
    pub message: String,
}

impl Change {
    /// Writes a file, keeping the mode of one that is there.
    pub fn write(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), bytes: Some(bytes.into()), mode: None }
    }

    /// Removes a file.
    pub fn remove(path: impl Into<String>) -> Self {
        Self { path: path.into(), bytes: None, mode: None }
    }
}

impl Mirror {
    /// Makes a commit in the mirror. It is nowhere else until it is pushed, and a later fetch may drop it.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToCommit`] if the tree would be that of the parent, [`Error::NotFollowed`] if a path leads through a link or
    /// a submodule or would replace a folder, [`Error::NoPath`] if a file to be removed is not there.
    pub fn commit(&self, new: &NewCommit) -> Result<CommitId, Error> {
        let tree = self.tree(&new.parent)?;
        let repository = tree.repository();
        let broken = |error: gix::Error| self.damaged(&error);
        let mut editor = repository.edit_tree(tree.root()).map_err(broken)?;
        for change in &new.changes {
            path::check(&change.path, false)?;
            let there = tree.lookup(&change.path)?.map(|(kind, _)| kind);
            if there == Some(EntryKind::Tree) {
                return Err(Error::NotFollowed { path: change.path.clone(), kind: "folder" });
            }
            match &change.bytes {
                Some(bytes) => {
                    let kind = match (change.mode, there) {
                        (Some(mode), _) => mode.kind(),
                        (None, Some(EntryKind::BlobExecutable)) => EntryKind::BlobExecutable,
                        (None, Some(EntryKind::Link)) => {
                            return Err(Error::NotFollowed { path: change.path.clone(), kind: "symbolic link" });
                        }
                        (None, Some(EntryKind::Commit)) => {
                            return Err(Error::NotFollowed { path: change.path.clone(), kind: "submodule" });
                        }
                        (None, Some(EntryKind::Blob | EntryKind::Tree) | None) => EntryKind::Blob,
                    };
                    if kind == EntryKind::Commit {
                        return Err(Error::NotFollowed { path: change.path.clone(), kind: "submodule" });
                    }
                    let blob = repository.write_blob(bytes).map_err(broken)?;
                    editor.upsert(change.path.as_str(), kind, blob.detach()).map_err(broken)?;
                }
                None if there.is_none() => {
                    return Err(Error::NoPath { commit: new.parent, path: change.path.clone() });
                }
                None => {
                    editor.remove(change.path.as_str()).map_err(broken)?;
                }
            }
        }
        let written = editor.write().map_err(broken)?.detach();
        if written == tree.root() {
            return Err(Error::NothingToCommit { parent: new.parent });
        }
        let signature = |person: &Person| gix::actor::Signature {
            name: plain(&person.name).into(),
            email: plain(&person.email).into(),
            time: gix::date::Time::new(new.time.as_second(), 0),
        };
        let commit = gix::objs::Commit {
            tree: written,
            parents: [new.parent.0].into_iter().collect(),
            author: signature(&new.author),
            committer: signature(&new.committer),
            encoding: None,
            message: new.message.replace('\0', "").into(),
            extra_headers: Vec::new(),
        };
        Ok(CommitId(repository.write_object(&commit).map_err(broken)?.detach()))
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.bytes.as_ref().map(Vec::len);
        write!(f, "Change({:?}, {bytes:?} bytes, {:?})", self.path, self.mode)
    }
}

/// A name without what would break the line it stands on.
fn plain(name: &str) -> String {
    let kept: String = name.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
    kept.trim().to_owned()
}
