//! What must be true after every change of the cluster, whatever happens to it, and what must be true when all rests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use controller::rollout_view::{phase_word, read_status};
use crds::{CanaryStatus, Phase};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sim::world::World;
use sim::world::routing::Failure;
use sim::{Change, Cluster, Kind};
use tokio::time::Instant;

use super::CANARY;
use super::faults::Weather;
use super::scenario::Scenario;

/// Looks at every change, and remembers what was broken.
pub(crate) struct Invariants {
    begin: Timestamp,
    weather: Weather,
    /// Requests go wrong, so that a step may be written later than it was decided.
    faults: bool,
    /// The step that each Canary is at.
    steps: BTreeMap<String, Step>,
    /// Images of targets that stood when a revision was taken up, by name of Canary.
    taken_up: BTreeMap<String, BTreeSet<String>>,
    /// Images by name of target.
    targets: BTreeMap<String, String>,
    /// Versions that may never become the primary.
    unfit: BTreeSet<String>,
    /// By name of Canary.
    phases: BTreeMap<String, Phase>,
    /// Images by name of primary.
    primaries: BTreeMap<String, String>,
    broken: BTreeSet<String>,
    told: Vec<String>,
}

/// One step of an analysis.
struct Step {
    begin: Instant,
    status: CanaryStatus,
}

impl Invariants {
    pub(crate) fn new(scenario: &Scenario, weather: Weather) -> Invariants {
        Invariants {
            begin: scenario.start,
            weather,
            faults: !scenario.faults.is_empty(),
            steps: BTreeMap::new(),
            taken_up: BTreeMap::new(),
            targets: BTreeMap::new(),
            unfit: scenario.unfit.iter().cloned().collect(),
            phases: BTreeMap::new(),
            primaries: BTreeMap::new(),
            broken: BTreeSet::new(),
            told: Vec::new(),
        }
    }

    /// Looks at one change.
    pub(crate) fn look(&mut self, now: Timestamp, change: &Change) {
        let object = &change.object;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match object["kind"].as_str() {
            Some("Canary") => {
                let status = read_status(object, &mut Vec::new());
                self.phases.insert(name.to_owned(), status.phase);
                self.step(now, name, object, status);
            }
            Some("HTTPRoute") => {
                for rule in items(object, "/spec/rules") {
                    self.sum(now, &format!("HTTPRoute {name}"), rule, "/backendRefs");
                }
            }
            Some("TraefikService") => {
                self.sum(now, &format!("TraefikService {name}"), object, "/spec/weighted/services")
            }
            Some("Ingress") => {
                let weight = &object["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"];
                let weight = weight.as_str().map_or(Some(0), |weight| weight.parse::<u64>().ok());
                if weight.is_none_or(|weight| weight > 100) {
                    self.tell(now, &format!("Ingress {name}: its weight is not one of 0 to 100"));
                }
            }
            Some("Deployment" | "DaemonSet") => {
                self.targets.insert(name.to_owned(), image(object));
                self.primary(now, name, object);
            }
            Some(_) | None => {}
        }
    }

    /// What is broken, all in all, now that everything rests.
    pub(crate) fn end(mut self, cluster: &Cluster, world: &World) -> Vec<String> {
        let now = cluster.now();
        let total = world.total();
        for failure in [Failure::NoReadyPod, Failure::NoSuchService, Failure::NoWeight] {
            if let Some(count) = total.failures.get(&failure) {
                self.tell(now, &format!("{count} requests found {failure:?}"));
            }
        }
        for canary in cluster.list(CANARY, "") {
            let status = read_status(&canary, &mut Vec::new());
            for wrong in at_rest(cluster, &canary, &status) {
                self.tell(now, &wrong);
            }
            let name = canary["metadata"]["name"].as_str().unwrap_or_default();
            let target = canary["spec"]["targetRef"]["name"].as_str().unwrap_or_default();
            let image = self.targets.get(target).cloned().unwrap_or_default();
            if status.phase == Phase::Failed && !self.taken_up.get(name).is_some_and(|images| images.contains(&image)) {
                self.tell(now, &format!("{name} is Failed, and {image} was never taken up"));
            }
        }
        self.told
    }

    /// No step is shorter than the interval, whatever the controller's clock shows. A controller that died does not know
    /// what became of its clock.
    fn step(&mut self, now: Timestamp, name: &str, canary: &Value, status: CanaryStatus) {
        let target = canary["spec"]["targetRef"]["name"].as_str().unwrap_or_default();
        let former = self.steps.get(name);
        if former.is_none_or(|former| former.status.applied_revision != status.applied_revision) {
            let image = self.targets.get(target).cloned().unwrap_or_default();
            self.taken_up.entry(name.to_owned()).or_default().insert(image);
        }
        if former.is_some_and(|former| same_step(&former.status, &status)) {
            return;
        }
        if let Some(Step { begin, status: former }) = former {
            let goes_on = former.phase == Phase::Progressing
                && matches!(status.phase, Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting)
                && former.applied_revision == status.applied_revision
                && (status.phase != Phase::Progressing
                    || status.canary_weight > former.canary_weight
                    || status.iterations > former.iterations);
            let fresh = former.canary_weight == 0 && former.iterations == 0 && !former.mirrored;
            let ordered = command_id(former) != command_id(&status) || canary["spec"]["skipAnalysis"] == true;
            let interval = canary["spec"]["analysis"]["interval"].as_str().and_then(|text| text.parse().ok());
            let interval = interval.and_then(|interval: SignedDuration| Duration::try_from(interval).ok());
            let least = interval.unwrap_or_default();
            let least = if self.faults { least / 2 } else { least.saturating_sub(Duration::from_millis(100)) };
            if goes_on && !fresh && !ordered && begin.elapsed() < least && !self.weather.died_since(*begin) {
                let (weight, took) = (former.canary_weight, begin.elapsed().as_secs_f64());
                self.tell(now, &format!("{name}: the step with weight {weight} took {took:.1} s, which is too short"));
            }
        }
        self.steps.insert(name.to_owned(), Step { begin: Instant::now(), status });
    }

    fn sum(&mut self, now: Timestamp, what: &str, rule: &Value, at: &str) {
        let backends: Vec<&Value> = items(rule, at).collect();
        let weights: Vec<u64> = backends.iter().filter_map(|backend| backend["weight"].as_u64()).collect();
        if backends.len() > 1 && weights.iter().sum::<u64>() != 100 {
            self.tell(now, &format!("{what}: the weights are {weights:?}, which is not 100 in sum"));
        }
    }

    /// A primary takes another template in two phases only.
    fn primary(&mut self, now: Timestamp, name: &str, workload: &Value) {
        let Some(target) = name.strip_suffix("-primary") else { return };
        let image = image(workload);
        let former = self.primaries.insert(name.to_owned(), image.clone());
        if former.as_ref() == Some(&image) {
            return;
        }
        if former.is_some() && self.unfit.contains(version(&image)) {
            self.tell(now, &format!("{name} serves {image}, which no analysis can have passed"));
        }
        let phase = self.phases.get(target).copied().unwrap_or_default();
        let in_order = match phase {
            Phase::New | Phase::Initializing | Phase::Promoting => true,
            Phase::Initialized
            | Phase::Waiting
            | Phase::Progressing
            | Phase::WaitingPromotion
            | Phase::Finalising
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Terminating
            | Phase::Terminated => false,
        };
        if former.is_some() && !in_order {
            self.tell(now, &format!("{name} is given {image} while {target} is {}", phase_word(phase)));
        }
    }

    fn tell(&mut self, now: Timestamp, broken: &str) {
        if self.broken.insert(broken.to_owned()) {
            let seconds = now.duration_since(self.begin).as_secs_f64();
            self.told.push(format!("after {seconds:.1} s: {broken}"));
        }
    }
}

/// What status, routes and workloads disagree about.
fn at_rest(cluster: &Cluster, canary: &Value, status: &CanaryStatus) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = canary["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = canary["metadata"]["namespace"].as_str().unwrap_or_default();
    let kind = canary["spec"]["targetRef"]["kind"].as_str().unwrap_or_default();
    let target = canary["spec"]["targetRef"]["name"].as_str().unwrap_or_default();
    let settled = matches!(status.phase, Phase::Initialized | Phase::Succeeded | Phase::Failed);
    if !settled {
        return wrong;
    }
    let workload = |name: &str| cluster.get(Kind { group: "apps", kind }, namespace, name);
    let baseline = workload(&format!("{target}-baseline"));
    let (Some(target), Some(primary)) = (workload(target), workload(&format!("{target}-primary"))) else {
        return wrong;
    };
    let (new, serving) = (image(&target), image(&primary));
    if status.phase != Phase::Failed && new != serving {
        wrong.push(format!("{name} is {}, and {new} was never judged: {serving} serves", phase_word(status.phase)));
    }
    if kind == "Deployment" && target["spec"]["replicas"] != 0 {
        let replicas = &target["spec"]["replicas"];
        wrong.push(format!("{name} is {}, and its canary has {replicas} replicas", phase_word(status.phase)));
    }
    if status.canary_weight != 0 {
        wrong.push(format!("{name} rests with {}% on its canary by its status", status.canary_weight));
    }
    if baseline.is_some() || status.baseline.is_some() {
        wrong.push(format!("{name} is {}, and its baseline still stands", phase_word(status.phase)));
    }
    if status.mirrored {
        wrong.push(format!("{name} rests with mirrored traffic by its status"));
    }
    let route = Kind { group: "gateway.networking.k8s.io", kind: "HTTPRoute" };
    for rule in cluster.get(route, namespace, name).iter().flat_map(|route| items(route, "/spec/rules")) {
        wrong.extend(backends_at_rest(name, items(rule, "/backendRefs")));
        if items(rule, "/filters").any(|filter| filter["type"] == "RequestMirror") {
            wrong.push(format!("{name} rests with mirrored traffic by its route"));
        }
    }
    let route = Kind { group: "traefik.io", kind: "TraefikService" };
    for route in cluster.get(route, namespace, name).iter() {
        wrong.extend(backends_at_rest(name, items(route, "/spec/weighted/services")));
    }
    let ingress = canary["spec"]["ingressRef"]["name"].as_str().unwrap_or_default();
    let route = Kind { group: "networking.k8s.io", kind: "Ingress" };
    for route in cluster.get(route, namespace, &format!("{ingress}-canary")).iter() {
        let annotation =
            |name: &str| route["metadata"]["annotations"][format!("nginx.ingress.kubernetes.io/{name}")].as_str();
        if annotation("canary") == Some("true") && annotation("canary-weight").is_some_and(|weight| weight != "0") {
            wrong.push(format!("{name} rests with traffic on its canary by its Ingress"));
        }
    }
    wrong
}

fn backends_at_rest<'a>(name: &str, backends: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let ends = |backend: &Value, end: &str| backend["name"].as_str().is_some_and(|backend| backend.ends_with(end));
    let used = backends.filter(|backend| ends(backend, "-canary") || ends(backend, "-baseline"));
    let used = used.filter(|backend| backend["weight"] != 0);
    used.map(|backend| format!("{name} rests with {}% on {} by its route", backend["weight"], backend["name"]))
        .collect()
}

fn same_step(former: &CanaryStatus, status: &CanaryStatus) -> bool {
    let step = |status: &CanaryStatus| (status.phase, status.canary_weight, status.iterations, status.mirrored);
    step(former) == step(status) && former.applied_revision == status.applied_revision
}

fn command_id(status: &CanaryStatus) -> Option<&str> {
    status.last_command.as_ref().map(|command| command.id.as_str())
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn image(workload: &Value) -> String {
    workload["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}

fn version(image: &str) -> &str {
    controller::image::parts(image).tag.unwrap_or("latest")
}
