//! A cluster, an agent in it, and a repository that tests write into.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use controller::agent::upstream::{Commit, File, Mode, Request, Upstream};
use controller::agent::{Agent, Parts, Problem, Programs, Reason, Rules, SourceKey};
use controller::clock::Clock;
use serde_json::{Value, json};
use sim::{Call, Cluster, Fault, Faults, Kind, Status, SystemClock};
use tokio::task::JoinHandle;

pub(crate) const GIT_SOURCE: Kind<'static> = Kind { group: "serin.dev", kind: "GitSource" };
pub(crate) const CONFIG_MAP: Kind<'static> = Kind { group: "", kind: "ConfigMap" };
pub(crate) const DEPLOYMENT: Kind<'static> = Kind { group: "apps", kind: "Deployment" };

/// A repository in memory.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, (Mode, Vec<u8>)>,
    pub(crate) commits: usize,
    pub(crate) fetches: usize,
    pub(crate) refuse: Option<Problem>,
    pub(crate) seen: Vec<Request>,
}

impl Memory {
    /// Commits all of it at once: files with contents, `None` takes out.
    pub(crate) fn commit<'a>(&self, changes: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
        let mut state = self.state.lock().unwrap();
        for (path, content) in changes {
            match content {
                Some(content) => state.files.insert(path.to_owned(), (Mode::File, content.into_bytes())),
                None => state.files.remove(path),
            };
        }
        state.commits += 1;
        id(state.commits)
    }

    pub(crate) fn put(&self, path: &str, mode: Mode, content: &str) {
        let mut state = self.state.lock().unwrap();
        state.files.insert(path.to_owned(), (mode, content.into()));
        state.commits += 1;
    }

    pub(crate) fn refuse(&self, problem: Option<Problem>) {
        self.state.lock().unwrap().refuse = problem;
    }
}

fn id(number: usize) -> String {
    format!("{number:040x}")
}

impl Upstream for Memory {
    fn fetch(&self, request: &Request) -> Result<Commit, Problem> {
        let mut state = self.state.lock().unwrap();
        state.fetches += 1;
        state.seen.push(request.clone());
        match state.refuse.clone() {
            Some(problem) => Err(problem),
            None => Ok(Commit {
                id: id(state.commits),
                author_name: "Mia".into(),
                author_mail: "mia@example.com".into(),
                message: format!("Commit {}\n\nwith details", state.commits),
                time: None,
            }),
        }
    }

    fn files(&self, _: &Request, _: &str, under: &str) -> Result<Vec<File>, Problem> {
        let state = self.state.lock().unwrap();
        let inside = |path: &str| under.is_empty() || path == under || path.starts_with(&format!("{under}/"));
        let found: Vec<File> = state
            .files
            .iter()
            .filter(|(path, _)| inside(path))
            .map(|(path, (mode, bytes))| File { path: path.clone(), mode: *mode, bytes: bytes.clone() })
            .collect();
        if found.is_empty() && !under.is_empty() {
            return Err(Problem::new(Reason::NotFound, format!("the commit has no '{under}'")));
        }
        Ok(found)
    }

    fn forget(&self, _: &SourceKey) {}

    fn keep_only(&self, _: &[SourceKey]) {}
}

/// Requests of the agent, as they came, and what happens to them.
#[derive(Clone, Default)]
pub(crate) struct Requests {
    calls: Arc<Mutex<Vec<Call>>>,
    /// What admission says to every ConfigMap.
    denial: Arc<Mutex<Option<String>>>,
    /// So many writes are heard, and then nothing more.
    writes_left: Arc<Mutex<Option<usize>>>,
}

impl Faults for Requests {
    fn before(&self, call: &Call) -> Fault {
        self.calls.lock().unwrap().push(call.clone());
        let is_write = !["get", "list", "watch"].contains(&call.verb.as_str());
        if let Some(left) = self.writes_left.lock().unwrap().as_mut().filter(|_| is_write) {
            match *left {
                0 => return Fault::Unheard,
                _ => *left -= 1,
            }
        }
        match self.denial.lock().unwrap().clone() {
            Some(denial) if is_write && call.kind == "ConfigMap" => {
                Fault::Refuse(Status::new(403, "Forbidden", denial))
            }
            Some(_) | None => Fault::Pass,
        }
    }
}

impl Requests {
    pub(crate) fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }

    /// Writes that will still be heard, for an agent that dies.
    pub(crate) fn writes_left(&self) -> Option<usize> {
        *self.writes_left.lock().unwrap()
    }

    pub(crate) fn deny(&self, denial: Option<&str>) {
        *self.denial.lock().unwrap() = denial.map(str::to_owned);
    }

    /// As in `patch ConfigMap shop/web`, in order; of watches nothing.
    pub(crate) fn told(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let calls = calls.iter().filter(|call| call.verb != "watch");
        calls
            .map(|call| {
                let part = if call.subresource.is_empty() { String::new() } else { format!(" ({})", call.subresource) };
                format!("{} {} {}/{}{part}", call.verb, call.kind, call.namespace, call.name)
            })
            .collect()
    }

    /// Writes of objects other than of the status of GitSources.
    pub(crate) fn writes(&self) -> Vec<String> {
        let told = self.told().into_iter();
        told.filter(|call| !call.starts_with("get ") && !call.starts_with("list ") && !call.contains("GitSource"))
            .collect()
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) repository: Memory,
    pub(crate) requests: Requests,
    pub(crate) agent: Arc<Agent>,
    working: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.working.abort();
    }
}

impl World {
    pub(crate) fn new() -> World {
        let repository = Memory::default();
        World::with(cluster(), Arc::new(repository.clone()), repository, Rules::default())
    }

    pub(crate) fn with(cluster: Cluster, upstream: Arc<dyn Upstream>, repository: Memory, rules: Rules) -> World {
        World::dying(cluster, upstream, repository, rules, None)
    }

    /// With an agent that dies after so many writes.
    pub(crate) fn dying(
        cluster: Cluster,
        upstream: Arc<dyn Upstream>,
        repository: Memory,
        rules: Rules,
        writes: Option<usize>,
    ) -> World {
        let requests = Requests { writes_left: Arc::new(Mutex::new(writes)), ..Requests::default() };
        let known = cluster.clone();
        let agent = Arc::new(Agent::new(Parts {
            client: cluster.client_with(requests.clone()),
            namespace: None,
            upstream,
            programs: programs(),
            rules,
            has_canary: Arc::new(move |id| {
                let canaries = known.list(Kind { group: "flagger.app", kind: "Canary" }, &id.namespace);
                canaries.iter().any(|canary| canary["spec"]["targetRef"]["name"] == id.name.as_str())
            }),
            clock: Clock::System,
        }));
        let working = agent.clone();
        let working = tokio::spawn(async move { working.work(std::future::pending()).await });
        World { cluster, repository, requests, agent, working }
    }

    /// Lets this work instead of the agent alone.
    pub(crate) fn work(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        std::mem::replace(&mut self.working, tokio::spawn(work)).abort();
    }

    /// Ends the agent as a crash does, and begins with another one.
    pub(crate) fn restart(self) -> World {
        self.working.abort();
        let (cluster, repository) = (self.cluster.clone(), self.repository.clone());
        World::with(cluster, Arc::new(repository.clone()), repository, Rules::default())
    }

    pub(crate) fn source(&self, name: &str, mut spec: Value) {
        if spec["url"].is_null() {
            spec["url"] = json!("https://git.example/shop.git");
        }
        let source = json!({
            "apiVersion": "serin.dev/v1alpha1", "kind": "GitSource", "metadata": { "name": name, "namespace": "shop" },
            "spec": spec,
        });
        self.cluster.create("user", source).unwrap();
    }

    pub(crate) fn status(&self, name: &str) -> Value {
        self.cluster.get(GIT_SOURCE, "shop", name).map(|source| source["status"].clone()).unwrap_or_default()
    }

    /// A condition as in `True Applied words`.
    pub(crate) fn condition(&self, name: &str, type_: &str) -> String {
        let status = self.status(name);
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == type_);
        let text = |field: &str| found.and_then(|found| found[field].as_str()).unwrap_or_default().to_owned();
        format!("{} {} {}", text("status"), text("reason"), text("message"))
    }

    pub(crate) fn config(&self, name: &str) -> Option<Value> {
        self.cluster.get(CONFIG_MAP, "shop", name).map(|found| (*found).clone())
    }

    /// Asks for a look at the repository now.
    pub(crate) fn ask(&self, name: &str) {
        let now = format!("{:?}", std::time::Instant::now());
        let patch = json!({ "metadata": { "annotations": { "serin.dev/requested-at": now } } });
        self.cluster.patch("user", GIT_SOURCE, "shop", name, patch).unwrap();
    }

    /// Waits until it holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&World) -> bool) {
        let mut changed = self.cluster.changed();
        let waiting = async {
            while !holds(self) {
                // Some things change without the cluster.
                let _ = tokio::time::timeout(Duration::from_millis(50), changed.changed()).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), waiting).await.is_err() {
            let sources = self.cluster.list(GIT_SOURCE, "");
            let told: Vec<_> = sources.iter().map(|source| source["status"]["conditions"].to_string()).collect();
            panic!("{what} does not come: {}\n{:#?}", told.join("\n"), self.requests.told());
        }
    }

    pub(crate) async fn until_ready(&self, name: &str, begins: &str) {
        self.until(begins, |world| world.condition(name, "Ready").starts_with(begins)).await;
    }

    /// Waits until that commit is applied.
    pub(crate) async fn until_applied(&self, name: &str, commit: &str) {
        let revision = format!("main@sha1:{commit}");
        self.until(&revision, |world| {
            world.status(name)["lastAppliedRevision"] == revision.as_str()
                && world.condition(name, "Ready").starts_with("True Applied")
        })
        .await;
    }

    /// Waits until nothing has been asked for a while.
    pub(crate) async fn at_rest(&self) {
        let mut before = usize::MAX;
        self.until("rest", |world| {
            let now = world.requests.told().len() + usize::try_from(world.cluster.version()).unwrap();
            std::mem::replace(&mut before, now) == now
        })
        .await;
        tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.unwrap_err();
    }
}

pub(crate) fn cluster() -> Cluster {
    let cluster = Cluster::new(SystemClock);
    for definition in crds::all_crds() {
        cluster.apply_as("test", definition).unwrap();
    }
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
    cluster.apply_as("test", namespace).unwrap();
    cluster
}

pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  key: \"{value}\"\n")
}

pub(crate) fn deployment(name: &str, replicas: u32, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: {replicas}\n  selector:\n    \
         matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n      \
         containers:\n      - name: c\n        image: {image}\n"
    )
}

/// Programs as far as this machine has them.
pub(crate) fn programs() -> Programs {
    let mut programs = Programs::in_path();
    if programs.helm.is_none() {
        let cache = std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".cache/serin-e2e/bin/helm"));
        programs.helm = cache.filter(|helm| helm.is_file());
    }
    programs
}
