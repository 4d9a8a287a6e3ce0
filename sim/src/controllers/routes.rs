//! The least of a gateway and an ingress controller: they accept everything and say so.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    object::{self, generation, list, name, namespace, stamp, text},
    view::{Key, Kind, View},
    write::Outcome,
};

const CONTROLLER: &str = "sim.dev/gateway-controller";
/// Where traffic from outside arrives.
const ADDRESS: &str = "203.0.113.1";

/// One look at a Gateway.
pub(super) fn gateway(gateway: &Value, view: &View, now: Timestamp) -> Outcome {
    let before = list(gateway, "/status/listeners");
    let listeners: Vec<Value> = list(gateway, "/spec/listeners")
        .iter()
        .map(|listener| {
            let of = text(listener, "/name");
            let old = before.iter().find(|old| old["name"] == of).unwrap_or(&Value::Null);
            json!({
                "name": of,
                "attachedRoutes": attached(gateway, of, view),
                "supportedKinds": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}],
                "conditions": conditions(&["Accepted", "Programmed", "ResolvedRefs"], list(old, "/conditions"), gateway, now),
            })
        })
        .collect();
    let mut outcome = Outcome::default();
    outcome.status(
        Kind::Gateway,
        gateway,
        json!({
            "addresses": [{"type": "IPAddress", "value": ADDRESS}],
            "conditions": conditions(&["Accepted", "Programmed"], list(gateway, "/status/conditions"), gateway, now),
            "listeners": listeners,
        }),
    );
    outcome
}

/// One look at an HTTPRoute: each parent that is a Gateway of this cluster accepts it.
pub(super) fn http_route(route: &Value, view: &View, now: Timestamp) -> Outcome {
    let before = list(route, "/status/parents");
    let parents: Vec<Value> = list(route, "/spec/parentRefs")
        .iter()
        .filter(|parent| view.get(&parent_key(route, parent)).is_some())
        .map(|parent| {
            let old = before.iter().find(|old| old["parentRef"] == *parent).unwrap_or(&Value::Null);
            json!({
                "parentRef": parent, "controllerName": CONTROLLER,
                "conditions": conditions(&["Accepted", "ResolvedRefs"], list(old, "/conditions"), route, now),
            })
        })
        .chain(before.iter().filter(|other| other["controllerName"] != CONTROLLER).cloned())
        .collect();
    let mut outcome = Outcome::default();
    outcome.status(Kind::HttpRoute, route, json!({"parents": parents}));
    outcome
}

/// One look at an Ingress.
pub(super) fn ingress(ingress: &Value) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.status(Kind::Ingress, ingress, json!({"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}));
    outcome
}

/// The Gateways that an HTTPRoute names as its parents.
pub(super) fn parents(route: &Value) -> impl Iterator<Item = Key> {
    list(route, "/spec/parentRefs").iter().map(|parent| parent_key(route, parent))
}

fn parent_key(route: &Value, parent: &Value) -> Key {
    let within = parent["namespace"].as_str().unwrap_or_else(|| namespace(route));
    Key::new(Kind::Gateway, within, text(parent, "/name"))
}

fn attached(gateway: &Value, listener: &str, view: &View) -> usize {
    let key = Key::new(Kind::Gateway, namespace(gateway), name(gateway));
    view.attached(&key)
        .filter(|route| {
            list(route, "/spec/parentRefs").iter().any(|parent| {
                parent_key(route, parent) == key
                    && matches!(text(parent, "/sectionName"), section if section.is_empty() || section == listener)
            })
        })
        .count()
}

fn conditions(types: &[&str], before: &[Value], of: &Value, now: Timestamp) -> Vec<Value> {
    types
        .iter()
        .map(|kind| {
            let since = object::condition(before, kind)
                .filter(|old| old["status"] == "True")
                .map_or_else(|| stamp(now), |old| text(old, "/lastTransitionTime").to_owned());
            json!({
                "type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": generation(of),
                "lastTransitionTime": since,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::controllers::write::Write;

    #[test]
    fn a_route_is_accepted_by_the_gateways_that_exist() {
        let mut view = View::default();
        let there = Arc::new(json!({"metadata": {"name": "public", "namespace": "edge"}}));
        view.set(&Key::new(Kind::Gateway, "edge", "public"), Some(there));
        let route = json!({"metadata": {"name": "r", "namespace": "test", "generation": 2}, "spec": {"parentRefs": [
            {"name": "public", "namespace": "edge"}, {"name": "missing"}]}});
        let outcome = http_route(&route, &view, "2026-01-01T00:00:00Z".parse().unwrap());
        let [Write::Status { status, .. }] = &outcome.writes[..] else { panic!("{outcome:?}") };
        assert_eq!(status["parents"].as_array().unwrap().len(), 1);
        assert_eq!(status["parents"][0]["conditions"][0]["observedGeneration"], 2);
    }
}
