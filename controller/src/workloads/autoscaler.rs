//! The autoscaler of the primary.

use serde_json::{Map, Value, json};

use crate::objects::{Desired, Lookup, kinds, pointer_to};

use super::{Plan, WorkloadError, metadata};

/// Why the autoscaler is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoscalerMode {
    /// It is made when missing, and left alone otherwise.
    Create,
    /// It is made to follow the target's autoscaler, as part of a promotion.
    Update,
}

/// What the primary's autoscaler has from the target's.
const COPIED: [&str; 5] = ["scaleTargetRef", "minReplicas", "maxReplicas", "metrics", "behavior"];

/// A copy of the target's HorizontalPodAutoscaler that scales the primary; `None` when the Canary names none.
///
/// Errors when the target's autoscaler does not exist, or when the overrides leave no room between least and most.
pub fn autoscaler(
    plan: &Plan<'_>,
    current: &dyn Lookup,
    mode: AutoscalerMode,
) -> Result<Option<Desired>, WorkloadError> {
    let Some(wanted) = &plan.spec.autoscaler else { return Ok(None) };
    let kind = kinds::HORIZONTAL_POD_AUTOSCALER;
    let source = current.get(kind, &wanted.name).ok_or_else(|| WorkloadError::Missing {
        object: format!("{} {}", kind.kind, wanted.name),
        user: format!("autoscalerRef of Canary {}", plan.owner.name),
        mend: "create it, or remove autoscalerRef",
    })?;
    let mut spec = Map::new();
    for field in COPIED {
        if let Some(value) = source.get("spec").and_then(|spec| spec.get(field)).filter(|value| !value.is_null()) {
            spec.insert(field.into(), value.clone());
        }
    }
    let target_kind = plan.kind();
    let primary = plan.spec.primary_name();
    match spec.get_mut("scaleTargetRef").and_then(Value::as_object_mut) {
        Some(reference) => {
            reference.insert("name".into(), primary.into());
        }
        None => {
            let reference = json!({"apiVersion": target_kind.api_version(), "kind": target_kind.kind, "name": primary});
            spec.insert("scaleTargetRef".into(), reference);
        }
    }
    for (field, value) in [("minReplicas", wanted.primary_min), ("maxReplicas", wanted.primary_max)] {
        if let Some(value) = value {
            spec.insert(field.into(), value.into());
        }
    }
    let name = format!("{}-primary", wanted.name);
    let bound = |field: &str| spec.get(field).and_then(Value::as_i64);
    if let (Some(min), Some(max)) = (bound("minReplicas"), bound("maxReplicas"))
        && min > max
    {
        return Err(WorkloadError::ReplicaRange { object: format!("{} {name}", kind.kind), min, max });
    }
    let mut body = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "namespace": plan.owner.namespace,
            "ownerReferences": [plan.owner.reference()],
        },
        "spec": spec,
    });
    let labels = metadata::without_claims(metadata::of(&source, "/metadata/labels"));
    if !labels.is_empty() {
        body["metadata"]["labels"] = Value::Object(labels);
    }
    let pointers = match mode {
        AutoscalerMode::Create => Vec::new(),
        AutoscalerMode::Update => COPIED.iter().map(|field| pointer_to("/spec", field)).collect(),
    };
    Ok(Some(Desired::Replace { kind, body, pointers }))
}

#[cfg(test)]
mod tests {
    use rollout::spec::Autoscaler;

    use super::super::fixtures::{Case, apply};
    use super::*;

    fn rendered(case: &Case, mode: AutoscalerMode) -> Desired {
        autoscaler(&case.plan().unwrap(), &case.objects, mode).unwrap().unwrap()
    }

    fn spec_of(case: &Case) -> Value {
        apply(None, &rendered(case, AutoscalerMode::Create))["spec"].clone()
    }

    #[test]
    fn the_copy_scales_the_primary() {
        insta::assert_yaml_snapshot!(apply(None, &rendered(&Case::deployment(), AutoscalerMode::Create)));
    }

    #[test]
    fn overrides_apply_to_the_copy_alone() {
        for (min, max, expected) in [
            (None, None, (json!(2), json!(4))),
            (Some(3), None, (json!(3), json!(4))),
            (None, Some(9), (json!(2), json!(9))),
            (Some(5), Some(5), (json!(5), json!(5))),
        ] {
            let mut case = Case::deployment();
            case.spec.autoscaler = Some(Autoscaler { name: "podinfo".into(), primary_min: min, primary_max: max });
            let spec = spec_of(&case);
            assert_eq!((spec["minReplicas"].clone(), spec["maxReplicas"].clone()), expected);
        }
    }

    #[test]
    fn overrides_without_room_are_refused() {
        let mut case = Case::deployment();
        case.spec.autoscaler = Some(Autoscaler { name: "podinfo".into(), primary_min: Some(5), primary_max: None });
        let error = autoscaler(&case.plan().unwrap(), &case.objects, AutoscalerMode::Create).unwrap_err();
        assert_eq!(
            error,
            WorkloadError::ReplicaRange { object: "HorizontalPodAutoscaler podinfo-primary".into(), min: 5, max: 4 }
        );
    }

    #[test]
    fn an_update_brings_what_is_new_and_takes_what_is_gone() {
        let case = Case::deployment();
        let live =
            json!({"metadata": {"labels": {"mine": "1"}}, "spec": {"maxReplicas": 9, "behavior": {"scaleUp": {}}}});
        let create = rendered(&case, AutoscalerMode::Create);
        assert!(create.met_by(Some(&live)));
        let after = apply(Some(&live), &rendered(&case, AutoscalerMode::Update));
        assert_eq!(after["spec"], spec_of(&case));
        assert_eq!(after["metadata"]["labels"], json!({"mine": "1"}));
    }

    #[test]
    fn a_missing_autoscaler_is_named_with_the_mend() {
        let mut case = Case::deployment();
        case.remove(kinds::HORIZONTAL_POD_AUTOSCALER, "podinfo");
        let error = autoscaler(&case.plan().unwrap(), &case.objects, AutoscalerMode::Create).unwrap_err();
        assert_eq!(
            error.to_string(),
            "HorizontalPodAutoscaler podinfo not found, but autoscalerRef of Canary podinfo uses it: create it, or remove autoscalerRef"
        );
    }

    #[test]
    fn a_canary_without_autoscaler_has_none() {
        let mut case = Case::deployment();
        case.spec.autoscaler = None;
        assert_eq!(autoscaler(&case.plan().unwrap(), &case.objects, AutoscalerMode::Update), Ok(None));
    }
}
