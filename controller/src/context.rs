//! What every pass shares. The clock is read here and nowhere else.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rollout::spec::{Defaults, RouterAbility, Webhook};
use rollout::{Memory, State, Times};
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use crate::attribution::{Commits, NoCommits};
use crate::cache::{Cache, CanaryKey};
use crate::clock::{Clock, Moment};
use crate::configs::Configs;
use crate::dashboard::History;
use crate::events::Recorder;
use crate::git_rollback::{Mirrors, Rollbacks};
use crate::metrics::Metrics;
use crate::notifiers::GlobalSettings;
use crate::opt_in::Kept;
use crate::outside::Outside;
use crate::record::Recording;
use crate::rest::Rest;
use crate::writer::Writer;
use crate::{routers, workloads};

/// Passes at work at once. A parsed view is large beside what the cache keeps of it, and after a restart all Canaries
/// are due together; passes that wait for hooks and metrics do not count.
const WORKING: usize = 12;

/// Calls of event hooks at once; what comes on top is dropped, because events are many and hooks may be slow.
const EVENT_CALLS: usize = 64;

/// What the controller was told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// About workloads.
    pub workloads: workloads::Settings,
    /// For the state machine.
    pub rollout: rollout::Settings,
    /// Router of Canaries that name none.
    pub provider: String,
    /// Prometheus of Canaries that name none.
    pub metrics_server: String,
    /// Shortest time between two looks.
    pub min_interval: std::time::Duration,
    /// Where mirrors of repositories are kept.
    pub git_storage: PathBuf,
    /// Write into repositories of this machine too.
    pub git_local_repositories: bool,
    /// Refuse references into other namespaces.
    pub no_cross_namespace_refs: bool,
    /// Annotation prefix of the NGINX Ingress controller.
    pub ingress_annotations_prefix: String,
    /// Class of Ingress copies.
    pub ingress_class: Option<String>,
    /// Told in alerts.
    pub cluster_name: String,
    /// Where people reach the dashboard; told in notices.
    pub dashboard_url: Option<Url>,
    /// Who hears alerts of Canaries that name nobody.
    pub notifier: GlobalSettings,
    /// Who hears the events of Canaries that have no event hook.
    pub event_hook: Option<Url>,
}

/// What every pass shares.
pub struct Context {
    /// What was told at the start.
    pub settings: Settings,
    /// What was seen.
    pub cache: Cache,
    /// Plain requests.
    pub rest: Rest,
    /// Writes of objects.
    pub writer: Writer,
    /// ConfigMaps and Secrets.
    pub configs: Configs,
    /// Metrics servers, hooks, receivers of alerts.
    pub outside: Arc<dyn Outside>,
    /// Bounds the passes that hold parsed objects and do not wait for the outside world.
    pub working: Semaphore,
    /// Bounds the calls of event hooks under way.
    pub event_calls: Arc<Semaphore>,
    /// Kubernetes Events.
    pub events: Recorder,
    /// For Prometheus.
    pub metrics: Metrics,
    /// What is known of commits beyond what operators tell.
    pub commits: Arc<dyn Commits>,
    /// Reverts in Git under way.
    pub rollbacks: Rollbacks,
    /// For the dashboard; keeps nothing without one.
    pub history: History,
    clock: Clock,
    abilities: Vec<RouterAbility>,
    remembered: Mutex<HashMap<CanaryKey, Remembered>>,
}

/// What is remembered of one Canary between passes; all of it may be lost.
#[derive(Clone, Default)]
pub struct Remembered {
    /// The state machine's own.
    pub memory: Memory,
    /// The last write that was refused: reason and message.
    pub refused: Option<(String, String)>,
    /// The last refusal of a workload's pods by a policy, as it was told.
    pub pods_refused: Option<String>,
    /// The Canary as our last status write left it, with the version that it replaced: the cache lags behind.
    pub written: Option<(String, Arc<Value>)>,
    /// Since when the status would be written in other words, though nothing else of it changed.
    pub reworded_since: Option<Timestamp>,
    /// About the record of the rollout.
    pub recording: Recording,
    /// About the template that it is or would be made from.
    pub opt_in: Kept,
    /// The clock at the last decision, and the times that the state had then.
    pub decided: Option<(Moment, Times)>,
    /// Target and primary, for taking the metrics away.
    pub names: Option<(String, String)>,
}

impl Remembered {
    /// State and memory as if their times had been noted by the clock as it goes now: waits keep their length when it
    /// is set.
    pub fn by_clock(&self, state: &State, moment: &Moment) -> (State, Memory) {
        let (set, known) =
            self.decided.as_ref().map_or_else(Default::default, |(decided, times)| (moment.set_since(decided), *times));
        if !set.is_zero() {
            tracing::info!("the clock was set by {set:#}; waits keep their length");
        }
        (state.clone().by_clock(&known, set, moment.wall), self.memory.clone().by_clock(set, moment.wall))
    }
}

/// The parts of a [`Context`].
pub struct Parts {
    /// See [`Context::settings`].
    pub settings: Settings,
    /// See [`Context::cache`].
    pub cache: Cache,
    /// See [`Context::rest`].
    pub rest: Rest,
    /// See [`Context::events`].
    pub events: Recorder,
    /// See [`Context::metrics`].
    pub metrics: Metrics,
    /// See [`Context::outside`].
    pub outside: Arc<dyn Outside>,
    /// What tells the time.
    pub clock: Clock,
}

impl Context {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Context {
        let Parts { settings, cache, rest, events, metrics, outside, clock } = parts;
        let rollbacks = Rollbacks::new(Arc::new(Mirrors::new(settings.git_storage.join("rollbacks"))));
        Context {
            writer: Writer::new(rest.clone(), cache.clone()),
            configs: Configs::new(rest.clone(), cache.clone()),
            working: Semaphore::new(WORKING),
            event_calls: Arc::new(Semaphore::new(EVENT_CALLS)),
            abilities: routers::ROUTERS.iter().flat_map(|router| router.abilities()).copied().collect(),
            remembered: Mutex::new(HashMap::new()),
            settings,
            cache,
            rest,
            events,
            metrics,
            commits: Arc::new(NoCommits),
            rollbacks,
            history: History::default(),
            outside,
            clock,
        }
    }

    /// The same, asking there for what is known of commits.
    #[must_use]
    pub fn with_commits(self, commits: Arc<dyn Commits>) -> Context {
        Context { commits, ..self }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What tells the time.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// What a Canary is parsed with.
    pub fn defaults(&self) -> Defaults<'_> {
        Defaults {
            provider: &self.settings.provider,
            routers: &self.abilities,
            min_interval: self.settings.min_interval,
            no_cross_namespace_refs: self.settings.no_cross_namespace_refs,
        }
    }

    /// The hook that hears events of Canaries without one of their own.
    pub fn event_hook(&self) -> Option<Webhook> {
        self.settings.event_hook.clone().map(crate::webhooks::global_event_hook)
    }

    /// True when the Canary was looked at before.
    pub fn knows(&self, key: &CanaryKey) -> bool {
        self.lock().contains_key(key)
    }

    /// What is remembered of the Canary.
    pub fn recall(&self, key: &CanaryKey) -> Remembered {
        self.lock().get(key).cloned().unwrap_or_default()
    }

    /// Remembers.
    pub fn remember(&self, key: &CanaryKey, remembered: Remembered) {
        self.lock().insert(key.clone(), remembered);
    }

    /// Forgets the Canary; returns what was remembered.
    pub fn forget(&self, key: &CanaryKey) -> Option<Remembered> {
        self.lock().remove(key)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CanaryKey, Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
