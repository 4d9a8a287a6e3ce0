//! What is told of a policy before its first rollout.

use cli::paint::Paint;
use cli::plan::foresee;
use cli::text::plan::{findings, plans};

const PLAIN: Paint = Paint { colours: false };

fn example(name: &str) -> String {
    let path = format!("{}/../examples/podinfo/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).expect(&path)
}

fn judged(effect: &str) -> String {
    let metrics = format!("    - {{name: request-success-rate, {effect}}}\n");
    let text = example("canary-gatewayapi");
    let (policy, _) = text.split_once("    metrics:\n").expect("metrics come last");
    format!("{policy}    judge: {{method: Sequential}}\n    metrics:\n{metrics}")
}

#[test]
fn the_threshold_rule_is_told_by_its_odds() {
    let text = example("canary-gatewayapi");
    let much = foresee(&text, "p.yaml", Some(6000.0), 99.9).expect("a plan");
    insta::assert_snapshot!("plan_much_traffic", plans(&much, PLAIN));
    assert!(much[0].findings.is_empty(), "{:?}", much[0].findings);
    let little = foresee(&text, "p.yaml", Some(60.0), 99.5).expect("a plan");
    insta::assert_snapshot!("plan_little_traffic", plans(&little, PLAIN));
    insta::assert_snapshot!("lint_little_traffic", findings(&little, PLAIN));
    insta::assert_snapshot!(
        "plan_unknown_traffic",
        plans(&foresee(&text, "p.yaml", None, 99.9).expect("a plan"), PLAIN)
    );
}

#[test]
fn the_judge_is_told_by_the_time_that_evidence_takes() {
    let twice = foresee(&judged("smallestEffectPercent: 100"), "p.yaml", Some(6000.0), 99.5).expect("a plan");
    let thrice = foresee(&judged("smallestEffectPercent: 200"), "p.yaml", Some(6000.0), 99.5).expect("a plan");
    assert!(twice[0].finish_seconds > thrice[0].finish_seconds, "{twice:?} {thrice:?}");
    insta::assert_snapshot!("plan_judge", plans(&twice, PLAIN));
    let hopeless = foresee(&judged("smallestEffectPercent: 5"), "p.yaml", Some(6.0), 99.9).expect("a plan");
    assert_eq!(hopeless[0].findings[0].reason, "CannotDecide");
}

#[test]
fn what_cannot_be_foreseen_is_told_with_the_mend() {
    for (text, traffic, wanted) in [
        ("{kind: Deployment}", Some(1.0), "p.yaml: there is no Canary in it"),
        ("{kind: Canary, metadata: {name: a}, spec: {}}", Some(1.0), "p.yaml: Canary a: "),
        ("a: [", None, "p.yaml: it is not YAML"),
        (
            "{kind: Canary}",
            Some(-1.0),
            "-1 requests a minute, 99.9 % of them answered well, is no traffic: give numbers above 0",
        ),
    ] {
        let error = foresee(text, "p.yaml", traffic, 99.9).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn a_plan_of_its_own_is_told_with_its_budget() {
    let text = example("auto-plan");
    let known = foresee(&text, "p.yaml", Some(3000.0), 99.5).expect("a plan");
    insta::assert_snapshot!("plan_auto", plans(&known, PLAIN));
    assert!(known[0].lost_until_found_out.expect("known traffic") <= 300.0);
    let little = foresee(&text, "p.yaml", Some(0.01), 99.5).expect("a plan");
    assert_eq!(little[0].findings[0].reason, "CannotDecide");
}
