//! What the target held before: Kubernetes keeps the former templates of a Deployment in its ReplicaSets and those of a
//! DaemonSet in its ControllerRevisions.

use rollout::revision::template_hash;
use rollout::spec::TargetKind;
use serde_json::Value;

use crate::objects::{Kind, kinds};

/// Label that Kubernetes adds to the template of a ReplicaSet.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The kind of object that keeps former templates.
pub fn history_kind(kind: TargetKind) -> Kind {
    match kind {
        TargetKind::Deployment => kinds::REPLICA_SET,
        TargetKind::DaemonSet => kinds::CONTROLLER_REVISION,
    }
}

/// The labels by which the target's history is found, as `key=value,key=value`.
pub fn history_labels(target: &Value) -> String {
    let labels = target.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    labels.collect::<Vec<_>>().join(",")
}

/// The target as it was at this revision; `None` when its history holds no such template. Contents of ConfigMaps and
/// Secrets are not part of the history: the primary's copies hold them.
pub fn former_target(kind: TargetKind, target: &Value, history: &[Value], revision: &str) -> Option<Value> {
    let uid = target.pointer("/metadata/uid")?;
    let (wanted, _) = revision.split_once('.')?;
    history.iter().filter(|kept| is_owned_by(kept, uid)).find_map(|kept| {
        let mut former = target.clone();
        *former.pointer_mut("/spec/template")? = kept_template(kind, kept)?;
        (template_hash(kind, &former) == wanted).then_some(former)
    })
}

fn is_owned_by(kept: &Value, uid: &Value) -> bool {
    let owners = kept.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner.get("uid") == Some(uid))
}

fn kept_template(kind: TargetKind, kept: &Value) -> Option<Value> {
    match kind {
        TargetKind::Deployment => {
            let mut template = kept.pointer("/spec/template")?.clone();
            if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
                labels.remove(TEMPLATE_HASH);
            }
            Some(template)
        }
        TargetKind::DaemonSet => {
            let mut template = kept.pointer("/data/spec/template")?.clone();
            // It is kept as a patch.
            template.as_object_mut()?.remove("$patch");
            Some(template)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::Case;
    use super::*;

    fn owned(uid: &str, rest: Value) -> Value {
        let mut kept = rest;
        kept["metadata"]["ownerReferences"] = json!([{"uid": uid}]);
        kept
    }

    #[test]
    fn the_promoted_template_is_found_in_the_history_of_the_target() {
        for mut case in [Case::deployment(), Case::daemon_set()] {
            case.target["metadata"]["uid"] = json!("u1");
            let kind = case.spec.target.kind;
            let promoted = case.target.clone();
            let revision = format!("{}.e3b0c442", template_hash(kind, &promoted));
            let mut template = promoted["spec"]["template"].clone();
            let kept = match kind {
                TargetKind::Deployment => {
                    template["metadata"]["labels"][TEMPLATE_HASH] = json!("66d5b8f9c4");
                    json!({"spec": {"template": template}})
                }
                TargetKind::DaemonSet => {
                    template["$patch"] = json!("replace");
                    json!({"data": {"spec": {"template": template}}})
                }
            };
            case.target["spec"]["template"]["spec"]["containers"][0]["image"] = json!("podinfo:bad");
            let bad = owned("u1", json!({"spec": {"template": case.target["spec"]["template"]}}));
            let find = |history: &[Value], revision: &str| former_target(kind, &case.target, history, revision);

            let found = find(&[bad.clone(), owned("u1", kept.clone())], &revision).unwrap();
            assert_eq!(found["spec"]["template"], promoted["spec"]["template"]);
            assert_eq!(find(&[bad.clone(), owned("u2", kept.clone())], &revision), None, "of another owner");
            assert_eq!(find(&[bad], &revision), None, "no longer kept");
            assert_eq!(find(&[owned("u1", kept)], "adopted:66d5"), None, "of another controller");
            for malformed in [json!(null), json!({"data": 1, "spec": []}), json!({"data": {"spec": {"template": 3}}})] {
                assert_eq!(find(&[owned("u1", json!({"data": malformed, "spec": malformed}))], &revision), None);
            }
        }
    }

    #[test]
    fn the_history_is_found_by_the_labels_that_the_target_selects_by() {
        let target = json!({"spec": {"selector": {"matchLabels": {"app": "web", "tier": "front"}}}});
        assert_eq!(history_labels(&target), "app=web,tier=front");
    }
}
