//! Pushing, through the `git` executable.

use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::session::Session;
use crate::{CommitId, Error, Limits, Mirror, Reference, Remote};

/// How often a running push is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How a push ended; who cannot be reached or does not know us is an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The branch is at the commit, by this push or since before.
    Done,
    /// Somebody else was first: fetch, make the commit anew, push again.
    Moved,
    /// The server does not let this branch be pushed to: it is protected, or a hook objects.
    Refused {
        /// What the server said.
        why: String,
    },
}

impl Mirror {
    /// Pushes a commit of the mirror to a branch, which is made if it is not there. Never by force: the branch only moves forward.
    pub fn push(&self, remote: &Remote, branch: &str, commit: &CommitId, limits: &Limits) -> Result<Pushed, Error> {
        let remote = remote.at(Reference::Branch(branch.to_owned()))?;
        if !self.repository()?.has_object(commit.0) {
            return Err(Error::NoCommit { commit: *commit });
        }
        let session = Session::new(&remote)?;
        let mut git = session.git(&remote, &self.repository_folder())?;
        git.args(["push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--"])
            .arg(remote.url())
            .arg(format!("{commit}:refs/heads/{branch}"));
        // Into files, as a grandchild that lives on would keep a pipe open.
        let (out, err) = (session.path().join("out"), session.path().join("err"));
        let file = |path: &Path| File::create(path).map_err(Error::file(format!("make {}", path.display())));
        git.stdin(Stdio::null()).stdout(file(&out)?).stderr(file(&err)?);
        let spawned = git.spawn();
        let mut child = spawned.map_err(|source| Error::Program { program: "git", purpose: "push", source })?;
        let started = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = child.try_wait().map_err(Error::file("wait for git push"))? {
                break status;
            }
            let interrupted = limits.interrupt.load(std::sync::atomic::Ordering::Relaxed);
            if interrupted || started.elapsed() >= limits.deadline {
                child.kill().and_then(|()| child.wait()).map_err(Error::file("end git push"))?;
                let (url, seconds) = (remote.url().to_owned(), limits.deadline.as_secs());
                return Err(if interrupted { Error::Interrupted } else { Error::Deadline { url, seconds } });
            }
            std::thread::park_timeout(LOOK);
        };
        let complaints = format!("{}\n{}", session.complaint(), said(&err));
        outcome(&remote, status.success(), &said(&out), complaints.trim())
    }
}

/// What a program wrote, at most its first 64 KiB.
fn said(path: &Path) -> String {
    use std::io::Read;
    let mut text = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(64 << 10).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn outcome(remote: &Remote, success: bool, out: &str, err: &str) -> Result<Pushed, Error> {
    // `flag TAB from:to TAB summary (reason)`, one line per reference.
    let refused = out.lines().filter_map(|line| line.strip_prefix("!\t")).find_map(|line| line.split('\t').nth(1));
    if let Some(summary) = refused {
        let raced = ["[rejected]", "cannot lock ref", "failed to update ref", "non-fast-forward", "failed to lock"];
        if raced.iter().any(|part| summary.contains(part)) {
            return Ok(Pushed::Moved);
        }
        let remarks = err.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim);
        let remarks = remarks.filter(|remark| !remark.is_empty()).collect::<Vec<_>>().join(" ");
        let why = remote.scrub(&if remarks.is_empty() { summary.to_owned() } else { format!("{summary}: {remarks}") });
        return Ok(Pushed::Refused { why });
    }
    if success {
        return Ok(Pushed::Done);
    }
    let url = remote.url().to_owned();
    let why = remote.scrub(err);
    let says = |parts: &[&str]| parts.iter().any(|part| err.contains(part));
    Err(
        if says(&["Authentication failed", "could not read Username", "could not read Password", "error: 401"])
            || says(&["Permission denied (", "Host key verification failed", "invalid credentials"])
        {
            Error::Authentication { url, why }
        } else if says(&["error: 403", "not allowed", "denied to", "Permission to"]) {
            Error::Forbidden { url, why }
        } else if says(&["not found", "does not appear to be a git repository", "does not exist", "error: 404"]) {
            Error::NoRepository { url, why }
        } else if says(&[
            "Could not resolve",
            "Failed to connect",
            "onnection refused",
            "onnection timed out",
            "timed out",
        ]) || says(&[
            "onnection reset",
            "hung up",
            "RPC failed",
            "error: 5",
            "No route",
            "unreachable",
            "unable to access",
        ]) {
            Error::Unreachable { url, why }
        } else {
            Error::Push { url, why }
        },
    )
}
