//! Scaling the target to zero and back.

use rollout::revision::SCALE_TO_ZERO;
use rollout::spec::TargetKind;
use serde_json::{Value, json};

use crate::objects::{At, Desired, pointer_to};

use super::{Plan, metadata, object_kind};

/// Where to scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleTo {
    /// No pods.
    Zero,
    /// Up again.
    FromZero {
        /// Replicas; a DaemonSet has as many pods as nodes.
        replicas: i64,
    },
}

/// The change of the target that scales it: `spec.replicas` of a Deployment, a nodeSelector of a DaemonSet.
pub fn scale(kind: TargetKind, target: &Value, name: &str, to: ScaleTo) -> Desired {
    const NODE_SELECTOR: &str = "/spec/template/spec/nodeSelector";
    let pointer_value = match (kind, to) {
        (TargetKind::Deployment, ScaleTo::Zero) => ("/spec/replicas".to_owned(), Some(json!(0))),
        (TargetKind::Deployment, ScaleTo::FromZero { replicas }) => {
            ("/spec/replicas".to_owned(), Some(json!(replicas.max(1))))
        }
        (TargetKind::DaemonSet, ScaleTo::Zero) => (pointer_to(NODE_SELECTOR, SCALE_TO_ZERO), Some(json!("true"))),
        (TargetKind::DaemonSet, ScaleTo::FromZero { .. }) => match metadata::of(target, NODE_SELECTOR) {
            // The last key goes with its map, so that the template is as the user wrote it.
            Some(keys) if keys.len() == 1 && keys.contains_key(SCALE_TO_ZERO) => (NODE_SELECTOR.to_owned(), None),
            Some(_) | None => (pointer_to(NODE_SELECTOR, SCALE_TO_ZERO), None),
        },
    };
    Desired::Patch { kind: object_kind(kind), name: name.to_owned(), pointer_values: vec![pointer_value] }
}

/// True when the workload is scaled to zero.
pub fn scaled_down(kind: TargetKind, object: &Value) -> bool {
    match kind {
        TargetKind::Deployment => object.at("/spec/replicas").and_then(Value::as_i64) == Some(0),
        TargetKind::DaemonSet => metadata::of(object, "/spec/template/spec/nodeSelector")
            .is_some_and(|keys| keys.contains_key(SCALE_TO_ZERO)),
    }
}

/// How many replicas the target gets when it is scaled up: its own when it has some; with an autoscaler the least that
/// the autoscaler allows; otherwise as many as the primary. At least 1.
pub fn replicas_from_zero(plan: &Plan<'_>, primary: Option<&Value>, autoscaler: Option<&Value>) -> i64 {
    let replicas = |object: &Value| object.at("/spec/replicas").and_then(Value::as_i64);
    let own = replicas(plan.target).filter(|own| *own > 0);
    let wanted = match (own, &plan.spec.autoscaler) {
        (Some(own), _) => Some(own),
        (None, Some(_)) => autoscaler.and_then(|autoscaler| autoscaler.at("/spec/minReplicas")?.as_i64()),
        (None, None) => primary.and_then(replicas),
    };
    wanted.unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Case, apply};
    use super::*;

    #[test]
    fn a_deployment_is_scaled_by_its_replicas() {
        let target = json!({"spec": {"replicas": 2, "paused": true}});
        let down = scale(TargetKind::Deployment, &target, "web", ScaleTo::Zero);
        let after = apply(Some(&target), &down);
        assert_eq!(after, json!({"spec": {"replicas": 0, "paused": true}}));
        assert!(scaled_down(TargetKind::Deployment, &after) && !scaled_down(TargetKind::Deployment, &target));
        let up = scale(TargetKind::Deployment, &after, "web", ScaleTo::FromZero { replicas: 2 });
        assert_eq!(apply(Some(&after), &up), target);
        let least = scale(TargetKind::Deployment, &after, "web", ScaleTo::FromZero { replicas: 0 });
        assert_eq!(apply(Some(&after), &least)["spec"]["replicas"], json!(1));
    }

    #[test]
    fn a_daemon_set_is_scaled_by_a_node_selector_and_given_back_as_it_was() {
        for template in [json!({"spec": {"containers": []}}), json!({"spec": {"nodeSelector": {"disk": "ssd"}}})] {
            let target = json!({"spec": {"template": template}});
            let down = scale(TargetKind::DaemonSet, &target, "web", ScaleTo::Zero);
            let after = apply(Some(&target), &down);
            assert!(scaled_down(TargetKind::DaemonSet, &after), "{after}");
            let up = scale(TargetKind::DaemonSet, &after, "web", ScaleTo::FromZero { replicas: 3 });
            assert_eq!(apply(Some(&after), &up), target);
            assert!(up.met_by(Some(&target)));
        }
    }

    #[test]
    fn a_target_comes_back_with_the_replicas_that_it_should_have() {
        let deployment = |replicas: i64| json!({"spec": {"replicas": replicas}});
        let autoscaler = |least: i64| json!({"spec": {"minReplicas": least}});
        for (name, own, primary, with_autoscaler, scaler, expected) in [
            ("its own", 4, Some(deployment(2)), true, Some(autoscaler(3)), 4),
            ("the primary's", 0, Some(deployment(2)), false, None, 2),
            ("the primary has none", 0, Some(deployment(0)), false, None, 1),
            ("no primary", 0, None, false, None, 1),
            ("the autoscaler's least", 0, Some(deployment(7)), true, Some(autoscaler(3)), 3),
            ("the autoscaler allows none", 0, Some(deployment(7)), true, Some(autoscaler(0)), 1),
            ("the autoscaler says nothing", 0, Some(deployment(7)), true, Some(json!({"spec": {}})), 1),
            ("the autoscaler is missing", 0, Some(deployment(7)), true, None, 1),
        ] {
            let mut case = Case::deployment();
            case.target["spec"]["replicas"] = json!(own);
            if !with_autoscaler {
                case.spec.autoscaler = None;
            }
            let plan = case.plan().unwrap();
            assert_eq!(replicas_from_zero(&plan, primary.as_ref(), scaler.as_ref()), expected, "{name}");
        }
    }
}
