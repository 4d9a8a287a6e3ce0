//! The controller under test, as a process of its own.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{wait_for, wire};

/// A running `serin run`; ended, by force, when it is dropped.
pub struct Serin {
    child: Child,
    port: u16,
    log: PathBuf,
}

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Instead of the binary under test.
    pub binary: Option<PathBuf>,
    /// The kubeconfig of its service account.
    pub kubeconfig: PathBuf,
    /// Where its output goes; several starts of one test share the file.
    pub log: PathBuf,
    /// Flags beside `-kubeconfig`, `-port` and `-log-level`.
    pub flags: Vec<String>,
}

/// The binary under test.
///
/// # Errors
/// When there is none; the message says how to get it.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SERIN_BIN") {
        return Ok(path.into());
    }
    let target = target_folder();
    let candidates = [target.join("release/serin"), target.join("debug/serin")];
    candidates.iter().find(|path| path.exists()).cloned().with_context(|| {
        format!(
            "no serin in {}: build it with `cargo build --release -p cli`, or name it by SERIN_BIN",
            target.display()
        )
    })
}

/// Flagger, started as Serin is; `None` when it is not built.
#[must_use]
pub fn flagger() -> Option<PathBuf> {
    let cache = std::env::var_os("SERIN_E2E_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/serin-e2e")))?;
    cache.join("bin/flagger").exists().then(|| crate::cluster::folder().join("peers/flagger"))
}

/// The workspace's target folder.
#[must_use]
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::cluster::folder().join("../target"), PathBuf::from)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("finding a free port for serin")?;
    Ok(listener.local_addr().context("finding a free port for serin")?.port())
}

impl Serin {
    /// Starts it and waits until it answers its health check.
    ///
    /// # Errors
    /// When there is no binary, or it ends or does not answer within thirty seconds; the message holds the end of its log.
    pub async fn start(options: &Options) -> Result<Self> {
        let binary = options.binary.clone().map_or_else(binary, Ok)?;
        let port = free_port()?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&options.log)
            .with_context(|| format!("opening {}", options.log.display()))?;
        let errors = log.try_clone().context("using one log for both outputs of serin")?;
        let child = Command::new(&binary)
            .arg("run")
            .arg("-kubeconfig")
            .arg(&options.kubeconfig)
            .args(["-log-level", "debug", "-port", &port.to_string()])
            .args(&options.flags)
            // The shortest analysis interval is ten seconds otherwise, and a rollout takes minutes.
            // As in the image, whose allocator keeps one heap for all threads and gives back at once what is large.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            .env("SERIN_MIN_INTERVAL", "1s")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut serin = Self { child, port, log: options.log.clone() };
        let started = wait_for("serin to answer /healthz", Duration::from_secs(30), || async {
            wire::get(&format!("http://127.0.0.1:{port}/healthz")).await
        })
        .await;
        if let Err(error) = started {
            let ended = serin.child.try_wait().context("looking after serin")?;
            let state =
                ended.map_or_else(|| "it is still running".to_owned(), |status| format!("it ended with {status}"));
            bail!("{error:#}; {state}; the end of {}:\n{}", serin.log.display(), tail(&serin.log));
        }
        Ok(serin)
    }

    /// Kills it as a crash would: nothing is flushed, nothing handed over.
    ///
    /// # Errors
    /// When it was gone already.
    pub fn crash(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("looking after serin")? {
            bail!("serin had already ended with {status}; the end of {}:\n{}", self.log.display(), tail(&self.log));
        }
        self.child.kill().context("killing serin")?;
        self.child.wait().context("waiting for serin's end")?;
        Ok(())
    }

    /// Asserts that it is running.
    ///
    /// # Errors
    /// When it ended, with the end of its log.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait().context("looking after serin")? {
            None => Ok(()),
            Some(status) => bail!("serin ended with {status}; the end of {}:\n{}", self.log.display(), tail(&self.log)),
        }
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_kib(&self) -> Result<u64> {
        self.status_field("VmRSS:")
    }

    /// The largest resident memory it ever had, in KiB.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn peak_resident_kib(&self) -> Result<u64> {
        self.status_field("VmHWM:")
    }

    fn status_field(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("{path} has no {field}"))
    }

    /// Processor time used so far, user and system.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn processor_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        // Fields 14 and 15, counted after the name in parentheses, which may hold spaces; in hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let hundredths: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(hundredths * 10))
    }

    /// The text of its `/metrics`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let body = wire::get(&format!("http://127.0.0.1:{}/metrics", self.port)).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

impl Drop for Serin {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
