//! What must be true after every change of the cluster, whatever happens to it, and what must be true when all rests.

use std::collections::{BTreeMap, BTreeSet};

use controller::rollout_view::{phase_word, read_status};
use crds::{CanaryStatus, Phase};
use jiff::Timestamp;
use serde_json::Value;
use sim::world::World;
use sim::world::routing::Failure;
use sim::{Change, Cluster, Kind};

use super::CANARY;
use super::scenario::Scenario;

/// Looks at every change, and remembers what was broken.
#[derive(Debug)]
pub(crate) struct Invariants {
    begin: Timestamp,
    /// Versions that may never become the primary.
    unfit: BTreeSet<String>,
    /// By name of Canary.
    phases: BTreeMap<String, Phase>,
    /// Images by name of primary.
    primaries: BTreeMap<String, String>,
    broken: BTreeSet<String>,
    told: Vec<String>,
}

impl Invariants {
    pub(crate) fn new(scenario: &Scenario) -> Invariants {
        Invariants {
            begin: scenario.start,
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
                self.phases.insert(name.to_owned(), read_status(object, &mut Vec::new()).phase);
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
            Some("Deployment" | "DaemonSet") => self.primary(now, name, object),
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
        }
        self.told
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
    let route = Kind { group: "gateway.networking.k8s.io", kind: "HTTPRoute" };
    for rule in cluster.get(route, namespace, name).iter().flat_map(|route| items(route, "/spec/rules")) {
        for backend in items(rule, "/backendRefs") {
            if backend["name"].as_str().is_some_and(|backend| backend.ends_with("-canary")) && backend["weight"] != 0 {
                wrong.push(format!("{name} rests with {}% on its canary by its route", backend["weight"]));
            }
        }
    }
    wrong
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn image(workload: &Value) -> String {
    workload["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}

fn version(image: &str) -> &str {
    image.rsplit_once(':').map_or("latest", |(_, tag)| tag)
}
