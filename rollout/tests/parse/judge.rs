//! What the judge is asked for.

use std::time::Duration;

use crds::{AfterHold, Baseline, Worse};
use rollout::spec::{Against, Effect, Judge, Measure, Method, MissingData, Quantile, Rate, Strategy};
use serde_json::{Value, json};

use super::analysis;

fn sequential(more: Value, metric: Value) -> rollout::Spec {
    let mut judge = json!({"method": "Sequential"});
    super::merge(&mut judge, &more);
    analysis(json!({"judge": judge, "metrics": [metric]})).unwrap()
}

#[test]
fn without_a_judge_all_stays_as_flagger_has_it() {
    let spec = analysis(json!({"metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]})).unwrap();
    assert_eq!((spec.judge, spec.plan, spec.metrics[0].comparison), (Judge::default(), None, None));
    assert_eq!(spec.warnings, Vec::<String>::new());
}

#[test]
fn what_is_not_said_is_the_usual() {
    let spec = sequential(json!({}), json!({"name": "request-success-rate", "smallestEffect": 0.5}));
    let method = Method::Sequential { false_alarm_rate: Rate::USUAL, false_promotion_rate: Rate::USUAL };
    let missing_data = Some(MissingData { hold_for: Duration::from_secs(600), then: AfterHold::Rollback });
    let usual = Judge { method, baseline: Baseline::Primary, missing_data, warm_up: Duration::ZERO };
    assert_eq!(spec.judge, usual);
    assert_eq!(spec.warnings, Vec::<String>::new(), "a range is not missed where none is needed");
}

#[test]
fn what_is_said_is_taken() {
    let spec = analysis(json!({"judge": {
        "method": "MannWhitney", "falseAlarmRate": 0.01, "baseline": "Concurrent", "warmUp": "1m30s",
        "missingData": {"holdFor": "5m", "then": "Pause"},
    }, "metrics": [{"name": "request-duration", "smallestEffectPercent": 50}]}))
    .unwrap();
    let missing_data = Some(MissingData { hold_for: Duration::from_secs(300), then: AfterHold::Pause });
    let method = Method::MannWhitney { false_alarm_rate: Rate::new(0.01).unwrap() };
    let warm_up = Duration::from_secs(90);
    assert_eq!(spec.judge, Judge { method, baseline: Baseline::Concurrent, missing_data, warm_up });
}

#[test]
fn metrics_are_compared_in_the_unit_of_what_is_measured() {
    let percent = |percent: f64| Effect::new(percent / 100.0, 0.0).unwrap();
    let absolute = |absolute: f64| Effect::new(0.0, absolute).unwrap();
    let usual = Measure::Quantile(Quantile::USUAL);
    let p90 = Measure::Quantile(Quantile::new(0.9).unwrap());
    let (none, concurrent) = (json!({"baseline": "None"}), json!({"baseline": "Concurrent"}));
    for (judge, metric, measure, worse, against, effect) in [
        (
            json!({}),
            json!({"name": "request-success-rate", "thresholdRange": {"min": 99}, "smallestEffect": 0.5}),
            Measure::Errors,
            Worse::Higher,
            Against::Primary,
            absolute(0.005),
        ),
        (
            concurrent.clone(),
            json!({"name": "request-success-rate", "smallestEffectPercent": 100}),
            Measure::Errors,
            Worse::Higher,
            Against::Baseline,
            percent(100.0),
        ),
        (
            none.clone(),
            json!({"name": "request-success-rate", "thresholdRange": {"min": 75}, "smallestEffect": 0.5}),
            Measure::Errors,
            Worse::Higher,
            Against::Objective(0.25),
            absolute(0.005),
        ),
        (
            concurrent,
            json!({"name": "request-duration", "objective": 400, "smallestEffect": 50}),
            usual,
            Worse::Higher,
            Against::Objective(400.0),
            absolute(50.0),
        ),
        (
            json!({}),
            json!({"name": "request-duration", "quantile": 0.9, "smallestEffect": 50, "smallestEffectPercent": 50}),
            p90,
            Worse::Higher,
            Against::Primary,
            Effect::new(0.5, 50.0).unwrap(),
        ),
        (
            none,
            json!({"name": "orders", "query": "q", "thresholdRange": {"min": 30}, "smallestEffect": 5}),
            Measure::Mean,
            Worse::Lower,
            Against::Objective(30.0),
            absolute(5.0),
        ),
        (
            json!({}),
            json!({"name": "queue", "query": "q", "worse": "Higher", "smallestEffect": 5}),
            Measure::Mean,
            Worse::Higher,
            Against::Primary,
            absolute(5.0),
        ),
    ] {
        let comparison = sequential(judge, metric.clone()).metrics[0].comparison.unwrap();
        assert_eq!(comparison.measure, measure, "{metric}");
        assert_eq!((comparison.worse, comparison.against), (worse, against), "{metric}");
        assert_eq!(comparison.smallest_effect, effect, "{metric}");
    }
}

#[test]
fn fields_that_thresholds_do_not_read_are_named() {
    let metric =
        json!({"name": "request-success-rate", "thresholdRange": {"min": 99}, "smallestEffect": 1, "worse": "Lower"});
    let spec = analysis(json!({ "metrics": [metric] })).unwrap();
    assert_eq!(
        spec.warnings,
        ["spec.analysis.metrics[0]: smallestEffect, worse ignored with the method Threshold; \
          write judge: {method: Sequential}"]
    );
}

#[test]
fn a_plan_of_its_own_starts_small_and_ends_in_equal_shares() {
    for (last, weights) in [(json!(null), vec![1, 2, 5, 10, 25, 50]), (json!(20), vec![1, 2, 5, 10, 20])] {
        let spec = analysis(json!({
            "stepWeight": null, "plan": "auto", "failedRequestBudget": 500, "maxWeight": last,
            "judge": {"method": "Sequential"}, "metrics": [{"name": "request-success-rate", "smallestEffect": 1}],
        }))
        .unwrap();
        assert_eq!(spec.plan.unwrap().failed_requests.get(), 500);
        assert_eq!(spec.strategy, Strategy::Canary { weights, promotion_step: None, mirror: None });
    }
}
