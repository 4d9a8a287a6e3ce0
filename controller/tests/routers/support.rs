//! What a route needs, from YAML.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use controller::objects::{Desired, Kind, Owner};
use controller::routers::{Cookies, Intent, ROUTERS, Route, Router, by_name};
use rollout::spec::{Mirror, SessionAffinity, Spec, Strategy, Target, TargetKind};
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
                Desired::Delete { .. } => panic!("no router deletes"),
                Desired::Patch { .. } => panic!("no router patches"),
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
        mirrored: of["mirrored"].as_bool().unwrap_or(false),
        cookies: Cookies { canary: text("canary"), primary: text("primary"), previous: text("previous") },
    }
}

/// The spec of a Canary, as far as routers look at it.
fn parsed(spec: &Value) -> Spec {
    let analysis = &spec["analysis"];
    let name = spec["targetRef"]["name"].as_str().unwrap_or("podinfo").to_owned();
    let service: crds::CanaryService = serde_json::from_value(spec["service"].clone()).expect("a service");
    let seconds = |text: &Value| text.as_str().and_then(|text| text.strip_suffix('s')?.parse().ok());
    let mirror = (analysis["mirror"] == true)
        .then(|| Mirror { percent: analysis["mirrorWeight"].as_u64().unwrap_or(100).try_into().expect("a percent") });
    let matches: Vec<crds::MatchRequest> =
        serde_json::from_value(json!(analysis["match"].as_array().cloned().unwrap_or_default())).expect("matches");
    let strategy = match analysis["iterations"].as_u64() {
        Some(iterations) if !matches.is_empty() => Strategy::AbTesting { iterations: iterations as u32, matches },
        Some(iterations) => Strategy::BlueGreen { iterations: iterations as u32, mirror },
        None => Strategy::Canary { weights: vec![25, 50], promotion_step: None, mirror },
    };
    let affinity: Option<crds::SessionAffinity> =
        serde_json::from_value(analysis["sessionAffinity"].clone()).expect("a session affinity");
    Spec {
        target: Target { kind: TargetKind::Deployment, name: name.clone() },
        autoscaler: None,
        provider: spec["provider"].as_str().expect("a provider").to_owned(),
        metrics_server: None,
        ingress: spec["ingressRef"]["name"].as_str().map(str::to_owned),
        route: None,
        service_name: service.name.clone().unwrap_or(name),
        service,
        strategy,
        interval: Duration::from_secs(seconds(&analysis["interval"]).unwrap_or(60)),
        threshold: 3,
        primary_ready_percent: 100,
        canary_ready_percent: 100,
        progress_deadline: Duration::from_secs(600),
        metrics: Vec::new(),
        webhooks: Vec::new(),
        alerts: Vec::new(),
        affinity: affinity.map(|affinity| SessionAffinity {
            attributes: [
                affinity.domain.map(|domain| format!("Domain={domain}")),
                affinity.http_only.then(|| "HttpOnly".to_owned()),
                affinity.same_site.map(|same_site| format!("SameSite={same_site}")),
                affinity.secure.then(|| "Secure".to_owned()),
            ]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; "),
            cookie_name: affinity.cookie_name,
            primary_cookie_name: affinity.primary_cookie_name,
            max_age: affinity.max_age.unwrap_or(86400).unsigned_abs(),
        }),
        skip_analysis: false,
        revert_on_deletion: false,
        suspend: false,
        warnings: Vec::new(),
    }
}
