//! Programs of others, run so that they can harm nothing: in a folder of their own that holds the files of the tree and
//! nothing else, without an environment, without a network, with a deadline and a bound on what they say.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::super::problem::{Problem, Reason};
use super::super::upstream::{File, Mode};

/// The most bytes that a program may print.
const MOST_OUTPUT: u64 = 32 << 20;
/// The most bytes of its complaints that are read; what is told is less.
const MOST_COMPLAINT: u64 = 64 << 10;
/// Letters of its complaints that are told.
const TOLD: usize = 600;

/// Where programs are; each may be missing.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// `kustomize`.
    pub kustomize: Option<PathBuf>,
    /// `kubectl`, whose `kustomize` is taken where there is no other.
    pub kubectl: Option<PathBuf>,
    /// `helm`.
    pub helm: Option<PathBuf>,
}

impl Programs {
    /// Those in the PATH.
    pub fn in_path() -> Programs {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let find =
            |name: &str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
        Programs { kustomize: find("kustomize"), kubectl: find("kubectl"), helm: find("helm") }
    }
}

/// A folder with files of a tree. It goes when this is dropped.
pub struct Workplace {
    folder: TempDir,
}

impl Workplace {
    /// Writes the files. Links and submodules are left out, so nothing leads out of the folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(files: &[File]) -> Result<Workplace, Problem> {
        let failed = |what: &str, error: &std::io::Error| {
            Problem::new(
                Reason::Retrying,
                format!("cannot {what} to render in: {error}; give Serin a folder for temporary files"),
            )
        };
        let folder = TempDir::with_prefix("serin-render-").map_err(|error| failed("make a folder", &error))?;
        let workplace = Workplace { folder };
        for home in [workplace.tree(), workplace.home()] {
            std::fs::create_dir(&home).map_err(|error| failed("make a folder", &error))?;
        }
        for file in files.iter().filter(|file| file.mode == Mode::File) {
            workplace.write(&file.path, &file.bytes)?;
        }
        Ok(workplace)
    }

    /// Writes a file of the tree.
    ///
    /// # Errors
    /// When its path leads out of the tree, or it cannot be written.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Problem> {
        let harmless = path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']));
        if !harmless {
            return Err(Problem::new(Reason::NotFollowed, format!("{path:?} is no path of a file in a tree")));
        }
        let target = self.tree().join(path);
        let written =
            target.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&target, bytes));
        written.map_err(|error| Problem::new(Reason::Retrying, format!("cannot write {path} to render it: {error}")))
    }

    /// Runs a program in the root of the tree, and returns what it prints.
    ///
    /// # Errors
    /// When it cannot be run, fails, takes too long or prints too much.
    pub async fn run(
        &self,
        program: &Path,
        arguments: &[&OsStr],
        spoken: &str,
        deadline: Duration,
    ) -> Result<Vec<u8>, Problem> {
        let failed = |why: String| Problem::new(Reason::RenderFailed, format!("{spoken} failed: {why}"));
        let home = self.home();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.tree()).env_clear().kill_on_drop(true);
        for name in ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
            command.env(name, &home);
        }
        // No program finds another one, such as git, and nobody is reached.
        command.env("PATH", &home).env("KUBECONFIG", home.join("none"));
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env(name, "http://127.0.0.1:9");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(format!("it does not start: {error}")))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let finished = tokio::time::timeout(deadline, async {
            let (output, complaint) = tokio::join!(read(stdout, MOST_OUTPUT), read(stderr, MOST_COMPLAINT));
            if output.len() as u64 > MOST_OUTPUT {
                return Err(failed(format!("it prints more than {} MiB; divide it by spec.path", MOST_OUTPUT >> 20)));
            }
            let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
            Ok((status, output, complaint))
        });
        let Ok(finished) = finished.await else {
            let why = format!("it was not done after {deadline:?}; raise spec.timeout, or divide it by spec.path");
            return Err(failed(why));
        };
        let (status, output, complaint) = finished?;
        if status.success() { Ok(output) } else { Err(failed(self.told(&complaint))) }
    }

    /// Complaints in one line, with paths as Git has them.
    fn told(&self, complaint: &[u8]) -> String {
        let text = String::from_utf8_lossy(complaint);
        let tree = format!("{}/", self.tree().display());
        let real =
            self.tree().canonicalize().map(|path| format!("{}/", path.display())).unwrap_or_else(|_| tree.clone());
        let text = text.replace(&real, "").replace(&tree, "");
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.trim_start_matches("Error: ").trim_start_matches("error: ").chars().take(TOLD).collect()
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }
}

/// All of it, and one byte more than allowed when there is more; the rest is left unread.
async fn read(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What was read before an error is as good as anything.
        let _ = pipe.take(most + 1).read_to_end(&mut bytes).await;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workplace() -> Workplace {
        let file = |path: &str, mode| File { path: path.into(), mode, bytes: b"hello\n".to_vec() };
        Workplace::new(&[file("a/b.txt", Mode::File), file("a/link", Mode::Link)]).unwrap()
    }

    async fn shell(script: &str, deadline: Duration) -> Result<String, Problem> {
        let arguments = [OsStr::new("-c"), OsStr::new(script)];
        let output = workplace().run(Path::new("/bin/sh"), &arguments, "the script", deadline).await?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[tokio::test]
    async fn a_program_sees_the_tree_and_no_environment() {
        let long = Duration::from_secs(30);
        assert_eq!(
            shell("read line < a/b.txt; echo $line; [ -e a/link ] || echo none", long).await.unwrap(),
            "hello\nnone\n"
        );
        let seen = shell("export -p; ls", long).await.unwrap_err();
        assert!(seen.message.starts_with("the script failed: "), "{seen}");
        let environment = shell("export -p", long).await.unwrap();
        assert!(!environment.contains("CARGO") && environment.contains("HOME"), "{environment}");
    }

    #[tokio::test]
    async fn a_program_ends_in_time_and_says_no_more_than_it_may() {
        let late = shell("while :; do :; done", Duration::from_millis(100)).await.unwrap_err();
        assert!(late.message.contains("not done after 100ms"), "{late}");
        let long = shell(
            "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done",
            Duration::from_secs(60),
        );
        assert!(long.await.unwrap_err().message.contains("more than 32 MiB"));
    }

    #[test]
    fn no_file_lands_outside_of_the_tree() {
        for path in ["../x", "a/../../x", "/etc/x", "a//x", "./x"] {
            assert!(workplace().write(path, b"").is_err(), "{path}");
        }
    }
}
