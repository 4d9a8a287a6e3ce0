//! The copy of the primary that the canary is compared with: as large and as old as the canary.

use crds::BaselineStatus;
use rollout::spec::TargetKind;
use rollout::{BaselineSeen, Readiness};
use serde_json::{Value, json};

use crate::objects::{Desired, Kind, pointer_to};

use super::{Plan, metadata, rename, requests};

/// Annotation of the baseline's pods that tells which revision they stand beside: another revision of the canary has
/// younger pods, and so must the baseline have.
const BESIDE_ANNOTATION: &str = "serin.dev/beside";

/// The baseline that should stand: the template of the primary as it is, beside the revision `beside`, with so many
/// replicas.
pub fn desired_baseline(
    plan: &Plan<'_>,
    primary: &Value,
    live: Option<&Value>,
    beside: &str,
    replicas: i64,
) -> Desired {
    let kind = plan.kind();
    let (key, pods) = (plan.selector.key.as_str(), plan.selector.baseline_value());
    let mut spec = primary["spec"].clone();
    spec["selector"] = json!({ "matchLabels": {key: pods} });
    spec["template"]["metadata"]["labels"][key] = pods.clone().into();
    spec["template"]["metadata"]["annotations"][BESIDE_ANNOTATION] = beside.into();
    let mut pointers = Vec::new();
    match plan.spec.target.kind {
        TargetKind::Deployment => {
            spec["replicas"] = replicas.max(1).into();
            pointers.push("/spec/replicas".to_owned());
            if let Some(pod_spec) = spec.pointer_mut("/template/spec") {
                rename::spread_among(pod_spec, &|label, value| of_baseline(plan, label, value));
            }
        }
        TargetKind::DaemonSet => {}
    }
    // Beside the same revision it is left alone: what others add to the template must not restart its pods.
    if live.and_then(stands_beside) != Some(beside) {
        pointers.push("/spec/template".to_owned());
    }
    let mut labels = metadata::without_flux(metadata::of(primary, "/metadata/labels"));
    labels.insert(key.to_owned(), pods.into());
    let body = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {
            "name": plan.spec.baseline_name(),
            "namespace": plan.owner.namespace,
            "labels": labels,
            "ownerReferences": [plan.owner.reference()],
        },
        "spec": spec,
    });
    Desired::Replace { kind, body, pointers }
}

/// What a label selector that means the primary should mean in the baseline.
fn of_baseline(plan: &Plan<'_>, key: &str, value: &str) -> Option<String> {
    let of_target = value.strip_suffix("-primary")?;
    let named = plan.settings.selector_labels.iter().any(|label| label == key) && of_target == plan.spec.target.name;
    let selected = key == plan.selector.key && of_target == plan.selector.value;
    (named || selected).then(|| plan.selector.baseline_value())
}

/// What was seen of the baseline; `readiness` is that of its pods, whatever they stand beside.
pub fn baseline_seen(workload: &Value, beside: Option<&str>, readiness: Readiness) -> BaselineSeen {
    let earlier = stands_beside(workload) != beside;
    let serves = workload.pointer("/status/availableReplicas").and_then(Value::as_i64).is_some_and(|pods| pods > 0);
    let readiness = match readiness {
        Readiness::Ready if earlier => Readiness::NotYet("its pods are older than the canary's".into()),
        Readiness::Ready | Readiness::NotYet(_) | Readiness::ScaledToZero | Readiness::Stuck(_) => readiness,
    };
    BaselineSeen { readiness, serves, cost: cost(workload) }
}

/// How many pods it has, and what they request together.
fn cost(workload: &Value) -> BaselineStatus {
    let pods = workload.pointer("/spec/replicas").map_or(1, |replicas| replicas.as_u64().unwrap_or_default());
    let requested = workload.pointer("/spec/template/spec").map(requests::of_pod).unwrap_or_default();
    BaselineStatus {
        pods: u32::try_from(pods).unwrap_or(u32::MAX),
        cpu: requests::cpu(requested.cpu.saturating_mul(pods)),
        memory: requests::memory(requested.memory.saturating_mul(pods)),
    }
}

fn stands_beside(workload: &Value) -> Option<&str> {
    workload.pointer(&pointer_to("/spec/template/metadata/annotations", BESIDE_ANNOTATION))?.as_str()
}

/// What takes the baseline away: its workload and its Service, of which only those go that the Canary owns.
pub fn remove_baseline(spec: &rollout::Spec) -> [Desired; 2] {
    let workload: Kind = super::object_kind(spec.target.kind);
    let service = crate::objects::kinds::SERVICE;
    [
        Desired::Delete { kind: workload, name: spec.baseline_name() },
        Desired::Delete { kind: service, name: spec.baseline_service_name() },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Case, apply};
    use super::*;

    fn baseline(case: &Case, live: Option<&Value>, beside: &str, replicas: i64) -> Desired {
        desired_baseline(&case.plan().unwrap(), case.primary(), live, beside, replicas)
    }

    #[test]
    fn it_is_the_primary_under_another_label() {
        let case = Case::deployment();
        let made = apply(None, &baseline(&case, None, "s1-1.2", 3));
        let primary = case.primary();
        assert_eq!(made.pointer("/metadata/name"), Some(&json!("podinfo-baseline")));
        assert_eq!(made.pointer("/metadata/ownerReferences/0/uid"), Some(&json!(case.owner.uid)));
        assert_eq!(made.pointer("/spec/replicas"), Some(&json!(3)));
        assert_eq!(made.pointer("/spec/selector/matchLabels"), Some(&json!({"app": "podinfo-baseline"})));
        assert_eq!(made.pointer("/spec/template/metadata/labels/app"), Some(&json!("podinfo-baseline")));
        assert_eq!(
            made.pointer("/spec/template/spec/containers"),
            primary.pointer("/spec/template/spec/containers"),
            "its configs are those of the primary"
        );
        assert!(!made["spec"]["template"].to_string().contains(r#""app":"podinfo-primary""#));
        for (name, selector) in [("podinfo-primary", "podinfo-primary"), ("podinfo-canary", "podinfo")] {
            assert_ne!(made.pointer("/spec/template/metadata/labels/app"), Some(&json!(selector)), "{name}");
        }
    }

    #[test]
    fn it_spreads_among_its_own_pods() {
        let mut case = Case::deployment();
        let selector = |name: &str| json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": name}}}]);
        let mut primary = case.primary().clone();
        primary["spec"]["template"]["spec"]["topologySpreadConstraints"] = selector("podinfo-primary");
        case.put(crate::objects::kinds::DEPLOYMENT, "podinfo-primary", primary);
        let made = apply(None, &baseline(&case, None, "r", 1));
        let spread = made.pointer("/spec/template/spec/topologySpreadConstraints");
        assert_eq!(spread, Some(&selector("podinfo-baseline")));
    }

    #[test]
    fn it_follows_the_canary_in_size_and_is_made_anew_beside_another_revision() {
        let case = Case::deployment();
        let mut live = apply(None, &baseline(&case, None, "r1", 2));
        // As an admission webhook would.
        live["spec"]["template"]["spec"]["injected"] = json!(true);
        assert!(baseline(&case, Some(&live), "r1", 2).met_by(Some(&live)));
        let larger = apply(Some(&live), &baseline(&case, Some(&live), "r1", 5));
        assert_eq!((&larger["spec"]["replicas"], &larger["spec"]["template"]), (&json!(5), &live["spec"]["template"]));
        let younger = apply(Some(&live), &baseline(&case, Some(&live), "r2", 2));
        assert_ne!(younger["spec"]["template"], live["spec"]["template"]);
        let seen = |live: &Value, beside| baseline_seen(live, Some(beside), Readiness::Ready).readiness;
        assert_eq!(seen(&younger, "r2"), Readiness::Ready);
        assert_eq!(seen(&live, "r2"), Readiness::NotYet("its pods are older than the canary's".into()));
    }

    #[test]
    fn its_cost_is_what_its_pods_request() {
        let workload = json!({"spec": {"replicas": 2, "template": {"spec": {
            "initContainers": [{"resources": {"requests": {"cpu": "4"}}}],
            "containers": [
                {"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}},
                {"resources": {"limits": {"cpu": "0.25", "memory": "512Ki"}}},
                {},
            ],
        }}}});
        assert_eq!(cost(&workload).to_string(), "2 pods, 700m CPU, 129Mi of memory");
        assert_eq!(cost(&json!({"spec": {}})).to_string(), "1 pod, 0 CPU, 0 of memory");
    }
}
