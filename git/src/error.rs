use crate::CommitId;

/// What went wrong, in words that hold no secret and no user information of a URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of a repository cannot be used.
    #[error("the address of the repository cannot be used: {why}")]
    Address {
        /// What is wrong with it; the address itself may hold a password and is not repeated.
        why: String,
    },
    /// A branch, tag or commit name that Git would refuse.
    #[error("'{name}' is no valid name of a branch, tag or commit")]
    Name {
        /// The name as it was given.
        name: String,
    },
    /// A path that could lead out of the tree or into Git's own files.
    #[error("path '{path}' is refused: {why}")]
    Path {
        /// The path as it was given.
        path: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Nobody answered, or the connection broke.
    #[error("cannot reach {url}: {why}")]
    Unreachable {
        /// The repository.
        url: String,
        /// What the transport said.
        why: String,
    },
    /// The server did not accept who we say we are.
    #[error("{url} refuses the credentials: {why}")]
    Authentication {
        /// The repository.
        url: String,
        /// What the server said.
        why: String,
    },
    /// The server knows us and does not let us.
    #[error("{url} forbids it: {why}")]
    Forbidden {
        /// The repository.
        url: String,
        /// What the server said.
        why: String,
    },
    /// There is no such repository, or it hides from these credentials.
    #[error("there is no repository at {url}, or these credentials do not see it: {why}")]
    NoRepository {
        /// The repository.
        url: String,
        /// What the server said.
        why: String,
    },
    /// The repository is there; the branch, tag or commit is not.
    #[error("{url} has no {reference}")]
    NoReference {
        /// The repository.
        url: String,
        /// As in `branch 'main'`.
        reference: String,
    },
    /// The server said something that could not be understood or stored.
    #[error("cannot fetch from {url}: {why}")]
    Fetch {
        /// The repository.
        url: String,
        /// What failed.
        why: String,
    },
    /// More bytes came than are allowed.
    #[error("{url} sends more than {limit} bytes at once: raise the limit, or make the repository smaller")]
    PackTooLarge {
        /// The repository.
        url: String,
        /// The limit that was broken, in bytes.
        limit: u64,
    },
    /// It took longer than allowed.
    #[error("{url} did not finish within {seconds} s")]
    Deadline {
        /// The repository.
        url: String,
        /// The limit that was broken, in seconds.
        seconds: u64,
    },
    /// The interrupt flag of the limits was raised.
    #[error("interrupted")]
    Interrupted,
    /// A tree holds more than may be read.
    #[error("'{under}' holds more than {limit} files and folders (the limit was reached at '{path}')")]
    TooManyFiles {
        /// The path that was asked for.
        under: String,
        /// The first file that was one too many.
        path: String,
        /// The limit that was broken.
        limit: usize,
    },
    /// One file is larger than may be read.
    #[error("file '{path}' has {size} bytes, more than the limit of {limit}")]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit that was broken, in bytes.
        limit: u64,
    },
    /// All files together are larger than may be read.
    #[error("the files of '{under}' have more than {limit} bytes together (the limit was reached at '{path}')")]
    TotalTooLarge {
        /// The path that was asked for.
        under: String,
        /// The file that was one too many.
        path: String,
        /// The limit that was broken, in bytes.
        limit: u64,
    },
    /// The tree has no such path.
    #[error("commit {commit} has no '{path}'")]
    NoPath {
        /// The commit that was looked at.
        commit: CommitId,
        /// The path that was asked for.
        path: String,
    },
    /// A path leads through a symbolic link or into a submodule, which are never followed.
    #[error("'{path}' is a {kind}, which is not followed")]
    NotFollowed {
        /// The link or submodule.
        path: String,
        /// `symbolic link`, `submodule` or `file`.
        kind: &'static str,
    },
    /// The mirror does not have that commit: it is shallow, or the commit is not of this branch.
    #[error("commit {commit} is not in the mirror: fetch more of the history, or check that it is on the branch")]
    NoCommit {
        /// The commit that was asked for.
        commit: CommitId,
    },
    /// Nothing was fetched into the mirror yet.
    #[error("nothing was fetched yet")]
    Empty,
    /// The changes leave the tree as it is.
    #[error("nothing differs from commit {parent}, so there is nothing to commit")]
    NothingToCommit {
        /// The parent that the commit would have had.
        parent: CommitId,
    },
    /// The mirror's folder is damaged; the next fetch builds it anew.
    #[error("the mirror in {folder} is damaged and is built anew by the next fetch: {why}")]
    Damaged {
        /// The folder of the mirror.
        folder: String,
        /// What could not be read.
        why: String,
    },
    /// The commit carries no signature.
    #[error("commit {commit} is not signed")]
    NotSigned {
        /// The commit.
        commit: CommitId,
    },
    /// The commit carries a signature that none of the keys confirms.
    #[error("the signature of commit {commit} is not confirmed by any of the given keys: {why}")]
    NotTrusted {
        /// The commit.
        commit: CommitId,
        /// What the verifying program said.
        why: String,
    },
    /// A public key cannot be read.
    #[error("a public key cannot be used: {why}")]
    Key {
        /// What is wrong with it.
        why: String,
    },
    /// A program that is needed is not there or does not start.
    #[error("cannot run '{program}', which is needed to {purpose}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it is needed for.
        purpose: &'static str,
        /// Why it does not start.
        source: std::io::Error,
    },
    /// A push that ended in a way Git did not explain.
    #[error("cannot push to {url}: {why}")]
    Push {
        /// The repository.
        url: String,
        /// What Git said.
        why: String,
    },
    /// A file or folder of ours cannot be read or written.
    #[error("cannot {what}")]
    File {
        /// What was being tried, with the path.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |source| Error::File { what, source }
    }
}

/// All that a foreign error says, cause after cause, on one line.
pub(crate) fn chain(error: &gix::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in error.iter_errors() {
        let mut cause: Option<&dyn std::error::Error> = Some(cause);
        while let Some(error) = cause {
            let text = error.to_string();
            if !text.is_empty() && !said.iter().any(|before| before.contains(&text)) {
                said.push(text);
            }
            cause = error.source();
        }
    }
    said.join(": ")
}
