//! From logs to verdicts.
#![allow(clippy::unwrap_used, reason = "a test says enough by failing")]

use std::num::NonZeroU32;

use judge::policy::{
    Against, BurnRate, BurnWindow, Direction, Effect, Measure, Method, Metric, Missing, Range, Rate, Sequential, Weight,
};
use judge::sample::{Arm, Entry, Event, Kind, Log, Mark, Millis, Outcome, Sample, Series};
use judge::verdict::{Opinion, Reason, Then, Trouble};
use judge::{Decision, Judge, Policy, Verdict, judge};
use proptest::prelude::*;

const START: Millis = 1_000_000;
const WINDOW: Millis = 10_000;

fn metric(name: &str, method: Method) -> Metric {
    Metric { name: name.into(), weight: Weight::try_from(1.0).unwrap(), method }
}

fn sequential(measure: Measure, against: Against, relative: f64, absolute: f64) -> Method {
    let effect = Effect::new(relative, absolute).unwrap();
    Method::Sequential(Sequential::new(measure, Direction::Higher, against, effect).unwrap())
}

fn errors_beside_a_baseline() -> Policy {
    Policy::new(vec![metric("errors", sequential(Measure::Errors, Against::Baseline, 1.0, 0.0))]).unwrap()
}

/// Writes a log, window by window, each asked for at its end.
#[derive(Default)]
struct Writer {
    log: Log,
    now: Millis,
}

impl Writer {
    fn new() -> Self {
        let mark = Entry::Mark(Mark { at: START, what: Event::Started });
        Self { log: Log { series: Vec::new(), entries: vec![mark] }, now: START }
    }

    fn window(&mut self, metric: &str, kind: &Kind, answers: &[(Arm, Outcome)]) {
        let (from, to) = (self.now, self.now + WINDOW);
        self.now = to;
        for (arm, outcome) in answers {
            let series = Series { metric: metric.into(), arm: *arm, kind: kind.clone(), query: "q".into() };
            let series = self.log.series(series);
            let outcome = outcome.clone();
            self.log.entries.push(Entry::Sample(Sample { series, from, to, asked: to, newest: Some(to), outcome }));
        }
    }

    fn mark(&mut self, what: Event) {
        self.log.entries.push(Entry::Mark(Mark { at: self.now, what }));
    }

    fn errors(&mut self, times: u32, requests: f64, canary: f64, other: f64) {
        for _ in 0..times {
            self.window(
                "errors",
                &Kind::Counts,
                &[
                    (Arm::Canary, Outcome::Counts { requests, errors: canary }),
                    (Arm::Baseline, Outcome::Counts { requests, errors: other }),
                ],
            );
        }
    }

    fn only(&mut self, times: u32, outcome: &Outcome) {
        for _ in 0..times {
            self.window("errors", &Kind::Counts, &[(Arm::Canary, outcome.clone()), (Arm::Baseline, outcome.clone())]);
        }
    }

    fn values(&mut self, values: &[f64]) {
        for value in values {
            self.window("rate", &Kind::Value, &[(Arm::Canary, Outcome::Value(*value))]);
        }
    }
}

fn reason(verdict: &Verdict) -> &Reason {
    match &verdict.decision {
        Decision::CannotTell { reason, .. } => reason,
        Decision::Worse { .. } | Decision::NotWorse { .. } => panic!("{:?}", verdict.decision),
    }
}

fn is_worse(verdict: &Verdict) -> bool {
    matches!(verdict.decision, Decision::Worse { .. })
}

fn is_not_worse(verdict: &Verdict) -> bool {
    matches!(verdict.decision, Decision::NotWorse { .. })
}

#[test]
fn more_errors_are_worse_as_many_are_not_and_none_say_nothing() {
    let policy = errors_beside_a_baseline();
    for (canary, other, worse, not_worse) in
        [(20.0, 3.0, true, false), (3.0, 3.0, false, true), (0.0, 20.0, false, true), (0.0, 0.0, false, false)]
    {
        let mut writer = Writer::new();
        writer.errors(60, 1000.0, canary, other);
        let verdict = judge(&writer.log, &policy);
        assert_eq!((is_worse(&verdict), is_not_worse(&verdict)), (worse, not_worse), "{canary} beside {other}");
    }
}

#[test]
fn no_errors_at_all_pass_where_an_absolute_effect_matters() {
    let method = sequential(Measure::Errors, Against::Baseline, 1.0, 0.005);
    let policy = Policy::new(vec![metric("errors", method)]).unwrap();
    let mut writer = Writer::new();
    writer.errors(60, 100.0, 0.0, 0.0);
    assert!(is_not_worse(&judge(&writer.log, &policy)));
}

#[test]
fn a_difference_that_is_sure_and_small_is_not_worse() {
    let mut writer = Writer::new();
    writer.errors(400, 100_000.0, 540.0, 500.0);
    assert!(is_not_worse(&judge(&writer.log, &errors_beside_a_baseline())));
}

#[test]
fn a_regression_that_begins_late_is_found() {
    let mut writer = Writer::new();
    writer.errors(200, 1000.0, 5.0, 5.0);
    assert!(is_not_worse(&judge(&writer.log, &errors_beside_a_baseline())));
    writer.errors(60, 1000.0, 60.0, 5.0);
    assert!(is_worse(&judge(&writer.log, &errors_beside_a_baseline())));
}

#[test]
fn an_objective_is_kept_or_not() {
    let policy =
        Policy::new(vec![metric("errors", sequential(Measure::Errors, Against::Objective(0.01), 0.5, 0.0))]).unwrap();
    for (errors, worse, not_worse) in [(40.0, true, false), (5.0, false, true)] {
        let mut writer = Writer::new();
        for _ in 0..60 {
            let outcome = Outcome::Counts { requests: 1000.0, errors };
            writer.window("errors", &Kind::Counts, &[(Arm::Canary, outcome)]);
        }
        let verdict = judge(&writer.log, &policy);
        assert_eq!((is_worse(&verdict), is_not_worse(&verdict)), (worse, not_worse), "{errors}");
    }
}

#[test]
fn slow_requests_are_worse() {
    let quantile = Measure::Quantile(Rate::try_from(0.9).unwrap());
    let policy = Policy::new(vec![metric("latency", sequential(quantile, Against::Baseline, 0.5, 0.0))]).unwrap();
    let kind = Kind::Histogram { edges: vec![0.1, 0.2, 0.4] };
    for (slow, worse, not_worse) in [(60.0, true, false), (20.0, false, true)] {
        let mut writer = Writer::new();
        for _ in 0..60 {
            let outcome = |slow: f64| Outcome::Histogram { counts: vec![120.0, 60.0, slow, 2.0], sum: None };
            writer.window("latency", &kind, &[(Arm::Canary, outcome(slow)), (Arm::Baseline, outcome(20.0))]);
        }
        let verdict = judge(&writer.log, &policy);
        assert_eq!((is_worse(&verdict), is_not_worse(&verdict)), (worse, not_worse), "{slow}");
    }
}

#[test]
fn means_are_compared_by_sign() {
    let effect = Effect::new(0.2, 0.0).unwrap();
    for (worse_way, shift, worse) in
        [(Direction::Higher, 1.5, true), (Direction::Higher, 1.0, false), (Direction::Lower, 0.5, true)]
    {
        let rule = Sequential::new(Measure::Mean, worse_way, Against::Primary, effect).unwrap();
        let policy = Policy::new(vec![metric("orders", Method::Sequential(rule))]).unwrap();
        let mut writer = Writer::new();
        for number in 0..60_u32 {
            let noise = f64::from(number * 7 % 11) - 5.0;
            let value = |by: f64, noise: f64| Outcome::Value(100.0 * by + noise);
            writer.window(
                "orders",
                &Kind::Value,
                &[(Arm::Canary, value(shift, noise)), (Arm::Primary, value(1.0, -noise))],
            );
        }
        let verdict = judge(&writer.log, &policy);
        assert_eq!((is_worse(&verdict), is_not_worse(&verdict)), (worse, !worse), "{worse_way:?} {shift}");
    }
}

#[test]
fn thresholds_count_failed_checks_over_the_rollout() {
    let range = Range::new(Some(99.0), None).unwrap();
    let mut policy = Policy::new(vec![metric("rate", Method::Threshold(range))]).unwrap();
    policy.failed_checks = NonZeroU32::new(2).unwrap();
    let mut writer = Writer::new();
    writer.values(&[99.5, 98.0]);
    assert_eq!(*reason(&judge(&writer.log, &policy)), Reason::FailedCheck { failed: 1, limit: 2 });
    writer.values(&[99.0]);
    assert!(is_not_worse(&judge(&writer.log, &policy)));
    writer.values(&[98.9]);
    assert!(is_worse(&judge(&writer.log, &policy)));
}

#[test]
fn a_budget_burns_over_both_windows() {
    let window = BurnWindow { long: 6 * WINDOW, short: 2 * WINDOW, factor: Weight::try_from(10.0).unwrap() };
    let rule = BurnRate::new(Rate::try_from(0.001).unwrap(), vec![window]).unwrap();
    let policy = Policy::new(vec![metric("errors", Method::BurnRate(rule))]).unwrap();
    let mut writer = Writer::new();
    writer.errors(8, 1000.0, 1.0, 0.0);
    assert!(is_not_worse(&judge(&writer.log, &policy)));
    writer.errors(4, 1000.0, 30.0, 0.0);
    assert!(is_worse(&judge(&writer.log, &policy)));
}

#[test]
fn nothing_that_is_wrong_with_data_speaks_against_the_canary() {
    let policy = errors_beside_a_baseline();
    let outage = Outcome::Outage("connection refused".into());
    for outcome in [Outcome::Empty, Outcome::NotANumber, Outcome::Reset, outage, Outcome::Value(7.0)] {
        let mut writer = Writer::new();
        writer.errors(30, 1000.0, 3.0, 3.0);
        let since = writer.now;
        writer.only(6, &outcome);
        let verdict = judge(&writer.log, &policy);
        let until = since + policy.missing.hold_for;
        assert_eq!(*reason(&verdict), Reason::MissingData { since, until }, "{outcome:?}");
        assert_eq!(verdict.metrics[0].opinion, Opinion::Missing);
        writer.only(60, &outcome);
        let Decision::CannotTell { then, .. } = judge(&writer.log, &policy).decision else { panic!("{outcome:?}") };
        assert_eq!(then, Some(Then::Rollback));
        writer.errors(60, 1000.0, 3.0, 3.0);
        assert!(is_not_worse(&judge(&writer.log, &policy)), "{outcome:?}");
    }
}

#[test]
fn nothing_passes_on_no_data() {
    let mut policy = errors_beside_a_baseline();
    policy.missing = Missing { hold_for: 60_000, then: Then::Promote };
    assert_eq!(*reason(&judge(&Log::default(), &policy)), Reason::NoData);
    let mut writer = Writer::new();
    writer.errors(60, 0.0, 0.0, 0.0);
    assert!(!is_not_worse(&judge(&writer.log, &policy)));
    assert_eq!(*reason(&judge(&writer.log, &Policy::new(Vec::new()).unwrap())), Reason::NoMetrics);
}

#[test]
fn an_old_point_is_stale() {
    let mut writer = Writer::new();
    writer.errors(30, 1000.0, 20.0, 3.0);
    for entry in &mut writer.log.entries {
        if let Entry::Sample(sample) = entry {
            sample.asked += 3_600_000;
        }
    }
    let verdict = judge(&writer.log, &errors_beside_a_baseline());
    assert!(!is_worse(&verdict));
    assert!(verdict.findings.iter().any(|finding| finding.what == Trouble::Stale));
}

#[test]
fn pods_that_warm_up_are_not_judged() {
    let mut policy = errors_beside_a_baseline();
    policy.warm_up = 6 * WINDOW;
    let mut writer = Writer::new();
    writer.mark(Event::Restarted(Arm::Canary));
    writer.errors(6, 1000.0, 300.0, 3.0);
    assert_eq!(*reason(&judge(&writer.log, &policy)), Reason::WarmingUp { until: START + policy.warm_up });
    writer.errors(60, 1000.0, 3.0, 3.0);
    assert!(is_not_worse(&judge(&writer.log, &policy)));
}

#[test]
fn another_split_than_intended_is_said() {
    let mut writer = Writer::new();
    writer.mark(Event::Split { canary: 0.1, baseline: 0.1 });
    for _ in 0..60 {
        let counts = |requests: f64| Outcome::Counts { requests, errors: requests / 100.0 };
        writer.window("errors", &Kind::Counts, &[(Arm::Canary, counts(300.0)), (Arm::Baseline, counts(1000.0))]);
    }
    assert!(matches!(reason(&judge(&writer.log, &errors_beside_a_baseline())), Reason::WrongSplit { .. }));
}

/// What is needed after a window, given how the primary was before.
fn needed_after(before: Outcome) -> f64 {
    let mut writer = Writer::new();
    let primary = Series { metric: "errors".into(), arm: Arm::Primary, kind: Kind::Counts, query: "q".into() };
    let series = writer.log.series(primary);
    let (from, to) = (0, START);
    writer.log.entries.push(Entry::Sample(Sample { series, from, to, asked: to, newest: None, outcome: before }));
    writer.errors(1, 1000.0, 5.0, 5.0);
    let verdict = judge(&writer.log, &errors_beside_a_baseline());
    let Decision::CannotTell { reason: Reason::NotEnoughTraffic, needs: Some(needs), .. } = verdict.decision else {
        panic!("{verdict:?}")
    };
    needs.requests
}

#[test]
fn how_the_primary_was_before_tells_how_long_it_takes_and_nothing_of_it_is_no_trouble() {
    let unknown = needed_after(Outcome::Empty);
    assert_eq!(unknown, needed_after(Outcome::Outage("away".into())));
    let often = needed_after(Outcome::Counts { requests: 1e6, errors: 1e4 });
    let rarely = needed_after(Outcome::Counts { requests: 1e6, errors: 1e3 });
    assert!(often < unknown && 2.0 * unknown < rarely, "{often} {unknown} {rarely}");
}

#[test]
fn needs_shrink_with_traffic() {
    let policy = errors_beside_a_baseline();
    let mut writer = Writer::new();
    let mut last = f64::INFINITY;
    for _ in 0..4 {
        writer.errors(3, 100.0, 1.0, 0.0);
        writer.errors(3, 100.0, 0.0, 1.0);
        let Decision::CannotTell { needs: Some(needs), .. } = judge(&writer.log, &policy).decision else { panic!() };
        assert!(needs.requests < last, "{needs:?} after {last}");
        assert!((needs.seconds - needs.requests / 10.0).abs() < 1e-6 * needs.seconds, "{needs:?}");
        last = needs.requests;
    }
}

#[test]
fn policies_and_logs_survive_json() {
    let policy = errors_beside_a_baseline();
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy, "{text}");
    let mut writer = Writer::new();
    writer.errors(2, 10.0, 1.0, 0.1 + 0.2);
    writer.only(1, &Outcome::Outage("gone".into()));
    let text = serde_json::to_string(&writer.log).unwrap();
    assert_eq!(serde_json::from_str::<Log>(&text).unwrap(), writer.log, "{text}");
    let short = r#"{"metrics": [{"name": "rate", "method": {"threshold": {"min": 99}}}]}"#;
    assert_eq!(serde_json::from_str::<Policy>(short).unwrap().failed_checks.get(), 5);
    for wrong in [
        r#"{"metrics": [{"name": "a", "method": {"threshold": {"min": 9, "max": 1}}}]}"#,
        r#"{"metrics": [], "falseAlarmRate": 1.5}"#,
        r#"{"metrics": [], "falseAlarmRte": 0.5}"#,
        r#"{"metrics": [{"name": "a", "method": {"threshold": {}}}, {"name": "a", "method": {"threshold": {}}}]}"#,
    ] {
        serde_json::from_str::<Policy>(wrong).unwrap_err();
    }
}

proptest! {
    #[test]
    fn how_often_one_asks_and_in_which_order_answers_come_changes_nothing(
        counts in prop::collection::vec((0..40_u32, 0..40_u32), 1..60),
        every in 1..7_usize,
    ) {
        let policy = errors_beside_a_baseline();
        let mut writer = Writer::new();
        for (canary, other) in &counts {
            writer.errors(1, 100.0, f64::from(*canary), f64::from(*other));
        }
        let at_once = judge(&writer.log, &policy);
        let mut asked = Judge::new(policy.clone());
        let mut seen = Log { series: writer.log.series.clone(), entries: Vec::new() };
        for (place, entry) in writer.log.entries.iter().enumerate() {
            seen.entries.push(entry.clone());
            if place.is_multiple_of(every) {
                asked.learn(&seen);
                let _ = asked.verdict();
            }
        }
        asked.learn(&seen);
        prop_assert_eq!(&asked.verdict(), &at_once);
        // The two answers of each look the other way round.
        for look in writer.log.entries[1..].chunks_mut(2) {
            look.reverse();
        }
        prop_assert_eq!(&judge(&writer.log, &policy), &at_once);
    }

    #[test]
    fn no_log_makes_it_panic(
        samples in prop::collection::vec((0..4_u32, any::<u64>(), any::<u64>(), any::<u64>(), any::<f64>(), any::<f64>()), 0..40),
    ) {
        let mut writer = Writer::new();
        writer.errors(1, 100.0, 1.0, 1.0);
        for (series, from, to, asked, requests, errors) in samples {
            let outcome = Outcome::Counts { requests, errors };
            writer.log.entries.push(Entry::Sample(Sample { series, from, to, asked, newest: Some(from), outcome }));
            writer.log.entries.push(Entry::Mark(Mark { at: to, what: Event::Restarted(Arm::Canary) }));
        }
        let mut policy = errors_beside_a_baseline();
        policy.warm_up = 5;
        let _ = judge::explain::explain(&judge(&writer.log, &policy));
    }
}
