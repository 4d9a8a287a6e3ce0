//! What a rollout leaves on record: it is exported, decided once more without a cluster, and tried under other policies.

use std::path::Path;

use cli::paint::Paint;
use cli::record::Record;
use cli::record::explain::Explanation;
use cli::record::history::PastRollout;
use cli::record::replay::Replayed;
use cli::simulate::scenario::Scenario;
use cli::simulate::stage::play;
use cli::text::record as text;

const PLAIN: Paint = Paint { colours: false };

/// The records that the scenario leaves, as `kubectl get -o yaml` would export each.
fn exported(path: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let scenario = Scenario::read(&path).expect("a scenario");
    let played = play(&scenario, path.parent().expect("a folder")).expect("a play");
    played.records.iter().map(|record| serde_saphyr::to_string(record).expect("YAML")).collect()
}

#[test]
fn a_record_is_decided_once_more_and_otherwise_under_another_policy() {
    let exported = exported("../examples/scenarios/bad-release.yaml");
    let record = Record::parse(&exported[0], "log.yaml").expect("a record");
    assert_eq!(exported.len(), 1);
    assert!(exported[0].len() < 16 * 1024, "{}", exported[0].len());

    let same = Replayed::of(&record, None).expect("it can be replayed");
    assert!(same.same && same.recorded == same.replayed, "{same:#?}");
    insta::assert_snapshot!("replayed", text::replayed(&same, PLAIN));
    let again = Replayed::of(&record, None).expect("it can be replayed");
    assert_eq!(serde_json::json!(same), serde_json::json!(again));

    let stricter = Replayed::of(&record, Some(("stricter.yaml", "analysis: {threshold: 1}"))).expect("a policy");
    assert!(stricter.replayed.seconds < stricter.recorded.seconds, "{stricter:#?}");
    insta::assert_snapshot!("stricter", text::replayed(&stricter, PLAIN));
    let blind =
        "analysis: {metrics: [{name: request-success-rate, thresholdRange: {min: 50}}, {name: x, query: requests}]}";
    let blind = Replayed::of(&record, Some(("blind.yaml", blind))).expect("a policy");
    assert_eq!(blind.replayed.verdict, "Promoted");
    insta::assert_snapshot!("blind", text::replayed(&blind, PLAIN));

    insta::assert_snapshot!("explained", text::explanation(&Explanation::of(&record).expect("a decision"), PLAIN));
    insta::assert_snapshot!("history", text::history(&[PastRollout::of(&record)], PLAIN));
}

#[test]
fn what_is_no_record_or_no_policy_is_told_with_the_mend() {
    let exported = exported("../examples/scenarios/bad-release.yaml");
    let record = Record::parse(&exported[0], "log.yaml").expect("a record");
    for (text, wanted) in [
        ("{kind: Canary}", "log.yaml is no CanaryRun but Canary; export a record with `kubectl get canaryrun"),
        ("{kind: List, items: []}", "log.yaml holds no CanaryRun"),
        ("{kind: CanaryRun, spec: {canary: 1}}", "log.yaml: spec.canary: invalid type: integer `1`, expected a string"),
        ("a: [", "log.yaml is not YAML"),
    ] {
        let error = Record::parse(text, "log.yaml").expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    for (text, wanted) in [
        ("threshold: 2", "p.yaml: threshold is no field of a policy; known: provider"),
        ("{kind: Deployment}", "p.yaml: a policy is a Canary or a part of one, this is a Deployment"),
        ("analysis: {interval: soon}", "p.yaml: spec.analysis.interval"),
    ] {
        let error = Replayed::of(&record, Some(("p.yaml", text))).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}
