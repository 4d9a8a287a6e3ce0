//! Repositories made by `git`.

use std::path::{Path, PathBuf};
use std::process::Command;

use git::{CommitId, Credentials, Mirror, Person, Reference, Remote};
use tempfile::TempDir;

/// A bare repository that plays the server, a clone that plays a user, and a place for the mirror.
pub(crate) struct World {
    pub(crate) folder: TempDir,
}

impl World {
    /// With one commit on `main`: `README` and `deploy/app.yaml`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let world = Self { folder };
        git(world.folder.path(), &["init", "-q", "--bare", "-b", "main", "shop.git"]);
        git(&world.bare(), &["config", "http.receivepack", "true"]);
        git(world.folder.path(), &["init", "-q", "-b", "main", "user"]);
        git(&world.user(), &["remote", "add", "origin", world.bare().to_str().expect("path")]);
        world.write("README", "shop\n");
        world.write("deploy/app.yaml", "image: one\n\n\n\n\n\nreplicas: 1\n");
        world.commit("First");
        world
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.folder.path().join("shop.git")
    }

    pub(crate) fn user(&self) -> PathBuf {
        self.folder.path().join("user")
    }

    pub(crate) fn mirror(&self) -> Mirror {
        Mirror::new(self.mirror_folder())
    }

    pub(crate) fn mirror_folder(&self) -> PathBuf {
        self.folder.path().join("mirror")
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote::new(&format!("file://{}", self.bare().display()), main(), Credentials::None).expect("remote")
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.user().join(path);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        std::fs::write(path, content).expect("file");
    }

    /// Commits all there is and pushes it to `main`.
    pub(crate) fn commit(&self, message: &str) -> CommitId {
        git(&self.user(), &["add", "-A"]);
        git(&self.user(), &["commit", "-q", "--allow-empty", "-m", message]);
        git(&self.user(), &["push", "-q", "origin", "HEAD:main"]);
        self.id("HEAD")
    }

    pub(crate) fn id(&self, name: &str) -> CommitId {
        git(&self.user(), &["rev-parse", name]).parse().expect("id")
    }

    /// What the server has at a name, as in `main:deploy/app.yaml`.
    pub(crate) fn served(&self, name: &str) -> String {
        git(&self.bare(), &["show", name])
    }
}

pub(crate) fn main() -> Reference {
    Reference::Branch("main".into())
}

pub(crate) fn serin() -> Person {
    Person { name: "Serin".into(), email: "serin@example.com".into() }
}

/// Runs `git`, which must succeed, and gives back what it printed.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    run(Command::new("git").arg("-C").arg(folder).args(arguments))
}

pub(crate) fn run(command: &mut Command) -> String {
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Ada").env(format!("GIT_{role}_EMAIL"), "ada@example.com");
    }
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
