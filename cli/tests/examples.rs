//! The examples are what they say: every Canary in them is understood without a warning, and the command line and the
//! core agree on its strategy.

mod gitops;

use std::path::Path;
use std::time::Duration;

use cli::view::StrategyView;
use controller::cache::CanaryKey;
use controller::opt_in::{self, Decision, Situation, Template, Workload};
use controller::routers::ROUTERS;
use crds::{AlertProvider, Canary, CanaryStatus, MetricTemplate};
use rollout::spec::{Defaults, RouterAbility, Spec, Strategy, TargetKind};
use serde_json::Value;

/// Objects of all examples of podinfo, each with the name of its file.
fn objects() -> Vec<(String, Value)> {
    objects_in("podinfo")
}

fn objects_in(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(folder);
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect(&name);
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect(&name);
            objects.extend(documents.into_iter().map(|object| (name.clone(), object)));
        }
    }
    objects.sort_by(|left, right| left.0.cmp(&right.0));
    objects
}

fn parse(name: &str, object: &Value) -> Spec {
    let canary: Canary = serde_json::from_value(object.clone()).expect(name);
    let routers: Vec<RouterAbility> = ROUTERS.iter().flat_map(|router| router.abilities()).copied().collect();
    let defaults = Defaults {
        provider: "kubernetes",
        routers: &routers,
        min_interval: Duration::from_secs(10),
        no_cross_namespace_refs: false,
    };
    rollout::parse::parse(&canary, &defaults).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"))
}

#[test]
fn canaries_are_understood_without_a_warning() {
    let canaries: Vec<_> = objects().into_iter().filter(|(_, object)| object["kind"] == "Canary").collect();
    assert_eq!(canaries.len(), 10);
    for (name, object) in &canaries {
        let spec = parse(name, object);
        assert!(spec.warnings.is_empty(), "{name}: {:?}", spec.warnings);
        assert!(!spec.metrics.is_empty(), "{name}: an example should judge by something");
    }
}

#[test]
fn command_line_and_core_agree_on_the_strategy() {
    for (name, object) in objects().iter().filter(|(_, object)| object["kind"] == "Canary") {
        let view = StrategyView::of(object, &CanaryStatus::default());
        let strategy = parse(name, object).strategy;
        assert_eq!(view.name, strategy.as_str(), "{name}");
        let (weights, iterations): (Vec<i64>, i64) = match strategy {
            Strategy::Canary { weights, .. } => (weights.into_iter().map(i64::from).collect(), 0),
            Strategy::AbTesting { iterations, .. } | Strategy::BlueGreen { iterations, .. } => {
                (Vec::new(), i64::from(iterations))
            }
        };
        assert_eq!((view.weights, view.iterations), (weights, iterations), "{name}");
    }
}

#[test]
fn templates_and_alert_providers_are_of_their_kinds() {
    for (name, object) in objects() {
        match object["kind"].as_str() {
            Some("MetricTemplate") => drop(serde_json::from_value::<MetricTemplate>(object).expect(&name)),
            Some("AlertProvider") => drop(serde_json::from_value::<AlertProvider>(object).expect(&name)),
            Some("Canary" | "DaemonSet" | "Deployment" | "HorizontalPodAutoscaler" | "Ingress") => {}
            other => panic!("{name}: {other:?} is not expected in an example"),
        }
    }
}

#[test]
fn templates_make_valid_canaries_of_the_workload_beside_them() {
    let objects = objects_in("opt-in");
    let deployment = objects.iter().find(|(_, object)| object["kind"] == "Deployment").expect("a workload");
    let mut deployment = deployment.1.clone();
    deployment["metadata"]["namespace"] = "test".into();
    let routers: Vec<RouterAbility> = ROUTERS.iter().flat_map(|router| router.abilities()).copied().collect();
    let defaults = Defaults {
        provider: "kubernetes",
        routers: &routers,
        min_interval: Duration::from_secs(10),
        no_cross_namespace_refs: false,
    };
    let mut made = 0;
    for (file, object) in objects.iter().filter(|(_, object)| object["kind"] == "ClusterCanaryTemplate") {
        let name = object["metadata"]["name"].as_str().expect(file);
        deployment["metadata"]["annotations"] = serde_json::json!({ "serin.dev/canary": name });
        let workload = Workload::of(TargetKind::Deployment, &deployment);
        let template = Template { kind: "ClusterCanaryTemplate", object: object.clone() };
        let decision = opt_in::decide(Situation {
            key: &CanaryKey::new("test", &workload.name),
            workload: &workload,
            template: Some(&template),
            known: &[],
            canary: None,
            rivals: &[],
            defaults: &defaults,
        });
        let Decision::Apply(canary) = decision else { panic!("{file}: {decision:?}") };
        assert!(parse(file, &canary).warnings.is_empty(), "{file}");
        made += 1;
    }
    assert_eq!(made, 2);
}

#[test]
fn policies_are_whole_and_name_each_other() {
    let objects = objects_in("policy");
    let of_kind = |kind: &'static str| {
        let of_kind = objects.iter().filter(move |(_, object)| object["kind"] == kind);
        of_kind.map(|(_, object)| object).collect::<Vec<_>>()
    };
    assert_eq!((of_kind("ConstraintTemplate").len(), of_kind("ValidatingAdmissionPolicy").len()), (2, 2));
    for template in of_kind("ConstraintTemplate") {
        let kind = template["spec"]["crd"]["spec"]["names"]["kind"].as_str().expect("a kind");
        // As Gatekeeper demands it.
        assert_eq!(template["metadata"]["name"], kind.to_lowercase());
        let rego = template["spec"]["targets"][0]["rego"].as_str().expect("rego");
        assert!(rego.starts_with(&format!("package {}", kind.to_lowercase())) && rego.contains("violation["), "{rego}");
        let constraints = objects.iter().filter(|(_, object)| object["kind"] == kind);
        assert_eq!(constraints.count(), 1, "a constraint of {kind}");
    }
    let policies = of_kind("ValidatingAdmissionPolicy");
    for binding in of_kind("ValidatingAdmissionPolicyBinding") {
        let named = policies.iter().any(|policy| policy["metadata"]["name"] == binding["spec"]["policyName"]);
        assert!(named, "{binding}");
    }
    for policy in of_kind("ValidatingAdmissionPolicy") {
        for validation in policy["spec"]["validations"].as_array().expect("validations") {
            let told = validation.get("message").or_else(|| validation.get("messageExpression"));
            // The field by name, so that the Canary can tell it.
            assert!(told.and_then(Value::as_str).is_some_and(|told| told.contains("spec.")), "{validation}");
        }
    }
}
