//! What tells one revision from another: a hash of the pod template and of the tracked configs. Unlike a hash over
//! typed structs it stays the same when the Kubernetes API gains fields, so an upgrade of Serin starts no rollout.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::spec::TargetKind;

/// Key of the nodeSelector that keeps a DaemonSet off every node.
pub const SCALE_TO_ZERO: &str = "flagger.app/scale-to-zero";

/// Hash of the pod template of a workload: `s1-` and 16 hexadecimal digits. The order of keys, fields that are null,
/// `creationTimestamp` and the scale of a DaemonSet do not count. A workload without a template has a hash, too.
pub fn template_hash(kind: TargetKind, workload: &Value) -> String {
    let template = workload.pointer("/spec/template").cloned().unwrap_or_default();
    let text = serde_json::to_vec(&Canonical(&normal_template(kind, template)));
    format!("s1-{}", fingerprint(&text.expect("JSON can be written as JSON"), 8))
}

/// Identity of a revision: the template hash, a dot, and 8 hexadecimal digits over the checksums of the tracked configs.
pub fn revision(template_hash: &str, configs: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, checksum) in configs {
        // Neither names nor checksums can hold a NUL, so two different maps never give the same text.
        text.extend([name, "\0", checksum, "\0"]);
    }
    format!("{template_hash}.{}", fingerprint(text.as_bytes(), 4))
}

/// A pod template (`spec.template`) without all that makes no difference to its pods: templates that are equal in
/// this form make the same pods.
pub fn normal_template(kind: TargetKind, mut template: Value) -> Value {
    remove_nulls(&mut template);
    match kind {
        TargetKind::DaemonSet => {
            if let Some(Value::Object(keys)) = template.pointer_mut("/spec/nodeSelector") {
                keys.remove(SCALE_TO_ZERO);
            }
        }
        TargetKind::Deployment => {}
    }
    remove_empty(template.get_mut("spec"), &["nodeSelector"]);
    remove_empty(template.get_mut("metadata"), &["annotations", "labels"]);
    if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
        metadata.remove("creationTimestamp");
    }
    remove_empty(Some(&mut template), &["metadata"]);
    template
}

/// The first `length` bytes of the SHA-256 of `bytes`, as lower-case hexadecimal digits; at most 32 bytes.
pub fn fingerprint(bytes: &[u8], length: usize) -> String {
    Sha256::digest(bytes).iter().take(length).map(|byte| format!("{byte:02x}")).collect()
}

fn remove_empty(parent: Option<&mut Value>, keys: &[&str]) {
    let Some(Value::Object(parent)) = parent else { return };
    for key in keys {
        if parent.get(*key).and_then(Value::as_object).is_some_and(Map::is_empty) {
            parent.remove(*key);
        }
    }
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|_, value| {
            remove_nulls(value);
            !value.is_null()
        }),
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The same value with its keys sorted, whatever order the map type of `serde_json` keeps.
struct Canonical<'a>(&'a Value);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
                sorted.sort_unstable_by_key(|(key, _)| *key);
                serializer.collect_map(sorted.into_iter().map(|(key, value)| (key, Canonical(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Canonical)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => self.0.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KINDS: [TargetKind; 2] = [TargetKind::Deployment, TargetKind::DaemonSet];

    fn workload(template: Value) -> Value {
        json!({"spec": {"template": template, "replicas": 2}})
    }

    #[test]
    fn the_hash_is_what_it_was_in_every_earlier_release() {
        let target = workload(json!({
            "metadata": {"labels": {"app": "podinfo"}},
            "spec": {"containers": [{"name": "podinfod", "image": "podinfo:6.0.0"}]},
        }));
        let hash = template_hash(TargetKind::Deployment, &target);
        assert_eq!(hash, "s1-adfc17332ab9d749");
        assert_eq!(revision(&hash, &BTreeMap::new()), "s1-adfc17332ab9d749.e3b0c442");
        let configs = BTreeMap::from([("configmap/settings".to_owned(), "cb3263c0bed139f3".to_owned())]);
        assert_eq!(revision(&hash, &configs), "s1-adfc17332ab9d749.03d3a37f");
    }

    #[test]
    fn what_makes_no_difference_to_pods_does_not_count() {
        let plain = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}});
        for (name, same) in [
            (
                "creation timestamp",
                json!({"metadata": {"creationTimestamp": null, "labels": {"app": "a"}}, "spec": {"containers": []}}),
            ),
            (
                "time",
                json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": "a"}}, "spec": {"containers": []}}),
            ),
            (
                "empty node selector",
                json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [], "nodeSelector": {}}}),
            ),
            (
                "empty annotations",
                json!({"metadata": {"annotations": {}, "labels": {"app": "a"}}, "spec": {"containers": []}}),
            ),
            ("null", json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [], "volumes": null}})),
        ] {
            for kind in KINDS {
                assert_eq!(
                    template_hash(kind, &workload(plain.clone())),
                    template_hash(kind, &workload(same.clone())),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_scale_of_a_daemon_set_does_not_count_but_its_node_selector_does() {
        let hash = |selector: Value| {
            template_hash(
                TargetKind::DaemonSet,
                &workload(json!({"spec": {"nodeSelector": selector, "containers": []}})),
            )
        };
        assert_eq!(hash(Value::Null), hash(json!({SCALE_TO_ZERO: "true"})));
        assert_eq!(hash(json!({"disk": "ssd"})), hash(json!({SCALE_TO_ZERO: "true", "disk": "ssd"})));
        assert_ne!(hash(Value::Null), hash(json!({"disk": "ssd"})));
    }

    #[test]
    fn an_empty_volume_is_not_no_volume() {
        let hash =
            |volume: Value| template_hash(TargetKind::Deployment, &workload(json!({"spec": {"volumes": [volume]}})));
        assert_ne!(hash(json!({"name": "a", "emptyDir": {}})), hash(json!({"name": "a"})));
    }

    #[test]
    fn malformed_workloads_have_a_hash() {
        for malformed in [
            json!(null),
            json!([]),
            json!({"spec": 1}),
            workload(json!("x")),
            workload(json!({"spec": [], "metadata": 1})),
        ] {
            assert!(template_hash(TargetKind::DaemonSet, &malformed).starts_with("s1-"));
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-f]{1,2}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// JSON text of the value with keys in reverse order and a null field added to every object.
    fn disguised(value: &Value) -> String {
        match value {
            Value::Object(fields) => {
                let mut parts: Vec<_> = fields
                    .iter()
                    .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), disguised(value)))
                    .collect();
                parts.push("\"zz-null\": null".into());
                parts.reverse();
                format!("{{{}}}", parts.join(" ,"))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(disguised).collect::<Vec<_>>().join(" , ")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        }
    }

    proptest! {
        #[test]
        fn key_order_and_null_fields_are_irrelevant(spec in json_value()) {
            let template = json!({"spec": {"x": spec}});
            let other: Value = serde_json::from_str(&disguised(&template)).expect("valid JSON");
            for kind in KINDS {
                prop_assert_eq!(template_hash(kind, &workload(template.clone())), template_hash(kind, &workload(other.clone())));
            }
        }

        #[test]
        fn any_real_change_changes_the_hash(before in json_value(), after in json_value()) {
            let hash = |spec: &Value| template_hash(TargetKind::Deployment, &workload(json!({"spec": {"x": spec}})));
            prop_assert_eq!(before == after, hash(&before) == hash(&after));
        }

        #[test]
        fn any_change_of_configs_changes_the_revision(
            before in prop::collection::btree_map("[a-c]{1,3}", "[0-9a-f]{1,4}", 0..4),
            after in prop::collection::btree_map("[a-c]{1,3}", "[0-9a-f]{1,4}", 0..4),
        ) {
            prop_assert_eq!(before == after, revision("s1-0", &before) == revision("s1-0", &after));
        }
    }
}
