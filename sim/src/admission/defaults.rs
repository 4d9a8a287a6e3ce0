//! Defaults of built-in kinds, as the server writes them into what it stores.

use serde_json::{Value, json};

use super::pods;
use crate::registry::Resource;

/// Fills in what is not said.
pub(crate) fn default(resource: &Resource, live: Option<&Value>, next: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "Deployment") => deployment(next),
        ("apps", "ReplicaSet") => replica_set(next),
        ("apps", "DaemonSet") => daemon_set(live, next),
        ("apps", "StatefulSet") => stateful_set(next),
        ("batch", "Job") => job(&mut next["spec"]),
        ("batch", "CronJob") => cron_job(next),
        ("", "Pod") => {
            pods::default_spec(&mut next["spec"]);
            pods::default_requests(&mut next["spec"]);
        }
        ("", "Service") => service(next),
        ("", "Secret") => secret(next),
        ("", "Event") => event(next),
        ("", "Namespace") if live.is_none() => next["spec"] = json!({ "finalizers": ["kubernetes"] }),
        ("events.k8s.io", "Event") => newer_event(next),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(next),
        ("networking.k8s.io", "Ingress") if next["status"].is_null() => next["status"] = json!({ "loadBalancer": {} }),
        ("discovery.k8s.io", "EndpointSlice") => endpoint_slice(next),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(next),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(next),
        _ => {}
    }
}

/// Puts a value where there is none.
pub(super) fn set(object: &mut Value, field: &str, value: Value) {
    if object.get(field).is_none_or(Value::is_null) {
        object[field] = value;
    }
}

fn deployment(next: &mut Value) {
    let spec = &mut next["spec"];
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(spec, "strategy", json!({}));
    let strategy = &mut spec["strategy"];
    set(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        set(&mut strategy["rollingUpdate"], "maxSurge", json!("25%"));
        set(&mut strategy["rollingUpdate"], "maxUnavailable", json!("25%"));
    }
    template(spec);
    set(next, "status", json!({}));
}

fn replica_set(next: &mut Value) {
    let spec = &mut next["spec"];
    set(spec, "replicas", json!(1));
    template(spec);
    set(next, "status", json!({ "replicas": 0 }));
}

fn daemon_set(live: Option<&Value>, next: &mut Value) {
    let spec = &mut next["spec"];
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "updateStrategy", json!({}));
    let strategy = &mut spec["updateStrategy"];
    set(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        set(&mut strategy["rollingUpdate"], "maxSurge", json!(0));
        set(&mut strategy["rollingUpdate"], "maxUnavailable", json!(1));
    }
    template(spec);
    let status =
        json!({ "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0 });
    set(next, "status", status);
    let changed = live.is_some_and(|live| live["spec"]["template"] != next["spec"]["template"]);
    let generation = next["metadata"]["generation"].as_i64().unwrap_or(1) + i64::from(changed);
    let annotation = "deprecated.daemonset.template.generation";
    if live.is_none() || changed {
        next["metadata"]["annotations"][annotation] = generation.to_string().into();
    } else if let Some(kept) = live.and_then(|live| live["metadata"]["annotations"].get(annotation)) {
        next["metadata"]["annotations"][annotation] = kept.clone();
    }
}

fn stateful_set(next: &mut Value) {
    let spec = &mut next["spec"];
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    set(spec, "persistentVolumeClaimRetentionPolicy", json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }));
    set(spec, "updateStrategy", json!({ "type": "RollingUpdate" }));
    if spec["updateStrategy"]["type"] == "RollingUpdate" {
        set(&mut spec["updateStrategy"], "rollingUpdate", json!({}));
        set(&mut spec["updateStrategy"]["rollingUpdate"], "partition", json!(0));
    }
    template(spec);
    set(next, "status", json!({ "replicas": 0, "availableReplicas": 0 }));
}

fn job(spec: &mut Value) {
    set(spec, "backoffLimit", json!(6));
    set(spec, "completionMode", json!("NonIndexed"));
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    set(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    template(spec);
}

fn cron_job(next: &mut Value) {
    let spec = &mut next["spec"];
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    set(&mut spec["jobTemplate"], "metadata", json!({}));
    template(&mut spec["jobTemplate"]["spec"]);
    set(next, "status", json!({}));
}

fn template(spec: &mut Value) {
    if spec["template"].is_object() {
        set(&mut spec["template"], "metadata", json!({}));
        pods::default_spec(&mut spec["template"]["spec"]);
    }
}

fn service(next: &mut Value) {
    let spec = &mut next["spec"];
    set(spec, "sessionAffinity", json!("None"));
    set(spec, "type", json!("ClusterIP"));
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        set(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        set(port, "targetPort", number);
    }
}

fn secret(next: &mut Value) {
    set(next, "type", json!("Opaque"));
    let Some(object) = next.as_object_mut() else { return };
    let Some(Value::Object(texts)) = object.remove("stringData") else { return };
    use base64::Engine;
    for (key, text) in texts {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
        object.entry("data").or_insert_with(|| json!({}))[&key] = encoded.into();
    }
}

fn event(next: &mut Value) {
    for field in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        next[field] = next[field].take();
    }
    set(next, "source", json!({}));
    set(next, "reportingComponent", json!(""));
    set(next, "reportingInstance", json!(""));
}

fn newer_event(next: &mut Value) {
    for field in ["eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
        next[field] = next[field].take();
    }
    set(next, "deprecatedSource", json!({}));
}

fn autoscaler(next: &mut Value) {
    let spec = &mut next["spec"];
    set(spec, "minReplicas", json!(1));
    if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
        let target = json!({ "type": "Utilization", "averageUtilization": 80 });
        spec["metrics"] = json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]);
    }
    if next["status"].is_null() {
        next["status"] = json!({ "desiredReplicas": 0, "currentMetrics": null });
    }
}

fn endpoint_slice(next: &mut Value) {
    for port in next["ports"].as_array_mut().into_iter().flatten() {
        set(port, "name", json!(""));
        set(port, "protocol", json!("TCP"));
    }
}

fn definition(next: &mut Value) {
    let spec = &mut next["spec"];
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    set(&mut spec["names"], "singular", json!(kind.to_lowercase()));
    set(&mut spec["names"], "listKind", json!(format!("{kind}List")));
    set(spec, "conversion", json!({ "strategy": "None" }));
}

fn binding(next: &mut Value) {
    set(&mut next["roleRef"], "apiGroup", json!("rbac.authorization.k8s.io"));
    for subject in next["subjects"].as_array_mut().into_iter().flatten() {
        if subject["kind"] == "User" || subject["kind"] == "Group" {
            set(subject, "apiGroup", json!("rbac.authorization.k8s.io"));
        }
    }
}
