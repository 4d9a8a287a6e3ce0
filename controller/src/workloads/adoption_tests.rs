//! Taking over from Flagger, on what Flagger really left: at rest nothing is written, and nothing is taken for a change
//! that is none.

use std::time::Duration;

use jiff::Timestamp;
use rollout::Readiness;
use rollout::spec::TargetKind;
use serde_json::{Value, json};

use super::fixtures::{Case, apply};
use super::*;
use crate::objects::{Desired, covers};

const MOMENTS: [(&str, bool); 5] = [
    ("1-initialized", true),
    ("2-progressing", false),
    ("3-waiting-promotion", false),
    ("4-succeeded", true),
    ("5-failed", false),
];

/// Every moment of the golden data, with whether the primary runs what the target holds.
fn moments() -> Vec<(String, Case, bool)> {
    let cases = ["gatewayapi", "gatewayapi-ab", "gatewayapi-session", "kubernetes", "traefik"];
    let mut all: Vec<_> = cases
        .iter()
        .flat_map(|case| MOMENTS.iter().map(move |(moment, matches)| (format!("{case}/{moment}"), *matches)))
        .collect();
    all.extend([("nginx/2-progressing".to_owned(), false), ("nginx/4-succeeded".to_owned(), true)]);
    all.into_iter().map(|(moment, matches)| (moment.clone(), Case::read(&moment), matches)).collect()
}

/// Nothing is to be written, and all that the body says stands in the live object.
fn assert_stands(moment: &str, case: &Case, desired: &Desired) {
    let live = case.live(desired);
    assert!(desired.met_by(live), "{moment}: {} would be written", desired.name());
    match desired {
        Desired::Replace { body, pointers, .. } => {
            let body = without_our_mark(body);
            assert!(!pointers.is_empty() || live.is_some());
            assert!(covers(live, &body), "{moment}: {} differs: {body}", desired.name());
        }
        Desired::Apply { .. } | Desired::Patch { .. } | Desired::Delete { .. } => panic!("{desired:?}"),
    }
}

/// The body without what Flagger does not write: our revision, and the order of annotations at creation.
fn without_our_mark(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(Value::Object(annotations)) = body.pointer_mut("/metadata/annotations") {
        annotations.remove(REVISION_ANNOTATION);
    }
    body
}

#[test]
fn services_are_left_as_they_are() {
    for (moment, case, _) in moments() {
        let plan = case.plan().unwrap();
        let mut all = services(&plan, &case.objects);
        all.push(apex_service(&plan, &case.objects));
        assert_eq!(all.len(), 3);
        all.iter().for_each(|desired| assert_stands(&moment, &case, desired));
        assert!(apex_sends_to_primary(&plan, &case.objects), "{moment}");
    }
}

#[test]
fn the_autoscaler_is_left_as_it_is_even_by_a_promotion() {
    for (moment, case, _) in moments() {
        let plan = case.plan().unwrap();
        for mode in [AutoscalerMode::Create, AutoscalerMode::Update] {
            match autoscaler(&plan, &case.objects, mode).unwrap() {
                Some(desired) => assert_stands(&moment, &case, &desired),
                None => assert!(moment.starts_with("nginx"), "{moment}"),
            }
        }
    }
}

#[test]
fn config_copies_are_left_as_they_are() {
    for (moment, case, _) in moments() {
        let copies = config_copies(&case.plan().unwrap(), &case.objects);
        let names: Vec<_> = copies.iter().map(Desired::name).collect();
        assert_eq!(names, ["settings-primary", "credentials-primary"]);
        copies.iter().for_each(|desired| assert_stands(&moment, &case, desired));
    }
}

#[test]
fn the_primary_is_left_as_it_is() {
    for (moment, case, _) in moments() {
        let plan = case.plan().unwrap();
        let desired =
            desired_primary(&plan, Some(case.primary()), PrimaryMode::Create, &plan.revision().id, 1).unwrap();
        assert!(desired.met_by(Some(case.primary())), "{moment}");
    }
}

#[test]
fn templates_tell_whether_the_primary_runs_what_the_target_holds() {
    for (moment, case, matches) in moments() {
        assert_eq!(primary_matches(&case.plan().unwrap(), case.primary()), matches, "{moment}");
    }
}

#[test]
fn checksums_of_configs_are_those_that_flagger_wrote() {
    for (moment, case, _) in moments() {
        assert_eq!(json!(case.plan().unwrap().tracked.checksums()), case.status["trackedConfigs"], "{moment}");
    }
}

#[test]
fn a_promotion_writes_the_new_template_and_nothing_else() {
    for (moment, case, matches) in moments() {
        let plan = case.plan().unwrap();
        let live = case.primary();
        let desired = desired_primary(&plan, Some(live), PrimaryMode::Promote, &plan.revision().id, 1).unwrap();
        let after = apply(Some(live), &desired);
        assert!(primary_matches(&plan, &after), "{moment}");
        assert_eq!(written_revision(&after), Some(plan.revision().id.as_str()), "{moment}");
        let rest = |object: &Value| {
            let mut object = without_our_mark(object);
            object["spec"]["template"] = Value::Null;
            object
        };
        assert_eq!(rest(&after), rest(live), "{moment}");
        let image = |object: &Value| object.pointer("/spec/template/spec/containers/0/image").cloned();
        assert_eq!(image(&after) == image(live), matches, "{moment}");
    }
}

#[test]
fn revisions_are_told_apart_and_only_they() {
    let id = |moment: &str| Case::read(moment).plan().unwrap().revision().id;
    for case in ["gatewayapi", "kubernetes", "traefik"] {
        let [first, progressing, waiting, succeeded, failed] =
            MOMENTS.map(|(moment, _)| id(&format!("{case}/{moment}")));
        assert_eq!((&progressing, &waiting), (&succeeded, &succeeded));
        assert!(first != succeeded && first != failed && succeeded != failed);
        assert_eq!(first, id("gatewayapi/1-initialized"), "the namespace is no part of a revision");
    }
}

#[test]
fn readiness_is_as_the_moment_implies() {
    let now: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
    let deadline = Duration::from_secs(60);
    for (moment, case, _) in moments() {
        let read = |object: &Value| readiness(TargetKind::Deployment, object, 100, deadline, None, now);
        assert_eq!(read(case.primary()), Readiness::Ready, "{moment}");
        let up = moment.ends_with("2-progressing") || moment.ends_with("3-waiting-promotion");
        let expected = if up { Readiness::Ready } else { Readiness::ScaledToZero };
        assert_eq!(read(&case.target), expected, "{moment}");
        assert_eq!(scaled_down(TargetKind::Deployment, &case.target), !up, "{moment}");
        let replicas = replicas_from_zero(&case.plan().unwrap(), Some(case.primary()), None);
        let to = ScaleTo::FromZero { replicas };
        assert_eq!(
            scale(TargetKind::Deployment, &case.target, "podinfo", to).met_by(Some(&case.target)),
            up,
            "{moment}"
        );
    }
}

/// Every object with one of its nodes replaced by something that does not belong there.
fn malformed(object: &Value) -> Vec<Value> {
    fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    pointers(value, &crate::objects::pointer_to(at, key), found);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    pointers(item, &format!("{at}/{index}"), found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    pointers(object, "", &mut found);
    let mut all = Vec::new();
    for pointer in found {
        for junk in [json!("junk"), json!([null]), json!({"junk": -1})] {
            let mut other = object.clone();
            if let Some(place) = other.pointer_mut(&pointer) {
                *place = junk;
            }
            all.push(other);
        }
    }
    all
}

#[test]
fn malformed_objects_never_panic() {
    let now: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
    let everything = |case: &Case| {
        let Ok(plan) = case.plan() else { return };
        let primary = case.objects.get(&(plan.kind(), "podinfo-primary".to_owned())).map(AsRef::as_ref);
        let _ = plan.revision();
        for mode in [PrimaryMode::Create, PrimaryMode::Promote] {
            let _ = desired_primary(&plan, primary, mode, "r", 1);
        }
        let _ = primary.map(|primary| primary_matches(&plan, primary));
        let _ = config_copies(&plan, &case.objects);
        let _ = services(&plan, &case.objects);
        let _ = apex_service(&plan, &case.objects);
        let _ = revert_apex(&plan, &case.objects, None);
        let _ = autoscaler(&plan, &case.objects, AutoscalerMode::Update);
        let _ = readiness(plan.spec.target.kind, &case.target, 100, Duration::ZERO, Some(now), now);
        let _ = scale(plan.spec.target.kind, &case.target, "podinfo", ScaleTo::FromZero { replicas: 1 });
        let _ = replicas_from_zero(&plan, primary, primary);
    };
    for mut case in [Case::deployment(), Case::daemon_set()] {
        for target in malformed(&case.target.clone()) {
            case.target = target;
            everything(&case);
        }
    }
    let mut case = Case::deployment();
    for (key, object) in case.objects.clone() {
        for other in malformed(&object) {
            case.objects.insert(key.clone(), other.into());
            everything(&case);
        }
        case.objects.insert(key, object);
    }
}
