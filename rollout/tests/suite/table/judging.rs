//! The threshold rule: what passes, what fails, and what can be neither.

use std::time::Duration;

use rollout::spec::{HookKind, Metric, MetricSource, Range};
use rollout::{Effect, HookAnswer, Memory, Readiness, Reading, Run, Stage};

use super::{Row, check};
use crate::support::build::{at, canary, duration, run, spec, success_rate, under_way};
use crate::support::look::Look;

const NO_ANSWER: &str = "! Halt shop.eve advancement external check load failed closed";

fn look() -> Look {
    Look::new(spec(canary()), under_way(Stage::Progressing(run(20))))
}

fn failed(failed_checks: u32) -> Stage {
    Stage::Progressing(Run { failed_checks, ..run(20) })
}

#[test]
fn one_failed_check() {
    let row = |name, look, events| Row { name, look, stage: failed(1), desired: "20", events, waiting: "Soaking" };
    let inline = Metric { name: "queue".into(), source: MetricSource::Inline("q".into()), ..duration() };
    check(vec![
        row(
            "success rate",
            look().reading(Reading::Value(97.126)),
            &["! Halt shop.eve advancement success rate 97.13% < 99%"],
        ),
        row(
            "duration",
            look().with(|look| look.spec.metrics = vec![duration()]).reading(Reading::Value(612.5)),
            &["! Halt shop.eve advancement request duration 612.5ms > 500ms"],
        ),
        row(
            "inline query",
            look().with(|look| look.spec.metrics = vec![inline]).reading(Reading::Value(501.0)),
            &["! Halt shop.eve advancement queue 501.00 > 500"],
        ),
        row(
            "no values",
            look().reading(Reading::NoValue),
            &["! Halt shop.eve advancement no values found for metric request-success-rate probably shop.eve is not \
               receiving traffic"],
        ),
        row("hook says no", look().hook(HookKind::Rollout, "load", HookAnswer::No("closed".into())), &[NO_ANSWER]),
        row(
            "hook breaks down",
            look().hook(HookKind::Rollout, "load", HookAnswer::Failed("closed".into())),
            &[NO_ANSWER],
        ),
        row(
            "all that failed is told, not the first alone",
            look()
                .with(|look| look.spec.metrics = vec![success_rate(), duration()])
                .with(|look| look.readings = vec![Reading::Value(1.0), Reading::Value(900.0)])
                .hook(HookKind::Rollout, "load", HookAnswer::No("closed".into())),
            &[
                NO_ANSWER,
                "! Halt shop.eve advancement success rate 1.00% < 99%",
                "! Halt shop.eve advancement request duration 900ms > 500ms",
            ],
        ),
    ]);
}

#[test]
fn at_the_edge_a_value_passes() {
    let edge = Metric { range: Range { min: Some(99.0), max: Some(100.0) }, ..success_rate() };
    for (value, passes) in [(99.0, true), (100.0, true), (98.999, false), (100.001, false)] {
        let look = look().with(|look| look.spec.metrics = vec![edge.clone()]).reading(Reading::Value(value));
        assert_eq!(look.go().step.state.stage == Stage::Progressing(run(40)), passes, "{value}");
    }
}

#[test]
fn the_values_stand_in_the_status() {
    let step = look().hook(HookKind::Rollout, "load", HookAnswer::Yes).reading(Reading::Value(97.1256)).go().step;
    let check = |name: &str| step.state.checks.iter().find(|check| check.name == name).expect("the check").clone();
    assert_eq!((check("load").result.as_str(), check("load").value), ("Passed", None));
    let rate = check("request-success-rate");
    assert_eq!(
        (rate.result.as_str(), rate.value.as_deref(), rate.threshold.as_deref()),
        ("Failed", Some("97.1256"), Some("at least 99 %"))
    );
}

#[test]
fn the_threshold_rolls_back_in_the_same_look() {
    let look = || look().with(|look| look.state.stage = failed(2)).reading(Reading::Value(50.0));
    check(vec![Row {
        name: "the third of three",
        look: look(),
        stage: Stage::Failed { weight: 0, failed_checks: 3 },
        desired: "0",
        events: &[
            "! Halt shop.eve advancement success rate 50.00% < 99%",
            "! Rolling back shop.eve failed checks threshold reached 3",
            "! Canary failed! Scaling down shop.eve",
        ],
        waiting: "TrafficShifting",
    }]);
    let seen = look().go();
    assert_eq!(seen.alerts(), ["alert/error/plain/Failed checks threshold reached 3"]);
    assert!(seen.step.effects.contains(&Effect::Ended { success: false, skipped: false }));
    let passed = look().reading(Reading::Value(100.0)).go().step.state.stage;
    assert_eq!(passed, Stage::Progressing(Run { failed_checks: 2, ..run(40) }), "success does not wipe the count out");
}

#[test]
fn what_cannot_be_read_holds_within_a_budget() {
    let held = |name, reading: Reading, event| Row {
        name,
        look: look().reading(reading),
        stage: Stage::Progressing(run(20)),
        desired: "20",
        events: event,
        waiting: "MetricsUnavailable",
    };
    check(vec![
        held(
            "unavailable",
            Reading::Unavailable("connection refused".into()),
            &["! Halt shop.eve advancement metric request-success-rate cannot be read: connection refused"],
        ),
        held(
            "stale",
            Reading::Stale { age: Duration::from_secs(90), window: Duration::from_secs(60) },
            &["! Halt shop.eve advancement metric request-success-rate is 90 s old, older than its window of 60 s"],
        ),
        held(
            "invalid",
            Reading::Invalid("unknown function rat".into()),
            &["! Halt shop.eve advancement metric request-success-rate cannot be used: unknown function rat"],
        ),
    ]);

    let away = |since, now| {
        look().reading(Reading::Unavailable("refused".into())).with(|look| {
            look.state.unavailable_since = Some(at(since));
            look.now = at(now);
        })
    };
    assert_eq!(away(0, 599).go().step.state.stage, Stage::Progressing(run(20)));
    assert_eq!(away(0, 600).go().step.state.stage, failed(1), "the budget is the progress deadline");
    let back = away(0, 500).reading(Reading::Value(100.0)).go().step;
    assert_eq!((back.state.stage, back.state.unavailable_since), (Stage::Progressing(run(40)), None));

    let told = away(120, 180).with(|look| look.memory = look.go().step.memory.clone()).go();
    assert_eq!((told.events(), told.reasons()), (Vec::new(), vec!["MetricsUnavailable"]), "told once, named always");
}

#[test]
fn a_bad_value_counts_although_another_is_missing() {
    let look = look().with(|look| {
        look.spec.metrics = vec![success_rate(), duration()];
        look.readings = vec![Reading::Unavailable("refused".into()), Reading::Value(900.0)];
    });
    assert_eq!(look.go().step.state.stage, failed(1));
}

#[test]
fn the_progress_deadline_rolls_back() {
    for stage in [Stage::Progressing(run(0)), Stage::Progressing(run(20)), Stage::WaitingPromotion(run(60))] {
        let stuck = Readiness::Stuck("0 of 2 pods are available".into());
        let seen = Look::new(spec(canary()), under_way(stage)).canary_is(stuck).go();
        assert_eq!(seen.step.state.stage, Stage::Failed { weight: 0, failed_checks: 0 });
        let told = "progress deadline exceeded for shop.eve: 0 of 2 pods are available";
        assert_eq!(seen.events()[0], format!("! Rolling back shop.eve {told}"));
        assert!(seen.asked.is_empty());
    }
}

#[test]
fn the_first_look_at_a_canary_that_keeps_the_traffic_is_after_a_whole_interval() {
    let state = rollout::State { checked_at: None, ..under_way(Stage::Progressing(run(100))) };
    let broken = Look::new(spec(canary()), state).primary_is(Readiness::Stuck("0 of 2".into()));
    let rolling = broken.clone().canary_is(Readiness::NotYet("1 of 2".into())).go().step;
    let memory = Memory { ..rolling.memory };
    let ready = Look { memory, now: at(200), ..broken }.go();
    assert_eq!(ready.reasons(), ["Soaking"]);
    assert_eq!(ready.step.wake, Some(at(260)));
}
