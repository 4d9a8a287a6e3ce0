//! Which node a pod may run on, and which one it gets.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    object::{self, list, name, text},
    view::{Key, Kind, View},
    write::{Event, Outcome, Write},
};

const BY: &str = "default-scheduler";

/// Gives a pod without a node the one that fits and has the fewest pods.
pub(super) fn schedule(pod: &Value, view: &View, stamp: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let nodes: Vec<&Arc<Value>> = view.all(Kind::Node).collect();
    let chosen = nodes
        .iter()
        .filter(|node| fits(node, &pod["spec"]) == Fit::Runs)
        .min_by_key(|node| (view.pods_on(name(node)), name(node)));
    match chosen {
        Some(node) => {
            let place = format!("{}/{}", object::namespace(pod), name(pod));
            let message = format!("Successfully assigned {place} to {}", name(node));
            outcome
                .writes
                .push(Write::Patch { key: Key::of(Kind::Pod, pod), merge: json!({"spec": {"nodeName": name(node)}}) });
            outcome.writes.push(Event::normal(Kind::Pod, pod, BY, "Scheduled", message));
        }
        None => {
            let message = format!(
                "0/{} nodes are available: none fits the pod's node selector, affinity and tolerations.",
                nodes.len()
            );
            let condition = object::condition(list(pod, "/status/conditions"), "PodScheduled");
            if condition.is_none_or(|condition| condition["message"] != message.as_str()) {
                outcome.status(
                    Kind::Pod,
                    pod,
                    json!({"phase": "Pending", "conditions": [{
                        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                        "lastTransitionTime": stamp,
                    }]}),
                );
                outcome.writes.push(Event::warning(Kind::Pod, pod, BY, "FailedScheduling", message));
            }
        }
    }
    outcome
}

/// Whether pods of a spec belong on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// They may start there.
    Runs,
    /// They may stay but none may start.
    Stays,
    /// They may not be there.
    No,
}

/// Judges by node name, node selector, required node affinity, and taints. Resources are endless here.
pub(super) fn fits(node: &Value, spec: &Value) -> Fit {
    let fixed = text(spec, "/nodeName");
    let selector = spec["nodeSelector"].as_object();
    let labels = &node["metadata"]["labels"];
    if !(fixed.is_empty() || fixed == name(node))
        || selector.is_some_and(|selector| !object::contains(labels, selector))
        || !is_attracted(node, spec)
    {
        return Fit::No;
    }
    let mut taints = list(node, "/spec/taints").to_vec();
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        taints.push(json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}));
    }
    let repelled_by = |effect: &str| {
        taints.iter().any(|taint| {
            taint["effect"] == effect && !list(spec, "/tolerations").iter().any(|own| tolerates(own, taint))
        })
    };
    match (repelled_by("NoExecute"), repelled_by("NoSchedule")) {
        (true, _) => Fit::No,
        (false, true) => Fit::Stays,
        (false, false) => Fit::Runs,
    }
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let key = text(toleration, "/key");
    let effect = text(toleration, "/effect");
    let value_matches =
        text(toleration, "/operator") == "Exists" || text(toleration, "/value") == text(taint, "/value");
    (key.is_empty() || key == text(taint, "/key"))
        && (effect.is_empty() || effect == text(taint, "/effect"))
        && value_matches
}

fn is_attracted(node: &Value, spec: &Value) -> bool {
    let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = list(spec, required);
    let fields = json!({"metadata.name": name(node)});
    terms.is_empty()
        || terms.iter().any(|term| {
            let matches = |part: &str, values: &Value| {
                let expressions = &term[part];
                expressions.as_array().is_none_or(Vec::is_empty)
                    || object::selects(&json!({"matchExpressions": expressions}), values)
            };
            let empty = term.as_object().is_none_or(Map::is_empty);
            !empty && matches("matchExpressions", &node["metadata"]["labels"]) && matches("matchFields", &fields)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_fit_where_selector_affinity_and_taints_let_them() {
        let node = json!({"metadata": {"name": "a", "labels": {"zone": "1"}},
            "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}});
        let tolerant = json!([{"key": "gpu", "operator": "Exists"}]);
        let only = |name: &str| {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]}}})
        };
        for (spec, expected) in [
            (json!({}), Fit::Stays),
            (json!({"tolerations": tolerant}), Fit::Runs),
            (json!({"tolerations": tolerant, "nodeSelector": {"zone": "2"}}), Fit::No),
            (json!({"tolerations": tolerant, "nodeName": "b"}), Fit::No),
            (json!({"tolerations": tolerant, "affinity": only("a")}), Fit::Runs),
            (json!({"tolerations": tolerant, "affinity": only("b")}), Fit::No),
        ] {
            assert_eq!(fits(&node, &spec), expected, "{spec}");
        }
    }
}
