//! ReplicaSet → pods.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    object::{self, is_active, list, number, text, uid},
    pods::{self, Availability},
    view::Kind,
    write::Outcome,
};

const BY: &str = "replicaset-controller";

/// One look at a ReplicaSet and the pods that it controls.
pub(super) fn reconcile(set: &Value, pods: &[&Arc<Value>], now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let active: Vec<&Arc<Value>> = pods.iter().copied().filter(|pod| is_active(pod)).collect();
    if !object::is_deleting(set) {
        let owner = (Kind::ReplicaSet, set);
        let wanted = usize::try_from(number(set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
        let mut count = 0;
        for _ in active.len()..wanted {
            let pod = pods::of_template(&set["spec"]["template"], owner, now, &mut count, pods);
            outcome.create_pod(owner, BY, pod);
        }
        for pod in surplus(&active, active.len().saturating_sub(wanted), now) {
            outcome.delete_pod(owner, BY, pod);
        }
    }
    let status = status(set, &active, pods, now, &mut outcome);
    outcome.status(Kind::ReplicaSet, set, status);
    outcome
}

fn status(set: &Value, active: &[&Arc<Value>], pods: &[&Arc<Value>], now: Timestamp, outcome: &mut Outcome) -> Value {
    let min_ready_seconds = number(set, "/spec/minReadySeconds").unwrap_or(0);
    let labels = set.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    let (mut labelled, mut ready, mut available) = (0, 0, 0);
    for pod in active {
        let own = &pod["metadata"]["labels"];
        labelled += i64::from(labels.is_none_or(|labels| object::contains(own, labels)));
        match pods::availability(pod, min_ready_seconds, now) {
            Availability::NotReady => {}
            Availability::From(at) => {
                ready += 1;
                outcome.wake_at(at);
            }
            Availability::Available => {
                ready += 1;
                available += 1;
            }
        }
    }
    let ending = pods.iter().filter(|pod| object::is_deleting(pod) && !object::has_ended(pod)).count();
    let mut status = json!({
        "replicas": active.len(), "terminatingReplicas": ending, "observedGeneration": object::generation(set),
    });
    for (name, count) in
        [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)]
    {
        if count != 0 {
            status[name] = count.into();
        }
    }
    if let Some(conditions) = set.pointer("/status/conditions") {
        status["conditions"] = conditions.clone();
    }
    status
}

/// Which pods go first: those that serve least, then those that are youngest by order of magnitude.
fn surplus<'a>(active: &[&'a Arc<Value>], count: usize, now: Timestamp) -> Vec<&'a Arc<Value>> {
    if count == 0 {
        return Vec::new();
    }
    let mut on_node: BTreeMap<&str, i64> = BTreeMap::new();
    for pod in active {
        *on_node.entry(text(pod, "/spec/nodeName")).or_default() += 1;
    }
    let magnitude = |since: Option<Timestamp>| {
        let age = since.map_or(0, |since| now.duration_since(since).as_nanos());
        u128::try_from(age).ok().and_then(u128::checked_ilog2)
    };
    let mut pods = active.to_vec();
    pods.sort_by_cached_key(|pod| {
        let node = text(pod, "/spec/nodeName");
        let phase = match text(pod, "/status/phase") {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        };
        let ready = object::ready_since(pod);
        let cost: i64 =
            text(pod, "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost").parse().unwrap_or(0);
        let restarts = list(pod, "/status/containerStatuses")
            .iter()
            .filter_map(|container| number(container, "/restartCount"))
            .max();
        (
            (!node.is_empty(), phase, ready.is_some(), cost),
            -on_node.get(node).copied().unwrap_or(0),
            magnitude(ready),
            -restarts.unwrap_or(0),
            magnitude(object::time(pod, "/metadata/creationTimestamp")),
            uid(pod).to_owned(),
        )
    });
    pods.truncate(count);
    pods
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::write::Write;

    fn set(replicas: i64) -> Value {
        json!({
            "metadata": {"name": "shop-1", "namespace": "test", "uid": "s", "generation": 1},
            "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"x": 1}}},
        })
    }

    fn pod(name: &str, node: &str, ready: Option<&str>) -> Arc<Value> {
        let conditions = ready.map(|since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]));
        Arc::new(json!({
            "metadata": {"name": name, "uid": name, "labels": {"app": "shop"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": node},
            "status": {"phase": if ready.is_some() { "Running" } else { "Pending" }, "conditions": conditions},
        }))
    }

    fn deleted(outcome: &Outcome) -> Vec<&str> {
        let mut names = Vec::new();
        for write in &outcome.writes {
            if let Write::Delete(key) = write {
                names.push(key.name.as_str());
            }
        }
        names
    }

    #[test]
    fn missing_pods_are_made_with_names_of_their_own() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let outcome = reconcile(&set(3), &[], now);
        let mut names = Vec::new();
        for write in &outcome.writes {
            if let Write::Create(Kind::Pod, pod) = write {
                names.push(object::name(pod).to_owned());
            }
        }
        names.dedup();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("shop-1-") && name.len() == "shop-1-".len() + 5));
        assert_eq!(reconcile(&set(3), &[], now).writes, outcome.writes);
    }

    #[test]
    fn what_serves_least_goes_first() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let old = pod("old", "a", Some("2026-01-01T00:00:00Z"));
        let young = pod("young", "b", Some("2026-01-01T00:59:50Z"));
        let starting = pod("starting", "c", None);
        let unassigned = pod("unassigned", "", None);
        let pods = [&old, &young, &starting, &unassigned];
        assert_eq!(deleted(&reconcile(&set(3), &pods, now)), ["unassigned"]);
        assert_eq!(deleted(&reconcile(&set(1), &pods, now)), ["unassigned", "starting", "young"]);
    }

    #[test]
    fn a_ready_pod_is_available_after_min_ready_seconds() {
        let mut set = set(1);
        set["spec"]["minReadySeconds"] = json!(30);
        let pod = pod("one", "a", Some("2026-01-01T00:00:00Z"));
        let mut early = reconcile(&set, &[&pod], "2026-01-01T00:00:29.9Z".parse().unwrap());
        assert_eq!(early.wake, Some("2026-01-01T00:00:30Z".parse().unwrap()));
        let Some(Write::Status { status, .. }) = early.writes.pop() else { panic!("no status") };
        assert_eq!((&status["readyReplicas"], &status["availableReplicas"]), (&json!(1), &Value::Null));
        let mut late = reconcile(&set, &[&pod], "2026-01-01T00:00:30Z".parse().unwrap());
        let Some(Write::Status { status, .. }) = late.writes.pop() else { panic!("no status") };
        assert_eq!(status["availableReplicas"], 1);
    }
}
