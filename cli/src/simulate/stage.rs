//! The stage: a simulated cluster with its world, and the real controller in it, all on one thread whose clock jumps from
//! timer to timer. See docs/adr/0010.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use controller::args::ControllerArgs;
use controller::assembly::{Controller, Surroundings};
use controller::clock::{Clock, Dial};
use controller::context::Settings;
use controller::leader::{Election, Timing};
use controller::metrics::Metrics;
use futures::future::join_all;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sim::controllers::{Behaviour, Controllers, Life, make_nodes};
use sim::world::{Description, World};
use sim::{Cluster, Kind, RuntimeClock};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::faults::Weather;
use super::invariants::Invariants;
use super::scenario::{Happening, Scenario, ScenarioError, objects};
use super::surroundings::Around;
use super::transcript::Transcript;
use super::verdict::{self, Verdict};

/// Everything rests when no Canary has changed for this long.
const REST: Duration = Duration::from_secs(5);

/// The longest back-off of the controller's watches and the time of a Lease, and some more.
const PATIENCE: Duration = Duration::from_secs(75);

const CANARY_RUN: Kind<'static> = Kind { group: "serin.dev", kind: "CanaryRun" };

const NAMESPACE: Kind<'static> = Kind { group: "", kind: "Namespace" };

/// Kinds of objects in scenarios that are in no namespace.
const CLUSTER_WIDE: [&str; 2] = ["ClusterCanaryTemplate", "Namespace"];

/// Machines that pods run on.
const NODES: u32 = 3;

/// The name under which objects are applied: a GitOps operator's.
const OPERATOR: &str = "gitops";

/// What a scenario came to.
#[derive(Debug)]
pub struct Played {
    /// What was seen, in the order of time.
    pub transcript: Transcript,
    /// Whether it ended as it should.
    pub verdict: Verdict,
    /// The records of its rollouts: CanaryRuns, by name.
    pub records: Vec<Value>,
    /// Everything as it was left, for those who have the time to take it apart.
    _remains: Remains,
}

/// The cluster with all that happened in it.
struct Remains(#[expect(dead_code, reason = "it is kept, and dropped")] Cluster);

impl fmt::Debug for Remains {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Remains")
    }
}

/// Plays a scenario; paths in it are taken from `folder`. Nothing is left to chance but by the scenario's seed.
///
/// # Errors
/// When the scenario cannot be put on the stage.
pub fn play(scenario: &Scenario, folder: &Path) -> Result<Played, ScenarioError> {
    fastrand::seed(scenario.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|why| ScenarioError::Stage(why.to_string()))?;
    runtime.block_on(async {
        let stage = Stage::set(scenario, folder)?;
        stage.play(scenario, folder).await
    })
}

/// What is seen of the play.
struct Seen {
    transcript: Transcript,
    invariants: Invariants,
}

struct Stage {
    cluster: Cluster,
    around: Around,
    settings: Settings,
    /// The controllers' clock.
    dial: Dial,
    /// Told when the first users come.
    opening: Notify,
    /// Told when the controller is to die.
    death: Arc<Notify>,
    /// What is between the controllers and the cluster.
    weather: Weather,
    replicas: u32,
    /// Where the Lease is, with leader election.
    lease: Option<String>,
}

impl Stage {
    fn set(scenario: &Scenario, folder: &Path) -> Result<Stage, ScenarioError> {
        let (args, settings) = told(scenario.controller.iter().cloned())?;
        let cluster = Cluster::seeded(RuntimeClock::starting_at(scenario.start), scenario.seed);
        equip(&cluster)?;
        for object in objects(&scenario.objects, folder)? {
            for gateway in gateways(&object) {
                apply(&cluster, gateway, &scenario.namespace)?;
            }
            apply(&cluster, object, &scenario.namespace)?;
        }
        let description = Description {
            traffic: scenario.traffic.clone(),
            versions: scenario.versions.clone(),
            metrics: scenario.metrics.clone(),
        };
        let world = World::new(description, scenario.start, ChaCha8Rng::seed_from_u64(scenario.seed));
        let death = Arc::new(Notify::new());
        let (faults, deaths) = (scenario.faults.clone(), scenario.dies_after_writes.clone());
        let weather = Weather::new(faults, deaths, scenario.seed, death.clone());
        Ok(Stage {
            around: Around::new(cluster.clone(), world),
            cluster,
            settings,
            dial: Dial::starting_at(scenario.start),
            opening: Notify::new(),
            death,
            weather,
            replicas: scenario.replicas,
            lease: args.enable_leader_election.then(|| args.lease_namespace().to_owned()),
        })
    }

    async fn play(self, scenario: &Scenario, folder: &Path) -> Result<Played, ScenarioError> {
        let mut seen = Seen {
            transcript: Transcript::new(&self.cluster, scenario.start),
            invariants: Invariants::new(scenario, self.weather.clone()),
        };
        let actors = Controllers::new(self.cluster.clone(), Arc::new(Software(self.around.clone()))).run();
        let directed = timeout(scenario.within, self.direct(scenario, folder, &mut seen));
        let in_time = tokio::select! {
            biased;
            outcome = directed => match outcome {
                Ok(directed) => directed.map(|()| true)?,
                Err(_) => false,
            },
            // None of these ends.
            () = actors => false,
            () = self.flow() => false,
            () = self.control() => false,
        };
        self.catch_up(&mut seen);
        let Seen { transcript, invariants } = seen;
        let world = self.around.world();
        let broken = invariants.end(&self.cluster, &world);
        let verdict = verdict::judge(scenario, &self.cluster, &world, &transcript, broken, in_time)?;
        let records = self.cluster.list(CANARY_RUN, "").iter().map(|record| Value::clone(record)).collect();
        Ok(Played { transcript, verdict, records, _remains: Remains(self.cluster) })
    }

    /// The controllers, each again and again when it dies.
    async fn control(&self) {
        join_all((0..self.replicas).map(|replica| self.replica(replica))).await;
    }

    async fn replica(&self, replica: u32) {
        // Never told: a replica ends by dying.
        let (_stop, stopped) = watch::channel(false);
        for life in 0_u64.. {
            let controller = Controller::new(self.settings.clone(), self.surroundings());
            let election = self.lease.as_ref().map(|namespace| {
                let identity = format!("serin-{replica}-{life}");
                Election::new(controller.context().rest.clone(), namespace, &identity, Timing::default(), self.clock())
            });
            tokio::select! {
                biased;
                () = self.death.notified() => {}
                _ = controller::lead(election, &controller, stopped.clone()) => {}
            }
            controller.die();
            self.weather.mourn();
            // As long as a pod needs to start again.
            sleep(Duration::from_secs(2)).await;
        }
    }

    fn clock(&self) -> Clock {
        Clock::Dial(self.dial.clone())
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            client: self.cluster.client_with(self.weather.clone()),
            namespace: None,
            outside: Arc::new(self.around.clone()),
            clock: self.clock(),
            metrics: Metrics::new(env!("CARGO_PKG_VERSION"), &self.settings.provider),
        }
    }

    /// Traffic, once a second, from the moment that there are routes.
    async fn flow(&self) {
        self.opening.notified().await;
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            seconds.tick().await;
            self.around.world().advance(self.cluster.now(), &self.cluster);
        }
    }

    /// Lets things happen when their time has come; returns when all rests.
    async fn direct(&self, scenario: &Scenario, folder: &Path, seen: &mut Seen) -> Result<(), ScenarioError> {
        self.rest(seen).await;
        self.opening.notify_one();
        let begin = Instant::now();
        let mut then: Vec<&Happening> = scenario.then.iter().collect();
        then.sort_by_key(|happening| happening.at);
        for happening in then {
            self.follow_until(begin + happening.at, seen).await;
            self.catch_up(seen);
            self.happen(happening, scenario, folder, seen)?;
        }
        // What could not be written while requests went wrong or nobody led is made up for when the waits are over.
        while Instant::now() < self.weather.clears_at() + PATIENCE {
            self.follow_until(self.weather.clears_at() + PATIENCE, seen).await;
        }
        self.rest(seen).await;
        Ok(())
    }

    fn happen(
        &self,
        happening: &Happening,
        scenario: &Scenario,
        folder: &Path,
        seen: &mut Seen,
    ) -> Result<(), ScenarioError> {
        let now = self.cluster.now();
        for (workload, image) in &happening.image {
            super::happenings::set_image(&self.cluster, &scenario.namespace, workload, image)?;
            seen.transcript.note(now, workload, &format!("committed: image {image}"));
        }
        for object in objects(&happening.apply, folder)? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            apply(&self.cluster, object, &scenario.namespace)?;
            seen.transcript.note(now, &name, &format!("committed: {kind}"));
        }
        for (workload, annotations) in &happening.annotate {
            super::happenings::annotate(&self.cluster, &scenario.namespace, workload, annotations)?;
            for (key, value) in annotations {
                let done = value.as_ref().map_or_else(|| format!("no more {key}"), |value| format!("{key}: {value}"));
                seen.transcript.note(now, workload, &format!("committed: {done}"));
            }
        }
        for object in &happening.delete {
            super::happenings::delete(&self.cluster, &scenario.namespace, object)?;
            seen.transcript.note(now, object, "deleted");
        }
        for (canary, verb) in &happening.command {
            super::happenings::command(&self.cluster, &scenario.namespace, canary, verb)?;
            seen.transcript.note(now, canary, &format!("told to {verb}"));
        }
        for (url, manner) in &happening.hooks {
            self.around.answer(url, *manner);
            seen.transcript.note(now, url, &format!("{manner} from now on"));
        }
        if let Some(by) = happening.clock {
            self.dial.set(by);
            let way = if by.is_negative() { "back" } else { "forward" };
            seen.transcript.note(now, "serin", &format!("the controller's clock is set {way} by {:#}", by.abs()));
        }
        if happening.restart {
            self.death.notify_one();
            seen.transcript.note(now, "serin", "the controller dies, and starts again");
        }
        Ok(())
    }

    fn catch_up(&self, seen: &mut Seen) {
        seen.transcript.catch_up(&self.cluster, &mut seen.invariants);
    }

    /// Follows what happens until no Canary has changed for a while and all are where they can stay.
    async fn rest(&self, seen: &mut Seen) {
        let mut restless = None;
        loop {
            let before = seen.transcript.changes();
            self.follow_until(Instant::now() + REST, seen).await;
            let version = Some(self.cluster.version());
            if seen.transcript.changes() == before && restless != version {
                if verdict::at_rest(&self.cluster) {
                    return;
                }
                restless = version;
            }
        }
    }

    async fn follow_until(&self, end: Instant, seen: &mut Seen) {
        let mut changed = self.cluster.changed();
        while timeout(end.saturating_duration_since(Instant::now()), changed.changed()).await.is_ok() {
            changed.mark_unchanged();
            self.catch_up(seen);
        }
    }
}

/// Gives an empty cluster what a platform team puts up: definitions and machines.
pub(crate) fn equip(cluster: &Cluster) -> Result<(), ScenarioError> {
    for definition in crds::definitions().into_iter().chain(sim::networking::definitions()) {
        apply(cluster, definition, "")?;
    }
    make_nodes(cluster, NODES).map_err(|status| ScenarioError::Stage(format!("making nodes: {status}")))
}

/// What the controller is told by flags of `serin run`.
pub(crate) fn told(flags: impl IntoIterator<Item = String>) -> Result<(ControllerArgs, Settings), ScenarioError> {
    let args = controller::arguments(flags).map_err(|error| ScenarioError::Stage(format!("controller: {error}")))?;
    let settings = controller::settings(&args).map_err(|error| ScenarioError::Stage(format!("{error:#}")))?;
    Ok((args, settings))
}

/// The kubelet asks how containers behave.
pub(crate) struct Software(pub(crate) Around);

impl Behaviour for Software {
    fn of(&self, image: &str, age: Duration) -> Life {
        self.0.world().applications().of(image, age)
    }
}

/// The gateways that the routes of a Canary, or of those made from a template, are attached to: where they come from is not what a scenario is about.
pub(crate) fn gateways(object: &Value) -> Vec<Value> {
    let places = ["/spec/service/gatewayRefs", "/spec/template/service/gatewayRefs"];
    let references = places.into_iter().find_map(|place| object.pointer(place)).and_then(Value::as_array);
    let gateway = |reference: &Value| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": reference["name"], "namespace": reference["namespace"] },
            "spec": { "gatewayClassName": "simulated", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
        })
    };
    references.into_iter().flatten().map(gateway).collect()
}

/// Applies an object as the GitOps operator does, in that namespace unless it names one; an empty one is none.
pub(crate) fn apply(cluster: &Cluster, mut object: Value, namespace: &str) -> Result<(), ScenarioError> {
    if object.pointer("/metadata/namespace").is_some_and(Value::is_null)
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("namespace");
    }
    let in_a_namespace = !CLUSTER_WIDE.iter().any(|kind| object["kind"] == *kind);
    if in_a_namespace
        && !namespace.is_empty()
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.entry("namespace").or_insert_with(|| namespace.into());
    }
    let what = format!(
        "{} {}",
        object["kind"].as_str().unwrap_or("an object without kind"),
        object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without name")
    );
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    if !namespace.is_empty() && cluster.get(NAMESPACE, "", namespace).is_none() {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        cluster
            .apply_as(OPERATOR, namespace)
            .map_err(|status| ScenarioError::Stage(format!("making the namespace of {what}: {status}")))?;
    }
    cluster.apply_as(OPERATOR, object).map_err(|status| ScenarioError::Stage(format!("applying {what}: {status}")))?;
    Ok(())
}
