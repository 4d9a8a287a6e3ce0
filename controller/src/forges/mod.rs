//! Forges: where pull requests and commit statuses live. One file each, one word in the registry. A forge says what is
//! asked and what answers mean; asking is in `talk`, and what several of its answers make together in `operations`.

use std::fmt;

use url::Url;

mod address;
mod call;
mod error;
mod notice;
mod operations;
mod talk;

pub use address::{CloneAddress, Scheme};
pub use call::{Call, Next, Request, Response};
pub use error::{Again, ForgeError, Problem};
pub use notice::{NoticeError, Told, tell};
pub use operations::{Commented, Proposal, comment, propose, pull_request_of, request_pull};
pub use talk::{TIMEOUT, Token, talk};

macro_rules! forges {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+
        /// Every forge Serin knows.
        pub static FORGES: &[&dyn Forge] = &[$(&$module::FORGE),+];
    };
}

forges! { github, gitlab, gitea, bitbucket, bitbucketserver, azuredevops }

/// One kind of forge.
pub trait Forge: Send + Sync {
    /// As written in `spec.type` of an AlertProvider.
    fn name(&self) -> &'static str;

    /// As people know it.
    fn title(&self) -> &'static str;

    /// True for hosts of the service that its maker runs: they need no configuration.
    fn is_home(&self, host: &str) -> bool;

    /// Where the repository of that clone URL is; the error says of what form the URL must be.
    fn locate(&self, address: &CloneAddress) -> Result<Place, String>;

    /// Value of the `Authorization` header.
    fn authorization(&self, token: &str) -> String;

    /// What a token must be allowed to do all that is here; for people.
    fn rights(&self) -> &'static str;

    /// Longest description of a commit status, in characters.
    fn longest_description(&self) -> usize;

    /// First line of a comment that is known again by it and that readers do not see.
    fn marker(&self, id: &str) -> String {
        format!("<!-- serin: {id} -->")
    }

    /// The pull requests that the commit came by or is in, the likeliest first.
    fn pulls_of(&self, repository: &Repository, commit: &str) -> Call<Vec<PullRequest>>;

    /// Sets or replaces the status of that context.
    fn set_status(&self, repository: &Repository, commit: &str, status: &CommitStatus) -> Call<()>;

    /// Open pull requests from branch `head` to branch `base`.
    fn open_pulls(&self, repository: &Repository, head: &str, base: &str) -> Call<Vec<PullRequest>>;

    /// Opens a pull request; [`Problem::Conflict`] when there is one.
    fn open_pull(&self, repository: &Repository, pull: &NewPull) -> Call<PullRequest>;

    /// Comments that begin with the marker, oldest first.
    fn comments(&self, repository: &Repository, pull: u64, marker: &str) -> Call<Vec<Comment>>;

    /// Adds a comment.
    fn add_comment(&self, repository: &Repository, pull: u64, text: &str) -> Call<()>;

    /// Replaces the text of a comment.
    fn edit_comment(&self, repository: &Repository, pull: u64, comment: &Comment, text: &str) -> Call<()>;

    /// The branch, or `None` when there is none.
    fn branch(&self, repository: &Repository, name: &str) -> Call<Option<Branch>>;

    /// Commits, and gives the id of the commit. [`Problem::Conflict`] when the new branch exists, or when the branch has
    /// moved on. Never by force.
    fn commit(&self, repository: &Repository, commit: &NewCommit) -> Call<String>;
}

/// What a forge makes of a clone URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the API begins.
    pub api: Url,
    /// The page of the repository.
    pub web: Url,
    /// What its API calls the repository, from the outside in.
    pub path: Vec<String>,
}

/// A repository on a forge.
#[derive(Clone)]
pub struct Repository {
    /// What it is on.
    pub forge: &'static dyn Forge,
    /// Where.
    pub place: Place,
}

impl Repository {
    /// As people name it.
    pub fn name(&self) -> String {
        self.place.path.join("/")
    }

    /// A part of the path; empty when there is none.
    fn part(&self, index: usize) -> &str {
        self.place.path.get(index).map_or("", String::as_str)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Repository").field("forge", &self.forge.name()).field("place", &self.place).finish()
    }
}

/// How it stands with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitState {
    /// Under way.
    Pending,
    /// Good.
    Success,
    /// Bad.
    Failure,
}

/// A status of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitStatus {
    /// How it stands.
    pub state: CommitState,
    /// Whose status: one per commit and context is shown. `serin/<namespace>.<canary>`.
    pub context: String,
    /// A sentence; cut to what the forge takes.
    pub description: String,
    /// Where to read more.
    pub target: Option<Url>,
}

impl CommitStatus {
    fn description_for(&self, forge: &dyn Forge) -> String {
        crate::http::excerpt(self.description.as_bytes(), forge.longest_description())
    }
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// As the forge counts them within the repository.
    pub number: u64,
    /// Its page.
    pub url: String,
}

/// A pull request that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPull {
    /// The branch with the change.
    pub head: String,
    /// The branch that it is for.
    pub base: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
}

/// A comment of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// As the forge knows it; a thread goes before it where comments have threads.
    pub id: String,
    /// The version that an edit must name, where it must.
    pub version: Option<u64>,
    /// Its text, marker included.
    pub text: String,
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Its newest commit.
    pub head: String,
    /// Whether pushes to it are restricted, where the forge tells that in the same answer.
    pub protected: Option<bool>,
}

/// A commit that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommit {
    /// The branch that it starts from.
    pub base: String,
    /// The newest commit of that branch, as far as the changes know.
    pub parent: String,
    /// Where it lands: `base` itself, or a branch that does not exist yet.
    pub branch: String,
    /// Message, first line and all.
    pub message: String,
    /// Who is named as the author; the owner of the token when nobody is.
    pub author: Option<Author>,
    /// The files.
    pub changes: Vec<Change>,
}

/// Who made a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Name.
    pub name: String,
    /// Mail address.
    pub email: String,
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the root of the repository, with `/` between its parts.
    pub path: String,
    /// What becomes of it.
    pub file: FileChange,
}

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// It is new.
    Create(String),
    /// It has another content now.
    Update(String),
    /// It is gone.
    Delete,
}

/// The forge of that name; the error lists the known ones.
pub fn by_name(name: &str) -> Result<&'static dyn Forge, String> {
    let known = || FORGES.iter().map(|forge| forge.name()).collect::<Vec<_>>().join(", ");
    find(name).ok_or_else(|| format!("forge {name} is not known; known: {}", known()))
}

/// The forge of that name, if it is one.
pub fn find(name: &str) -> Option<&'static dyn Forge> {
    FORGES.iter().find(|forge| forge.name() == name).copied()
}

/// The repository of a clone URL. Hosts of the public services are known; `hosts` names the forge of others, by host.
pub fn recognise(clone_url: &str, hosts: &[(String, &'static dyn Forge)]) -> Result<Repository, ForgeError> {
    let wrong = |what: String| ForgeError {
        what: "finding the forge of the repository".into(),
        problem: Problem::Address(what),
    };
    let address = CloneAddress::parse(clone_url).map_err(wrong)?;
    let configured = hosts.iter().find(|(host, _)| host.eq_ignore_ascii_case(&address.host)).map(|(_, forge)| *forge);
    let home = || FORGES.iter().find(|forge| forge.is_home(&address.host)).copied();
    let forge = configured.or_else(home).ok_or_else(|| {
        let known = FORGES.iter().map(|forge| forge.name()).collect::<Vec<_>>().join(", ");
        wrong(format!("it is not known which forge {} is: say so, one of {known}", address.host))
    })?;
    locate(forge, &address)
}

/// The repository of a clone URL on a forge that is known.
pub fn locate(forge: &'static dyn Forge, address: &CloneAddress) -> Result<Repository, ForgeError> {
    let place = forge.locate(address).map_err(|what| ForgeError {
        what: format!("finding the repository on {}", forge.title()),
        problem: Problem::Address(what),
    })?;
    Ok(Repository { forge, place })
}

/// `Bearer`, or `Basic` for `user:password`.
fn bearer_or_basic(token: &str) -> String {
    use base64::Engine as _;
    match token.contains(':') {
        true => format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(token)),
        false => format!("Bearer {token}"),
    }
}

/// A commit as people read it.
fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

#[cfg(test)]
mod notice_tests;
#[cfg(test)]
mod tests;
