//! The gateways a route belongs to, and whether they took it.

use crds::ParentReference;
use serde_json::{Value, json};

use super::{Route, RouteError, array};

/// `spec.parentRefs`, with what the API server would fill in.
pub(super) fn references(route: &Route<'_>) -> Result<Vec<Value>, RouteError> {
    let references = &route.spec.service.gateway_refs;
    if references.is_empty() {
        return Err(RouteError::Field {
            field: "spec.service.gatewayRefs".into(),
            why: "the Gateway API needs the Gateway that the route belongs to: give its name and namespace".into(),
        });
    }
    Ok(references.iter().map(reference).collect())
}

fn reference(parent: &ParentReference) -> Value {
    let mut written = json!({
        "group": parent.group.as_deref().unwrap_or("gateway.networking.k8s.io"),
        "kind": parent.kind.as_deref().unwrap_or("Gateway"),
        "name": parent.name,
    });
    if let Some(namespace) = &parent.namespace {
        written["namespace"] = namespace.clone().into();
    }
    if let Some(section) = &parent.section_name {
        written["sectionName"] = section.clone().into();
    }
    if let Some(port) = parent.port {
        written["port"] = port.into();
    }
    written
}

/// Why the route as it is written now is not in force, for people; `None` when it is. Only what is said about our
/// own parents counts. `required` makes it pending that nobody said anything.
pub(super) fn pending(route: &Route<'_>, live: &Value, required: bool) -> Result<Option<String>, RouteError> {
    let mut heard = false;
    for wanted in references(route)? {
        for status in array(&live["status"]["parents"]) {
            if !same(&wanted, &status["parentRef"], &route.owner.namespace) {
                continue;
            }
            heard = true;
            if let Some(why) = refusal(status, live["metadata"]["generation"].as_i64().unwrap_or(0)) {
                return Ok(Some(format!("{} {} {why}", text(&wanted["kind"]), text(&wanted["name"]))));
            }
        }
    }
    Ok((required && !heard).then(|| "no gateway controller has accepted the route yet".into()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn same(wanted: &Value, reported: &Value, namespace: &str) -> bool {
    let or = |value: &Value, default: &str| value.as_str().unwrap_or(default).to_owned();
    [("group", "gateway.networking.k8s.io"), ("kind", "Gateway"), ("namespace", namespace), ("name", "")]
        .iter()
        .all(|(key, default)| or(&wanted[key], default) == or(&reported[key], default))
        && wanted["sectionName"] == reported["sectionName"]
        && wanted["port"] == reported["port"]
}

fn refusal(status: &Value, generation: i64) -> Option<String> {
    let condition = |kind: &str| array(&status["conditions"]).iter().find(|condition| condition["type"] == kind);
    let Some(accepted) = condition("Accepted") else {
        return Some("has not said whether it accepts the route yet".into());
    };
    // A refusal of an older generation may be over with the one just written.
    if accepted["observedGeneration"].as_i64().unwrap_or(0) < generation {
        return Some("has not seen the last change of the route yet".into());
    }
    if accepted["status"] != "True" {
        return Some(format!("does not accept the route: {}", because(accepted)));
    }
    let resolved = condition("ResolvedRefs")?;
    (resolved["status"] == "False").then(|| format!("cannot resolve the route's backends: {}", because(resolved)))
}

fn because(condition: &Value) -> String {
    [text(&condition["reason"]), text(&condition["message"])]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
}
