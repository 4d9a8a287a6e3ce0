//! The judge's looks: evidence against the canary ends the rollout, evidence for it leads on, and neither waits.

use std::time::Duration;

use crds::{AfterHold, Baseline, Phase, RunEntry, RunSample, Worse};
use judge::sample::{Arm, Entry};
use rollout::evidence::{Counted, Gathered, USUAL};
use rollout::spec::{Against, AutoPlan, Comparison, Effect, Judge, Measure, Method, MissingData, Rate};
use rollout::{Ask, Reading, Stage, Traffic};

use crate::support::build::{at, canary, run, spec, success_rate, under_way};
use crate::support::look::{Look, Seen};

/// Errors of the canary against the primary's; twice as many matter.
fn look() -> Look {
    let mut spec = spec(canary());
    let rate = Rate::USUAL;
    spec.judge = Judge {
        method: Method::Sequential { false_alarm_rate: rate, false_promotion_rate: rate },
        baseline: Baseline::Primary,
        missing_data: Some(MissingData::default()),
        warm_up: Duration::ZERO,
    };
    spec.metrics = vec![success_rate()];
    spec.metrics[0].comparison = Some(Comparison {
        measure: Measure::Errors,
        worse: Worse::Higher,
        against: Against::Primary,
        smallest_effect: Effect::new(1.0, 0.0).expect("an effect"),
    });
    let mut look = Look::new(spec, under_way(Stage::Progressing(run(20))));
    look.state.run = Some("shop-1".into());
    look
}

fn counted(arm: Arm, all: f64, failed: f64) -> Gathered {
    gathered(arm, Counted::Requests { all, failed })
}

fn gathered(arm: Arm, answer: Counted) -> Gathered {
    let query = Some("sum(increase(requests[60s]))".into());
    Gathered {
        metric: "request-success-rate".into(),
        arm,
        query,
        asked: at(120),
        window: Duration::from_secs(60),
        answer,
    }
}

fn arms(canary: (f64, f64), primary: (f64, f64)) -> Vec<Gathered> {
    vec![counted(Arm::Canary, canary.0, canary.1), counted(Arm::Primary, primary.0, primary.1)]
}

fn seen(gathered: Vec<Gathered>) -> Seen {
    look().with(|look| look.gathered = gathered).go()
}

/// A sample of the record, of the minute before that second.
fn recorded(second: i64, arm: &str, requests: u32, errors: u32) -> RunSample {
    RunSample {
        metric: "request-success-rate".into(),
        arm: Some(arm.into()),
        asked: at(second),
        window_milliseconds: 60_000,
        requests: Some(requests.to_string()),
        errors: Some(errors.to_string()),
        ..RunSample::default()
    }
}

/// A look of the record at the end of that minute: each arm's requests, and how many of them failed.
fn recorded_look(minute: i64, weight: i32, arms: [(&str, u32, u32); 2]) -> RunEntry {
    let sample = |(arm, requests, errors)| recorded(minute * 60, arm, requests, errors);
    let samples = arms.map(sample).to_vec();
    RunEntry { time: at(minute * 60), weight, looked: true, samples, ..RunEntry::default() }
}

/// A look after half an hour at one fifth of the traffic beside a copy of the primary: both answer so many
/// requests a minute, of which so many fail.
fn after_half_an_hour(requests: u32, canary: u32, baseline: u32) -> Seen {
    let entry = |minute| RunEntry {
        looked: minute > -30,
        ..recorded_look(minute, 20, [("Canary", requests, canary), ("Baseline", requests, baseline)])
    };
    let look = look().with(|look| {
        *look = look.clone().beside_baseline();
        let comparison = look.spec.metrics[0].comparison.as_mut().expect("a comparison");
        comparison.against = Against::Baseline;
        look.past = (-30..=1).map(entry).collect();
        look.gathered = [(Arm::Canary, canary), (Arm::Baseline, baseline)]
            .map(|(arm, failed)| counted(arm, f64::from(requests), f64::from(failed)))
            .to_vec();
    });
    look.go()
}

#[test]
fn a_worse_canary_is_taken_back_at_once_and_told_with_its_numbers() {
    let seen = after_half_an_hour(1000, 40, 5);
    let (stage, waiting) = (&seen.step.state.stage, &seen.step.waiting);
    assert_eq!(*stage, Stage::Failed { weight: 0, failed_checks: 0 }, "{waiting:?} {:?}", seen.step.state.checks);
    let events = seen.events().join("\n");
    assert!(events.contains("Rolling back shop.eve the canary is worse: request-success-rate"), "{events}");
    assert!(events.contains("(4 %)") && events.contains("(0.5 %)"), "{events}");
    assert_eq!(seen.step.state.checks[0].result, "Failed");
    assert_eq!(seen.asked, [Ask::Past, Ask::Evidence { since: at(0), usual: true }]);
}

#[test]
fn a_canary_that_is_not_worse_goes_on() {
    let seen = after_half_an_hour(2000, 10, 10);
    assert_eq!(seen.step.state.stage, Stage::Progressing(run(40)), "{:?}", seen.step.waiting);
    assert_eq!(seen.step.state.checks[0].result, "Passed");
}

#[test]
fn too_little_evidence_waits_and_says_how_much_is_needed() {
    let seen = seen(arms((200.0, 1.0), (800.0, 4.0)));
    assert_eq!(seen.step.state.stage, Stage::Progressing(run(20)));
    let waiting = &seen.step.waiting[0];
    assert_eq!(waiting.reason, "NotEnoughTraffic");
    assert!(waiting.message.contains("needs about") && waiting.message.contains("at the present rate"), "{waiting:?}");
}

/// A look in the tenth minute of a canary that fails most of its requests.
fn failing_with_warm_up(minutes: u64) -> rollout::Step {
    let entry = |minute| recorded_look(minute, 20, [("Canary", 200, 150), ("Primary", 800, 4)]);
    let look = look().with(|look| {
        look.spec.judge.warm_up = Duration::from_secs(60 * minutes);
        look.past = (-7..=1).map(entry).collect();
        look.gathered = arms((200.0, 150.0), (800.0, 4.0));
    });
    look.go().step
}

#[test]
fn a_canary_that_warms_up_is_not_judged() {
    for (warm_up, phase) in [(0, Phase::Failed), (2, Phase::Failed), (10, Phase::Progressing)] {
        let step = failing_with_warm_up(warm_up);
        assert_eq!(step.state.stage.phase(), phase, "{warm_up} min: {:?}", step.waiting);
    }
    let warming = failing_with_warm_up(12);
    assert_eq!((warming.waiting[0].reason.as_str(), warming.waiting.len()), ("WarmingUp", 1), "{:?}", warming.waiting);
}

#[test]
fn missing_data_holds_and_then_does_what_the_policy_says() {
    let none = || vec![gathered(Arm::Canary, Counted::Reading(Reading::NoValue)), counted(Arm::Primary, 800.0, 4.0)];
    let held = seen(none());
    assert_eq!(held.step.state.stage, Stage::Progressing(run(20)), "no answer is no failed check");
    for (then, phase) in [
        (AfterHold::Rollback, Phase::Failed),
        (AfterHold::Promote, Phase::Progressing),
        (AfterHold::Pause, Phase::Progressing),
    ] {
        let missing = look().with(|look| {
            look.spec.judge.missing_data = Some(MissingData { hold_for: Duration::from_secs(60), then });
            look.memory.evidence = held.step.memory.evidence.clone();
            look.state.checked_at = Some(at(180));
            look.now = at(600);
            look.gathered = none().into_iter().map(|gathered| Gathered { asked: at(600), ..gathered }).collect();
        });
        let seen = missing.go();
        assert_eq!(seen.step.state.stage.phase(), phase, "{then:?}: {:?}", seen.step.waiting);
        assert_eq!(seen.step.state.paused, then == AfterHold::Pause);
        assert_eq!(
            seen.step.state.stage.weight(),
            if then == AfterHold::Promote {
                40
            } else if then == AfterHold::Pause {
                20
            } else {
                0
            }
        );
    }
}

#[test]
fn what_the_record_holds_is_asked_for_once() {
    let first = look().with(|look| look.gathered = arms((200.0, 1.0), (800.0, 4.0))).go();
    assert_eq!(first.asked, [Ask::Past, Ask::Evidence { since: at(0), usual: true }]);
    let second = look().with(|look| {
        look.memory = first.step.memory.clone();
        look.state = first.step.state.clone();
        look.now = at(240);
        look.gathered = arms((200.0, 1.0), (800.0, 4.0));
    });
    assert_eq!(second.go().asked, [Ask::Evidence { since: at(120), usual: false }]);
}

#[test]
fn how_the_primary_was_before_is_recorded_learnt_once_and_neither_compared_nor_taken_for_the_traffic_of_now() {
    let usual = Gathered { asked: at(60), window: USUAL, ..counted(Arm::Primary, 360_000.0, 36_000.0) };
    let of = |seen: &Seen| seen.step.memory.evidence.as_ref().expect("evidence").1.clone();
    let learnt = |seen: &Seen| {
        let hours = u64::try_from(USUAL.as_millis()).expect("hours");
        let samples = of(seen).entries.clone().into_iter().filter_map(|entry| match entry {
            Entry::Sample(sample) => Some(sample),
            Entry::Mark(_) => None,
        });
        samples.filter(|sample| sample.to - sample.from == hours).count()
    };
    let first = look().with(|look| look.gathered = [vec![usual.clone()], arms((200.0, 1.0), (800.0, 4.0))].concat());
    let first = first.go();
    assert_eq!(learnt(&first), 1);
    let check = &first.step.state.checks[0];
    assert!(check.message.as_ref().is_some_and(|told| told.contains("of 800")), "{check:?}");

    let samples = first.step.log.iter().flat_map(|logged| logged.entry.samples.clone()).collect();
    let entry = RunEntry { time: at(120), weight: 20, looked: true, samples, ..RunEntry::default() };
    assert_eq!(entry.samples.len(), 3);
    let again = look().with(|look| {
        look.past = vec![entry];
        look.now = at(240);
        let later = |gathered: Gathered| Gathered { asked: gathered.asked + Duration::from_secs(120), ..gathered };
        let all = [vec![usual], arms((200.0, 1.0), (800.0, 4.0))].concat();
        look.gathered = all.into_iter().map(later).collect();
    });
    assert_eq!(learnt(&again.go()), 1);
}

/// A look at the end of so many minutes with a twentieth of 600 requests a minute, of which four in a thousand fail; three
/// times as many would matter.
fn planned(minutes: i64) -> Seen {
    let look = look().with(|look| {
        look.state.stage = Stage::Progressing(run(5));
        look.seen.traffic = Traffic::Split { weight: 5, mirrored: false };
        look.spec.plan = Some(AutoPlan { failed_requests: 200.try_into().expect("a budget") });
        look.spec.metrics[0].comparison.as_mut().expect("a comparison").smallest_effect =
            Effect::new(2.0, 0.0).expect("an effect");
        let entry = |minute| recorded_look(minute, 5, [("Canary", 30, 0), ("Primary", 570, 2)]);
        look.past = (3 - minutes..=1).map(entry).collect();
        // Hours in which there was next to no traffic do not tell how much there is now.
        let night = RunSample {
            window_milliseconds: USUAL.as_millis().try_into().expect("hours"),
            ..recorded((2 - minutes) * 60, "Primary", 1000, 4)
        };
        look.past.iter_mut().take(1).for_each(|entry| entry.samples.insert(0, night.clone()));
        look.gathered = arms((30.0, 0.0), (570.0, 2.0));
    });
    look.go()
}

#[test]
fn a_share_lasts_as_long_as_the_plan_says_and_the_next_follows_without_a_verdict() {
    let begun = planned(1);
    assert_eq!(begun.step.state.stage, Stage::Progressing(run(5)));
    let waiting = &begun.step.waiting[0];
    assert_eq!(waiting.reason, "NotEnoughTraffic");
    for words in ["by the plan 5 % last until 12:03:00 UTC", "% follow", "the end is expected about"] {
        assert!(waiting.message.contains(words), "{waiting:?}");
    }
    let over = planned(10);
    assert!(over.step.state.stage.weight() > 5, "{:?}", over.step.waiting);
    assert!(over.events().join("\n").contains("canary weight"));
}
