//! What a route needs, from YAML.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use controller::objects::{Desired, Kind, Owner};
use controller::routers::{Cookies, Intent, ROUTERS, Route, Router, by_name};
use rollout::parse::{from_value, parse};
use rollout::spec::{Defaults, Spec};
use serde_json::{Value, json};

pub(crate) type Objects = BTreeMap<(Kind, String), Arc<Value>>;

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub(crate) fn yaml(path: &PathBuf) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All that a route borrows.
pub(crate) struct Case {
    pub(crate) owner: Owner,
    pub(crate) spec: Spec,
    pub(crate) intent: Intent,
    pub(crate) prefix: String,
    pub(crate) class: Option<String>,
    pub(crate) current: Objects,
}

impl Case {
    /// A Canary `podinfo` in the namespace `shop` with that spec.
    pub(crate) fn new(spec: &Value, intent: Intent) -> Case {
        Case {
            owner: Owner { namespace: "shop".into(), name: "podinfo".into(), uid: "6b1f".into() },
            spec: parsed(spec),
            intent,
            prefix: "nginx.ingress.kubernetes.io".into(),
            class: None,
            current: Objects::new(),
        }
    }

    pub(crate) fn route(&self) -> Route<'_> {
        Route {
            owner: &self.owner,
            spec: &self.spec,
            intent: &self.intent,
            ingress_annotations_prefix: &self.prefix,
            ingress_class: self.class.as_deref(),
        }
    }

    pub(crate) fn router(&self) -> &'static dyn Router {
        by_name(&self.spec.provider).unwrap_or_else(|| panic!("no router {}", self.spec.provider))
    }

    pub(crate) fn render(&self) -> Vec<Desired> {
        self.router().render(&self.route(), &self.current).expect("the route renders")
    }

    /// Adds objects as the cache would have them.
    pub(crate) fn see(&mut self, objects: &[Value]) {
        let kinds: Vec<Kind> = ROUTERS
            .iter()
            .flat_map(|router| router.abilities().iter().flat_map(|ability| router.resources(ability.name)))
            .map(|(kind, _)| kind)
            .collect();
        for object in objects {
            let is = |kind: &&Kind| object["kind"] == kind.kind && object["apiVersion"] == kind.api_version();
            let Some(kind) = kinds.iter().find(is) else { continue };
            let name = object["metadata"]["name"].as_str().expect("an object has a name");
            self.current.insert((*kind, name.to_owned()), Arc::new(object.clone()));
        }
    }

    /// Writes what is desired as the API server would, and lets every gateway accept it.
    pub(crate) fn converge(&mut self, desired: Vec<Desired>) {
        for one in desired {
            let key = (one.kind(), one.name().to_owned());
            let mut object = self.current.get(&key).map_or(json!({}), |live| (**live).clone());
            match one {
                Desired::Apply { body, .. } => apply(&mut object, &body),
                Desired::Replace { body, pointers, .. } => {
                    for pointer in pointers {
                        let (parent, key) = pointer.rsplit_once('/').expect("a pointer below the root");
                        let key = key.replace("~1", "/").replace("~0", "~");
                        let parent = object.pointer_mut(parent).and_then(Value::as_object_mut).expect("a parent");
                        match body.pointer(&pointer) {
                            Some(value) => parent.insert(key, value.clone()),
                            None => parent.remove(&key),
                        };
                    }
                }
                Desired::Patch { .. } => panic!("a router owns what it writes"),
                Desired::Delete { .. } => panic!("no router deletes"),
            }
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = generation.into();
            object["status"]["parents"] = accepted(&object["spec"]["parentRefs"], generation);
            self.current.insert(key, Arc::new(object));
        }
    }
}

/// Objects by key, everything else whole: as with the atomic lists of the kinds that routers write.
fn apply(live: &mut Value, body: &Value) {
    match (live, body) {
        (Value::Object(live), Value::Object(body)) => {
            for (key, value) in body {
                apply(live.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (live, body) => *live = body.clone(),
    }
}

fn accepted(parents: &Value, generation: i64) -> Value {
    let parents = parents.as_array().into_iter().flatten();
    parents
        .map(|parent| {
            json!({"parentRef": parent, "controllerName": "example.com/gateway", "conditions": [
                {"type": "Accepted", "status": "True", "observedGeneration": generation},
                {"type": "ResolvedRefs", "status": "True", "observedGeneration": generation},
            ]})
        })
        .collect()
}

pub(crate) fn intent(of: &Value) -> Intent {
    let text = |key: &str| of["cookies"][key].as_str().map(str::to_owned);
    Intent {
        canary_weight: of["canaryWeight"].as_u64().unwrap_or(0).try_into().expect("a percent"),
        baseline_weight: of["baselineWeight"].as_u64().unwrap_or(0).try_into().expect("a percent"),
        mirrored: of["mirrored"].as_bool().unwrap_or(false),
        cookies: Cookies { canary: text("canary"), primary: text("primary"), previous: text("previous") },
    }
}

fn parsed(spec: &Value) -> Spec {
    let mut spec = spec.clone();
    if spec["targetRef"].is_null() {
        spec["targetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"});
    }
    let canary =
        json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "podinfo"}, "spec": spec});
    let canary = from_value(&canary).unwrap_or_else(|invalid| panic!("{invalid}"));
    let routers: Vec<_> = ROUTERS.iter().flat_map(|router| router.abilities()).copied().collect();
    let defaults = Defaults {
        provider: "kubernetes",
        routers: &routers,
        min_interval: Duration::from_secs(1),
        no_cross_namespace_refs: false,
    };
    parse(&canary, &defaults).unwrap_or_else(|invalid| panic!("{invalid:#?}"))
}
