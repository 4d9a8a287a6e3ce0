//! Each file of `cases` in, each file of `snapshots` out.

use controller::objects::{Desired, covers};
use controller::routers::Observed;
use serde_json::{Value, json};

use crate::support::{Case, intent, repository, yaml};

const CASES: &str = "controller/tests/routers/cases";

fn case(input: &Value) -> Case {
    let mut case = Case::new(&input["spec"], intent(&input["intent"]));
    if let Some(prefix) = input["ingressAnnotationsPrefix"].as_str() {
        case.prefix = prefix.into();
    }
    case.class = input["ingressClass"].as_str().map(str::to_owned);
    case.see(input["live"].as_array().map_or(&[], Vec::as_slice));
    case
}

fn printed(desired: &[Desired]) -> Vec<Value> {
    desired
        .iter()
        .map(|desired| match desired {
            Desired::Apply { body, .. } => json!({ "apply": body }),
            Desired::Replace { body, pointers, .. } => json!({ "replace": pointers, "in": body }),
            Desired::Patch { name, .. } => panic!("a router owns what it writes, but patches {name}"),
            Desired::Delete { kind, name } => json!({ "delete": format!("{} {name}", kind.kind) }),
        })
        .collect()
}

fn each(check: impl Fn(&str, Case)) {
    let mut names: Vec<_> = std::fs::read_dir(repository(CASES))
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for path in names {
        let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        check(&name, case(&yaml(&path)));
    }
}

#[test]
fn rendered_as_recorded() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_sort_maps(true);
    settings.bind(|| {
        each(|name, case| insta::assert_yaml_snapshot!(name, printed(&case.render())));
    });
}

/// What is written is what was wanted: the next pass has nothing to write, and the intent is observed.
#[test]
fn once_written_it_stands() {
    each(|name, mut case| {
        let desired = case.render();
        case.converge(desired);
        let again = case.render();
        for desired in &again {
            let Desired::Apply { kind, body } = desired else { panic!("{name}: still {desired:#?}") };
            let live = case.current.get(&(*kind, desired.name().to_owned()));
            assert!(covers(live.map(|live| &**live), body), "{name}: {live:#?} does not cover {body:#}");
        }
        let observed = case.router().observe(&case.route(), &case.current).expect("an observation");
        let split = Observed::Split {
            canary_weight: case.intent.canary_weight,
            baseline_weight: case.intent.baseline_weight,
            mirrored: case.intent.mirrored,
        };
        assert_eq!(observed, split, "{name}");
    });
}

/// The cases named so begin with an object that differs from the intent.
#[test]
fn drift_is_seen() {
    each(|name, case| {
        if !name.ends_with("-drift") {
            return;
        }
        for desired in case.render() {
            let Desired::Apply { kind, body } = &desired else { continue };
            let live = case.current.get(&(*kind, desired.name().to_owned()));
            assert!(!covers(live.map(|live| &**live), body), "{name}: the drift of {} is not seen", desired.name());
        }
    });
}
