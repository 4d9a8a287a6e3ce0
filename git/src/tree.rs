//! Reading files out of a commit. Nothing is checked out, so there is nothing outside the tree that could be read.

use gix::objs::tree::EntryKind;

use crate::{CommitId, Error, Limits, Mirror, path};

/// The files of one commit.
pub struct Tree<'a> {
    mirror: &'a Mirror,
    repository: gix::Repository,
    commit: CommitId,
    root: gix::ObjectId,
}

/// What a tree says of one path; folders are not listed for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From the root of the repository, with forward slashes.
    pub path: String,
    /// What kind of thing it is.
    pub mode: Mode,
    id: gix::ObjectId,
}

/// One file with its content.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// From the root of the repository, with forward slashes.
    pub path: String,
    /// What kind of thing it is.
    pub mode: Mode,
    /// The content; of a symbolic link, its target as text; of a submodule, the id of its commit as text.
    pub bytes: Vec<u8>,
}

/// What kind of thing a path is. Links and submodules are told of and never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A file.
    File,
    /// A file that may be run.
    Executable,
    /// A symbolic link.
    Link,
    /// Another repository.
    Submodule,
}

impl Mirror {
    /// The files of a commit that is in the mirror.
    pub fn tree(&self, commit: &CommitId) -> Result<Tree<'_>, Error> {
        let repository = self.repository()?;
        if !repository.has_object(commit.0) {
            return Err(Error::NoCommit { commit: *commit });
        }
        let root = repository.find_commit(commit.0).and_then(|found| Ok(found.tree_id()?.detach()));
        let root = root.map_err(|error| self.damaged(&error))?;
        Ok(Tree { mirror: self, repository, commit: *commit, root })
    }
}

impl Entry {
    /// Changes exactly when the content does, over all commits.
    pub fn content_id(&self) -> String {
        self.id.to_hex().to_string()
    }
}

impl Tree<'_> {
    /// What lies under a path (empty or `.` for everything), in the order of the tree, without content.
    ///
    /// `Limits::files` bounds files and folders together.
    pub fn entries(&self, under: &str, limits: &Limits) -> Result<Vec<Entry>, Error> {
        let under = path::normal(under)?;
        let start = if under.is_empty() {
            (EntryKind::Tree, self.root)
        } else {
            let no_path = || Error::NoPath { commit: self.commit, path: under.clone() };
            self.lookup(&under)?.ok_or_else(no_path)?
        };
        let mut found = Vec::new();
        let mut seen = 0;
        // A stack instead of recursion: how deep a tree is, is up to strangers.
        let mut open = vec![(under.clone(), start.0, start.1)];
        while let Some((path, kind, id)) = open.pop() {
            seen += 1;
            let Some(mode) = Mode::of(kind) else {
                let before = open.len();
                let tree = self.repository.find_tree(id).map_err(|error| self.mirror.damaged(&error))?;
                for entry in tree.iter() {
                    let entry = entry.map_err(|error| self.mirror.damaged(&error))?;
                    let name = text(entry.filename())?;
                    let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                    // The folder that was started from is no entry of its own.
                    if seen + open.len() > limits.files {
                        return Err(Error::TooManyFiles { under, path: below, limit: limits.files });
                    }
                    open.push((below, entry.mode().kind(), entry.object_id()));
                }
                open[before..].reverse();
                continue;
            };
            path::check(&path, false)?;
            found.push(Entry { path, mode, id });
        }
        Ok(found)
    }

    /// All files under a path (empty or `.` for everything), in the order of the tree, with their content.
    pub fn files(&self, under: &str, limits: &Limits) -> Result<Vec<File>, Error> {
        self.read_all(&self.entries(under, limits)?, under, limits)
    }

    /// The content of some entries, under the limits for one file and for all together.
    pub fn read_all(&self, entries: &[Entry], under: &str, limits: &Limits) -> Result<Vec<File>, Error> {
        let mut total: u64 = 0;
        let mut files = Vec::with_capacity(entries.len());
        for entry in entries {
            let bytes = self.read(entry, limits)?;
            total += bytes.len() as u64;
            if total > limits.total_bytes {
                let (under, path) = (under.to_owned(), entry.path.clone());
                return Err(Error::TotalTooLarge { under, path, limit: limits.total_bytes });
            }
            files.push(File { path: entry.path.clone(), mode: entry.mode, bytes });
        }
        Ok(files)
    }

    /// The content of one entry, under the limit for one file.
    pub fn read(&self, entry: &Entry, limits: &Limits) -> Result<Vec<u8>, Error> {
        match entry.mode {
            Mode::Submodule => Ok(entry.content_id().into_bytes()),
            Mode::File | Mode::Executable | Mode::Link => self.blob(&entry.path, entry.id, limits.file_bytes),
        }
    }

    /// The file at a path, or `None` where there is none.
    pub fn file(&self, at: &str, limits: &Limits) -> Result<Option<File>, Error> {
        let path = path::normal(at)?;
        let Some((kind, id)) = self.lookup(&path)? else { return Ok(None) };
        let Some(mode) = Mode::of(kind) else { return Ok(None) };
        let entry = Entry { path, mode, id };
        let bytes = self.read(&entry, limits)?;
        Ok(Some(File { path: entry.path, mode, bytes }))
    }

    pub(crate) fn repository(&self) -> &gix::Repository {
        &self.repository
    }

    pub(crate) fn root(&self) -> gix::ObjectId {
        self.root
    }

    pub(crate) fn blob(&self, path: &str, id: gix::ObjectId, limit: u64) -> Result<Vec<u8>, Error> {
        // The size is known before anything is unpacked.
        let size = self.repository.find_header(id).map_err(|error| self.mirror.damaged(&error))?.size();
        if size > limit {
            return Err(Error::FileTooLarge { path: path.to_owned(), size, limit });
        }
        let object = self.repository.find_object(id).map_err(|error| self.mirror.damaged(&error))?;
        Ok(object.detach().data)
    }

    /// What stands at a path, walking down through real folders only.
    pub(crate) fn lookup(&self, path: &str) -> Result<Option<(EntryKind, gix::ObjectId)>, Error> {
        let mut here = (EntryKind::Tree, self.root);
        let mut walked = String::new();
        for part in path.split('/') {
            match here.0 {
                EntryKind::Tree => {}
                EntryKind::Link => return Err(Error::NotFollowed { path: walked, kind: "symbolic link" }),
                EntryKind::Commit => return Err(Error::NotFollowed { path: walked, kind: "submodule" }),
                EntryKind::Blob | EntryKind::BlobExecutable => {
                    return Err(Error::NotFollowed { path: walked, kind: "file" });
                }
            }
            let tree = self.repository.find_tree(here.1).map_err(|error| self.mirror.damaged(&error))?;
            let tree = tree.decode().map_err(|error| self.mirror.damaged(&error))?;
            let Some(entry) = tree.entries.iter().find(|entry| entry.filename == part) else { return Ok(None) };
            here = (entry.mode.kind(), entry.oid.to_owned());
            if !walked.is_empty() {
                walked.push('/');
            }
            walked.push_str(part);
        }
        Ok(Some(here))
    }
}

impl Mode {
    /// `None` for a folder.
    pub(crate) fn of(kind: EntryKind) -> Option<Self> {
        match kind {
            EntryKind::Tree => None,
            EntryKind::Blob => Some(Mode::File),
            EntryKind::BlobExecutable => Some(Mode::Executable),
            EntryKind::Link => Some(Mode::Link),
            EntryKind::Commit => Some(Mode::Submodule),
        }
    }

    pub(crate) fn kind(self) -> EntryKind {
        match self {
            Mode::File => EntryKind::Blob,
            Mode::Executable => EntryKind::BlobExecutable,
            Mode::Link => EntryKind::Link,
            Mode::Submodule => EntryKind::Commit,
        }
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({:?}, {:?}, {} bytes)", self.path, self.mode, self.bytes.len())
    }
}

fn text(name: &gix::bstr::BStr) -> Result<String, Error> {
    let refuse = |_| Error::Path { path: name.to_string(), why: "it is no UTF-8" };
    std::str::from_utf8(name).map(str::to_owned).map_err(refuse)
}
