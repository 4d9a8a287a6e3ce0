//! What the server refuses in built-in kinds. Only what users of this crate run into.

use serde_json::Value;

use super::immutable;
use crate::registry::{Resource, kinds};
use crate::status::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                         and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
                         validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// Why an object cannot be called so.
pub(crate) fn name_cause(resource: &Resource, name: &str) -> Option<Cause> {
    let is_label = |name: &str| {
        !name.is_empty()
            && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
            && !name.starts_with('-')
            && !name.ends_with('-')
    };
    let refused = |why: &str| Some(Cause::invalid("metadata.name", &name.into(), why));
    if resource.group == "rbac.authorization.k8s.io" {
        return name.contains('/').then(|| Cause::invalid("metadata.name", &name.into(), "may not contain '/'"));
    }
    if name.len() > 253 {
        return refused("must be no more than 253 bytes");
    }
    if resource.is(kinds::SERVICE) || resource.is(kinds::NAMESPACE) {
        return if is_label(name) && name.len() <= 63 { None } else { refused(LABEL) };
    }
    if name.split('.').all(is_label) { None } else { refused(SUBDOMAIN) }
}

/// All that is wrong with an object beyond its schema.
pub(crate) fn validate(resource: &Resource, live: Option<&Value>, next: &Value, causes: &mut Vec<Cause>) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet") => workload(live, next, causes),
        ("", "Pod") => pod_spec(&next["spec"], "spec", causes),
        ("", "Service") => service(live, next, causes),
        ("", "ConfigMap") => kept(live, next, &["data", "binaryData"], causes),
        ("", "Secret") => {
            kept(live, next, &["data"], causes);
            if live.is_some_and(|live| live["type"] != next["type"]) {
                causes.push(immutable("type", &next["type"]));
            }
        }
        ("", "Event") => event("involvedObject", next, causes),
        ("events.k8s.io", "Event") => event("regarding", next, causes),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(next, causes),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(next, causes),
        _ => {}
    }
    labels(next, causes);
    owners(next, causes);
    if let Some(live) = live {
        finalizers(live, next, causes);
    }
}

fn finalizers(live: &Value, next: &Value, causes: &mut Vec<Cause>) {
    if live["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let listed = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let known = listed(live);
    let new: Vec<String> = listed(next).iter().filter(|one| !known.contains(one)).map(|one| one.to_string()).collect();
    if !new.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            new.join(", ")
        );
        causes.push(Cause::forbidden("metadata.finalizers", &why));
    }
}

/// An event stands where its object does; those about the cluster in `default`.
fn event(about: &str, next: &Value, causes: &mut Vec<Cause>) {
    let namespace = &next[about]["namespace"];
    let place = namespace.as_str().unwrap_or_default();
    let own = next["metadata"]["namespace"].as_str().unwrap_or_default();
    if place != own && !(place.is_empty() && ["default", "kube-system"].contains(&own)) {
        let cause = Cause::invalid("involvedObject.namespace", &place.into(), "does not match event.namespace");
        causes.push(cause);
    }
}

fn labels(next: &Value, causes: &mut Vec<Cause>) {
    let fine = |value: &str| {
        value.len() <= 63
            && value.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
            && value.chars().next().is_none_or(|letter| letter.is_ascii_alphanumeric())
            && value.chars().last().is_none_or(|letter| letter.is_ascii_alphanumeric())
    };
    for value in next["metadata"]["labels"].as_object().into_iter().flat_map(|labels| labels.values()) {
        if !value.as_str().is_some_and(fine) {
            let why = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                       must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
                       regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
            causes.push(Cause::invalid("metadata.labels", value, why));
        }
    }
}

fn owners(next: &Value, causes: &mut Vec<Cause>) {
    let owners = next["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::invalid(
                    &format!("metadata.ownerReferences.{field}"),
                    &owner[field],
                    &format!("{field} must not be empty"),
                ));
            }
        }
    }
    if owners.iter().filter(|owner| owner["controller"] == true).count() > 1 {
        let why = "Only one reference can have Controller set to true";
        causes.push(Cause::invalid("metadata.ownerReferences", &next["metadata"]["ownerReferences"], why));
    }
}

fn workload(live: Option<&Value>, next: &Value, causes: &mut Vec<Cause>) {
    let (spec, template) = (&next["spec"], &next["spec"]["template"]);
    let selector = &spec["selector"];
    let labels = &template["metadata"]["labels"];
    if selector.is_null() {
        causes.push(Cause::required("spec.selector", ""));
    } else if live.is_some_and(|live| live["spec"]["selector"] != *selector) {
        causes.push(immutable("spec.selector", selector));
    } else if selector.as_object().is_some_and(|selector| selector.is_empty()) {
        causes.push(Cause::invalid("spec.selector", selector, "empty selector is invalid for deployment"));
    } else if !selector_matches(selector, labels) {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    }
    if let Some(replicas) = spec["replicas"].as_i64().filter(|replicas| *replicas < 0) {
        causes.push(Cause::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0"));
    }
    if template["spec"].is_object() {
        pod_spec(&template["spec"], "spec.template.spec", causes);
    } else {
        causes.push(Cause::required("spec.template.spec.containers", ""));
    }
}

/// Whether a selector with `matchLabels` and `matchExpressions` selects these labels.
pub fn selector_matches(selector: &Value, labels: &Value) -> bool {
    let equal =
        selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector["matchExpressions"].as_array().into_iter().flatten().all(|expression| {
            let label = expression["key"].as_str().and_then(|key| labels.get(key));
            let values = expression["values"].as_array().map(Vec::as_slice).unwrap_or_default();
            match expression["operator"].as_str().unwrap_or_default() {
                "In" => label.is_some_and(|label| values.contains(label)),
                "NotIn" => label.is_none_or(|label| !values.contains(label)),
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

fn pod_spec(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if containers.is_empty() {
        causes.push(Cause::required(&format!("{path}.containers"), ""));
    }
    let volumes = spec["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, container) in containers.iter().enumerate() {
        let path = format!("{path}.containers[{index}]");
        let name = &container["name"];
        if name.as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(&format!("{path}.name"), ""));
        }
        if containers[..index].iter().any(|other| other["name"] == *name) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {name}"),
                field: format!("{path}.name"),
            });
        }
        if container["image"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(&format!("{path}.image"), ""));
        }
        for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
            if !volumes.iter().any(|volume| volume["name"] == mount["name"]) {
                causes.push(Cause {
                    reason: "FieldValueNotFound",
                    message: format!("Not found: {}", mount["name"]),
                    field: format!("{path}.volumeMounts[{index}].name"),
                });
            }
        }
    }
}

fn service(live: Option<&Value>, next: &Value, causes: &mut Vec<Cause>) {
    let spec = &next["spec"];
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ports.is_empty() && spec["type"] != "ExternalName" && spec["clusterIP"] != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let number = port["port"].as_i64().unwrap_or_default();
        if !(1..=65535).contains(&number) {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(&format!("spec.ports[{index}].port"), &port["port"], why));
        }
        if ports.len() > 1 && port["name"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(&format!("spec.ports[{index}].name"), ""));
        }
    }
    let before = live.map(|live| &live["spec"]["clusterIP"]).filter(|address| !address.is_null());
    if before.is_some_and(|before| *before != spec["clusterIP"]) && spec["type"] != "ExternalName" {
        let why = "may not change once set";
        causes.push(Cause::invalid("spec.clusterIPs[0]", &spec["clusterIP"], why));
    }
}

fn kept(live: Option<&Value>, next: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    let Some(live) = live.filter(|live| live["immutable"] == true) else { return };
    for field in fields.iter().chain(&["immutable"]).filter(|field| live[**field] != next[**field]) {
        causes.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
    }
}

fn autoscaler(next: &Value, causes: &mut Vec<Cause>) {
    let spec = &next["spec"];
    let (least, most) = (spec["minReplicas"].as_i64().unwrap_or(1), spec["maxReplicas"].as_i64().unwrap_or_default());
    if most < 1 {
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], "must be greater than 0"));
    } else if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], why));
    }
    for field in ["kind", "name"] {
        if spec["scaleTargetRef"][field].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(&format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
}

fn definition(next: &Value, causes: &mut Vec<Cause>) {
    let spec = &next["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let expected = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    if next["metadata"]["name"] != expected.as_str() {
        let why = format!("must be spec.names.plural+\".\"+spec.group: {expected:?}");
        causes.push(Cause::invalid("metadata.name", &next["metadata"]["name"], &why));
    }
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        causes.push(Cause::invalid(
            "spec.versions",
            &spec["versions"],
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        if version["schema"]["openAPIV3Schema"].is_null() {
            causes.push(Cause::required(
                &format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
    }
}
