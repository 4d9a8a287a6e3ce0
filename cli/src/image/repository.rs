//! The checkout that a pipeline works in, through the `git` executable: it brings the pipeline's credentials along.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::complaint::Complaint;

/// How often a push is tried again after somebody else was faster.
const TRIES: usize = 5;

/// A checkout.
pub(super) struct Checkout {
    folder: PathBuf,
}

impl Checkout {
    /// The checkout that the path is in.
    pub(super) fn around(path: &Path) -> Result<Checkout, Complaint> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let checkout = Checkout { folder: folder.to_owned() };
        checkout.git(&["rev-parse", "--show-toplevel"])?;
        Ok(checkout)
    }

    /// The branch that is checked out.
    pub(super) fn branch(&self) -> Result<String, Complaint> {
        self.git(&["rev-parse", "--abbrev-ref", "HEAD"])
    }

    /// Where it was cloned from.
    pub(super) fn address(&self) -> Result<String, Complaint> {
        self.git(&["config", "--get", "remote.origin.url"])
    }

    /// Begins a branch, or goes on with it when it is there.
    pub(super) fn begin(&self, branch: &str) -> Result<(), Complaint> {
        self.git(&["checkout", "--quiet", "-B", branch]).map(drop)
    }

    /// Commits these files and nothing else that may be staged; returns the commit's short id.
    pub(super) fn commit(&self, paths: &[&Path], message: &str) -> Result<String, Complaint> {
        let mut arguments = vec!["commit", "--quiet", "--message", message, "--only", "--"];
        let absolute: Vec<String> = paths
            .iter()
            .map(|path| {
                let full = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
                full.to_string_lossy().into_owned()
            })
            .collect();
        arguments.extend(absolute.iter().map(String::as_str));
        self.git(&arguments)?;
        self.git(&["rev-parse", "--short", "HEAD"])
    }

    /// Pushes the branch, never by force; when it has moved, the commit is put on top. Returns the branch's name.
    pub(super) fn push(&self) -> Result<String, Complaint> {
        let branch = self.branch()?;
        if branch == "HEAD" {
            return Err(Complaint::Refused(
                "the checkout is on no branch, so there is nothing to push to: check the branch out, or name one by --branch"
                    .to_owned(),
            ));
        }
        let target = format!("HEAD:refs/heads/{branch}");
        for _ in 1..TRIES {
            match self.git(&["push", "--quiet", "origin", &target]) {
                Ok(_) => return Ok(branch),
                Err(refusal) if !moved(&refusal.to_string()) => return Err(refusal),
                Err(_) => {}
            }
            self.git(&["pull", "--quiet", "--rebase", "origin", &branch])?;
        }
        self.git(&["push", "--quiet", "origin", &target])?;
        Ok(branch)
    }

    fn git(&self, arguments: &[&str]) -> Result<String, Complaint> {
        let told = format!("git {}", arguments.first().copied().unwrap_or_default());
        let output = Command::new("git")
            .current_dir(&self.folder)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .args(arguments)
            .output()
            .map_err(|error| Complaint::Refused(format!("running {told}: {error}; install Git, or use --no-commit")))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(Complaint::Refused(format!("{told} in {}: {}", self.folder.display(), words.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Whether a push was refused because the branch has other commits by now.
fn moved(words: &str) -> bool {
    ["fetch first", "non-fast-forward", "cannot lock ref", "incorrect old value"]
        .iter()
        .any(|sign| words.contains(sign))
}
