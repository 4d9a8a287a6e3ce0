//! What has to be applied and what has to go, from what Git has and what was applied before. No client here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crds::{PRUNE_ANNOTATION, SOURCE_ANNOTATION};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::kinds::{Known, find};
use super::manifest::{Manifest, ObjectId, Origin};
use super::order::{Step, step};
use super::problem::{Problem, Reason};
use super::source::SourceKey;
use crate::objects::Kind;

/// Objects of one GitSource at most: their names stand in its status, and an object of Kubernetes has 1.5 MiB.
pub const MOST_OBJECTS: usize = 5_000;

/// Digits of a checksum.
const CHECKSUM: usize = 20;

/// An object that was applied, or is about to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Version of its API.
    pub version: String,
    /// Checksum of what was applied; empty until it is.
    pub hash: String,
    /// Checksum of the fields that are the agent's.
    pub fields: String,
    /// First digits of the commit that last changed it.
    pub commit: String,
}

/// What was applied.
pub type Inventory = BTreeMap<ObjectId, Entry>;

/// An object to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its name in the inventory.
    pub id: ObjectId,
    /// Its kind.
    pub kind: Kind,
    /// All of it, with label and annotation.
    pub body: Value,
    /// Checksum of the body.
    pub hash: String,
    /// Where Git has it.
    pub origin: Origin,
    /// A Canary or an autoscaler decides about `spec.replicas` once the object is there.
    pub scaled_by_others: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What differs, by steps.
    pub apply: BTreeMap<Step, Vec<Wanted>>,
    /// All that Git has and that may be applied, with the version of its API.
    pub all: BTreeMap<ObjectId, String>,
    /// What has left Git, in the order of going.
    pub prune: Vec<ObjectId>,
    /// What cannot be applied.
    pub problems: Vec<Problem>,
}

impl Plan {
    /// Objects to apply.
    pub fn writes(&self) -> usize {
        self.apply.values().map(Vec::len).sum()
    }
}

/// What a plan rests on.
pub struct Facts<'a> {
    /// Who applies.
    pub key: &'a SourceKey,
    /// Namespace of objects that name none.
    pub namespace: &'a str,
    /// Kinds of the API server, and of the definitions among the manifests.
    pub known: &'a Known,
    /// What was applied before.
    pub inventory: &'a Inventory,
    /// What somebody has changed since and is to be applied again.
    pub drifted: &'a BTreeSet<ObjectId>,
    /// The other GitSource that applies an object.
    pub claimed_by: &'a (dyn Fn(&ObjectId) -> Option<SourceKey> + Sync),
    /// True when a Canary of the cluster has this target.
    pub has_canary: &'a (dyn Fn(&ObjectId) -> bool + Sync),
}

/// Plans.
///
/// # Errors
/// When the manifests as a whole cannot be applied: there are none, too many, or one object twice.
pub fn plan(manifests: Vec<Manifest>, facts: &Facts<'_>) -> Result<Plan, Problem> {
    if manifests.is_empty() {
        let mend = "check spec.path; to take everything down, delete the GitSource";
        return Err(Problem::new(Reason::InvalidManifest, format!("Git has no manifests there: {mend}")));
    }
    if manifests.len() > MOST_OBJECTS {
        let message = format!(
            "Git has {} objects, and a GitSource may have {MOST_OBJECTS}: divide it by spec.path into several",
            manifests.len()
        );
        return Err(Problem::new(Reason::TooLarge, message));
    }
    let scaled = scaled_by_others(&manifests, facts.namespace);
    let mut origins: HashMap<ObjectId, Origin> = HashMap::with_capacity(manifests.len());
    let mut plan = Plan::default();
    for manifest in manifests {
        let Some(resource) = find(facts.known, &manifest) else {
            plan.problems.push(unknown(&manifest));
            continue;
        };
        let wanted = wanted(manifest, resource.kind, resource.namespaced, facts, &scaled);
        if let Some(other) = origins.insert(wanted.id.clone(), wanted.origin.clone()) {
            let message =
                format!("{}: {} stands in {other} as well: keep one of them", wanted.origin, wanted.id.spoken());
            return Err(Problem::new(Reason::InvalidManifest, message));
        }
        if let Some(other) = (facts.claimed_by)(&wanted.id) {
            let message = format!(
                "{}: {} is applied by GitSource {other} already: take it out of one of the two",
                wanted.origin,
                wanted.id.spoken()
            );
            plan.problems.push(Problem::new(Reason::ClaimedByAnother, message));
            continue;
        }
        plan.all.insert(wanted.id.clone(), wanted.kind.version.to_owned());
        let stands = facts.inventory.get(&wanted.id).is_some_and(|entry| {
            entry.hash == wanted.hash && entry.version == wanted.kind.version && !facts.drifted.contains(&wanted.id)
        });
        if !stands {
            plan.apply.entry(step(&wanted.id)).or_default().push(wanted);
        }
    }
    // An object that could not be looked at has not left Git.
    let gone = facts.inventory.keys().filter(|id| !origins.contains_key(*id));
    plan.prune = if plan.problems.iter().any(|problem| problem.reason == Reason::UnknownKind) {
        Vec::new()
    } else {
        going(gone.cloned())
    };
    Ok(plan)
}

/// In the order of going: what was applied last goes first.
pub fn going(ids: impl Iterator<Item = ObjectId>) -> Vec<ObjectId> {
    let mut going: Vec<ObjectId> = ids.collect();
    going.sort_by_key(|id| std::cmp::Reverse(step(id)));
    going
}

/// Whether a live object that has left Git may be deleted by that GitSource; else why not.
///
/// # Errors
/// Why it stays.
pub fn may_go(key: &SourceKey, id: &ObjectId, live: &Value) -> Result<(), &'static str> {
    let annotation = |name: &str| live["metadata"]["annotations"][name].as_str();
    if annotation(SOURCE_ANNOTATION) != Some(key.annotation().as_str()) {
        return Err("it is not marked as applied by this GitSource");
    }
    match annotation(PRUNE_ANNOTATION) {
        Some("disabled") => return Err("serin.dev/prune: disabled is on it"),
        Some("enabled") => return Ok(()),
        Some(_) | None => {}
    }
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Namespace" | "PersistentVolumeClaim") | ("apiextensions.k8s.io", "CustomResourceDefinition") => Err(
            "with it would go what cannot be brought back; delete it by hand, or put serin.dev/prune: enabled on it",
        ),
        _ => Ok(()),
    }
}

/// The value of the label by which the objects of a GitSource are found.
pub fn label(key: &SourceKey) -> String {
    const LONGEST: usize = 63;
    let whole = key.annotation();
    if whole.len() <= LONGEST {
        return whole;
    }
    let sum = checksum(whole.as_bytes());
    let end = &whole[whole.len() - (LONGEST - CHECKSUM - 1)..];
    format!("{sum}.{}", end.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric()))
}

/// A checksum, short enough to stand in a status a thousand times.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(CHECKSUM / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn wanted(
    manifest: Manifest,
    kind: Kind,
    namespaced: bool,
    facts: &Facts<'_>,
    scaled: &BTreeSet<(String, String, String)>,
) -> Wanted {
    let Manifest { object: mut body, origin } = manifest;
    let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let stated = body["metadata"]["namespace"].as_str().unwrap_or_default();
    let namespace = match (namespaced, stated) {
        (false, _) => String::new(),
        (true, "") => facts.namespace.to_owned(),
        (true, stated) => stated.to_owned(),
    };
    let id = ObjectId { kind: kind.kind.to_owned(), group: kind.group.to_owned(), namespace, name };
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = body["metadata"].as_object_mut() {
        // What only a server may say.
        for field in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"] {
            metadata.remove(field);
        }
        if id.namespace.is_empty() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".into(), json!(id.namespace));
        }
        for (map, value) in [("labels", label(facts.key)), ("annotations", facts.key.annotation())] {
            let map = metadata.entry(map).or_insert_with(|| json!({}));
            if !map.is_object() {
                *map = json!({});
            }
            map[SOURCE_ANNOTATION] = json!(value);
        }
    }
    let hash = checksum(canonical(&body).as_bytes());
    let target = (id.namespace.clone(), id.kind.clone(), id.name.clone());
    let scaled_by_others = !body["spec"]["replicas"].is_null() && (scaled.contains(&target) || (facts.has_canary)(&id));
    Wanted { id, kind, body, hash, origin, scaled_by_others }
}

/// Namespace, kind and name of what Canaries and autoscalers among the manifests scale.
fn scaled_by_others(manifests: &[Manifest], namespace: &str) -> BTreeSet<(String, String, String)> {
    let mut scaled = BTreeSet::new();
    for manifest in manifests {
        let pointer = match manifest.type_of() {
            ("flagger.app", _, "Canary") => "/spec/targetRef",
            ("autoscaling", _, "HorizontalPodAutoscaler") | ("keda.sh", _, "ScaledObject") => "/spec/scaleTargetRef",
            _ => continue,
        };
        let Some(target) = manifest.object.pointer(pointer) else { continue };
        let stated = manifest.text("/metadata/namespace");
        let namespace = if stated.is_empty() { namespace } else { stated };
        // KEDA's default.
        let kind = target["kind"].as_str().unwrap_or("Deployment");
        scaled.insert((namespace.to_owned(), kind.to_owned(), target["name"].as_str().unwrap_or_default().to_owned()));
    }
    scaled
}

fn unknown(manifest: &Manifest) -> Problem {
    let message = format!(
        "{}: the API server has no {} {} that can be applied: install its CustomResourceDefinition, or mend apiVersion and kind",
        manifest.origin,
        manifest.text("/apiVersion"),
        manifest.text("/kind"),
    );
    Problem::new(Reason::UnknownKind, message)
}

/// JSON with sorted keys.
pub fn canonical(value: &Value) -> String {
    fn write(value: &Value, text: &mut String) {
        match value {
            Value::Object(fields) => {
                let sorted: BTreeMap<_, _> = fields.iter().collect();
                text.push('{');
                for (key, value) in sorted {
                    text.push_str(&Value::from(key.as_str()).to_string());
                    text.push(':');
                    write(value, text);
                    text.push(',');
                }
                text.push('}');
            }
            Value::Array(items) => {
                text.push('[');
                for item in items {
                    write(item, text);
                    text.push(',');
                }
                text.push(']');
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
        }
    }
    let mut text = String::new();
    write(value, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::super::kinds::Resource;
    use super::*;

    fn known() -> Known {
        let resource = |group, version, kind, plural, namespaced| {
            ((group, version), Resource { kind: Kind { group, version, kind, plural }, namespaced })
        };
        let mut known = Known::new();
        for ((group, version), resource) in [
            resource("", "v1", "ConfigMap", "configmaps", true),
            resource("", "v1", "Namespace", "namespaces", false),
            resource("apps", "v1", "Deployment", "deployments", true),
            resource("flagger.app", "v1beta1", "Canary", "canaries", true),
        ] {
            let kinds = known.entry((group.to_owned(), version.to_owned())).or_default();
            kinds.insert(resource.kind.kind.to_owned(), resource);
        }
        known
    }

    fn manifest(api: &str, kind: &str, name: &str, spec: Value) -> Manifest {
        let object = json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name }, "spec": spec });
        Manifest { object, origin: Origin { file: format!("{name}.yaml"), line: 1 } }
    }

    fn config_map(name: &str) -> Manifest {
        manifest("v1", "ConfigMap", name, json!({}))
    }

    struct World {
        inventory: Inventory,
        drifted: BTreeSet<ObjectId>,
        claimed: BTreeMap<ObjectId, SourceKey>,
    }

    impl World {
        fn new() -> World {
            World { inventory: Inventory::new(), drifted: BTreeSet::new(), claimed: BTreeMap::new() }
        }

        fn plan(&self, manifests: Vec<Manifest>) -> Result<Plan, Problem> {
            let key = SourceKey::new("apps", "shop");
            plan(
                manifests,
                &Facts {
                    key: &key,
                    namespace: "shop",
                    known: &known(),
                    inventory: &self.inventory,
                    drifted: &self.drifted,
                    claimed_by: &|id| self.claimed.get(id).cloned(),
                    has_canary: &|_| false,
                },
            )
        }

        /// As if all of the plan had been applied.
        fn apply(&mut self, plan: &Plan) {
            for wanted in plan.apply.values().flatten() {
                let entry = Entry { version: "v1".into(), hash: wanted.hash.clone(), ..Entry::default() };
                self.inventory.insert(wanted.id.clone(), entry);
            }
        }
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.apply.values().flatten().map(|wanted| wanted.id.to_string()).collect()
    }

    #[test]
    fn what_differs_is_applied_in_order_and_what_left_goes_backwards() {
        let mut world = World::new();
        let all = vec![
            manifest("apps/v1", "Deployment", "web", json!({})),
            config_map("web"),
            manifest("v1", "Namespace", "shop", json!({})),
        ];
        let first = world.plan(all.clone()).unwrap();
        assert_eq!(names(&first), ["Namespace//shop", "ConfigMap/shop/web", "Deployment.apps/shop/web"]);
        world.apply(&first);
        assert_eq!(world.plan(all.clone()).unwrap().writes(), 0);

        let mut changed = all.clone();
        changed[1].object["data"] = json!({ "a": "b" });
        assert_eq!(names(&world.plan(changed).unwrap()), ["ConfigMap/shop/web"]);

        let left: Vec<_> =
            world.plan(vec![config_map("other")]).unwrap().prune.iter().map(ToString::to_string).collect();
        assert_eq!(left, ["Deployment.apps/shop/web", "ConfigMap/shop/web", "Namespace//shop"]);

        world.drifted.insert("ConfigMap/shop/web".parse().unwrap());
        assert_eq!(names(&world.plan(all).unwrap()), ["ConfigMap/shop/web"]);
    }

    #[test]
    fn applied_objects_say_who_applied_them() {
        let plan = World::new().plan(vec![config_map("web"), manifest("v1", "Namespace", "shop", json!({}))]).unwrap();
        let bodies: Vec<&Value> = plan.apply.values().flatten().map(|wanted| &wanted.body).collect();
        assert_eq!(bodies[0]["metadata"]["namespace"], Value::Null);
        assert_eq!(bodies[1]["metadata"]["namespace"], "shop");
        for body in bodies {
            assert_eq!(body["metadata"]["labels"][SOURCE_ANNOTATION], "apps.shop");
            assert_eq!(body["metadata"]["annotations"][SOURCE_ANNOTATION], "apps.shop");
        }
        let long = SourceKey::new(&"n".repeat(63), &"a.".repeat(60));
        let value = label(&long);
        assert!(value.len() <= 63 && value.starts_with(|letter: char| letter.is_ascii_alphanumeric()), "{value}");
        assert_ne!(value, label(&SourceKey::new(&"m".repeat(63), &"a.".repeat(60))));
    }

    #[test]
    fn one_object_belongs_to_one_source() {
        let mut world = World::new();
        world.claimed.insert("ConfigMap/shop/web".parse().unwrap(), SourceKey::new("apps", "other"));
        let plan = world.plan(vec![config_map("web"), config_map("mine")]).unwrap();
        assert_eq!(names(&plan), ["ConfigMap/shop/mine"]);
        assert_eq!(plan.problems[0].reason, Reason::ClaimedByAnother);
        assert!(plan.problems[0].message.contains("web.yaml:1: ConfigMap shop/web is applied by GitSource apps/other"));
        assert!(!plan.all.contains_key(&"ConfigMap/shop/web".parse().unwrap()));

        let twice = World::new().plan(vec![config_map("web"), config_map("web")]).unwrap_err();
        assert!(twice.message.contains("stands in web.yaml:1 as well"), "{twice}");
    }

    #[test]
    fn an_unknown_kind_is_told_and_stops_nothing_but_deletions() {
        let mut world = World::new();
        world.inventory.insert("Widget.example.com/shop/web".parse().unwrap(), Entry::default());
        let plan = world.plan(vec![config_map("web"), manifest("example.com/v1", "Widget", "web", json!({}))]).unwrap();
        assert_eq!((names(&plan).len(), plan.prune.len()), (1, 0));
        assert!(plan.problems[0].message.starts_with("web.yaml:1: the API server has no example.com/v1 Widget"));
    }

    #[test]
    fn an_empty_folder_takes_nothing_down() {
        let mut world = World::new();
        world.inventory.insert("ConfigMap/shop/web".parse().unwrap(), Entry::default());
        assert!(world.plan(vec![]).unwrap_err().message.contains("check spec.path"));
        let many = (0..=MOST_OBJECTS).map(|number| config_map(&number.to_string())).collect();
        assert_eq!(world.plan(many).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn replicas_of_a_canarys_target_are_others_business() {
        let target = json!({ "targetRef": { "kind": "Deployment", "name": "web" } });
        let manifests = vec![
            manifest("apps/v1", "Deployment", "web", json!({ "replicas": 3 })),
            manifest("apps/v1", "Deployment", "api", json!({ "replicas": 3 })),
            manifest("flagger.app/v1beta1", "Canary", "web", target),
        ];
        let plan = World::new().plan(manifests).unwrap();
        let scaled: Vec<(&str, bool)> =
            plan.apply.values().flatten().map(|wanted| (wanted.id.name.as_str(), wanted.scaled_by_others)).collect();
        assert_eq!(scaled, [("web", true), ("api", false), ("web", false)]);
    }

    #[test]
    fn what_must_not_be_lost_does_not_go() {
        let key = SourceKey::new("apps", "shop");
        let live = |source: &str, prune: Option<&str>| json!({ "metadata": { "annotations": { SOURCE_ANNOTATION: source, PRUNE_ANNOTATION: prune } } });
        for (id, live, goes) in [
            ("ConfigMap/shop/web", live("apps.shop", None), true),
            ("ConfigMap/shop/web", live("apps.other", None), false),
            ("ConfigMap/shop/web", json!({}), false),
            ("ConfigMap/shop/web", live("apps.shop", Some("disabled")), false),
            ("Namespace//shop", live("apps.shop", None), false),
            ("Namespace//shop", live("apps.shop", Some("enabled")), true),
            ("PersistentVolumeClaim/shop/data", live("apps.shop", None), false),
            ("CustomResourceDefinition.apiextensions.k8s.io//x", live("apps.shop", None), false),
        ] {
            assert_eq!(may_go(&key, &id.parse().unwrap(), &live).is_ok(), goes, "{id} {live}");
        }
    }
}
