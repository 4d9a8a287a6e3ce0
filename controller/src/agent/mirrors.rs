//! Repositories as they are: each GitSource has a mirror of what it follows in a folder of its own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use git::{CommitId, Credentials, Error, Limits, Mirror, PublicKey, Remote};

use super::plan::checksum;
use super::problem::{Problem, Reason};
use super::source::{Reference, SourceKey};
use super::upstream::{Commit, File, Mode, Request, Secrets, Upstream};

/// Mirrors in a folder.
pub struct Mirrors {
    folder: PathBuf,
    limits: Limits,
}

impl Mirrors {
    /// Mirrors in that folder, which belongs to them alone; `limits` hold for each.
    pub fn new(folder: impl Into<PathBuf>, limits: Limits) -> Mirrors {
        Mirrors { folder: folder.into(), limits }
    }

    fn mirror(&self, key: &SourceKey) -> Mirror {
        Mirror::new(self.folder.join(name(key)))
    }

    fn limits(&self, request: &Request) -> Limits {
        Limits { deadline: request.deadline, ..self.limits.clone() }
    }
}

/// Names of objects may be longer than names of folders.
fn name(key: &SourceKey) -> String {
    checksum(key.to_string().as_bytes())
}

impl Upstream for Mirrors {
    fn fetch(&self, request: &Request) -> Result<Commit, Problem> {
        let remote = remote(request)?;
        let mut mirror = self.mirror(&request.key);
        let fetched = mirror.fetch(&remote, &self.limits(request)).map_err(|error| problem(&error))?;
        if let Some(keys) = &request.keys {
            mirror.verify(&fetched.commit.id, &public_keys(keys)?).map_err(|error| problem(&error))?;
        }
        let git::Commit { id, author, time, message, .. } = fetched.commit;
        Ok(Commit {
            id: id.to_string(),
            author_name: author.name,
            author_mail: author.email,
            message,
            time: Some(time),
        })
    }

    fn files(&self, request: &Request, commit: &str, under: &str) -> Result<Vec<File>, Problem> {
        let mirror = self.mirror(&request.key);
        let id = CommitId::from_str(commit).map_err(|error| problem(&error))?;
        let files = mirror.tree(&id).and_then(|tree| tree.files(under, &self.limits(request)));
        let files = files.map_err(|error| problem(&error))?.into_iter();
        Ok(files
            .map(|file| {
                let mode = match file.mode {
                    git::Mode::File | git::Mode::Executable => Mode::File,
                    git::Mode::Link => Mode::Link,
                    git::Mode::Submodule => Mode::Submodule,
                };
                File { path: file.path, mode, bytes: file.bytes }
            })
            .collect())
    }

    fn forget(&self, key: &SourceKey) {
        // What stays is overwritten when a GitSource of that name comes again.
        let _ = std::fs::remove_dir_all(self.folder.join(name(key)));
    }

    fn keep_only(&self, keys: &[SourceKey]) {
        let keep: BTreeSet<String> = keys.iter().map(name).collect();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let found = entry.file_name().to_string_lossy().into_owned();
            // Only what is named as mirrors are: the folder may be somebody's by mistake.
            if found.len() == 20 && found.bytes().all(|byte| byte.is_ascii_hexdigit()) && !keep.contains(&found) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn remote(request: &Request) -> Result<Remote, Problem> {
    let reference = match &request.reference {
        Reference::Branch(name) => git::Reference::Branch(name.clone()),
        Reference::Tag(name) => git::Reference::Tag(name.clone()),
        Reference::Commit(id) => git::Reference::Commit(CommitId::from_str(id).map_err(|error| invalid_spec(&error))?),
    };
    let remote = Remote::new(&request.url, reference, credentials(&request.credentials)?);
    let remote = remote.map_err(|error| invalid_spec(&error))?;
    Ok(match text(&request.credentials, "ca.crt")? {
        Some(pem) => remote.with_ca(pem),
        None => remote,
    })
}

fn invalid_spec(error: &Error) -> Problem {
    Problem::new(
        Reason::InvalidSpec,
        format!("{}: mend spec.url, spec.ref or the Secret of spec.secretRef", spoken(error)),
    )
}

fn credentials(secrets: &Secrets) -> Result<Credentials, Problem> {
    if let Some(private_key) = text(secrets, "identity")? {
        let known_hosts = text(secrets, "known_hosts")?.unwrap_or_default();
        return Ok(Credentials::Ssh { private_key, known_hosts });
    }
    if let Some(token) = text(secrets, "bearerToken")? {
        return Ok(Credentials::Bearer(token.trim().to_owned()));
    }
    match (text(secrets, "username")?, text(secrets, "password")?) {
        (username, Some(password)) => {
            // Forges that take a token for a password accept any user.
            Ok(Credentials::Basic { username: username.unwrap_or_else(|| "git".into()), password })
        }
        (Some(_), None) => Err(Problem::new(
            Reason::InvalidSecret,
            "spec.secretRef: the Secret has a username and no password; put a password or token beside it",
        )),
        (None, None) => Ok(Credentials::None),
    }
}

fn text(secrets: &Secrets, key: &str) -> Result<Option<String>, Problem> {
    let Some(bytes) = secrets.0.get(key) else { return Ok(None) };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem::new(Reason::InvalidSecret, format!("spec.secretRef: the value of {key} is not text")))?;
    Ok(Some(text.to_owned()))
}

fn public_keys(secrets: &Secrets) -> Result<Vec<PublicKey>, Problem> {
    let mut keys = Vec::new();
    for (name, bytes) in &secrets.0 {
        let text = String::from_utf8(bytes.clone()).map_err(|_| {
            Problem::new(Reason::InvalidSecret, format!("spec.verify.secretRef: the value of {name} is not text"))
        })?;
        if text.contains("-----BEGIN PGP") {
            keys.push(PublicKey::OpenPgp(text));
        } else {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            keys.extend(lines.map(|line| PublicKey::Ssh(line.to_owned())));
        }
    }
    if keys.is_empty() {
        let message = "spec.verify.secretRef: the Secret has no key; put public keys of OpenPGP or SSH into it";
        return Err(Problem::new(Reason::InvalidSecret, message));
    }
    Ok(keys)
}

/// The problem with its mend.
fn problem(error: &Error) -> Problem {
    let (reason, mend) = match error {
        Error::Address { .. } | Error::Name { .. } => (Reason::InvalidSpec, "mend spec.url or spec.ref"),
        Error::Unreachable { .. } | Error::Fetch { .. } | Error::Deadline { .. } => {
            (Reason::Unreachable, "check spec.url and the network; it is tried again")
        }
        Error::Authentication { .. } | Error::Forbidden { .. } => (
            Reason::CredentialsRefused,
            "put credentials that may read the repository into the Secret of spec.secretRef; they may have run out",
        ),
        Error::NoRepository { .. } => {
            (Reason::NotFound, "check spec.url and the credentials in the Secret of spec.secretRef")
        }
        Error::NoReference { .. } => (
            Reason::NotFound,
            "what was applied stays; bring it back, or let spec.ref name another branch, tag or commit",
        ),
        Error::NoPath { .. } => (Reason::NotFound, "what was applied stays; mend spec.path, or bring the path back"),
        Error::PackTooLarge { .. }
        | Error::TooManyFiles { .. }
        | Error::FileTooLarge { .. }
        | Error::TotalTooLarge { .. } => (
            Reason::TooLarge,
            "take large files out of the path, or let spec.path name the folder of the manifests alone",
        ),
        Error::NotFollowed { .. } | Error::Path { .. } => {
            (Reason::NotFollowed, "let spec.path name a folder of the repository itself")
        }
        Error::NotSigned { .. } | Error::NotTrusted { .. } => {
            (Reason::NotVerified, "what was applied stays; sign the commit with a key in the Secret of spec.verify")
        }
        Error::Key { .. } => (Reason::InvalidSecret, "mend the public keys in the Secret of spec.verify"),
        Error::Program { .. } => (Reason::Unreachable, "use an image of Serin with that program"),
        Error::Interrupted | Error::NoCommit { .. } | Error::Empty | Error::Damaged { .. } | Error::File { .. } => {
            (Reason::Retrying, "it is tried again")
        }
        // Of writing, which is not done here, and what comes to be.
        Error::NothingToCommit { .. } | Error::Push { .. } | _ => (Reason::Retrying, "it is tried again"),
    };
    Problem::new(reason, format!("{}: {mend}", spoken(error)))
}

/// An error with its causes.
fn spoken(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
