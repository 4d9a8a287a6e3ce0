use std::sync::atomic::{AtomicUsize, Ordering};

use crds::{Check, Phase, WaitingFor};
use serde_json::json;

use super::*;
use crate::dashboard::story::{LINES, LONGEST, SAMPLES};

fn canary(name: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}})
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + seconds).unwrap()
}

fn status(phase: Phase, weight: i32, since: i64) -> CanaryStatus {
    CanaryStatus { phase, canary_weight: weight, last_transition_time: Some(at(since)), ..CanaryStatus::default() }
}

fn checked(weight: i32, seconds: i64, value: &str, result: &str) -> CanaryStatus {
    let check = Check {
        name: "latency".into(),
        result: result.into(),
        value: Some(value.into()),
        threshold: None,
        message: None,
    };
    let last_check_time = Some(at(seconds));
    CanaryStatus { checks: vec![check], last_check_time, ..status(Phase::Progressing, weight, 0) }
}

fn keeping() -> (History, Arc<AtomicUsize>) {
    let (history, told) = (History::default(), Arc::new(AtomicUsize::new(0)));
    let counter = told.clone();
    let grown = move |_: &CanaryKey| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    history.keep(at(0), grown, || {});
    (history, told)
}

fn of(history: &History, name: &str) -> Value {
    serde_json::to_value(history.of(&CanaryKey::new("shop", name))).unwrap()
}

#[test]
fn nothing_is_kept_before_somebody_wants_it() {
    let history = History::default();
    history.record(&canary("web"), &status(Phase::Progressing, 10, 0), at(0));
    history.tell(&canary("web"), false, "Advance", at(0));
    assert_eq!(of(&history, "web"), Value::Null);
}

#[test]
fn a_rollout_is_kept_until_the_next_begins() {
    let (history, told) = keeping();
    let web = canary("web");
    history.record(&web, &status(Phase::Initialized, 0, 0), at(0));
    assert_eq!(of(&history, "web"), Value::Null, "idle Canaries cost nothing");
    history.record(&web, &status(Phase::Progressing, 0, 1), at(1));
    history.record(&web, &status(Phase::Progressing, 10, 2), at(3));
    history.record(&web, &status(Phase::Progressing, 10, 2), at(4));
    assert_eq!(told.load(Ordering::Relaxed), 2, "what stands already is no news");
    history.record(&web, &status(Phase::Failed, 0, 5), at(5));
    history.record(&web, &status(Phase::Failed, 0, 5), at(60));
    let base = at(0).as_millisecond();
    assert_eq!(
        of(&history, "web")["samples"],
        json!([
            [base + 1000, 0, "Progressing", 0, 0, false, false],
            [base + 2000, 10, "Progressing", 0, 0, false, false],
            [base + 5000, 0, "Failed", 0, 0, false, false]
        ])
    );
    history.record(&web, &status(Phase::Progressing, 0, 90), at(90));
    assert_eq!(of(&history, "web")["samples"].as_array().unwrap().len(), 1, "a new rollout begins anew");
    history.forget(&CanaryKey::new("shop", "web"));
    assert_eq!(of(&history, "web"), Value::Null);
    assert_eq!(history.lock().bytes, 0);
}

#[test]
fn each_look_at_the_checks_is_kept_once() {
    let (history, _) = keeping();
    let web = canary("web");
    history.record(&web, &checked(10, 10, "212.5", "Passed"), at(10));
    history.record(&web, &checked(10, 10, "212.5", "Passed"), at(11));
    history.record(&web, &checked(10, 20, "none", "NoData"), at(20));
    history.record(&web, &checked(10, 30, "612", "Failed"), at(30));
    let base = at(0).as_millisecond();
    assert_eq!(
        of(&history, "web")["checks"],
        json!([{"name": "latency", "points": [
            [base + 10_000, 212.5, "passed"], [base + 20_000, null, "missing"], [base + 30_000, 612.0, "failed"]]}])
    );
}

#[test]
fn a_reason_to_wait_is_told_when_it_is_new() {
    let (history, _) = keeping();
    let web = canary("web");
    let waiting = |reason: &str, message: &str| CanaryStatus {
        waiting_for: vec![WaitingFor { reason: reason.into(), message: message.into() }],
        ..status(Phase::Progressing, 0, 0)
    };
    history.record(&web, &waiting("CanaryNotReady", "0 of 2"), at(0));
    history.record(&web, &waiting("CanaryNotReady", "1 of 2"), at(1));
    history.record(&web, &waiting("Soaking", "10 %"), at(2));
    history.record(&web, &waiting("CanaryNotReady", "1 of 2 again"), at(3));
    history.tell(&web, true, "Halt", at(4));
    let log = of(&history, "web")["log"].clone();
    let lines: Vec<_> = log.as_array().unwrap().iter().map(|line| (&line["kind"], &line["message"])).collect();
    assert_eq!(
        lines,
        [
            (&json!("hold"), &json!("0 of 2")),
            (&json!("hold"), &json!("1 of 2 again")),
            (&json!("warning"), &json!("Halt"))
        ]
    );
}

#[test]
fn one_canary_is_bounded() {
    let (history, _) = keeping();
    let web = canary("web");
    for round in 0..2000_i64 {
        let weight = i32::try_from(round % 100).unwrap();
        history.record(&web, &checked(weight, round, &"9".repeat(400), "Passed"), at(round));
        history.tell(&web, false, &"ü".repeat(1000), at(round));
    }
    let past = of(&history, "web");
    let length = |value: &Value| value.as_array().unwrap().len();
    assert_eq!(length(&past["samples"]), SAMPLES);
    assert_eq!(length(&past["checks"][0]["points"]), SAMPLES);
    assert_eq!(length(&past["log"]), LINES);
    assert!(past["log"][0]["message"].as_str().unwrap().len() <= LONGEST);
    assert!(history.lock().bytes < 200_000, "{}", history.lock().bytes);
}

#[test]
fn all_together_are_bounded_and_the_quietest_go_first() {
    let (history, _) = keeping();
    for index in 0..200 {
        for line in 0..LINES {
            history.tell(&canary(&format!("web-{index}")), false, &"x".repeat(LONGEST), at(line.try_into().unwrap()));
        }
        assert!(history.lock().bytes <= TOTAL);
    }
    assert_eq!(of(&history, "web-0"), Value::Null);
    assert!(of(&history, "web-199").is_object());
    let counted: usize = history.lock().stories.values().map(|story| story.bytes).sum();
    assert_eq!(counted, history.lock().bytes);
}
