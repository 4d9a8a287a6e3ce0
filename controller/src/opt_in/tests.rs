//! What is decided about annotated workloads, in tables.

use rollout::spec::{Defaults, RouterAbility, TargetKind};
use serde_json::{Value, json};

use super::*;

static ROUTERS: [RouterAbility; 1] = [RouterAbility {
    name: "kubernetes",
    weights: false,
    matches: false,
    mirror: false,
    affinity: false,
    baseline: false,
}];

fn deployment(annotations: Value) -> Workload {
    Workload::of(
        TargetKind::Deployment,
        &json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "d1", "annotations": annotations,
                "labels": { "team": "sales", "app.kubernetes.io/instance": "argo" },
            },
            "spec": { "template": { "spec": { "containers": [
                { "name": "istio-proxy", "ports": [{ "containerPort": 15090 }] },
                { "name": "web", "ports": [{ "name": "http", "containerPort": 8080 }] },
            ] } } },
        }),
    )
}

fn opted() -> Workload {
    deployment(json!({ ANNOTATION: "web" }))
}

fn template(variables: Value, spec: Value) -> Template {
    let mut whole = json!({
        "provider": "kubernetes",
        "service": { "port": 80, "targetPort": "{{ port }}" },
        "analysis": { "interval": "10s", "threshold": 2, "iterations": 3 },
    });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    Template { kind: "CanaryTemplate", object: json!({ "spec": { "variables": variables, "template": whole } }) }
}

fn plain() -> Template {
    template(json!([]), json!({}))
}

fn made_by(workload: &Workload) -> Value {
    let Decision::Apply(mut body) = decided(workload, Some(&plain()), None, &[]) else { panic!("not applied") };
    body["metadata"]["uid"] = "c1".into();
    body
}

fn decided(workload: &Workload, template: Option<&Template>, canary: Option<&Value>, rivals: &[String]) -> Decision {
    let second = std::time::Duration::from_secs(1);
    let defaults = Defaults {
        provider: "kubernetes",
        routers: &ROUTERS,
        min_interval: 10 * second,
        no_cross_namespace_refs: false,
    };
    let key = CanaryKey::new("shop", "web");
    let known = ["CanaryTemplate api".to_owned(), "ClusterCanaryTemplate web-default".to_owned()];
    decide(Situation { key: &key, workload, template, known: &known, canary, rivals, defaults: &defaults })
}

fn refusal(decision: Decision) -> Refusal {
    match decision {
        Decision::Refuse(refusal) | Decision::Stay(refusal) => refusal,
        Decision::Nothing | Decision::Apply(_) | Decision::GiveBack { .. } => panic!("{decision:?} is no refusal"),
    }
}

#[test]
fn an_annotated_workload_gets_a_canary_that_it_owns() {
    let Decision::Apply(mut body) = decided(&opted(), Some(&plain()), None, &[]) else { panic!("not applied") };
    let digest = body["metadata"]["annotations"].as_object_mut().unwrap().remove(DIGEST).unwrap();
    assert_eq!(digest.as_str().unwrap().len(), 16);
    let expected = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {
            "name": "web", "namespace": "shop", "annotations": { TEMPLATE: "CanaryTemplate/web" },
            "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d1", "controller": true },
            ],
        },
        "spec": {
            "provider": "kubernetes",
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "service": { "port": 80, "targetPort": 8080 },
            "analysis": { "interval": "10s", "threshold": 2, "iterations": 3 },
            "revertOnDeletion": true,
        },
    });
    assert_eq!(body, expected);
}

#[test]
fn variables_come_from_the_workload_and_its_annotations() {
    let declared =
        json!([{ "name": "host", "default": "{{ name }}.{{ namespace }}.example.com" }, { "name": "checks" }]);
    let spec = json!({
        "service": { "port": "{{ port }}", "hosts": ["{{ host }}"], "portName": "{{ labels.team }}" },
        "analysis": {
            "interval": "10s", "threshold": 2, "iterations": "{{ checks }}",
            "metrics": [{ "name": "mine", "query": "sum({{ target }})", "thresholdRange": { "min": 1 } }],
            "webhooks": [{ "name": "load", "url": "http://{{name}}-canary.{{ namespace }}/", "metadata": { "cmd": "hey {{ host }}" } }],
        },
    });
    let template = template(declared, spec);
    for (annotations, port, host, checks) in [
        (json!({ ANNOTATION: "web", "serin.dev/canary-checks": "5" }), 8080, "web.shop.example.com", 5),
        (
            json!({ ANNOTATION: "web", "serin.dev/canary-checks": "7", "serin.dev/canary-port": "81", "serin.dev/canary-host": "x.org" }),
            81,
            "x.org",
            7,
        ),
    ] {
        let Decision::Apply(body) = decided(&deployment(annotations), Some(&template), None, &[]) else {
            panic!("not applied")
        };
        let spec = &body["spec"];
        assert_eq!(spec["service"], json!({ "port": port, "hosts": [host], "portName": "sales" }));
        assert_eq!(spec["analysis"]["iterations"], json!(checks));
        assert_eq!(spec["analysis"]["metrics"][0]["query"], "sum({{ target }})");
        assert_eq!(spec["analysis"]["webhooks"][0]["url"], "http://web-canary.shop/");
        assert_eq!(spec["analysis"]["webhooks"][0]["metadata"]["cmd"], format!("hey {host}"));
    }
}

#[test]
fn what_is_wrong_is_named_with_what_is_known() {
    let asks = |text: &str| template(json!([{ "name": "host" }]), json!({ "metricsServer": text }));
    let metadata = |labels: Value| {
        let mut template = plain();
        template.object["spec"]["metadata"] = json!({ "labels": labels });
        template
    };
    for (template, annotations, words) in [
        (
            asks("{{ hots }}"),
            json!({}),
            vec!["spec.template.metricsServer", "{{ hots }} is not known", "annotations.KEY, host"],
        ),
        (asks("{{ host }}"), json!({}), vec!["host has no default", "serin.dev/canary-host"]),
        (asks("{{ labels.tier }}"), json!({}), vec!["no label tier", "team"]),
        (asks("{{ name"), json!({}), vec!["{{ has no }}"]),
        (asks("x"), json!({ "serin.dev/canary-hots": "y" }), vec!["serin.dev/canary-hots", "host, port"]),
        (template(json!([{ "name": "name" }]), json!({})), json!({}), vec!["name is always the workload's"]),
        (template(json!([]), json!({ "targetRef": {} })), json!({}), vec!["spec.template.targetRef"]),
        (
            template(json!([]), json!({ "revertOnDeletion": false })),
            json!({}),
            vec!["revertOnDeletion: is always true"],
        ),
        (
            template(json!([]), json!({ "analysys": {} })),
            json!({}),
            vec!["spec.template.analysys", "known here are", "analysis"],
        ),
        (template(json!([]), json!({ "provider": "istoi" })), json!({}), vec!["istoi", "kubernetes"]),
        (template(json!([]), json!({ "analysis": { "interval": 5 } })), json!({}), vec!["analysis.interval"]),
        (
            metadata(json!({ "argocd.argoproj.io/instance": "x" })),
            json!({}),
            vec!["argocd.argoproj.io/instance", "leave it out"],
        ),
        (metadata(json!({ "app.kubernetes.io/instance": "x" })), json!({}), vec!["app.kubernetes.io/instance"]),
        (
            Template { kind: "CanaryTemplate", object: json!({ "spec": { "template": 3 } }) },
            json!({}),
            vec!["spec.template"],
        ),
    ] {
        let mut annotations = annotations;
        annotations[ANNOTATION] = "web".into();
        let refused = decided(&deployment(annotations), Some(&template), None, &[]);
        assert!(matches!(refused, Decision::Refuse(_)), "{refused:?}");
        let Refusal { reason, message } = refusal(refused);
        assert_eq!(reason, "TemplateInvalid");
        for word in words {
            assert!(message.contains(word), "{message} lacks {word}");
        }
    }
}

#[test]
fn a_template_that_is_not_there_is_told_with_those_that_are() {
    let refused = decided(&opted(), None, None, &[]);
    assert!(matches!(refused, Decision::Refuse(_)));
    let Refusal { reason, message } = refusal(refused);
    assert_eq!(reason, "TemplateMissing");
    assert!(message.ends_with("known are CanaryTemplate api, ClusterCanaryTemplate web-default"), "{message}");
}

#[test]
fn what_stands_outlives_its_template() {
    let made = made_by(&opted());
    for template in [None, Some(template(json!([]), json!({ "provider": "istoi" })))] {
        let stays = decided(&opted(), template.as_ref(), Some(&made), &[]);
        assert!(matches!(stays, Decision::Stay(_)), "{stays:?}");
    }
}

#[test]
fn a_change_of_the_template_changes_the_canary() {
    let mut made = made_by(&opted());
    // What a user set beside the template does not count.
    made["spec"]["skipAnalysis"] = true.into();
    made["metadata"]["labels"] = json!({ "mine": "1" });
    let Decision::Apply(same) = decided(&opted(), Some(&plain()), Some(&made), &[]) else { panic!("not applied") };
    assert!(crate::objects::covers(Some(&made), &same));
    let changed = template(json!([]), json!({ "analysis": { "interval": "20s", "threshold": 2, "iterations": 3 } }));
    let Decision::Apply(other) = decided(&opted(), Some(&changed), Some(&made), &[]) else { panic!("not applied") };
    assert!(!crate::objects::covers(Some(&made), &other));
    // A field that left the template is seen by the digest alone.
    let fewer = Template {
        kind: "CanaryTemplate",
        object: json!({ "spec": { "template": {
            "service": { "port": 80, "targetPort": "{{ port }}" },
            "analysis": { "interval": "10s", "threshold": 2, "iterations": 3 },
        } } }),
    };
    let Decision::Apply(fewer) = decided(&opted(), Some(&fewer), Some(&made), &[]) else { panic!("not applied") };
    assert!(!crate::objects::covers(Some(&made), &fewer));
}

#[test]
fn a_canary_that_people_wrote_wins() {
    let own = json!({
        "metadata": { "name": "web", "uid": "c2" },
        "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } },
    });
    let mut copied = made_by(&opted());
    copied["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    let other = json!({ "spec": { "targetRef": { "kind": "Deployment", "name": "api" } } });
    let mut former = made_by(&opted());
    former["metadata"]["ownerReferences"][0]["uid"] = "d0".into();
    for (canary, rivals, words) in [
        (Some(&own), vec![], "what people write wins"),
        (Some(&copied), vec![], "what people write wins"),
        (Some(&other), vec![], "taken by a Canary for Deployment api"),
        (Some(&former), vec![], "goes by itself"),
        (None, vec!["mine".to_owned()], "Canary mine has this Deployment"),
    ] {
        let refused = decided(&opted(), Some(&plain()), canary, &rivals);
        assert!(matches!(refused, Decision::Refuse(_)), "{refused:?}");
        let Refusal { reason, message } = refusal(refused);
        assert_eq!(reason, "CanaryExists");
        assert!(message.contains(words), "{message}");
    }
    // Also when it comes later: then the one that was made goes.
    let made = made_by(&opted());
    let goes = decided(&opted(), Some(&plain()), Some(&made), &["mine".to_owned()]);
    assert!(matches!(goes, Decision::GiveBack { why: Some(_), .. }), "{goes:?}");
}

#[test]
fn without_the_annotation_the_workload_is_given_back_once_that_can_be_done() {
    let bare = deployment(json!({}));
    let gone = |change: &dyn Fn(&mut Value)| {
        let mut made = made_by(&opted());
        change(&mut made);
        decided(&bare, Some(&plain()), Some(&made), &[])
    };
    let give_back = Decision::GiveBack { uid: "c1".into(), why: None };
    assert_eq!(gone(&|_| {}), give_back);
    assert_eq!(gone(&|made| made["status"] = json!({ "phase": "Initializing" })), give_back);
    // The finalizer comes first.
    assert_eq!(gone(&|made| made["status"] = json!({ "phase": "Initialized" })), Decision::Nothing);
    let guarded = |made: &mut Value| {
        made["status"] = json!({ "phase": "Initialized" });
        made["metadata"]["finalizers"] = json!([FINALIZER]);
    };
    assert_eq!(gone(&guarded), give_back);
    let deleted = |made: &mut Value| {
        guarded(made);
        made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    };
    assert_eq!(gone(&deleted), Decision::Nothing);
    // What is not the workload's is not touched.
    assert_eq!(gone(&|made| made["metadata"]["ownerReferences"] = json!([])), Decision::Nothing);
    assert_eq!(decided(&bare, Some(&plain()), None, &[]), Decision::Nothing);
}

#[test]
fn a_primary_and_a_workload_that_goes_ask_for_nothing() {
    for change in [
        json!({ "ownerReferences": [{ "kind": "Canary", "controller": true, "uid": "c1" }] }),
        json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }),
    ] {
        let mut object = json!({ "metadata": { "name": "web", "uid": "d1", "annotations": { ANNOTATION: "web" } } });
        for (field, value) in change.as_object().unwrap() {
            object["metadata"][field] = value.clone();
        }
        let workload = Workload::of(TargetKind::Deployment, &object);
        assert_eq!(decided(&workload, Some(&plain()), None, &[]), Decision::Nothing);
    }
}

#[test]
fn odd_workloads_are_read_all_the_same() {
    for object in
        [json!(null), json!([]), json!({ "metadata": { "annotations": 3, "ownerReferences": {} }, "spec": 7 })]
    {
        assert_eq!(Workload::of(TargetKind::DaemonSet, &object).template, None);
    }
}

#[test]
fn the_heir_is_the_workload_of_a_canary_that_was_made() {
    let made = made_by(&opted());
    let expected = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d1" });
    assert_eq!(heir(&made), Some(expected));
    let mut own = made;
    own["metadata"]["annotations"] = json!({});
    assert_eq!(heir(&own), None);
}
