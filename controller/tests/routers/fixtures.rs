//! Objects that Flagger left in a cluster: for the same input nothing is to be written, and the split is read.

use controller::objects::{Desired, Owner, covers};
use controller::routers::{Cookies, Intent, Observed};
use serde_json::Value;

use crate::support::{Case, repository, yaml};

const PHASES: [&str; 5] = ["1-initialized", "2-progressing", "3-waiting-promotion", "4-succeeded", "5-failed"];

/// Folder, and the weight at each of its phases.
const FIXTURES: [(&str, &[(&str, u8)]); 6] = [
    ("gatewayapi", &[(PHASES[0], 0), (PHASES[1], 25), (PHASES[2], 50), (PHASES[3], 0), (PHASES[4], 0)]),
    ("gatewayapi-ab", &[(PHASES[0], 0), (PHASES[1], 100), (PHASES[2], 100), (PHASES[3], 0), (PHASES[4], 0)]),
    ("gatewayapi-session", &[(PHASES[0], 0), (PHASES[1], 25), (PHASES[2], 50), (PHASES[3], 0), (PHASES[4], 0)]),
    ("traefik", &[(PHASES[0], 0), (PHASES[1], 25), (PHASES[2], 50), (PHASES[3], 0), (PHASES[4], 0)]),
    ("nginx", &[(PHASES[1], 35), (PHASES[3], 0)]),
    ("kubernetes", &[(PHASES[0], 0), (PHASES[1], 0), (PHASES[2], 0), (PHASES[3], 0), (PHASES[4], 0)]),
];

fn case(folder: &str, phase: &str, weight: u8) -> Case {
    let objects = yaml(&repository(&format!("tests/fixtures/flagger-objects/{folder}/{phase}.json")));
    let objects = objects["items"].as_array().expect("a list").clone();
    let canary = objects.iter().find(|object| object["kind"] == "Canary").expect("a Canary");
    let text = |pointer: &str| canary.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let cookies = Cookies {
        canary: text("/status/sessionAffinityCookie"),
        primary: text("/status/primarySessionAffinityCookie"),
        previous: text("/status/previousSessionAffinityCookie"),
    };
    let mut case =
        Case::new(&canary["spec"], Intent { canary_weight: weight, baseline_weight: 0, mirrored: false, cookies });
    case.owner = Owner {
        namespace: text("/metadata/namespace").expect("a namespace"),
        name: text("/metadata/name").expect("a name"),
        uid: text("/metadata/uid").expect("a uid"),
    };
    case.see(&objects);
    case
}

fn each(check: impl Fn(&str, &Case)) {
    for (folder, phases) in FIXTURES {
        for (phase, weight) in phases {
            check(&format!("{folder}/{phase}"), &case(folder, phase, *weight));
        }
    }
}

#[test]
fn adoption_writes_nothing() {
    each(|what, case| {
        let desired = case.render();
        assert_eq!(desired.is_empty(), what.starts_with("kubernetes"), "{what}");
        for desired in desired {
            let Desired::Apply { kind, body } = &desired else { panic!("{what}: {desired:#?}") };
            let live = case.current.get(&(*kind, desired.name().to_owned())).expect("a live object");
            assert!(covers(Some(live), body), "{what}: {live:#} does not cover {body:#}");
        }
    });
}

#[test]
fn the_split_is_read() {
    each(|what, case| {
        let observed = case.router().observe(&case.route(), &case.current).expect("an observation");
        let canary_weight = case.intent.canary_weight;
        assert_eq!(observed, Observed::Split { canary_weight, baseline_weight: 0, mirrored: false }, "{what}");
    });
}

/// Another intent than the one in force is written, also where Flagger left the objects.
#[test]
fn another_weight_is_written() {
    each(|what, case| {
        let mut changed = Case {
            owner: case.owner.clone(),
            spec: case.spec.clone(),
            intent: case.intent.clone(),
            prefix: case.prefix.clone(),
            class: None,
            current: case.current.clone(),
        };
        changed.intent.canary_weight = if case.intent.canary_weight == 0 { 100 } else { 0 };
        let desired = changed.render();
        changed.converge(desired);
        let observed = changed.router().observe(&changed.route(), &changed.current).expect("an observation");
        let canary_weight = changed.intent.canary_weight;
        assert_eq!(observed, Observed::Split { canary_weight, baseline_weight: 0, mirrored: false }, "{what}");
    });
}
