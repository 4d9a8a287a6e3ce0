//! The Git agent: brings what a repository holds to the cluster, and keeps it there.
//!
//! A pass over a GitSource goes fetch → render → plan → apply → prune → report; `reconcile.rs` shows it on one screen.
//! What differs alone is written, so a GitSource at rest costs its look at the repository and nothing else.

pub mod apply;
pub mod claims;
pub mod drift;
pub mod fields;
pub mod health;
pub mod identity;
pub mod kinds;
pub mod manifest;
pub mod memory;
pub mod mirrors;
pub mod order;
pub mod plan;
pub mod problem;
mod reconcile;
pub mod render;
pub mod report;
pub mod secrets;
pub mod source;
pub mod sources;
pub mod upstream;
pub mod webhook;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::Semaphore;

pub use manifest::ObjectId;
pub use mirrors::Mirrors;
pub use problem::{Problem, Reason};
pub use render::Programs;
pub use source::{Reference, Rules, SourceKey};
pub use webhook::Receiver;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::objects::Kind;
use crate::objects::kinds::{GIT_SOURCE, SECRET};
use crate::queue::{Limits, Queue};
use crate::rest::Rest;
use claims::Claims;
use kinds::Kinds;
use memory::Memory;
use sources::Sources;
use upstream::Upstream;

/// Passes at once: each may hold the files of a repository.
const PASSES: usize = 4;

/// The kinds that the agent reads or writes with Serin's own rights, and the verbs; rights derive from this. What GitSources
/// apply is written with the rights of their accounts.
pub fn resources() -> Vec<(Kind, &'static [&'static str])> {
    const ACCOUNT: Kind = Kind { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts" };
    const STATUS: Kind = Kind { plural: "gitsources/status", ..GIT_SOURCE };
    vec![
        (GIT_SOURCE, &["get", "list", "watch", "patch"]),
        (STATUS, &["get", "patch"]),
        (ACCOUNT, &["impersonate"]),
        (SECRET, &["get"]),
    ]
}

/// What an agent is made of.
pub struct Parts {
    /// Way to the Kubernetes API.
    pub client: Client,
    /// The only namespace that is looked at for GitSources; `None` for all.
    pub namespace: Option<String>,
    /// Where commits come from.
    pub upstream: Arc<dyn Upstream>,
    /// What renders.
    pub programs: Programs,
    /// What holds for all GitSources.
    pub rules: Rules,
    /// True when a Canary of the cluster has this target.
    pub has_canary: Arc<dyn Fn(&ObjectId) -> bool + Send + Sync>,
    /// What tells the time.
    pub clock: Clock,
}

/// The agent. It watches and works while [`Agent::work`] is awaited.
pub struct Agent {
    shared: Arc<Shared>,
}

/// What every pass shares.
struct Shared {
    client: Client,
    namespace: Option<String>,
    metrics: Metrics,
    /// With Serin's own rights.
    rest: Rest,
    kinds: Kinds,
    upstream: Arc<dyn Upstream>,
    /// Bounds what blocks.
    blocking: Arc<Semaphore>,
    programs: Programs,
    rules: Rules,
    has_canary: Arc<dyn Fn(&ObjectId) -> bool + Send + Sync>,
    clock: Clock,
    sources: Sources,
    claims: Claims,
    queue: Queue<SourceKey>,
    memories: Mutex<HashMap<SourceKey, Memory>>,
    /// GitSources of which a push was told.
    pushed: Arc<Mutex<HashSet<SourceKey>>>,
    receiver: Receiver,
}

impl Agent {
    /// Puts it together; nothing begins.
    pub fn new(parts: Parts) -> Agent {
        let Parts { client, namespace, upstream, programs, rules, has_canary, clock } = parts;
        // Passes over GitSources are not among those over Canaries that metrics count.
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), "");
        let limits = Limits { passes: PASSES, longest_backoff: Duration::from_secs(120), ..Limits::default() };
        let queue = Queue::of("git source", limits, metrics.clone());
        let pushed: Arc<Mutex<HashSet<SourceKey>>> = Arc::default();
        let receiver = {
            let (queue, pushed) = (queue.clone(), pushed.clone());
            Receiver::new(move |key| {
                pushed.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
                queue.add(key.clone());
            })
        };
        Agent {
            shared: Arc::new(Shared {
                rest: Rest::new(client.clone(), metrics.clone()).managed_by(fields::AGENT),
                kinds: Kinds::new(client.clone()),
                blocking: Arc::new(Semaphore::new(PASSES)),
                sources: Sources::default(),
                claims: Claims::default(),
                queue,
                memories: Mutex::default(),
                pushed,
                receiver,
                client,
                namespace,
                metrics,
                upstream,
                programs,
                rules,
                has_canary,
                clock,
            }),
        }
    }

    /// Follows all GitSources until `stop` resolves.
    pub async fn work(&self, stop: impl Future<Output = ()>) {
        let shared = self.shared.clone();
        let passes = shared.queue.run(stop, |key| reconcile::reconcile(shared.clone(), key));
        let begin = |sources: &[Arc<crds::GitSource>]| {
            let mut sources: Vec<_> = sources.to_vec();
            let keys: Vec<SourceKey> = sources.iter().map(|source| key_of(source)).collect();
            let upstream = shared.upstream.clone();
            tokio::task::spawn_blocking(move || upstream.keep_only(&keys));
            // Where two name one object, the older has it.
            sources.sort_by(|one, other| one.metadata.creation_timestamp.cmp(&other.metadata.creation_timestamp));
            for source in sources {
                shared.claims.settle(&key_of(&source), &report::inventory(&source));
            }
        };
        let follow = shared.sources.follow(&shared.client, shared.namespace.as_deref(), begin, |key| {
            shared.queue.add(key);
        });
        shared.receiver.lead(true);
        tokio::select! {
            biased;
            () = passes => {}
            () = follow => {}
        }
        shared.receiver.lead(false);
        // Watches of applied objects end with what remembers them.
        self.shared.memories.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Receives word of pushes.
    pub fn receiver(&self) -> &Receiver {
        &self.shared.receiver
    }
}

fn key_of(source: &crds::GitSource) -> SourceKey {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    SourceKey::new(&text(&source.metadata.namespace), &text(&source.metadata.name))
}

impl Shared {
    fn take(&self, key: &SourceKey) -> Memory {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(key).unwrap_or_default()
    }

    fn put(&self, key: &SourceKey, memory: Memory) {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), memory);
    }

    fn was_pushed(&self, key: &SourceKey) -> bool {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}
