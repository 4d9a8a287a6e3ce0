//! What Serin needs of Git, and nothing of Kubernetes: a [`Mirror`] follows one branch, tag or commit of a [`Remote`] in a folder
//! of ours; [`Tree`] reads files straight from its objects; new commits are built without a checkout and pushed, never by force.
//!
//! ```no_run
//! # fn main() -> Result<(), git::Error> {
//! use git::{Change, Credentials, Limits, Mirror, NewCommit, Person, Pushed, Reference, Remote};
//!
//! let token = Credentials::Basic { username: "serin".into(), password: "…".into() };
//! let remote = Remote::new("https://git.example.com/shop.git", Reference::Branch("main".into()), token)?;
//! let limits = Limits::default();
//! let mut mirror = Mirror::new("/var/lib/serin/shop");
//! let head = mirror.fetch(&remote, &limits)?.commit;
//! for file in mirror.tree(&head.id)?.files("deploy", &limits)? {
//!     println!("{} {} bytes", file.path, file.bytes.len());
//! }
//! let serin = Person { name: "Serin".into(), email: "serin@example.com".into() };
//! let commit = mirror.commit(&NewCommit {
//!     parent: head.id,
//!     changes: vec![Change::write("deploy/replicas.txt", "3\n")],
//!     author: serin.clone(),
//!     committer: serin,
//!     time: jiff::Timestamp::now(),
//!     message: "Three replicas\n".into(),
//! })?;
//! match mirror.push(&remote, "main", &commit, &limits)? {
//!     Pushed::Done => {}
//!     Pushed::Moved => {} // fetch, commit and push again
//!     Pushed::Refused { why } => println!("the branch is protected: {why}"),
//! }
//! # Ok(()) }
//! ```
//!
//! Everything blocks: callers on an async runtime use `spawn_blocking`. Reading is [gix](https://docs.rs/gix)'s; pushing, `ssh`
//! and `file` need the `git` executable, and verifying signatures needs `gpg` or `ssh-keygen`. No secret reaches the arguments
//! or the environment of a program, an error, or a `Debug`.

mod commit;
mod error;
mod limits;
mod mirror;
mod path;
mod push;
mod remote;
mod revert;
mod session;
mod signature;
mod tree;
mod write;

pub use commit::{Commit, CommitId, Person};
pub use error::Error;
pub use limits::Limits;
pub use mirror::{Fetched, Mirror};
pub use push::Pushed;
pub use remote::{Credentials, Reference, Remote};
pub use revert::Reverted;
pub use signature::PublicKey;
pub use tree::{Entry, File, Mode, Tree};
pub use write::{Change, NewCommit};
