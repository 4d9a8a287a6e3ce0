//! The split that objects express, and when it is not in force yet.

use controller::routers::{Intent, Observed, ROUTERS, by_name};
use serde_json::{Value, json};

use crate::support::Case;

fn gateway(provider: &str) -> Case {
    let spec = json!({
        "provider": provider, "analysis": {"stepWeight": 10},
        "service": {"port": 80, "gatewayRefs": [{"name": "public", "namespace": "edge", "sectionName": "https"}]},
    });
    let mut case = Case::new(&spec, Intent { canary_weight: 25, ..Intent::default() });
    let desired = case.render();
    case.converge(desired);
    case
}

/// Changes the only object there is.
fn change(case: &mut Case, change: impl FnOnce(&mut Value)) {
    let mut object = (**case.current.values().next().expect("an object")).clone();
    change(&mut object);
    case.see(&[object]);
}

fn observe(case: &Case) -> Observed {
    case.router().observe(&case.route(), &case.current).expect("an observation")
}

fn split(canary_weight: u8) -> Observed {
    Observed::Split { canary_weight, baseline_weight: 0, mirrored: false }
}

#[test]
fn no_object_is_no_route() {
    for provider in ["gatewayapi:v1", "gatewayapi:v1beta1", "traefik"] {
        let mut case = gateway("gatewayapi:v1");
        case.spec.provider = provider.into();
        case.current.clear();
        assert_eq!(observe(&case), Observed::Missing, "{provider}");
    }
    let mut case = gateway("gatewayapi:v1");
    case.spec.provider = "nginx".into();
    case.spec.ingress = Some("web".into());
    assert_eq!(observe(&case), Observed::Missing);
}

#[test]
fn a_gateway_must_accept_this_very_route() {
    let conditions =
        |conditions: Value| move |route: &mut Value| route["status"]["parents"][0]["conditions"] = conditions;
    let accepted = json!({"type": "Accepted", "status": "True", "observedGeneration": 1});
    let refused = json!({"type": "Accepted", "status": "False", "observedGeneration": 1, "reason": "NotAllowedByListeners", "message": "no"});
    let unresolved = json!({"type": "ResolvedRefs", "status": "False", "observedGeneration": 1, "reason": "BackendNotFound", "message": "podinfo-canary"});
    let pending = |text: &str| Observed::Pending(text.into());
    let parent = |key: &'static str, value: Value| {
        move |route: &mut Value| route["status"]["parents"][0]["parentRef"][key] = value
    };
    let unheard = || pending("no gateway controller has accepted the route yet");

    type Change = Box<dyn FnOnce(&mut Value)>;
    let cases: Vec<(Change, Observed)> = vec![
        (Box::new(|_: &mut Value| {}), split(25)),
        (Box::new(|route: &mut Value| route["status"] = json!({})), unheard()),
        (Box::new(conditions(json!([]))), pending("Gateway public has not said whether it accepts the route yet")),
        (
            Box::new(conditions(json!([refused]))),
            pending("Gateway public does not accept the route: NotAllowedByListeners: no"),
        ),
        (
            Box::new(|route: &mut Value| route["metadata"]["generation"] = 2.into()),
            pending("Gateway public has not seen the last change of the route yet"),
        ),
        (
            Box::new(conditions(json!([accepted, unresolved]))),
            pending("Gateway public cannot resolve the route's backends: BackendNotFound: podinfo-canary"),
        ),
        (Box::new(conditions(json!([accepted]))), split(25)),
        // What is said about other parents is not about us.
        (Box::new(parent("name", json!("private"))), unheard()),
        (Box::new(parent("namespace", json!("elsewhere"))), unheard()),
        (Box::new(parent("sectionName", json!("http"))), unheard()),
        // What the API server would fill in may be left out.
        (Box::new(parent("kind", Value::Null)), split(25)),
        (Box::new(parent("group", Value::Null)), split(25)),
        (
            Box::new(|route: &mut Value| {
                let foreign = json!({"parentRef": {"name": "private", "namespace": "edge"}, "conditions": []});
                route["status"]["parents"].as_array_mut().expect("parents").push(foreign);
            }),
            split(25),
        ),
    ];
    for (number, (alter, observed)) in cases.into_iter().enumerate() {
        let mut case = gateway("gatewayapi:v1");
        change(&mut case, alter);
        assert_eq!(observe(&case), observed, "case {number}");
    }
}

#[test]
fn v1beta1_counts_what_is_said_but_waits_for_nothing() {
    let mut case = gateway("gatewayapi:v1beta1");
    assert_eq!(observe(&case), split(25));
    change(&mut case, |route| route["metadata"]["generation"] = 2.into());
    assert!(matches!(observe(&case), Observed::Pending(_)));
    change(&mut case, |route| route["status"] = json!({}));
    assert_eq!(observe(&case), split(25));
}

#[test]
fn foreign_weights_are_read_as_percent() {
    for (primary, canary, percent) in [
        (json!(30), json!(70), 70),
        (json!(2), json!(1), 33),
        (json!(1000), json!(1), 1),
        (json!(1), json!(1000), 99),
        (Value::Null, Value::Null, 50),
        (json!(0), json!(0), 0),
        (json!(0), json!(5), 100),
    ] {
        let mut case = gateway("gatewayapi:v1");
        change(&mut case, |route| {
            route["spec"]["rules"][0]["backendRefs"][0]["weight"] = primary.clone();
            route["spec"]["rules"][0]["backendRefs"][1]["weight"] = canary.clone();
        });
        assert_eq!(observe(&case), split(percent), "{primary} to {canary}");
    }
}

#[test]
fn a_route_that_is_not_ours_yet_is_pending() {
    let mut case = gateway("gatewayapi:v1");
    change(&mut case, |route| route["spec"]["rules"] = json!([{"backendRefs": [{"name": "podinfo", "port": 80}]}]));
    assert_eq!(
        observe(&case),
        Observed::Pending("HTTPRoute podinfo sends nothing to podinfo-primary or podinfo-canary yet".into())
    );
    change(&mut case, |route| route["spec"]["rules"][0]["backendRefs"][0]["name"] = "podinfo-primary".into());
    assert_eq!(observe(&case), split(0));
}

#[test]
fn a_mirror_of_the_user_is_not_the_rollouts() {
    let spec = json!({
        "provider": "gatewayapi:v1", "analysis": {"iterations": 2, "mirror": true},
        "service": {"port": 80, "gatewayRefs": [{"name": "public"}],
            "mirror": [{"backendRef": {"name": "podinfo-canary", "port": 80}}]},
    });
    for mirrored in [false, true] {
        let mut case = Case::new(&spec, Intent { mirrored, ..Intent::default() });
        let desired = case.render();
        case.converge(desired);
        assert_eq!(observe(&case), Observed::Split { canary_weight: 0, baseline_weight: 0, mirrored });
    }
}

#[test]
fn an_ingress_that_is_no_canary_is_pending() {
    let spec = json!({
        "provider": "nginx", "service": {"port": 80}, "analysis": {"stepWeight": 10},
        "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "web"},
    });
    let prefix = "nginx.ingress.kubernetes.io";
    let text = |key: &str, value: &str, wanted: &str| {
        Observed::Pending(format!("annotation {prefix}/{key} of Ingress web-canary is {value:?}, not {wanted} yet"))
    };
    for (annotations, observed) in [
        (json!({"canary": "true", "canary-weight": "40"}), split(40)),
        (json!({"canary": "true", "canary-weight": "40", "canary-weight-total": "200"}), split(20)),
        (json!({"canary": "true"}), split(0)),
        (json!({"canary-weight": "40"}), text("canary", "", "\"true\"")),
        (json!({"canary": "false"}), text("canary", "false", "\"true\"")),
        (json!({"canary": "true", "canary-weight": "much"}), text("canary-weight", "much", "a number")),
    ] {
        let annotations: serde_json::Map<String, Value> = annotations
            .as_object()
            .expect("annotations")
            .iter()
            .map(|(key, value)| (format!("{prefix}/{key}"), value.clone()))
            .collect();
        let mut case = Case::new(&spec, Intent::default());
        case.see(&[json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "web-canary", "annotations": annotations},
        })]);
        assert_eq!(observe(&case), observed, "{annotations:?}");
    }
}

#[test]
fn every_name_leads_to_one_router() {
    let mut names: Vec<_> = ROUTERS.iter().flat_map(|router| router.abilities()).map(|ability| ability.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["gatewayapi:v1", "gatewayapi:v1beta1", "kubernetes", "nginx", "traefik"]);
    assert_eq!(names.len(), count);
    assert!(names.iter().all(|name| by_name(name).is_some()));
    assert!(by_name("gatewayapi").is_none());
}
