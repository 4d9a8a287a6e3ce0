//! Service with a selector → EndpointSlices: which pods answer, and on which ports.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    object::{self, list, name, number, text},
    view::{Key, Kind, View},
    write::{Outcome, Write},
};

/// Endpoints in one slice at most.
const FULL: usize = 100;
/// The label by which a slice tells its Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// One look at a Service, the pods that it selects, and the slices that it has.
pub(super) fn reconcile(service: &Value, pods: &[&Arc<Value>], slices: &[&Arc<Value>], view: &View) -> Outcome {
    let mut outcome = Outcome::default();
    let has_selector = service.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|own| !own.is_empty());
    if !has_selector || text(service, "/spec/type") == "ExternalName" || object::is_deleting(service) {
        return outcome;
    }
    let existing: Vec<&Arc<Value>> = slices
        .iter()
        .copied()
        .filter(|slice| slice["metadata"]["labels"][MANAGED_BY] == MANAGER && !object::is_deleting(slice))
        .collect();
    let mut free: Vec<&Arc<Value>> = existing.clone();
    let mut taken: Vec<&str> = existing.iter().map(|slice| name(slice)).collect();
    let wanted = contents(service, pods, view);
    let names: Vec<String> = (0..)
        .map(|count| format!("{}-{}", name(service), object::suffix(object::uid(service), count)))
        .take(wanted.len() + taken.len())
        .collect();
    for (ports, endpoints) in wanted {
        let content = json!({"labels": labels(service), "endpoints": endpoints, "ports": ports});
        // The slice that has these ports already keeps them, so that few slices change.
        let at = free
            .iter()
            .position(|slice| object::same(&slice["ports"], &content["ports"]))
            .or(if free.is_empty() { None } else { Some(0) });
        match at {
            Some(at) => update(free.remove(at), &content, &mut outcome),
            None => {
                let Some(free) = names.iter().find(|name| !taken.contains(&name.as_str())) else { continue };
                taken.push(free);
                outcome.writes.push(Write::Create(Kind::EndpointSlice, slice(service, free, &content)));
            }
        }
    }
    for slice in free {
        outcome.writes.push(Write::Delete(Key::of(Kind::EndpointSlice, slice)));
    }
    outcome
}

fn slice(service: &Value, name: &str, content: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "generateName": format!("{}-", object::name(service)), "namespace": object::namespace(service),
            "labels": content["labels"],
            "ownerReferences": [object::owner_reference(service, Kind::Service)],
        },
        "addressType": "IPv4", "endpoints": content["endpoints"], "ports": content["ports"],
    })
}

fn update(slice: &Value, content: &Value, outcome: &mut Outcome) {
    let mut labels = content["labels"].clone();
    if slice["metadata"]["labels"] == labels
        && object::same(&slice["endpoints"], &content["endpoints"])
        && object::same(&slice["ports"], &content["ports"])
    {
        return;
    }
    for label in object::texts(slice, "/metadata/labels").into_keys() {
        if labels.get(&label).is_none() {
            labels[label] = Value::Null;
        }
    }
    outcome.writes.push(Write::Patch {
        key: Key::of(Kind::EndpointSlice, slice),
        merge: json!({"metadata": {"labels": labels}, "endpoints": content["endpoints"], "ports": content["ports"]}),
    });
}

fn labels(service: &Value) -> Value {
    let mut labels = object::texts(service, "/metadata/labels");
    labels.insert(SERVICE_NAME.to_owned(), name(service).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if matches!(text(service, "/spec/clusterIP"), "" | "None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    json!(labels)
}

/// Ports and endpoints of each slice. Pods can resolve a named port differently, then they are in different slices. Without
/// any pod there is one empty slice.
fn contents(service: &Value, pods: &[&Arc<Value>], view: &View) -> Vec<(Vec<Value>, Vec<Value>)> {
    let mut by_ports: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for pod in pods {
        if text(pod, "/status/podIP").is_empty() || object::has_ended(pod) {
            continue;
        }
        let ports = ports(service, pod);
        let key = json!(ports).to_string();
        let group = by_ports.entry(key).or_insert_with(|| (ports, Vec::new()));
        group.1.push(endpoint(service, pod, view));
    }
    if by_ports.is_empty() {
        return vec![(Vec::new(), Vec::new())];
    }
    let mut contents = Vec::new();
    for (ports, endpoints) in by_ports.into_values() {
        contents.extend(endpoints.chunks(FULL).map(|chunk| (ports.clone(), chunk.to_vec())));
    }
    contents
}

fn endpoint(service: &Value, pod: &Value, view: &View) -> Value {
    let serving = object::ready_since(pod).is_some();
    let terminating = object::is_deleting(pod);
    let published = service.pointer("/spec/publishNotReadyAddresses") == Some(&Value::Bool(true));
    let node = text(pod, "/spec/nodeName");
    let mut endpoint = json!({
        "addresses": [text(pod, "/status/podIP")],
        "conditions": {"ready": published || (serving && !terminating), "serving": serving, "terminating": terminating},
        "nodeName": node,
        "targetRef": {
            "kind": "Pod", "namespace": object::namespace(pod), "name": name(pod), "uid": object::uid(pod),
        },
    });
    let zone = view
        .get(&Key::new(Kind::Node, "", node))
        .map(|node| text(node, "/metadata/labels/topology.kubernetes.io~1zone"));
    if let Some(zone) = zone.filter(|zone| !zone.is_empty()) {
        endpoint["zone"] = zone.into();
    }
    endpoint
}

/// The Service's ports as this pod has them; one that it does not have is left out.
fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let mut ports = Vec::new();
    for port in list(service, "/spec/ports") {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let number = |field: &str| port[field].as_i64().filter(|number| *number != 0);
        let target = match port["targetPort"].as_str() {
            Some(named) => number_of(pod, named, protocol),
            None => number("targetPort").or_else(|| number("port")),
        };
        let Some(target) = target else { continue };
        let mut found = json!({"name": port["name"].as_str().unwrap_or(""), "port": target, "protocol": protocol});
        if let Some(application) = port.get("appProtocol").filter(|application| !application.is_null()) {
            found["appProtocol"] = application.clone();
        }
        ports.push(found);
    }
    ports
}

fn number_of(pod: &Value, named: &str, protocol: &str) -> Option<i64> {
    list(pod, "/spec/containers")
        .iter()
        .flat_map(|container| list(container, "/ports"))
        .find(|port| port["name"] == named && port["protocol"].as_str().unwrap_or("TCP") == protocol)
        .and_then(|port| number(port, "/containerPort"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(target: Value) -> Value {
        json!({
            "metadata": {"name": "shop", "namespace": "test", "uid": "s", "labels": {"app": "shop"}},
            "spec": {"selector": {"app": "shop"}, "clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80, "targetPort": target}]},
        })
    }

    fn pod(name: &str, ready: bool, deleting: bool) -> Arc<Value> {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "test", "uid": name},
            "spec": {"nodeName": "a", "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        if deleting {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        Arc::new(pod)
    }

    fn made(outcome: Outcome) -> Value {
        match outcome.writes.into_iter().next() {
            Some(Write::Create(Kind::EndpointSlice, slice)) => slice,
            other => panic!("no slice but {other:?}"),
        }
    }

    #[test]
    fn conditions_tell_who_answers() {
        for (ready, deleting, expected) in [
            (true, false, json!({"ready": true, "serving": true, "terminating": false})),
            (false, false, json!({"ready": false, "serving": false, "terminating": false})),
            (true, true, json!({"ready": false, "serving": true, "terminating": true})),
        ] {
            let pod = pod("one", ready, deleting);
            let slice = made(reconcile(&service(json!(8080)), &[&pod], &[], &View::default()));
            assert_eq!(slice["endpoints"][0]["conditions"], expected);
            assert_eq!(slice["endpoints"][0]["targetRef"]["name"], "one");
        }
    }

    #[test]
    fn target_ports_are_resolved() {
        for (target, expected) in [
            (json!("web"), json!([{"name": "http", "port": 8080, "protocol": "TCP"}])),
            (json!("grpc"), json!([])),
            (json!(9898), json!([{"name": "http", "port": 9898, "protocol": "TCP"}])),
            (Value::Null, json!([{"name": "http", "port": 80, "protocol": "TCP"}])),
        ] {
            let pod = pod("one", true, false);
            let slice = made(reconcile(&service(target), &[&pod], &[], &View::default()));
            assert_eq!(slice["ports"], expected);
        }
    }

    #[test]
    fn a_slice_is_kept_and_changed_only_when_it_differs() {
        let service = service(json!(8080));
        let (one, two) = (pod("one", true, false), pod("two", true, false));
        let slice = Arc::new(made(reconcile(&service, &[&one], &[], &View::default())));
        assert_eq!(reconcile(&service, &[&one], &[&slice], &View::default()).writes, []);
        let changed = reconcile(&service, &[&one, &two], &[&slice], &View::default());
        assert!(
            matches!(&changed.writes[..], [Write::Patch { merge, .. }] if merge["endpoints"].as_array().unwrap().len() == 2)
        );
        let emptied = reconcile(&service, &[], &[&slice], &View::default());
        assert!(matches!(&emptied.writes[..], [Write::Patch { merge, .. }] if merge["endpoints"] == json!([])));
    }

    #[test]
    fn many_endpoints_are_spread_over_slices() {
        let pods: Vec<Arc<Value>> = (0..150).map(|at| pod(&format!("pod-{at:03}"), true, false)).collect();
        let outcome = reconcile(&service(json!(80)), &pods.iter().collect::<Vec<_>>(), &[], &View::default());
        assert_eq!(outcome.writes.len(), 2);
    }
}
