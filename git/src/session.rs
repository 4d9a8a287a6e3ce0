//! What a connection needs beside it: a private folder for keys and settings, and programs that see nothing else.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::remote::Scheme;
use crate::{Credentials, Error, Remote};

/// What programs may see of our environment: where to find things, and the proxies of the cluster.
const KEPT: [&str; 12] = [
    "PATH",
    "GIT_EXEC_PATH",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "TMPDIR",
];

/// Where `ssh` writes what it complains of.
const SSH_LOG: &str = "ssh.log";

/// A folder of mode 0700 with files of mode 0600, gone when this is dropped.
pub(crate) struct Private(tempfile::TempDir);

impl Private {
    pub(crate) fn new() -> Result<Self, Error> {
        let folder = {
            let only_ours = Permissions::from_mode(0o700);
            tempfile::Builder::new().prefix("serin-git-").permissions(only_ours).tempdir()
        };
        Ok(Self(folder.map_err(Error::file("make a private temporary folder"))?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf, Error> {
        let path = self.path().join(name);
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(content)
        };
        write().map_err(Error::file(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// A program that sees this folder as its home and none of our environment but [`KEPT`].
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.path()).env("LC_ALL", "C").current_dir(self.path());
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}

/// What talking to one remote needs of files.
pub(crate) struct Session {
    private: Private,
    ssh: Option<String>,
}

impl Session {
    pub(crate) fn new(remote: &Remote) -> Result<Self, Error> {
        let private = Private::new()?;
        let ssh = match remote.credentials() {
            Credentials::Ssh { private_key, known_hosts } => {
                // OpenSSH refuses a key whose last line does not end.
                let key = private.write("key", format!("{}\n", private_key.trim_end()).as_bytes())?;
                let hosts = private.write("known_hosts", format!("{}\n", known_hosts.trim_end()).as_bytes())?;
                Some(ssh_command(&key, &hosts, &private.path().join(SSH_LOG)))
            }
            Credentials::None | Credentials::Basic { .. } | Credentials::Bearer(_) => None,
        };
        Ok(Self { private, ssh })
    }

    /// The command that stands for `ssh`, where the remote is reached by it.
    pub(crate) fn ssh(&self) -> Option<&str> {
        self.ssh.as_deref()
    }

    /// What `ssh` complained of, where it was used.
    pub(crate) fn complaint(&self) -> String {
        let said = std::fs::read(self.path().join(SSH_LOG)).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        // Its verdict comes last, after warnings that may be long.
        let lines = said.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(2)..].join("; ")
    }

    pub(crate) fn path(&self) -> &Path {
        self.private.path()
    }

    /// `git`, working on the repository in `folder` and knowing how to reach `remote`: credentials stand in a settings file.
    pub(crate) fn git(&self, remote: &Remote, folder: &Path) -> Result<Command, Error> {
        let mut settings = format!("[safe]\n\tdirectory = {}\n[gc]\n\tauto = 0\n", quoted(&folder.to_string_lossy()));
        if let Some(authorization) = remote.authorization() {
            // Only for that server: Git sends the header nowhere else, redirects included.
            let header = quoted(&format!("Authorization: {authorization}"));
            settings += &format!("[http {}]\n\textraHeader = {header}\n", quoted(&server(remote.url())));
        }
        if let (Some(ca), Scheme::Https) = (remote.ca(), remote.scheme()) {
            let ca = self.private.write("ca.pem", ca.as_bytes())?;
            settings += &format!("[http]\n\tsslCAInfo = {}\n", quoted(&ca.to_string_lossy()));
        }
        let settings = self.private.write("settings", settings.as_bytes())?;
        let mut git = self.private.command("git");
        git.env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", settings)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("GIT_ALLOW_PROTOCOL", "http:https:ssh:file")
            .args(["-c", "core.hooksPath=/dev/null", "-c", "credential.helper="])
            .arg("--git-dir")
            .arg(folder);
        if let Some(ssh) = &self.ssh {
            git.env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh");
        }
        Ok(git)
    }
}

/// No agent, no settings, no questions, no passwords; only this key, and only servers that are known.
/// What it complains of goes to the log, as its error output would end among ours.
fn ssh_command(key: &Path, known_hosts: &Path, log: &Path) -> String {
    let path = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"));
    format!(
        "ssh -F /dev/null -E {} -i {} -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o StrictHostKeyChecking=yes \
         -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o ForwardAgent=no -o ClearAllForwardings=yes \
         -o ConnectTimeout=20 -o ServerAliveInterval=10 -o ServerAliveCountMax=3",
        path(log),
        path(key),
        path(known_hosts),
    )
}

/// `https://host:port/` of an address.
fn server(address: &str) -> String {
    url::Url::parse(address)
        .map_or_else(|_| address.to_owned(), |url| format!("{}/", url.origin().ascii_serialization()))
}

/// A value as Git's settings files want it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    fn main() -> Reference {
        Reference::Branch("main".into())
    }

    fn shown(command: &Command) -> String {
        format!("{:?} {:?}", command.get_args().collect::<Vec<_>>(), command.get_envs().collect::<Vec<_>>())
    }

    #[test]
    fn a_token_stands_in_a_private_file_and_nowhere_else() {
        let basic = Credentials::Basic { username: "ada".into(), password: "hunter2".into() };
        let remote = Remote::new("https://h:8443/a.git", main(), basic).expect("valid");
        let session = Session::new(&remote).expect("session");
        let git = session.git(&remote, Path::new("/srv/mirror")).expect("git");
        let header = remote.authorization().expect("header");
        assert!(!shown(&git).contains("hunter2") && !shown(&git).contains(&header), "{}", shown(&git));
        let path = session.path().join("settings");
        let settings = std::fs::read_to_string(&path).expect("settings");
        assert!(settings.contains("[http \"https://h:8443/\"]") && settings.contains(&header), "{settings}");
        assert_eq!(path.metadata().expect("file").permissions().mode() & 0o777, 0o600);
        assert_eq!(session.path().metadata().expect("folder").permissions().mode() & 0o777, 0o700);
        drop(session);
        assert!(!path.exists());
    }

    #[test]
    fn ssh_trusts_the_given_hosts_and_offers_the_given_key() {
        let key =
            Credentials::Ssh { private_key: "line one\nsecret\n".into(), known_hosts: "h ssh-ed25519 AAAA".into() };
        let remote = Remote::new("git@h:a.git", main(), key).expect("valid");
        let session = Session::new(&remote).expect("session");
        let ssh = session.ssh().expect("ssh").to_owned();
        let folder = session.path().display().to_string();
        for part in [
            format!("-i '{folder}/key'"),
            format!("UserKnownHostsFile='{folder}/known_hosts'"),
            "StrictHostKeyChecking=yes".into(),
            "BatchMode=yes".into(),
            "-F /dev/null".into(),
        ] {
            assert!(ssh.contains(&part), "{part} in {ssh}");
        }
        let git = session.git(&remote, Path::new("/srv/mirror")).expect("git");
        assert!(shown(&git).contains("GIT_SSH_COMMAND") && !shown(&git).contains("secret"));
        assert_eq!(session.path().join("key").metadata().expect("key").permissions().mode() & 0o777, 0o600);
    }
}
