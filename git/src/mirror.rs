//! A bare, shallow repository in a folder of ours that follows one branch, tag or commit.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::time::Duration;

use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::blocking_io::http;
use gix::remote::Direction;
use gix::remote::fetch::Shallow;

use crate::limits::Guard;
use crate::remote::Scheme;
use crate::session::Session;
use crate::{Commit, CommitId, Error, Limits, Reference, Remote};

/// Where the mirror keeps what it follows, out of the way of branches and tags.
const HEAD: &str = "refs/serin/head";

/// So many packs come together before the mirror is fetched anew into an empty folder, which drops what is no longer needed.
const PACKS: usize = 20;

/// How far back a commit is looked for, step by step, in commits.
const DEEPENINGS: [u32; 4] = [1, 10, 100, 1000];

/// The longest that a server over HTTP may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// A bare, shallow repository in a folder of ours that follows one branch, tag or commit of a remote.
///
/// Between calls it holds no memory and no open file. Whatever is wrong with the folder, the next [`fetch`](Self::fetch) builds it
/// anew. One mirror at a time may use a folder.
#[derive(Debug)]
pub struct Mirror {
    folder: PathBuf,
    damaged: AtomicBool,
}

/// What a fetch found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What the reference points to now; of an annotated tag, the commit it names.
    pub commit: Commit,
    /// Whether it is another commit than the mirror had, be it forward or by a force push.
    pub moved: bool,
}

impl Mirror {
    /// A mirror in a folder that belongs to it alone. The folder is made by the first fetch.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), damaged: AtomicBool::new(false) }
    }

    /// Looks at the remote and brings what is new. If nothing moved, listing the reference is all that is asked of the server.
    ///
    /// # Errors
    ///
    /// The mirror is afterwards as it was before, so that what was fetched last can still be read.
    pub fn fetch(&mut self, remote: &Remote, limits: &Limits) -> Result<Fetched, Error> {
        let guard = Guard::new(limits);
        let session = Session::new(remote)?;
        unlock(&self.repository_folder());
        let before = self.repository().ok().and_then(|repository| self.head(&repository).ok().flatten());
        let mut afresh = self.damaged.load(Ordering::Relaxed) || before.is_none() || self.origin() != origin(remote);
        loop {
            match self.attempt(remote, limits, &guard, &session, before, afresh) {
                Ok(Attempt::Done(id)) => {
                    let commit = self.read_commit(&id)?;
                    return Ok(Fetched { commit, moved: before != Some(id) });
                }
                Ok(Attempt::Afresh) if !afresh => afresh = true,
                Ok(Attempt::Afresh) => {
                    let why = "the server sent a commit without its tree".into();
                    return Err(Error::Fetch { url: remote.url().to_owned(), why });
                }
                // Anything that is not the server's doing may come from the folder.
                Err(Error::Fetch { .. } | Error::Damaged { .. } | Error::File { .. }) if !afresh => afresh = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sees to it that a commit of the followed branch and the commits before it are in the mirror, fetching more of the history
    /// where need be, at most about a thousand commits. [`revert`](Self::revert) needs it. If the branch moved meanwhile, the mirror
    /// moves along.
    pub fn deepen(&mut self, remote: &Remote, commit: &CommitId, limits: &Limits) -> Result<Commit, Error> {
        let guard = Guard::new(limits);
        let session = Session::new(remote)?;
        unlock(&self.repository_folder());
        let mut steps = DEEPENINGS.iter();
        loop {
            let repository =
                self.open(&self.repository_folder(), session.ssh()).map_err(|error| self.damaged(&error))?;
            if self.head(&repository)?.is_none() {
                return Err(Error::Empty);
            }
            if repository.has_object(commit.0) {
                let found = self.read_commit_in(&repository, commit)?;
                if found.parents.iter().all(|parent| repository.has_object(parent.0)) {
                    return Ok(found);
                }
            }
            let Some(step) = steps.next() else { return Err(Error::NoCommit { commit: *commit }) };
            if matches!(repository.is_shallow(), Ok(false)) {
                return Err(Error::NoCommit { commit: *commit });
            }
            let from = full_name(&remote.reference);
            receive(&repository, remote, &from, &guard, &session, Shallow::Deepen(*step), |_, _| true)?;
        }
    }

    /// The branch that whoever names none gets, as in `main`. Asks the server, and brings nothing.
    ///
    /// # Errors
    /// Also when the server has no such branch, because its repository is empty.
    pub fn default_branch(remote: &Remote, limits: &Limits) -> Result<String, Error> {
        let (guard, session) = (Guard::new(limits), Session::new(remote)?);
        let asking = session.path().join("asking.git");
        let bare = gix::create::Kind::Bare;
        let made = gix::ThreadSafeRepository::init_opts(
            &asking,
            bare,
            gix::create::Options::default(),
            options(session.ssh()),
        );
        let repository: gix::Repository = made.map(Into::into).map_err(|error| Error::Damaged {
            folder: asking.display().to_string(),
            why: crate::error::chain(&error),
        })?;
        let mut branch = None;
        receive(&repository, remote, "HEAD", &guard, &session, Shallow::NoChange, |_, references| {
            branch = references.iter().find_map(|reference| match reference {
                Ref::Symbolic { full_ref_name, target, .. } if full_ref_name == "HEAD" => {
                    Some(target.to_string().strip_prefix("refs/heads/")?.to_owned())
                }
                Ref::Symbolic { .. } | Ref::Direct { .. } | Ref::Peeled { .. } | Ref::Unborn { .. } => None,
            });
            false
        })?;
        branch.ok_or_else(|| Error::NoReference { url: remote.url().to_owned(), reference: "HEAD".into() })
    }

    /// The commit that was fetched last.
    pub fn current(&self) -> Result<Commit, Error> {
        let repository = self.repository()?;
        let head = self.head(&repository)?.ok_or(Error::Empty)?;
        self.read_commit_in(&repository, &head)
    }

    /// Bytes that the mirror takes on disk.
    pub fn disk_bytes(&self) -> u64 {
        size(&self.folder)
    }

    pub(crate) fn repository_folder(&self) -> PathBuf {
        self.folder.join("repository.git")
    }

    pub(crate) fn repository(&self) -> Result<gix::Repository, Error> {
        let folder = self.repository_folder();
        if !folder.exists() {
            return Err(Error::Empty);
        }
        self.open(&folder, None).map_err(|error| self.damaged(&error))
    }

    pub(crate) fn head(&self, repository: &gix::Repository) -> Result<Option<CommitId>, Error> {
        let read = || -> gix::Result<Option<CommitId>> {
            let Some(mut reference) = repository.try_find_reference(HEAD)? else { return Ok(None) };
            Ok(Some(CommitId(reference.peel_to_commit()?.id)))
        };
        read().map_err(|error| self.damaged(&error))
    }

    /// An object could not be read: the next fetch starts from nothing.
    pub(crate) fn damaged(&self, error: &gix::Error) -> Error {
        self.damaged.store(true, Ordering::Relaxed);
        Error::Damaged { folder: self.folder.display().to_string(), why: crate::error::chain(error) }
    }

    fn open(&self, folder: &Path, ssh: Option<&str>) -> gix::Result<gix::Repository> {
        gix::open_opts(folder, options(ssh))
    }

    /// What the mirror was fetched from, as [`origin`] says it.
    fn origin(&self) -> String {
        std::fs::read_to_string(self.folder.join("origin")).unwrap_or_default()
    }

    fn attempt(
        &self,
        remote: &Remote,
        limits: &Limits,
        guard: &Guard,
        session: &Session,
        before: Option<CommitId>,
        afresh: bool,
    ) -> Result<Attempt, Error> {
        let next = self.folder.join("next.git");
        let repository = if afresh {
            remove(&next)?;
            std::fs::create_dir_all(&next).map_err(Error::file(format!("make {}", next.display())))?;
            let bare = gix::create::Kind::Bare;
            gix::ThreadSafeRepository::init_opts(&next, bare, gix::create::Options::default(), options(session.ssh()))
                .map(Into::into)
                .map_err(|error| self.damaged(&error))?
        } else {
            self.open(&self.repository_folder(), session.ssh()).map_err(|error| self.damaged(&error))?
        };
        // A commit never moves: if it is here, nobody needs to be asked.
        if let (Reference::Commit(wanted), Some(before), false) = (&remote.reference, before, afresh)
            && *wanted == before
            && self.is_whole(&repository, before)
        {
            return Ok(Attempt::Done(before));
        }
        let depth = NonZeroU32::new(limits.depth).unwrap_or(NonZeroU32::MIN);
        let crowded = !afresh && packs(&repository) >= PACKS;
        let mut stays = false;
        let (from, depth) = (full_name(&remote.reference), Shallow::DepthAtRemote(depth));
        let listed = receive(&repository, remote, &from, guard, session, depth, |listed, _| {
            let known = repository.try_find_reference(HEAD).ok().flatten();
            let same = known.is_some_and(|known| known.target().try_id().is_some_and(|id| id == listed));
            stays = same && !afresh && before.is_some_and(|before| self.is_whole(&repository, before));
            !stays && !crowded
        })?;
        match before {
            Some(before) if stays => return Ok(Attempt::Done(before)),
            Some(_) | None => {}
        }
        if crowded {
            return Ok(Attempt::Afresh);
        }
        let commit = repository
            .find_object(listed)
            .and_then(|object| object.peel_to_commit())
            .map_err(|error| fetch_error(remote, &error, remote.scrub(&crate::error::chain(&error))))?;
        let id = CommitId(commit.id);
        if !self.is_whole(&repository, id) {
            return Ok(Attempt::Afresh);
        }
        drop(commit);
        drop(repository);
        if afresh {
            let folder = self.repository_folder();
            remove(&folder)?;
            std::fs::rename(&next, &folder).map_err(Error::file(format!("move {} into place", next.display())))?;
            let origin_file = self.folder.join("origin");
            std::fs::write(&origin_file, origin(remote))
                .map_err(Error::file(format!("write {}", origin_file.display())))?;
            self.damaged.store(false, Ordering::Relaxed);
        }
        Ok(Attempt::Done(id))
    }

    /// Whether a commit and its tree can be read.
    fn is_whole(&self, repository: &gix::Repository, commit: CommitId) -> bool {
        let read = || -> gix::Result<()> {
            repository.find_commit(commit.0)?.tree()?.decode()?;
            Ok(())
        };
        read().is_ok()
    }
}

enum Attempt {
    Done(CommitId),
    /// The mirror has to be fetched into an empty folder.
    Afresh,
}

fn full_name(reference: &Reference) -> String {
    match reference {
        Reference::Branch(name) => format!("refs/heads/{name}"),
        Reference::Tag(name) => format!("refs/tags/{name}"),
        Reference::Commit(id) => id.to_string(),
    }
}

/// Lists the reference of that full name and, if `wanted` says so of its id and of what was listed, fetches it. Returns that id.
fn receive(
    repository: &gix::Repository,
    remote: &Remote,
    from: &str,
    guard: &Guard,
    session: &Session,
    shallow: Shallow,
    wanted: impl FnOnce(gix::ObjectId, &[Ref]) -> bool,
) -> Result<gix::ObjectId, Error> {
    let asked_who = Cell::new(false);
    let mut nowhere = false;
    let result = guard.run(|stop, counter| -> gix::Result<Option<gix::ObjectId>> {
        let there = repository
            .remote_at_without_url_rewrite(remote.url())?
            .with_fetch_tags(gix::remote::fetch::Tags::None)
            .with_refspecs([format!("+{from}:{HEAD}").as_str()], Direction::Fetch)?;
        let mut connection = there.connect(Direction::Fetch).inspect_err(|_| nowhere = true)?.with_credentials(|_| {
            asked_who.set(true);
            Ok(None)
        });
        if let Some(options) = http_options(remote, guard.left()) {
            connection.set_transport_options(Box::new(options));
        }
        let mut counter = counter;
        let prepared = connection.prepare_fetch(&mut counter, gix::remote::ref_map::Options::default())?;
        let Some(listed) = prepared.ref_map().mappings.first().and_then(|found| found.remote.as_id()) else {
            return Ok(None);
        };
        let listed = listed.to_owned();
        if wanted(listed, &prepared.ref_map().remote_refs) {
            prepared.with_shallow(shallow).receive(&mut counter, stop)?;
        }
        Ok(Some(listed))
    });
    let url = remote.url().to_owned();
    match result {
        Ok(Some(listed)) => Ok(listed),
        Ok(None) => Err(Error::NoReference { url, reference: remote.reference.to_string() }),
        Err(error) => Err(guard.broken(remote).unwrap_or_else(|| {
            let why = remote.scrub(&crate::error::chain(&error));
            let complaint = remote.scrub(&session.complaint());
            if !complaint.is_empty() {
                fetch_error(remote, &error, complaint)
            } else if asked_who.get() {
                Error::Authentication { url, why: "it answers 401".into() }
            } else if nowhere && remote.scheme() == Scheme::File {
                Error::NoRepository { url, why }
            } else {
                fetch_error(remote, &error, why)
            }
        })),
    }
}

/// What a failed fetch means for the reader.
fn fetch_error(remote: &Remote, error: &gix::Error, why: String) -> Error {
    let url = remote.url().to_owned();
    let says = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
    if says(&["HTTP status 401", "Permission denied (", "Host key verification failed", "Authentication failed"]) {
        Error::Authentication { url, why }
    } else if says(&["HTTP status 403"]) {
        Error::Forbidden { url, why }
    } else if says(&[
        "HTTP status 404",
        "HTTP status 410",
        "does not appear to be a git repository",
        "Repository not found",
    ]) {
        Error::NoRepository { url, why }
    } else if says(&["not our ref"]) {
        Error::NoReference { url, reference: remote.reference.to_string() }
    } else if error.can_retry_lenient()
        || error.is_retryable()
        || says(&["error sending request", "HTTP status 5", "HTTP status 429", "Could not resolve", "onnection "])
    {
        Error::Unreachable { url, why }
    } else {
        Error::Fetch { url, why }
    }
}

/// Our settings, whatever those of the machine and of the user are.
fn options(ssh: Option<&str>) -> gix::open::Options {
    let mut settings: Vec<String> = vec![
        "protocol.allow=always".into(),
        "gc.auto=0".into(),
        // One object may not unpack to more than this, whoever sent it.
        format!("gitoxide.objects.allocLimit={}", 512u64 << 20),
        "pack.threads=1".into(),
    ];
    if let Some(ssh) = ssh {
        settings.push(format!("core.sshCommand={ssh}"));
        settings.push("ssh.variant=ssh".into());
    }
    gix::open::Options::isolated().config_overrides(settings)
}

/// How HTTP is spoken with a remote; `None` where it is reached in another way.
fn http_options(remote: &Remote, left: Duration) -> Option<http::Options> {
    if !matches!(remote.scheme(), Scheme::Http | Scheme::Https) {
        return None;
    }
    install_cryptography();
    let silence = left.clamp(Duration::from_millis(100), SILENCE);
    let ca = remote.ca().map(str::to_owned);
    let configure = move |builder: reqwest::blocking::ClientBuilder| -> gix::Result<reqwest::blocking::ClientBuilder> {
        let builder = builder.timeout(silence).connect_timeout(silence).referer(false);
        match &ca {
            Some(pem) => {
                let certificates =
                    reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(gix::Error::from_error)?;
                Ok(builder.tls_certs_only(certificates))
            }
            // An image without root certificates must still reach http:// servers inside the cluster.
            None if !has_roots() => Ok(builder.tls_certs_only(std::iter::empty())),
            None => Ok(builder),
        }
    };
    let backend = http::reqwest::Options { configure_client: Some(Box::new(configure)), configure_request: None };
    Some(http::Options {
        extra_headers: remote.authorization().map(|value| format!("Authorization: {value}")).into_iter().collect(),
        user_agent: Some(concat!("serin/", env!("CARGO_PKG_VERSION")).into()),
        backend: Some(Arc::new(Mutex::new(backend))),
        ..http::Options::default()
    })
}

/// Makes ring the cryptography of the process, once; a choice made before stays.
fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// Whether this machine has root certificates; asked on the thread that gix keeps for HTTP.
fn has_roots() -> bool {
    static ROOTS: OnceLock<bool> = OnceLock::new();
    *ROOTS.get_or_init(|| reqwest::blocking::Client::builder().build().is_ok())
}

/// What a mirror was fetched from, in one line.
fn origin(remote: &Remote) -> String {
    format!("{}\n", remote.url())
}

fn packs(repository: &gix::Repository) -> usize {
    let Ok(entries) = std::fs::read_dir(repository.git_dir().join("objects/pack")) else { return 0 };
    entries.flatten().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count()
}

/// Takes away the locks of a process that died. The folder belongs to one mirror, so between calls nobody holds any.
fn unlock(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // There are only files that are complete below it.
            if entry.file_name() != "objects" {
                unlock(&path);
            }
        } else if path.extension().is_some_and(|extension| extension == "lock")
            && let Err(error) = std::fs::remove_file(&path)
        {
            // Whoever needs it says so.
            drop(error);
        }
    }
}

fn remove(folder: &Path) -> Result<(), Error> {
    let result = match folder.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(folder),
        Ok(_) => std::fs::remove_file(folder),
    };
    result.map_err(Error::file(format!("remove {}", folder.display())))
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}
