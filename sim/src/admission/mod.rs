//! What the server adds to built-in kinds and refuses in them.

mod defaults;
mod pods;
mod rules;

use serde_json::{Value, json};

use crate::registry::Resource;
use crate::state::State;
use crate::status::{Cause, Status};

pub(crate) use defaults::default;
pub use rules::selector_matches;
pub(crate) use rules::{name_cause, validate};

/// What the server gives and writers do not own: addresses, ports, names of controllers.
pub(crate) fn allocate(state: &mut State, resource: &Resource, live: Option<&Value>, next: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Service") => allocate_service(state, live, next),
        ("", "Pod") if live.is_none() => pods::admit(next),
        ("", "Namespace") => {
            let name = next["metadata"]["name"].clone();
            next["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            if live.is_none() {
                next["status"] = json!({ "phase": "Active" });
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crate::definitions::establish(state, live, next),
        _ => {}
    }
}

fn allocate_service(state: &mut State, live: Option<&Value>, next: &mut Value) {
    let kind = next["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if next["status"].is_null() {
        next["status"] = json!({ "loadBalancer": {} });
    }
    let Some(spec) = next["spec"].as_object_mut() else { return };
    if kind == "ExternalName" {
        return;
    }
    if let Some(live) = live.filter(|live| live["spec"]["type"] != "ExternalName") {
        // Writers may leave out what was given to them before.
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if !spec.contains_key(field)
                && let Some(value) = live["spec"].get(field)
            {
                spec.insert(field.to_owned(), value.clone());
            }
        }
    }
    let address = match spec.get("clusterIP").and_then(Value::as_str) {
        Some(address) if !address.is_empty() => address.to_owned(),
        Some(_) | None => state.ids.cluster_ip(),
    };
    spec.insert("clusterIP".to_owned(), address.clone().into());
    spec.insert("clusterIPs".to_owned(), json!([address]));
    for (field, value) in [("ipFamilies", json!(["IPv4"])), ("ipFamilyPolicy", json!("SingleStack"))] {
        spec.entry(field).or_insert(value);
    }
    if kind != "ClusterIP" {
        let earlier = live.and_then(|live| live["spec"]["ports"].as_array()).cloned().unwrap_or_default();
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if port["nodePort"].as_i64().unwrap_or_default() == 0 {
                let same =
                    earlier.iter().find(|other| other["port"] == port["port"] && other["protocol"] == port["protocol"]);
                let given = same.map(|same| same["nodePort"].clone()).filter(|port| !port.is_null());
                port["nodePort"] = given.unwrap_or_else(|| state.ids.node_port().into());
            }
        }
    }
}

/// Seconds until a deleted object ends: pods on a node have time.
pub(crate) fn grace(resource: &Resource, live: &Value, asked: Option<i64>) -> i64 {
    let phase = live["status"]["phase"].as_str().unwrap_or_default();
    let ended = phase == "Succeeded" || phase == "Failed";
    let unscheduled = live["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    if !resource.group.is_empty() || resource.kind != "Pod" || ended || unscheduled {
        return 0;
    }
    asked.or_else(|| live["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30).max(0)
}

/// Namespaces without which there is no cluster.
pub(crate) fn may_delete(resource: &Resource, name: &str) -> Result<(), Status> {
    let needed = ["default", "kube-system", "kube-public"].contains(&name);
    if resource.group.is_empty() && resource.kind == "Namespace" && needed {
        return Err(Status::forbidden(resource, name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// True for objects whose end takes work of the cluster's own.
pub(crate) fn is_emptying(object: &Value) -> bool {
    object["kind"] == "Namespace" && object["apiVersion"] == "v1"
}

/// The cause for a field that may not change.
pub(super) fn immutable(field: &str, value: &Value) -> Cause {
    Cause::invalid(field, value, "field is immutable")
}
