//! Test support: Canaries and their objects as Flagger left them, and what a write makes of an object.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollout::Spec;
use rollout::spec::{Defaults, TargetKind};
use serde_json::{Value, json};

use super::{Found, Plan, Settings, WorkloadError, checksum, track, tracked_refs};
use crate::objects::{Desired, Kind, Owner, kinds};
use crate::routers::ROUTERS;

/// A Canary with all that stands around it.
pub(super) struct Case {
    pub(super) owner: Owner,
    pub(super) spec: Spec,
    pub(super) settings: Settings,
    pub(super) target: Value,
    pub(super) objects: BTreeMap<(Kind, String), Arc<Value>>,
    pub(super) status: Value,
}

impl Case {
    /// A moment of a case of the golden data, as `gatewayapi/1-initialized`.
    pub(super) fn read(moment: &str) -> Case {
        let path = format!("{}/../tests/fixtures/flagger-objects/{moment}.json", env!("CARGO_MANIFEST_DIR"));
        let list: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path);
        let mut objects = BTreeMap::new();
        let mut canary = Value::Null;
        for object in list["items"].as_array().expect("a list of objects") {
            let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
            let kind = match object["kind"].as_str().expect("a kind") {
                "Canary" => {
                    canary = object.clone();
                    continue;
                }
                "Deployment" => kinds::DEPLOYMENT,
                "Service" => kinds::SERVICE,
                "ConfigMap" => kinds::CONFIG_MAP,
                "Secret" => kinds::SECRET,
                "HorizontalPodAutoscaler" => kinds::HORIZONTAL_POD_AUTOSCALER,
                _ => continue,
            };
            let mut object = object.clone();
            object["metadata"].as_object_mut().expect("metadata").remove("managedFields");
            objects.insert((kind, name), Arc::new(object));
        }
        let text = |field: &str| canary["metadata"][field].as_str().expect("metadata").to_owned();
        let target = (*objects[&(kinds::DEPLOYMENT, "podinfo".to_owned())]).clone();
        let include_label_prefix =
            if moment.starts_with("nginx") { vec!["app.kubernetes.io".into()] } else { Vec::new() };
        Case {
            owner: Owner { namespace: text("namespace"), name: text("name"), uid: text("uid") },
            spec: spec(&canary),
            settings: Settings { include_label_prefix, ..Settings::default() },
            target,
            objects,
            status: canary["status"].clone(),
        }
    }

    /// A Deployment at rest.
    pub(super) fn deployment() -> Case {
        Case::read("gatewayapi/1-initialized")
    }

    /// The same as a DaemonSet.
    pub(super) fn daemon_set() -> Case {
        let mut case = Case::deployment();
        case.spec.target.kind = TargetKind::DaemonSet;
        case.spec.autoscaler = None;
        let spec = case.target["spec"].as_object_mut().expect("a spec");
        for field in ["replicas", "strategy", "progressDeadlineSeconds"] {
            spec.remove(field);
        }
        spec.insert("updateStrategy".into(), json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}));
        case.target["kind"] = "DaemonSet".into();
        case
    }

    pub(super) fn plan(&self) -> Result<Plan<'_>, WorkloadError> {
        let found = tracked_refs(&self.target, &self.settings).into_iter().map(|reference| {
            let found = match self.objects.get(&(reference.kind.object(), reference.name.clone())) {
                None => Found::Missing,
                Some(object) => checksum(reference.kind, object).map_or(Found::Untracked, Found::Checksum),
            };
            (reference, found)
        });
        let tracked = track(&self.target, found.collect())?;
        Plan::new(&self.owner, &self.spec, &self.settings, &self.target, tracked)
    }

    pub(super) fn primary(&self) -> &Value {
        &self.objects[&(self.plan().expect("a plan").kind(), "podinfo-primary".to_owned())]
    }

    pub(super) fn live(&self, desired: &Desired) -> Option<&Value> {
        self.objects.get(&(desired.kind(), desired.name().to_owned())).map(Arc::as_ref)
    }

    pub(super) fn put(&mut self, kind: Kind, name: &str, object: Value) {
        self.objects.insert((kind, name.to_owned()), Arc::new(object));
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        self.objects.remove(&(kind, name.to_owned())).expect("the fixture has it");
    }
}

fn spec(canary: &Value) -> Spec {
    let routers: Vec<_> = ROUTERS.iter().flat_map(|router| router.abilities()).copied().collect();
    let defaults = Defaults {
        provider: "kubernetes",
        routers: &routers,
        min_interval: Duration::from_secs(1),
        no_cross_namespace_refs: false,
    };
    let canary = rollout::parse::from_value(canary).expect("a Canary");
    rollout::parse::parse(&canary, &defaults).expect("a good Canary")
}

/// The object after a write.
pub(super) fn apply(live: Option<&Value>, desired: &Desired) -> Value {
    match desired {
        Desired::Replace { body, pointers, .. } => match live {
            None => body.clone(),
            Some(live) => {
                let mut after = live.clone();
                for pointer in pointers {
                    set(&mut after, pointer, body.pointer(pointer));
                }
                after
            }
        },
        Desired::Patch { pointer_values, .. } => {
            let mut after = live.expect("an object to patch").clone();
            for (pointer, value) in pointer_values {
                set(&mut after, pointer, value.as_ref());
            }
            after
        }
        Desired::Apply { .. } | Desired::Delete { .. } => panic!("{desired:?} is not written by workloads"),
    }
}

fn set(object: &mut Value, pointer: &str, value: Option<&Value>) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer to a key");
    let key = key.replace("~1", "/").replace("~0", "~");
    let mut place = object;
    for step in parent.split('/').skip(1) {
        if value.is_none() && place.get(step).is_none() {
            return;
        }
        place = place.as_object_mut().expect("an object").entry(step).or_insert_with(|| json!({}));
    }
    let place = place.as_object_mut().expect("an object");
    match value {
        Some(value) => place.insert(key, value.clone()),
        None => place.remove(&key),
    };
}
