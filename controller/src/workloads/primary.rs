//! The primary workload: the copy of the target that serves users.

use rollout::revision::{SCALE_TO_ZERO, fingerprint, normal_template};
use rollout::spec::TargetKind;
use serde_json::{Map, Value, json};

use crate::objects::{At, Desired, pointer_to};

use super::{Plan, WorkloadError, metadata, rename};

/// Annotation of the primary that tells which revision it runs.
pub const REVISION_ANNOTATION: &str = "serin.dev/revision";

/// Annotation of the primary's pods that changes with the revision, so that a change of a config alone restarts them.
const FLAGGER_ID: &str = "flagger-id";

/// Why the primary is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryMode {
    /// It is made when missing, and left alone otherwise.
    Create,
    /// It is made to run what the target holds now.
    Promote,
}

/// The pod template that the primary should run (`spec.template`), without the annotation that changes with the
/// revision.
pub fn primary_template(plan: &Plan<'_>) -> Value {
    // Flagger knows the target's pods in label selectors by the name of the target alone. In a chart the label often has
    // another value: then its primary keeps away from the canary's pods instead of its own.
    let selector = &plan.selector;
    template(plan, &|key, value| names_target(plan, key, value) || (key == selector.key && value == selector.value))
}

/// How Flagger knows the target's pods in label selectors.
fn names_target(plan: &Plan<'_>, key: &str, value: &str) -> bool {
    value == plan.spec.target.name && plan.settings.selector_labels.iter().any(|label| label == key)
}

fn template(plan: &Plan<'_>, means_target: &dyn Fn(&str, &str) -> bool) -> Value {
    let mut template = plan.target.at("/spec/template").cloned().unwrap_or_default();
    let mut labels = metadata::without_flux(metadata::of(&template, "/metadata/labels"));
    labels.insert(plan.selector.key.clone(), plan.selector.primary_value().into());
    let mut annotations = metadata::without_flux(metadata::of(&template, "/metadata/annotations"));
    annotations.remove(FLAGGER_ID);
    if let Some(template) = template.as_object_mut() {
        let own = template.entry("metadata").or_insert_with(|| json!({}));
        if !own.is_object() {
            *own = json!({});
        }
        set_or_remove(own, "labels", labels);
        set_or_remove(own, "annotations", annotations);
    }
    if let Some(pod_spec) = template.get_mut("spec") {
        rename::each_config(pod_spec, &mut |kind, name, _| {
            if plan.tracked.contains(kind, name) {
                name.push_str("-primary");
            }
        });
        match plan.spec.target.kind {
            TargetKind::Deployment => rename::spread_among(pod_spec, &|key, value| {
                means_target(key, value).then(|| format!("{value}-primary"))
            }),
            TargetKind::DaemonSet => {
                if let Some(Value::Object(node_selector)) = pod_spec.get_mut("nodeSelector") {
                    node_selector.remove(SCALE_TO_ZERO);
                    let node_selector = std::mem::take(node_selector);
                    set_or_remove(pod_spec, "nodeSelector", node_selector);
                }
            }
        }
    }
    template
}

/// True when the primary runs what the target holds, whoever wrote it. It says nothing about the contents of
/// ConfigMaps and Secrets.
pub fn primary_matches(plan: &Plan<'_>, primary: &Value) -> bool {
    let kind = plan.spec.target.kind;
    let Some(live) = primary.at("/spec/template") else { return false };
    let mut live = live.clone();
    if let Some(Value::Object(annotations)) = live.pointer_mut("/metadata/annotations") {
        annotations.remove(FLAGGER_ID);
    }
    let live = normal_template(kind, live);
    live == normal_template(kind, primary_template(plan))
        || live == normal_template(kind, template(plan, &|key, value| names_target(plan, key, value)))
}

/// The revision written on the primary; `None` when another controller made it.
pub fn written_revision(primary: &Value) -> Option<&str> {
    metadata::of(primary, "/metadata/annotations")?.get(REVISION_ANNOTATION)?.as_str()
}

/// The primary that should stand. Rendered twice for one revision it is the same, so writing it again restarts no pod.
///
/// `replicas_from_zero` is how many replicas a new primary gets when the target is scaled to zero. The primary is never
/// written with no replicas.
///
/// Errors when the pods of the new revision would not belong to the primary that stands.
pub fn desired_primary(
    plan: &Plan<'_>,
    live: Option<&Value>,
    mode: PrimaryMode,
    revision: &str,
    replicas_from_zero: i64,
) -> Result<Desired, WorkloadError> {
    let kind = plan.kind();
    let mut template = primary_template(plan);
    template["metadata"]["annotations"][FLAGGER_ID] = restart_id(revision).into();
    let mut spec = Map::new();
    for field in copied_fields(plan.spec.target.kind) {
        if let Some(value) = plan.target.get("spec").and_then(|spec| spec.get(*field)) {
            spec.insert((*field).into(), value.clone());
        }
    }
    let mut pointers = Vec::new();
    match plan.spec.target.kind {
        TargetKind::Deployment => {
            let replicas = plan.target.at("/spec/replicas").map_or(Some(1), Value::as_i64).unwrap_or(0);
            spec.insert("replicas".into(), if replicas > 0 { replicas } else { replicas_from_zero.max(1) }.into());
            // A target that is scaled to zero says nothing about the primary, and an autoscaler knows better.
            if replicas > 0 && plan.spec.autoscaler.is_none() {
                pointers.push("/spec/replicas".to_owned());
            }
        }
        TargetKind::DaemonSet => {}
    }
    spec.insert("selector".into(), json!({"matchLabels": {plan.selector.key.as_str(): plan.selector.primary_value()}}));
    if let Some(live) = live {
        belongs(plan, live, &template)?;
    }
    spec.insert("template".into(), template);

    let prefixes = &plan.settings.include_label_prefix;
    let mut labels = metadata::with_prefix(metadata::of(plan.target, "/metadata/labels"), prefixes);
    labels.insert(plan.selector.key.clone(), plan.selector.primary_value().into());
    let from_target = metadata::of(plan.target, "/metadata/annotations");
    let kept_current = metadata::with_prefix(from_target, prefixes);
    let mut annotations = metadata::without_claims(from_target);
    annotations.insert(REVISION_ANNOTATION.into(), revision.into());

    match mode {
        PrimaryMode::Create => pointers.clear(),
        PrimaryMode::Promote => {
            pointers.push("/spec/template".into());
            pointers.extend(copied_fields(plan.spec.target.kind).iter().map(|field| pointer_to("/spec", field)));
            pointers.extend(metadata::pointers("/metadata/labels", &labels));
            pointers.extend(metadata::pointers("/metadata/annotations", &kept_current));
            pointers.push(pointer_to("/metadata/annotations", REVISION_ANNOTATION));
        }
    }
    let body = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {
            "name": plan.spec.primary_name(),
            "namespace": plan.owner.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [plan.owner.reference()],
        },
        "spec": spec,
    });
    Ok(Desired::Replace { kind, body, pointers })
}

/// Fields of the spec, beside the template, that the primary has from the target.
const fn copied_fields(kind: TargetKind) -> &'static [&'static str] {
    match kind {
        TargetKind::Deployment => &["minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit", "strategy"],
        TargetKind::DaemonSet => &["minReadySeconds", "revisionHistoryLimit", "updateStrategy"],
    }
}

/// The selector of a workload cannot be changed: pods that it does not select would be refused.
fn belongs(plan: &Plan<'_>, live: &Value, template: &Value) -> Result<(), WorkloadError> {
    let labels = template.at("/metadata/labels");
    for (key, value) in metadata::of(live, "/spec/selector/matchLabels").into_iter().flatten() {
        if labels.and_then(|labels| labels.get(key)) != Some(value) {
            return Err(WorkloadError::SelectorChanged {
                object: format!("{} {}", plan.spec.target.kind.as_str(), plan.spec.primary_name()),
                key: key.clone(),
                value: value.as_str().unwrap_or_default().into(),
            });
        }
    }
    Ok(())
}

/// An id in the form of a UUID (version 8, made from a hash).
fn restart_id(revision: &str) -> String {
    let digits = fingerprint(format!("{FLAGGER_ID}:{revision}").as_bytes(), 16);
    format!("{}-{}-8{}-8{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..32])
}

fn set_or_remove(parent: &mut Value, key: &str, fields: Map<String, Value>) {
    let Some(parent) = parent.as_object_mut() else { return };
    if fields.is_empty() {
        parent.remove(key);
    } else {
        parent.insert(key.into(), Value::Object(fields));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{Case, apply};
    use super::*;

    fn body(desired: &Desired) -> &Value {
        match desired {
            Desired::Replace { body, .. } => body,
            Desired::Apply { .. } | Desired::Patch { .. } | Desired::Delete { .. } => panic!("{desired:?}"),
        }
    }

    #[test]
    fn a_new_primary_is_a_whole_object() {
        let case = Case::deployment();
        let plan = case.plan().unwrap();
        let desired = desired_primary(&plan, None, PrimaryMode::Create, "s1-1.2", 1).unwrap();
        insta::assert_yaml_snapshot!(body(&desired));
    }

    #[test]
    fn a_new_primary_of_a_daemon_set_is_a_whole_object() {
        let mut case = Case::daemon_set();
        case.target["spec"]["template"]["spec"]["nodeSelector"] = json!({SCALE_TO_ZERO: "true"});
        let plan = case.plan().unwrap();
        let desired = desired_primary(&plan, None, PrimaryMode::Create, "s1-1.2", 1).unwrap();
        insta::assert_yaml_snapshot!(body(&desired));
    }

    #[test]
    fn no_replicas_are_never_copied_to_the_primary() {
        for (target, autoscaler, from_zero, created, promoted) in [
            (Some(3), false, 1, 3, Some(3)),
            (None, false, 5, 1, Some(1)),
            (Some(0), false, 5, 5, None),
            (Some(0), false, 0, 1, None),
            (Some(3), true, 1, 3, None),
            (Some(0), true, 2, 2, None),
        ] {
            let mut case = Case::deployment();
            if !autoscaler {
                case.spec.autoscaler = None;
            }
            case.target["spec"]["replicas"] = json!(target);
            if target.is_none() {
                case.target["spec"].as_object_mut().unwrap().remove("replicas");
            }
            let plan = case.plan().unwrap();
            let new = desired_primary(&plan, None, PrimaryMode::Create, "r", from_zero).unwrap();
            assert_eq!(body(&new)["spec"]["replicas"], json!(created), "{target:?}");
            let live = json!({"spec": {"replicas": 7}});
            let update = desired_primary(&plan, Some(&live), PrimaryMode::Promote, "r", from_zero).unwrap();
            assert_eq!(apply(Some(&live), &update)["spec"]["replicas"], json!(promoted.unwrap_or(7)), "{target:?}");
        }
    }

    #[test]
    fn promoting_twice_writes_once_and_keeps_what_others_own() {
        let case = Case::deployment();
        let plan = case.plan().unwrap();
        let live = json!({
            "metadata": {"name": "podinfo-primary", "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"selector": {"matchLabels": {"app": "podinfo-primary"}}, "template": {}, "paused": true},
        });
        let promote = |live: &Value| desired_primary(&plan, Some(live), PrimaryMode::Promote, "r", 1).unwrap();
        let after = apply(Some(&live), &promote(&live));
        assert!(!promote(&live).met_by(Some(&live)));
        assert!(promote(&after).met_by(Some(&after)));
        assert!(primary_matches(&plan, &after));
        assert_eq!(written_revision(&after), Some("r"));
        assert_eq!(after["metadata"]["annotations"]["deployment.kubernetes.io/revision"], json!("1"));
        assert_eq!(after["spec"]["paused"], json!(true));
    }

    #[test]
    fn a_field_that_left_the_target_leaves_the_primary() {
        let mut case = Case::deployment();
        case.target["spec"].as_object_mut().unwrap().remove("minReadySeconds");
        let plan = case.plan().unwrap();
        let live = json!({"spec": {"minReadySeconds": 5}});
        let desired = desired_primary(&plan, Some(&live), PrimaryMode::Promote, "r", 1).unwrap();
        assert_eq!(apply(Some(&live), &desired)["spec"].get("minReadySeconds"), None);
    }

    #[test]
    fn another_revision_of_the_configs_restarts_the_pods() {
        let case = Case::deployment();
        let plan = case.plan().unwrap();
        let at = |revision: &str| desired_primary(&plan, None, PrimaryMode::Promote, revision, 1).unwrap();
        assert_eq!(at("s1-1.2"), at("s1-1.2"));
        let template = |desired: &Desired| body(desired)["spec"]["template"].clone();
        assert_ne!(template(&at("s1-1.2")), template(&at("s1-1.3")));
    }

    #[test]
    fn the_restart_id_has_the_form_of_a_uuid() {
        let id = restart_id("s1-0123456789abcdef.01234567");
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(id.chars().all(|digit| digit == '-' || digit.is_ascii_hexdigit()));
    }

    #[test]
    fn a_primary_with_another_selector_is_not_written() {
        let case = Case::deployment();
        let live = json!({"spec": {"selector": {"matchLabels": {"app": "podinfo-primary", "tier": "db"}}}});
        let error = desired_primary(&case.plan().unwrap(), Some(&live), PrimaryMode::Promote, "r", 1).unwrap_err();
        assert!(error.to_string().starts_with("Deployment podinfo-primary: spec.selector wants tier=db"), "{error}");
    }

    #[test]
    fn fields_newer_than_our_bindings_reach_the_primary() {
        let mut case = Case::deployment();
        case.target["spec"]["template"]["spec"]["fromTheFuture"] = json!({"level": 11});
        let template = primary_template(&case.plan().unwrap());
        assert_eq!(template["spec"]["fromTheFuture"], json!({"level": 11}));
    }

    #[test]
    fn the_primary_spreads_among_its_own_pods_whatever_its_label_says() {
        let mut case = Case::deployment();
        let labels = json!({"app.kubernetes.io/name": "shop", "app.kubernetes.io/instance": "blue"});
        case.target["spec"]["selector"] = json!({"matchLabels": labels});
        case.target["spec"]["template"]["metadata"]["labels"] = labels.clone();
        let spread = |labels: &Value| json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": labels}}]);
        case.target["spec"]["template"]["spec"]["topologySpreadConstraints"] = spread(&labels);
        case.target["spec"]["template"]["spec"].as_object_mut().unwrap().remove("affinity");
        let plan = case.plan().unwrap();
        let ours = primary_template(&plan);
        assert_eq!(
            ours.pointer("/metadata/labels"),
            ours.pointer("/spec/topologySpreadConstraints/0/labelSelector/matchLabels")
        );
        // A primary that Flagger made does not, and is left alone all the same.
        let mut flagger = ours.clone();
        flagger["spec"]["topologySpreadConstraints"] = spread(&labels);
        for primary in [ours, flagger.clone()] {
            assert!(primary_matches(&plan, &json!({"spec": {"template": primary}})));
        }
        flagger["spec"]["topologySpreadConstraints"] = json!([]);
        assert!(!primary_matches(&plan, &json!({"spec": {"template": flagger}})));
    }

    #[test]
    fn flux_marks_do_not_reach_the_pods() {
        let mut case = Case::deployment();
        let flux = "kustomize.toolkit.fluxcd.io/name";
        case.target["spec"]["template"]["metadata"]["labels"][flux] = json!("apps");
        case.target["spec"]["template"]["metadata"]["annotations"][flux] = json!("apps");
        let template = primary_template(&case.plan().unwrap());
        assert!(!template.to_string().contains(flux));
    }
}
