//! The names in a pod spec that differ between the target and the primary.

use serde_json::Value;

use super::config_refs::ConfigKind;

/// Shows every ConfigMap and Secret that a pod spec takes values from: kind, name, and whether it may be missing.
pub(super) fn each_config(pod_spec: &mut Value, visit: &mut dyn FnMut(ConfigKind, &mut String, bool)) {
    for volume in items(pod_spec.get_mut("volumes")) {
        reference(volume.get_mut("configMap"), "name", ConfigKind::ConfigMap, visit);
        reference(volume.get_mut("secret"), "secretName", ConfigKind::Secret, visit);
        for source in items(volume.pointer_mut("/projected/sources")) {
            reference(source.get_mut("configMap"), "name", ConfigKind::ConfigMap, visit);
            reference(source.get_mut("secret"), "name", ConfigKind::Secret, visit);
        }
    }
    for list in ["containers", "initContainers"] {
        for container in items(pod_spec.get_mut(list)) {
            for variable in items(container.get_mut("env")) {
                reference(variable.pointer_mut("/valueFrom/configMapKeyRef"), "name", ConfigKind::ConfigMap, visit);
                reference(variable.pointer_mut("/valueFrom/secretKeyRef"), "name", ConfigKind::Secret, visit);
            }
            for source in items(container.get_mut("envFrom")) {
                reference(source.get_mut("configMapRef"), "name", ConfigKind::ConfigMap, visit);
                reference(source.get_mut("secretRef"), "name", ConfigKind::Secret, visit);
            }
        }
    }
}

/// Makes pods spread over nodes and zones among themselves: `other` says for key and value of a label in the label selector
/// of a topology spread constraint or of pod anti-affinity which value it should have, where it means those that the pods
/// are a copy of.
pub(super) fn spread_among(pod_spec: &mut Value, other: &dyn Fn(&str, &str) -> Option<String>) {
    for constraint in items(pod_spec.get_mut("topologySpreadConstraints")) {
        label_selector(constraint.get_mut("labelSelector"), other);
    }
    let Some(anti_affinity) = pod_spec.pointer_mut("/affinity/podAntiAffinity") else { return };
    for preferred in items(anti_affinity.get_mut("preferredDuringSchedulingIgnoredDuringExecution")) {
        label_selector(preferred.pointer_mut("/podAffinityTerm/labelSelector"), other);
    }
    for required in items(anti_affinity.get_mut("requiredDuringSchedulingIgnoredDuringExecution")) {
        label_selector(required.get_mut("labelSelector"), other);
    }
}

fn label_selector(selector: Option<&mut Value>, other: &dyn Fn(&str, &str) -> Option<String>) {
    let Some(selector) = selector else { return };
    let rename = |key: &str, value: &mut Value| {
        let named = value.as_str().and_then(|value| other(key, value));
        let renamed = named.is_some();
        if let Some(named) = named {
            *value = named.into();
        }
        renamed
    };
    for expression in items(selector.get_mut("matchExpressions")) {
        let Some(key) = expression.get("key").and_then(Value::as_str).map(str::to_owned) else { continue };
        // Only the first, as Flagger does: a selector that names the target twice is left to its author.
        items(expression.get_mut("values")).any(|value| rename(&key, value));
    }
    if let Some(Value::Object(match_labels)) = selector.get_mut("matchLabels") {
        for (key, value) in match_labels.iter_mut() {
            rename(key, value);
        }
    }
}

fn items(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

fn reference(
    holder: Option<&mut Value>,
    field: &str,
    kind: ConfigKind,
    visit: &mut dyn FnMut(ConfigKind, &mut String, bool),
) {
    let Some(holder) = holder else { return };
    let optional = holder.get("optional").and_then(Value::as_bool).unwrap_or(false);
    if let Some(Value::String(name)) = holder.get_mut(field)
        && !name.is_empty()
    {
        visit(kind, name, optional);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_use_a_config_is_seen() {
        let cases = [
            ("volume", json!({"volumes": [{"configMap": {"name": "c"}}, {"secret": {"secretName": "s"}}]})),
            (
                "projected",
                json!({"volumes": [{"projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}}]}),
            ),
            (
                "env",
                json!({"containers": [{"env": [
                    {"name": "A", "value": "plain"},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ]}]}),
            ),
            (
                "envFrom",
                json!({"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}]}]}),
            ),
            (
                "init containers",
                json!({"initContainers": [
                    {"envFrom": [{"configMapRef": {"name": "c"}}]},
                    {"env": [{"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
                ]}),
            ),
        ];
        for (name, mut pod_spec) in cases {
            let mut seen = Vec::new();
            each_config(&mut pod_spec, &mut |kind, name, optional| {
                seen.push((kind, name.clone(), optional));
                name.push_str("-primary");
            });
            let expected = [(ConfigKind::ConfigMap, "c".into(), false), (ConfigKind::Secret, "s".into(), false)];
            assert_eq!(seen, expected, "{name}");
            let text = pod_spec.to_string();
            assert!(text.contains("\"c-primary\"") && text.contains("\"s-primary\""), "{name}: {text}");
        }
    }

    #[test]
    fn what_is_not_a_tracked_use_stays() {
        let mut pod_spec = json!({
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [{"csi": {"nodePublishSecretRef": {"name": "csi"}}}, {"emptyDir": {}}],
        });
        each_config(&mut pod_spec, &mut |_, name, _| panic!("{name} is not to be seen"));
    }

    fn spread(mut pod_spec: Value) -> Value {
        spread_among(&mut pod_spec, &|key, value| {
            (key == "app" && value == "podinfo").then(|| format!("{value}-primary"))
        });
        pod_spec
    }

    #[test]
    fn selectors_of_spread_and_anti_affinity_name_the_primary() {
        let expression =
            |values: Value| json!({"matchExpressions": [{"key": "app", "operator": "In", "values": values}]});
        for (name, before, after) in [
            (
                "match labels",
                json!({"matchLabels": {"app": "podinfo"}}),
                json!({"matchLabels": {"app": "podinfo-primary"}}),
            ),
            ("another key", json!({"matchLabels": {"tier": "podinfo"}}), json!({"matchLabels": {"tier": "podinfo"}})),
            ("another value", json!({"matchLabels": {"app": "web"}}), json!({"matchLabels": {"app": "web"}})),
            ("expression", expression(json!(["web", "podinfo"])), expression(json!(["web", "podinfo-primary"]))),
            (
                "first of two",
                expression(json!(["podinfo", "podinfo"])),
                expression(json!(["podinfo-primary", "podinfo"])),
            ),
            (
                "expression of another key",
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["podinfo"]}]}),
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["podinfo"]}]}),
            ),
        ] {
            for place in ["spread", "preferred", "required"] {
                let pod_spec = |selector: &Value| match place {
                    "spread" => json!({"topologySpreadConstraints": [{"labelSelector": selector}]}),
                    "preferred" => json!({"affinity": {"podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"labelSelector": selector}}],
                    }}}),
                    _ => json!({"affinity": {"podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": selector}],
                    }}}),
                };
                assert_eq!(spread(pod_spec(&before)), pod_spec(&after), "{name} in {place}");
            }
        }
    }

    #[test]
    fn affinity_to_pods_and_nodes_stays() {
        let selector = json!({"matchLabels": {"app": "podinfo"}});
        let pod_spec = json!({"affinity": {
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": selector}]},
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "app", "operator": "In", "values": ["podinfo"]}]},
            ]}},
        }});
        assert_eq!(spread(pod_spec.clone()), pod_spec);
    }
}
