//! DaemonSet → a pod on each node that fits, and the revisions of its template.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    deployment::spec::share,
    object::{self, has_ended, name, number, text},
    placement::{self, Fit},
    pods::{self, Availability},
    view::{Key, Kind},
    write::{Outcome, Write},
};

const BY: &str = "daemonset-controller";
const HASH: &str = "controller-revision-hash";

/// What a DaemonSet controls, and all nodes.
pub(super) struct Surroundings<'a> {
    pub(super) pods: Vec<&'a Arc<Value>>,
    pub(super) revisions: Vec<&'a Arc<Value>>,
    pub(super) nodes: Vec<&'a Arc<Value>>,
}

/// One look at a DaemonSet.
pub(super) fn reconcile(set: &Value, around: &Surroundings<'_>, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if object::is_deleting(set) {
        return outcome;
    }
    let hash = keep_revision(set, &around.revisions, &mut outcome);
    let mut pass = Pass::new(set, around, hash, now, outcome);
    let changed = pass.place();
    if !changed && text(set, "/spec/updateStrategy/type") != "OnDelete" {
        pass.update();
    }
    pass.forget_revisions();
    pass.status();
    pass.outcome
}

/// The template as a revision keeps it.
fn snapshot(set: &Value) -> Value {
    let mut template = set["spec"]["template"].clone();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

fn revision_of(revision: &Value) -> i64 {
    number(revision, "/revision").unwrap_or(0)
}

/// The hash of the present template's revision, which is made or moved to the top where need be.
fn keep_revision(set: &Value, revisions: &[&Arc<Value>], outcome: &mut Outcome) -> String {
    let data = snapshot(set);
    let (current, old): (Vec<_>, Vec<_>) =
        revisions.iter().copied().partition(|revision| object::same(&revision["data"], &data));
    let next = old.iter().map(|revision| revision_of(revision)).max().unwrap_or(0) + 1;
    if let Some(current) = current.into_iter().max_by_key(|revision| revision_of(revision)) {
        if revision_of(current) < next {
            outcome.writes.push(Write::Patch {
                key: Key::of(Kind::ControllerRevision, current),
                merge: json!({"revision": next}),
            });
        }
        return text(current, &format!("/metadata/labels/{HASH}")).to_owned();
    }
    let mut attempt = 0;
    let (hash, full_name) = loop {
        let hash = object::hash(&if attempt == 0 { data.to_string() } else { format!("{data}{attempt}") });
        let full_name = format!("{}-{hash}", name(set));
        if revisions.iter().all(|other| name(other) != full_name) {
            break (hash, full_name);
        }
        attempt += 1;
    };
    let mut labels = set.pointer("/spec/template/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    labels[HASH] = hash.clone().into();
    let mut revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": full_name, "namespace": object::namespace(set), "labels": labels,
            "ownerReferences": [object::owner_reference(set, Kind::DaemonSet)],
        },
        "data": data, "revision": next,
    });
    if let Some(annotations) = set.pointer("/metadata/annotations") {
        revision["metadata"]["annotations"] = annotations.clone();
    }
    outcome.writes.push(Write::Create(Kind::ControllerRevision, revision));
    hash
}

struct Pass<'a> {
    set: &'a Value,
    around: &'a Surroundings<'a>,
    hash: String,
    now: Timestamp,
    made: u64,
    /// Pods by node, oldest first; those that are being deleted as well.
    on: BTreeMap<&'a str, Vec<&'a Arc<Value>>>,
    outcome: Outcome,
}

impl<'a> Pass<'a> {
    fn new(set: &'a Value, around: &'a Surroundings<'a>, hash: String, now: Timestamp, outcome: Outcome) -> Pass<'a> {
        let mut on: BTreeMap<&str, Vec<&Arc<Value>>> = BTreeMap::new();
        for pod in &around.pods {
            on.entry(node_of(pod)).or_default().push(pod);
        }
        for pods in on.values_mut() {
            pods.sort_by_key(|pod| (text(pod, "/metadata/creationTimestamp"), name(pod)));
        }
        Pass { set, around, hash, now, made: 0, on, outcome }
    }

    fn fit(&self, node: &Value) -> Fit {
        placement::fits(node, &self.template()["spec"])
    }

    /// The template with what every daemon tolerates.
    fn template(&self) -> Value {
        let mut template = self.set["spec"]["template"].clone();
        let mut tolerations = object::list(&template, "/spec/tolerations").to_vec();
        for (key, effect) in [
            ("node.kubernetes.io/not-ready", "NoExecute"),
            ("node.kubernetes.io/unreachable", "NoExecute"),
            ("node.kubernetes.io/disk-pressure", "NoSchedule"),
            ("node.kubernetes.io/memory-pressure", "NoSchedule"),
            ("node.kubernetes.io/pid-pressure", "NoSchedule"),
            ("node.kubernetes.io/unschedulable", "NoSchedule"),
        ] {
            let known = tolerations.iter().any(|own| own["key"] == key && own["effect"] == effect);
            if !known {
                tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
            }
        }
        template["spec"]["tolerations"] = tolerations.into();
        let labels = &mut template["metadata"]["labels"];
        labels[HASH] = self.hash.clone().into();
        if let Some(generation) = self.set.pointer("/metadata/annotations/deprecated.daemonset.template.generation") {
            labels["pod-template-generation"] = generation.clone();
        }
        template
    }

    fn create_on(&mut self, node: &str) {
        let mut template = self.template();
        let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
        template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": [term]});
        let owner = (Kind::DaemonSet, self.set);
        let pod = pods::of_template(&template, owner, self.now, &mut self.made, &self.around.pods);
        self.outcome.create_pod(owner, BY, pod);
    }

    fn delete(&mut self, pod: &Value) {
        self.outcome.delete_pod((Kind::DaemonSet, self.set), BY, pod);
    }

    fn is_current(&self, pod: &Value) -> bool {
        pod["metadata"]["labels"][HASH] == self.hash.as_str()
    }

    fn is_available(&mut self, pod: &Value) -> bool {
        let min_ready_seconds = number(self.set, "/spec/minReadySeconds").unwrap_or(0);
        match pods::availability(pod, min_ready_seconds, self.now) {
            Availability::NotReady => false,
            Availability::From(at) => {
                self.outcome.wake_at(at);
                false
            }
            Availability::Available => true,
        }
    }

    /// Sees that each node has one pod, if it should have one, and none otherwise. True if anything was missing or too many.
    fn place(&mut self) -> bool {
        let mut changed = false;
        let surges = self.limits(0).0 > 0;
        for node in &self.around.nodes {
            let fit = self.fit(node);
            let pods = self.on.get(name(node)).cloned().unwrap_or_default();
            let living: Vec<_> = pods.iter().copied().filter(|pod| !object::is_deleting(pod)).collect();
            let surplus: Vec<_> = if fit == Fit::No {
                living
            } else if let Some(ended) = living.iter().find(|pod| has_ended(pod)) {
                vec![*ended]
            } else if surges {
                let (current, old): (Vec<_>, Vec<_>) = living.iter().copied().partition(|pod| self.is_current(pod));
                current.into_iter().skip(1).chain(old.into_iter().skip(1)).collect()
            } else {
                living.into_iter().skip(1).collect()
            };
            changed |= !surplus.is_empty();
            for pod in surplus {
                self.delete(pod);
            }
            let missing = if surges { pods.iter().all(|pod| object::is_deleting(pod)) } else { pods.is_empty() };
            if fit == Fit::Runs && missing {
                self.create_on(name(node));
                changed = true;
            }
        }
        changed
    }

    /// So many more, so many fewer than one on each of `wanted` nodes.
    fn limits(&self, wanted: i64) -> (i64, i64) {
        let limit = |name: &str, default: Value, up| {
            let value = self.set.pointer(&format!("/spec/updateStrategy/rollingUpdate/{name}"));
            share(value.unwrap_or(&default), wanted.max(1), up)
        };
        let surge = limit("maxSurge", json!(0), true);
        let unavailable = limit("maxUnavailable", json!(1), true);
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    /// One step of a rolling update.
    fn update(&mut self) {
        let wanted: BTreeSet<&str> =
            self.around.nodes.iter().filter(|node| self.fit(node) == Fit::Runs).map(|node| name(node)).collect();
        let (surge, unavailable) = self.limits(i64::try_from(wanted.len()).unwrap_or(i64::MAX));
        if surge == 0 { self.replace(&wanted, unavailable) } else { self.surge(&wanted, surge) }
    }

    /// The pod of the present template and the one of an older one on a node.
    fn pair(&self, node: &str) -> (Option<&'a Arc<Value>>, Option<&'a Arc<Value>>) {
        let living = || {
            let pods = self.on.get(node).into_iter().flatten();
            pods.copied().filter(|pod| !object::is_deleting(pod))
        };
        (living().find(|pod| self.is_current(pod)), living().find(|pod| !self.is_current(pod)))
    }

    /// Old pods go first, new ones follow: no more of them at a time than may be unavailable.
    fn replace(&mut self, wanted: &BTreeSet<&str>, unavailable: i64) {
        let nodes: BTreeSet<&str> = wanted.iter().copied().chain(self.on.keys().copied()).collect();
        let mut missing = 0;
        let mut candidates = Vec::new();
        for node in nodes {
            match self.pair(node) {
                (None, None) | (Some(_), Some(_)) => missing += 1,
                (Some(current), None) => missing += i64::from(!self.is_available(current)),
                (None, Some(old)) if self.is_available(old) => candidates.push(old),
                (None, Some(old)) => {
                    // It serves nobody, so nothing is lost.
                    missing += 1;
                    self.delete(old);
                }
            }
        }
        let room = usize::try_from(unavailable - missing).unwrap_or(0);
        for pod in candidates.into_iter().take(room) {
            self.delete(pod);
        }
    }

    /// New pods come first, old ones follow: no more new ones at a time than the surge allows.
    fn surge(&mut self, wanted: &BTreeSet<&str>, surge: i64) {
        let mut surging = 0;
        let mut candidates = Vec::new();
        for node in wanted {
            match self.pair(node) {
                (_, None) => {}
                (Some(current), Some(old)) => {
                    if self.is_available(current) {
                        self.delete(old);
                    } else {
                        surging += 1;
                    }
                }
                (None, Some(old)) if self.is_available(old) => candidates.push(*node),
                (None, Some(_)) => self.create_on(node),
            }
        }
        for node in candidates.into_iter().take(usize::try_from(surge - surging).unwrap_or(0)) {
            self.create_on(node);
        }
    }

    /// Deletes the oldest revisions that no pod has any more, beyond those to be kept.
    fn forget_revisions(&mut self) {
        let limit = usize::try_from(number(self.set, "/spec/revisionHistoryLimit").unwrap_or(10)).unwrap_or(0);
        let hash_of = |object: &Value| text(object, &format!("/metadata/labels/{HASH}")).to_owned();
        let used: BTreeSet<String> = self.around.pods.iter().map(|pod| hash_of(pod)).collect();
        let mut old: Vec<_> = self.around.revisions.iter().filter(|revision| hash_of(revision) != self.hash).collect();
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|revision| revision_of(revision));
        old.retain(|revision| !used.contains(&hash_of(revision)));
        for revision in old.into_iter().take(surplus) {
            self.outcome.writes.push(Write::Delete(Key::of(Kind::ControllerRevision, revision)));
        }
    }

    fn status(&mut self) {
        let (mut desired, mut current, mut misplaced, mut ready, mut updated, mut available) = (0, 0, 0, 0, 0, 0);
        for node in &self.around.nodes {
            let oldest = self.on.get(name(node)).and_then(|pods| pods.first().copied());
            if self.fit(node) != Fit::Runs {
                misplaced += i64::from(oldest.is_some());
                continue;
            }
            desired += 1;
            let Some(pod) = oldest else { continue };
            current += 1;
            ready += i64::from(object::ready_since(pod).is_some());
            available += i64::from(self.is_available(pod));
            updated += i64::from(self.is_current(pod));
        }
        let mut status = json!({
            "currentNumberScheduled": current, "desiredNumberScheduled": desired, "numberMisscheduled": misplaced,
            "numberReady": ready, "observedGeneration": object::generation(self.set),
        });
        for (name, count) in [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", desired - available),
        ] {
            if count != 0 {
                status[name] = count.into();
            }
        }
        self.outcome.status(Kind::DaemonSet, self.set, status);
    }
}

/// The node that a daemon is on or was made for.
fn node_of(pod: &Value) -> &str {
    let bound = text(pod, "/spec/nodeName");
    if !bound.is_empty() {
        return bound;
    }
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    text(pod, &format!("{terms}/0/matchFields/0/values/0"))
}
