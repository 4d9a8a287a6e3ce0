//! A metric is not judged as long as its window holds requests from before the analysis.

use std::time::Duration;

use rollout::spec::{HookKind, Metric, Strategy};
use rollout::{Ask, HookAnswer, Memory, Readiness, Reading, Run, Stage, State, Traffic};

use super::{Row, check};
use crate::support::build::{
    ab, at, blue_green, canary, duration, mirrored, run, settled, spec, success_rate, under_way, weights,
};
use crate::support::look::{Look, events};
use crate::support::world::{Quality, World};

const WINDOW: Duration = Duration::from_secs(300);
const HELD: &str =
    "the window of request-success-rate still holds requests from before this analysis; judged from 12:02:30 UTC";

/// A look that is due at two minutes past noon; the former canary had traffic until a minute ago, drained in half of
/// one, and the window is one minute.
fn look() -> Look {
    Look::new(spec(canary()), under_way(Stage::Progressing(run(20))))
        .with(|look| look.state.former_traffic = Some(at(60)))
}

fn failed(failed_checks: u32) -> Stage {
    Stage::Progressing(Run { failed_checks, ..run(20) })
}

#[test]
fn requests_from_before_the_analysis_are_not_judged() {
    let told = format!("Halt shop.eve advancement {HELD}");
    for value in [0.0, 100.0] {
        let seen = look().reading(Reading::Value(value)).go();
        assert_eq!(seen.step.state.stage, Stage::Progressing(run(20)), "{value} neither passes nor fails");
        assert_eq!(seen.events(), [told.as_str()]);
        assert_eq!((seen.reasons(), seen.step.waiting[0].message.as_str()), (vec!["FormerTraffic"], HELD));
        assert_eq!(seen.step.wake, Some(at(150)), "not a whole interval later");
        assert_eq!(seen.step.state.checks[0].result, "Held");
        assert!(!seen.asked.contains(&Ask::Metrics), "what is not judged need not be asked");

        let again = Look { state: seen.step.state, memory: seen.step.memory, now: at(149), ..look() }.go();
        assert_eq!((again.events(), again.reasons()), (Vec::new(), vec!["FormerTraffic"]), "told once, named always");
        let clear = Look { state: again.step.state, memory: again.step.memory, now: at(150), ..look() };
        assert_eq!(clear.clone().reading(Reading::Value(50.0)).go().step.state.stage, failed(1));
        assert_eq!(clear.go().step.state.stage, Stage::Progressing(run(40)));
    }
}

#[test]
fn what_can_be_judged_is_judged() {
    let both = |window: u64| {
        look().with(|look| {
            let later = Metric { interval: Duration::from_secs(window), ..duration() };
            look.spec.metrics = vec![success_rate(), later];
            look.readings = vec![Reading::Value(0.0), Reading::Value(900.0)];
        })
    };
    const SLOW: &str = "! Halt shop.eve advancement request duration 900ms > 500ms";
    check(vec![
        Row {
            name: "another metric is bad",
            look: both(10),
            stage: failed(1),
            desired: "20",
            events: &[SLOW],
            waiting: "Soaking",
        },
        Row {
            name: "a hook says no",
            look: look().hook(HookKind::Rollout, "load", HookAnswer::No("closed".into())),
            stage: failed(1),
            desired: "20",
            events: &["! Halt shop.eve advancement external check load failed closed"],
            waiting: "Soaking",
        },
        Row {
            name: "another metric cannot be read",
            look: both(10).with(|look| look.readings[1] = Reading::Unavailable("refused".into())),
            stage: Stage::Progressing(run(20)),
            desired: "20",
            events: &["! Halt shop.eve advancement metric request-duration cannot be read: refused"],
            waiting: "MetricsUnavailable",
        },
    ]);
    // A look is had at each interval until the longest window is clear.
    let long = both(600).go();
    assert_eq!(long.step.wake, Some(at(180)));
    let next = Look { state: long.step.state, memory: long.step.memory, now: at(180), ..both(600) }.go();
    assert_eq!(next.step.state.stage, failed(1), "the shorter window is clear");
}

#[test]
fn no_value_is_no_verdict_before_a_window_has_passed() {
    let look = |since| {
        let look = Look::new(spec(canary()), under_way(Stage::Progressing(run(20)))).reading(Reading::NoValue);
        look.with(|look| (look.state.since, look.spec.metrics[0].interval) = (Some(at(since)), Duration::from_secs(90)))
    };
    let early = look(31).go();
    assert_eq!((&early.step.state.stage, early.reasons()), (&Stage::Progressing(run(20)), vec!["NoValueYet"]));
    assert_eq!((early.step.state.checks[0].result.as_str(), early.step.wake), ("Held", Some(at(180))));
    let again = Look { state: early.step.state, memory: early.step.memory, now: at(180), ..look(31) }.go();
    assert_eq!(again.step.state.stage, failed(1), "then it means that the canary gets no traffic");
    assert_eq!(look(30).go().step.state.stage, failed(1));
    assert_eq!(
        look(31).reading(Reading::Value(50.0)).go().step.state.stage,
        failed(1),
        "a bad value is one at any time"
    );
}

#[test]
fn nothing_recent_delays_nothing() {
    for former in [None, Some(at(-3600)), Some(at(30))] {
        let seen = look().with(|look| look.state.former_traffic = former).go();
        assert_eq!(seen.step.state.stage, Stage::Progressing(run(40)), "{former:?}");
    }
    // A canary that was never sent anything leaves nothing behind.
    let crashing = under_way(Stage::Progressing(run(0)));
    let crashing = Look::new(spec(canary()), State { checked_at: None, ..crashing });
    let ended = crashing.canary_is(Readiness::Stuck("0 of 2 pods are available".into())).go().step;
    assert_eq!(ended.state.former_traffic, None);
    // The first look at a canary, and the soak before its first check, take as long as ever.
    let fresh = Look::new(spec(canary()), under_way(Stage::Progressing(run(0))));
    let fresh = fresh.with(|look| look.state.former_traffic = Some(at(89))).go().step;
    assert_eq!((fresh.state.stage, fresh.wake), (Stage::Progressing(run(20)), Some(at(180))));
}

#[test]
fn no_user_sees_the_canary_before_it_can_be_judged_at_its_first_check() {
    let fresh = State { checked_at: None, ..under_way(Stage::Progressing(run(0))) };
    let look = Look::new(spec(canary()), fresh)
        .hook(HookKind::PreRollout, "smoke", HookAnswer::Yes)
        .with(|look| (look.state.former_traffic, look.spec.metrics[0].interval) = (Some(at(60)), WINDOW));
    let why = "the window of request-success-rate still holds requests from before this analysis; the canary gets traffic from \
               12:05:30 UTC";
    let held = look.go();
    assert_eq!((&held.step.state.stage, held.step.wake), (&Stage::Progressing(run(0)), Some(at(330))));
    assert_eq!((held.reasons(), held.step.waiting[0].message.as_str()), (vec!["FormerTraffic"], why));
    assert_eq!(held.events(), [format!("Halt shop.eve advancement {why}")]);
    assert!(held.asked.is_empty(), "nor is it tried out twice");

    let again = Look { state: held.step.state, memory: held.step.memory, now: at(329), ..look.clone() }.go();
    assert_eq!((again.events(), again.reasons()), (Vec::new(), vec!["FormerTraffic"]));
    let begun = Look { state: again.step.state, memory: again.step.memory, now: at(330), ..look }.go().step;
    assert_eq!((begun.state.stage, begun.wake), (Stage::Progressing(run(20)), Some(at(390))));
}

#[test]
fn traffic_ends_when_the_routes_say_so() {
    let shadow = Run { mirrored: true, ..run(0) };
    let iteration = Run { iterations: 1, ..run(0) };
    let ways: Vec<(Strategy, Stage)> = vec![
        (canary(), Stage::Progressing(run(20))),
        (mirrored(), Stage::Progressing(shadow)),
        (blue_green(2), Stage::Progressing(iteration)),
        (ab(2), Stage::WaitingPromotion(Run { iterations: 2, ..run(100) })),
    ];
    for (strategy, stage) in ways {
        let under = Look::new(spec(strategy), under_way(stage.clone()));
        let taken_back = under.clone().command("abort").go().step;
        let superseded = under.clone().target("newer").go().step;
        let withdrawn = under.clone().target("old").go().step;
        for ended in [taken_back, superseded, withdrawn] {
            assert_eq!(ended.state.former_traffic, Some(at(120)), "{stage:?}");
            // The gateway takes its time; the process may die meanwhile.
            for memory in [ended.memory, Memory::default()] {
                let later = |traffic: Traffic, now| {
                    let mut look = Look { state: ended.state.clone(), memory: memory.clone(), ..under.clone() };
                    let applied = ended.state.applied.clone().expect("a revision");
                    look.seen.target.as_mut().expect("a target").revision = applied;
                    (look.seen.traffic, look.now) = (traffic, at(now));
                    look.go().step
                };
                let pending = later(Traffic::Pending("the gateway is slow".into()), 125);
                assert_eq!(pending.state.former_traffic, Some(at(120)));
                let gone = later(Traffic::Split { weight: 0, mirrored: false }, 130);
                assert_eq!(gone.state.former_traffic, Some(at(130)), "{stage:?} to {:?}", ended.state.stage);
            }
        }
    }
    let started = State { stage: Stage::Initializing, since: Some(at(0)), ..State::default() };
    let started = Look::new(spec(canary()), started).split(0).canary_is(Readiness::ScaledToZero);
    let initialized = started.with(|look| look.memory.matched_since = Some(at(80))).go().step;
    assert_eq!(initialized.state.former_traffic, Some(at(80)), "the target had all traffic before the primary");
    let idle = Look::new(spec(canary()), State { former_traffic: Some(at(-10)), ..settled(Stage::Succeeded) });
    let idle = idle.target("old").go().step;
    assert_eq!(idle.state.former_traffic, Some(at(-10)), "an idle Canary does not write");
}

/// A window of five minutes, and a bad first revision.
fn world() -> World {
    let mut world = World::new(spec(canary()));
    world.spec.metrics[0].interval = WINDOW;
    world.quality.insert("bad".into(), Quality::Bad);
    world.run(at(600), &mut |_, _| {});
    world.push("bad");
    world
}

/// Runs until then, with or without memory, and returns the events of failed checks.
fn halts(world: &mut World, until: i64) -> Vec<String> {
    let mut told = Vec::new();
    world.run(at(until), &mut |_, pass| told.extend(events(&pass.step.effects)));
    told.retain(|event| event.contains("success rate"));
    told
}

#[test]
fn a_good_release_right_after_a_bad_one_is_promoted_without_a_failed_check() {
    for crash in [false, true] {
        let mut world = world();
        while !matches!(world.state().stage, Stage::Failed { .. }) {
            let until = world.now + jiff::SignedDuration::from_secs(1);
            world.run(until, &mut |_, _| {});
        }
        world.push("good");
        if crash {
            world.pass(Some(1));
        }
        assert_eq!(halts(&mut world, 7200), Vec::<String>::new());
        assert_eq!(world.primary.map(|primary| primary.revision), Some("good".into()));
    }
}

#[test]
fn a_good_release_that_supersedes_a_bad_one_is_promoted_without_a_failed_check() {
    let mut world = world();
    assert_eq!(halts(&mut world, 700).len(), 1);
    world.push("good");
    assert_eq!(halts(&mut world, 7200), Vec::<String>::new());
    assert_eq!(world.primary.map(|primary| primary.revision), Some("good".into()));
}

#[test]
fn a_bad_canary_that_must_keep_the_traffic_is_replaced_before_its_successor_is_judged() {
    let mut world = world();
    world.spec.strategy = weights(&[100]);
    world.quality.insert("broken".into(), Quality::BreaksPrimary);
    world.push("broken");
    while world.state().stage != (Stage::Failed { weight: 100, failed_checks: 0 }) {
        let until = world.now + jiff::SignedDuration::from_secs(1);
        world.run(until, &mut |_, _| {});
    }
    world.push("bad");
    assert!(!halts(&mut world, 3600).is_empty());
    assert_eq!(world.weight(), 100, "the primary is no refuge");
    world.push("good");
    assert_eq!(halts(&mut world, 7200), Vec::<String>::new());
    assert_eq!(world.primary.map(|primary| primary.revision), Some("good".into()));
}
