//! Taking one commit back, as changes on top of what the branch has become since.

use gix::bstr::ByteSlice;
use gix::merge::blob::Resolution;
use gix::merge::blob::builtin_driver::text;
use gix::object::tree::diff::ChangeDetached;
use gix::objs::tree::EntryKind;

use crate::{Change, CommitId, Error, Limits, Mirror, Mode, Tree, path};

/// What taking a commit back comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// These changes do it. There are none if the head has what the commit replaced already, or if the commit changed nothing there.
    Clean(Vec<Change>),
    /// These files have changed since in the same places, so people have to decide; sorted.
    Conflict(Vec<String>),
}

/// A leaf of a tree.
type Leaf = Option<(EntryKind, gix::ObjectId)>;

impl Mirror {
    /// What has to be committed on top of `head` to take back what `commit` did, and nothing that was done since.
    ///
    /// Only files under one of `under` (empty or `.` for everything) are looked at. Of a merge, what it brought to its first parent
    /// is taken back. Both commits and the first parent must be in the mirror: [`deepen`](Self::deepen) sees to that.
    pub fn revert(
        &self,
        commit: &CommitId,
        head: &CommitId,
        under: &[&str],
        limits: &Limits,
    ) -> Result<Reverted, Error> {
        let under = under.iter().map(|path| path::normal(path)).collect::<Result<Vec<_>, _>>()?;
        let done = self.read_commit(commit)?;
        let (base, ours) = (self.tree(commit)?, self.tree(head)?);
        let theirs = done.parents.first().map(|parent| self.tree(parent)).transpose()?;
        let mut changes = Vec::new();
        let mut conflicts = Vec::new();
        let mut total = 0u64;
        for (path, base_leaf, their_leaf) in differences(self, &base, theirs.as_ref())? {
            if !under.iter().any(|under| path::is_under(&path, under)) {
                continue;
            }
            if changes.len() + conflicts.len() >= limits.files {
                return Err(Error::TooManyFiles { under: under.join(", "), path, limit: limits.files });
            }
            let our_leaf = match ours.lookup(&path) {
                Ok(leaf) => leaf,
                // A folder on the way has become a file or a link since.
                Err(Error::NotFollowed { .. }) => {
                    conflicts.push(path);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if our_leaf == their_leaf {
                continue;
            }
            let whole = if our_leaf == base_leaf {
                take(&base, &path, their_leaf, limits)?
            } else {
                merge(&base, &path, [our_leaf, base_leaf, their_leaf], limits)?
            };
            match whole {
                Some(change) => {
                    total += change.bytes.as_ref().map_or(0, Vec::len) as u64;
                    if total > limits.total_bytes {
                        return Err(Error::TotalTooLarge { under: under.join(", "), path, limit: limits.total_bytes });
                    }
                    changes.push(change);
                }
                None => conflicts.push(path),
            }
        }
        if conflicts.is_empty() {
            Ok(Reverted::Clean(changes))
        } else {
            conflicts.sort();
            Ok(Reverted::Conflict(conflicts))
        }
    }
}

/// The paths in which two trees differ, each with what it is in the first and in the second.
fn differences(mirror: &Mirror, from: &Tree<'_>, to: Option<&Tree<'_>>) -> Result<Vec<(String, Leaf, Leaf)>, Error> {
    let repository = from.repository();
    let changes = || -> gix::Result<Vec<ChangeDetached>> {
        let first = repository.find_tree(from.root())?;
        let second = to.map(|tree| repository.find_tree(tree.root())).transpose()?;
        let mut options = gix::diff::Options::default();
        options.track_path();
        options.track_rewrites(None);
        repository.diff_tree_to_tree(&first, second.as_ref(), options)
    };
    let changes = changes().map_err(|error| mirror.damaged(&error))?;
    let mut found = Vec::new();
    for change in changes {
        let leaf = |mode: gix::objs::tree::EntryMode, id| {
            let kind = mode.kind();
            (kind != EntryKind::Tree).then_some((kind, id))
        };
        let (path, before, after) = match change {
            ChangeDetached::Addition { location, entry_mode, id, .. } => (location, None, leaf(entry_mode, id)),
            ChangeDetached::Deletion { location, entry_mode, id, .. } => (location, leaf(entry_mode, id), None),
            ChangeDetached::Modification { location, previous_entry_mode, previous_id, entry_mode, id } => {
                (location, leaf(previous_entry_mode, previous_id), leaf(entry_mode, id))
            }
            ChangeDetached::Rewrite { .. } => continue, // not asked for
        };
        if before.is_none() && after.is_none() {
            continue; // a folder, whose files are told of for themselves
        }
        let path = path.to_str().map_err(|_| Error::Path { path: path.to_string(), why: "it is no UTF-8" })?.to_owned();
        path::check(&path, false)?;
        found.push((path, before, after));
    }
    Ok(found)
}

/// The change that makes a path what `leaf` says; `None` where that is a submodule, which is not ours to move.
fn take(tree: &Tree<'_>, path: &str, leaf: Leaf, limits: &Limits) -> Result<Option<Change>, Error> {
    let path = path.to_owned();
    let Some((kind, id)) = leaf else { return Ok(Some(Change { path, bytes: None, mode: None })) };
    match Mode::of(kind) {
        Some(mode @ (Mode::File | Mode::Executable | Mode::Link)) => {
            let bytes = Some(tree.blob(&path, id, limits.file_bytes)?);
            Ok(Some(Change { path, bytes, mode: Some(mode) }))
        }
        Some(Mode::Submodule) | None => Ok(None),
    }
}

/// The three-way merge of a text file that both sides changed; `None` is a conflict.
fn merge(
    tree: &Tree<'_>,
    path: &str,
    [ours, base, theirs]: [Leaf; 3],
    limits: &Limits,
) -> Result<Option<Change>, Error> {
    let (Some(ours), Some(base), Some(theirs)) = (ours, base, theirs) else { return Ok(None) };
    let is_file = |(kind, _): (EntryKind, _)| matches!(kind, EntryKind::Blob | EntryKind::BlobExecutable);
    if ![ours, base, theirs].into_iter().all(is_file) {
        return Ok(None);
    }
    let read = |(_, id): (EntryKind, gix::ObjectId)| tree.blob(path, id, limits.file_bytes);
    let (our_text, base_text, their_text) = (read(ours)?, read(base)?, read(theirs)?);
    if [&our_text, &base_text, &their_text].into_iter().any(|text| text.contains(&0)) {
        return Ok(None);
    }
    let mut merged = Vec::new();
    let resolution = gix::merge::blob::builtin_driver::text(
        &mut merged,
        &mut gix::diff::blob::InternedInput::default(),
        text::Labels::default(),
        &our_text,
        &base_text,
        &their_text,
        text::Options::default(),
    );
    match resolution {
        Resolution::Complete => {}
        Resolution::CompleteWithAutoResolvedConflict | Resolution::Conflict => return Ok(None),
    }
    let kind = if ours.0 == base.0 { theirs.0 } else { ours.0 };
    Ok(Some(Change { path: path.to_owned(), bytes: Some(merged), mode: Mode::of(kind) }))
}
