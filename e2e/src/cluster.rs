//! The cluster under the tests: started by `cluster/up`, or whatever a kubeconfig points at.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

/// Where the parts of the cluster are, and a client with all rights.
#[derive(Clone)]
pub struct Cluster {
    /// A client of the API server, as administrator.
    pub client: Client,
    /// The administrator's kubeconfig: the tests derive the controller's from it.
    pub kubeconfig: Kubeconfig,
    /// The log of every request that service accounts of test namespaces made; only where the harness owns the API server.
    pub audit_log: Option<PathBuf>,
    node: String,
}

/// Which cluster to use, from the environment.
enum Kind {
    Local { state: PathBuf, netns: String },
    Given(PathBuf),
}

impl Kind {
    fn from_environment() -> Self {
        if let Some(path) = std::env::var_os("SERIN_E2E_KUBECONFIG") {
            return Self::Given(path.into());
        }
        let netns = std::env::var("SERIN_E2E_NETNS").unwrap_or_else(|_| "serin-e2e".into());
        let state =
            std::env::var_os("SERIN_E2E_STATE").map_or_else(|| std::env::temp_dir().join(&netns), PathBuf::from);
        Self::Local { state, netns }
    }
}

/// The folder of a cluster that `cluster/up` started; `None` for one that was given.
#[must_use]
pub fn state() -> Option<PathBuf> {
    match Kind::from_environment() {
        Kind::Local { state, .. } => Some(state),
        Kind::Given(_) => None,
    }
}

/// The folder of this crate.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the suite lacks on this machine, with the way to get it; `None` when it can run.
#[must_use]
pub fn missing() -> Option<String> {
    if std::env::var_os("SERIN_E2E_KUBECONFIG").is_some() {
        return None;
    }
    let cache = std::env::var_os("SERIN_E2E_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/serin-e2e")));
    let built = cache.is_some_and(|cache| cache.join("bin/hyperkube").exists() && cache.join("images").exists());
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        Some("it starts namespaces and containers: run it as root, or give a cluster by SERIN_E2E_KUBECONFIG".into())
    } else if !built {
        Some("the cluster's parts are not built: run e2e/assets/build (it needs Go and twelve minutes)".into())
    } else {
        None
    }
}

/// Makes sure a cluster is there, and that this process is inside its network namespace: if it is not, the process becomes
/// itself again, inside. Returns whether this call started the cluster.
///
/// # Errors
/// When the cluster does not come up.
pub fn enter() -> Result<bool> {
    let Kind::Local { state, netns } = Kind::from_environment() else { return Ok(false) };
    let marker = "SERIN_E2E_STARTED";
    if !state.join("admin.kubeconfig").exists() {
        script("cluster/up")?;
        script("cluster/install")?;
        return become_inside(&netns, Some(marker));
    }
    let inside = std::fs::read_link("/proc/self/ns/net").context("reading this process's network namespace")?;
    let wanted =
        std::fs::read_to_string(state.join("netns.inode")).context("reading the cluster's network namespace")?;
    if inside.as_os_str() != wanted.trim() {
        return become_inside(&netns, None);
    }
    Ok(std::env::var_os(marker).is_some())
}

fn become_inside(netns: &str, mark: Option<&str>) -> Result<bool> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/var/run/netns/{netns}")).arg(program).args(std::env::args_os().skip(1));
    if let Some(mark) = mark {
        command.env(mark, "1");
    }
    Err(command.exec()).context("entering the cluster's network namespace with nsenter")
}

/// Ends the cluster that this run started.
///
/// # Errors
/// When the script fails.
pub fn leave() -> Result<()> {
    script("cluster/down")
}

fn script(path: &str) -> Result<()> {
    let status = Command::new(folder().join(path)).status().with_context(|| format!("running e2e/{path}"))?;
    if !status.success() {
        bail!("e2e/{path} ended with {status}; its output says why");
    }
    Ok(())
}

impl Cluster {
    /// A client of the cluster that `enter` found.
    ///
    /// # Errors
    /// When its kubeconfig cannot be read or its API server does not answer.
    pub async fn connect() -> Result<Self> {
        let (path, audit_log) = match Kind::from_environment() {
            Kind::Local { state, .. } => (state.join("admin.kubeconfig"), Some(state.join("audit.log"))),
            Kind::Given(path) => (path, None),
        };
        let kubeconfig = Kubeconfig::read_from(&path).with_context(|| format!("reading {}", path.display()))?;
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default())
            .await
            .with_context(|| format!("using {}", path.display()))?;
        let client = Client::try_from(config).context("making a client of the cluster")?;
        let nodes: Api<Node> = Api::all(client.clone());
        let node = nodes
            .list(&kube::api::ListParams::default().labels("!e2e.serin.dev/fake"))
            .await
            .context("asking the cluster for its nodes")?
            .items
            .into_iter()
            .filter_map(|node| node.status?.addresses)
            .flatten()
            .find(|address| address.type_ == "InternalIP")
            .context("no node has an internal address")?
            .address;
        Ok(Self { client, kubeconfig, audit_log, node })
    }

    /// The address and port where Traefik takes user traffic.
    #[must_use]
    pub fn gateway(&self) -> String {
        format!("{}:30080", self.node)
    }

    /// Prometheus's base URL.
    #[must_use]
    pub fn prometheus(&self) -> String {
        format!("http://{}:30090", self.node)
    }
}
