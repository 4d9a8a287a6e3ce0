//! Initialization and the steps of each strategy.

use std::time::Duration;

use rollout::spec::{HookKind, Mirror, Strategy};
use rollout::{HookAnswer, Readiness, Run, Stage, State, Traffic};

use super::{Row, check};
use crate::support::build::{ab, affinity, at, blue_green, canary, mirrored, run, settled, spec, under_way, weights};
use crate::support::look::Look;

fn not_ready() -> Readiness {
    Readiness::NotYet("1 of 2 pods are available".into())
}

fn progressing(run: Run) -> Stage {
    Stage::Progressing(run)
}

fn iteration(weight: u8, iterations: u32) -> Run {
    Run { weight, iterations, ..Run::default() }
}

#[test]
fn initialization() {
    let first = |stage: Stage| {
        Look::new(spec(canary()), State { stage, since: Some(at(0)), ..State::default() }).target("old").with(|look| {
            look.memory.matched_since = None;
            look.seen.apex = false;
            look.seen.traffic = Traffic::Missing;
        })
    };
    let row =
        |name, look, desired, waiting| Row { name, look, stage: Stage::Initializing, desired, events: &[], waiting };
    let served = |look: Look| look.split(0).with(|look| look.seen.apex = true);
    check(vec![
        row(
            "nothing is there",
            first(Stage::New).with(|look| look.seen.primary = None),
            "0 services create",
            "PrimaryCreating",
        ),
        row(
            "the primary starts",
            first(Stage::Initializing).primary_is(not_ready()),
            "0 services create",
            "PrimaryNotReady",
        ),
        row("the primary is ready", first(Stage::Initializing), "0 create", "RouteCreating"),
        row("the route is not in force", first(Stage::Initializing).split(50), "0 create", "TrafficShifting"),
        row("the traffic moved", served(first(Stage::Initializing)), "0 create", "Draining"),
        row(
            "the traffic drained",
            served(first(Stage::Initializing)).with(|look| look.memory.matched_since = Some(at(0))),
            "0 create down",
            "CanaryScalingDown",
        ),
        Row {
            name: "the target is down",
            look: served(first(Stage::Initializing)).canary_is(Readiness::ScaledToZero),
            stage: Stage::Initialized,
            desired: "0",
            events: &["Initialization done! shop.eve"],
            waiting: "",
        },
    ]);
    let changed = served(first(Stage::Initializing)).target("new").canary_is(Readiness::ScaledToZero).go().step.state;
    let ids = (changed.applied.map(|applied| applied.id), changed.promoted.map(|promoted| promoted.id));
    assert_eq!(ids, (Some("old".into()), Some("old".into())), "a change during initialization is still due");
    let again = first(Stage::Terminated).go().step;
    assert_eq!(again.state.stage, Stage::Initializing, "a Canary made anew from a backup starts over");
}

/// A gateway that is sent to a Service before it knows its pods answers 503, or 404 to everybody.
#[test]
fn pods_are_known_to_gateways_before_their_first_users() {
    let settles = |look: Look| look.with(|look| look.settings.settle = Duration::from_secs(3));
    let first_step = || {
        let look = Look::new(spec(canary()), under_way(progressing(run(0))));
        settles(look.with(|look| look.state.checked_at = None))
    };
    let elsewhere = || Traffic::Pending("HTTPRoute shop sends nothing to shop-primary or shop-canary yet".into());
    let primary = |since: Option<jiff::Timestamp>, traffic: Traffic| {
        let state = State { stage: Stage::Initializing, since: Some(at(0)), ..State::default() };
        settles(Look::new(spec(canary()), state)).target("old").with(|look| {
            look.memory.ready_since = since;
            look.seen.traffic = traffic;
        })
    };
    let row = |name, look, stage, desired, waiting| Row { name, look, stage, desired, events: &[], waiting };
    check(vec![
        row("the canary is ready", first_step(), progressing(run(0)), "0", "Settling"),
        Row {
            name: "the gateways know it",
            look: first_step().with(|look| look.memory.ready_since = Some(at(117))),
            stage: progressing(run(20)),
            desired: "20",
            events: &["Starting canary analysis for shop.eve", "Advance shop.eve canary weight 20"],
            waiting: "Soaking",
        },
        row("the primary is ready", primary(None, elsewhere()), Stage::Initializing, "0 services create", "Settling"),
        row(
            "the gateways know the primary",
            primary(Some(at(117)), elsewhere()),
            Stage::Initializing,
            "0 create",
            "RouteNotAccepted",
        ),
        row(
            "a route that is not there has no users",
            primary(None, Traffic::Missing),
            Stage::Initializing,
            "0 create",
            "RouteCreating",
        ),
    ]);
    let ready = first_step().go().step;
    assert_eq!((ready.wake, ready.memory.ready_since), (Some(at(123)), Some(at(120))));
    let unready = first_step().canary_is(not_ready()).with(|look| look.memory = ready.memory.clone()).go().step;
    assert_eq!(unready.memory.ready_since, None, "pods that come anew settle anew");
    let next = settles(Look::new(spec(canary()), settled(Stage::Succeeded))).with(|look| look.memory = ready.memory);
    assert_eq!(next.go().step.memory.ready_since, None, "the pods of the next rollout settle anew");
}

#[test]
fn routes_that_follow_in_a_moment_do_not_change_the_words() {
    for (matched, told) in [(0, "12:01:00"), (1, "12:01:00"), (2, "12:01:02"), (30, "12:01:30")] {
        let look = Look::new(spec(canary()), under_way(progressing(run(20)))).with(|look| {
            look.memory.matched_since = Some(at(matched));
            look.now = at(matched);
        });
        let step = look.go().step;
        let message = &step.waiting[0].message;
        assert!(message.contains(told), "{matched}: {message}");
        assert_eq!(step.wake, Some(at(matched + 60)), "{matched}");
    }
}

#[test]
fn by_weight() {
    let at_weight = |weight| Look::new(spec(canary()), under_way(progressing(run(weight))));
    check(vec![
        Row {
            name: "a new revision",
            look: Look::new(spec(canary()), settled(Stage::Succeeded)),
            stage: progressing(run(0)),
            desired: "0 up",
            events: &["New revision detected! Scaling up shop.eve"],
            waiting: "CanaryScalingUp",
        },
        Row {
            name: "the canary starts",
            look: at_weight(0).canary_is(not_ready()),
            stage: progressing(run(0)),
            desired: "0",
            events: &[],
            waiting: "CanaryNotReady",
        },
        Row {
            name: "the first step",
            look: at_weight(0).with(|look| look.state.checked_at = None),
            stage: progressing(run(20)),
            desired: "20",
            events: &["Starting canary analysis for shop.eve", "Advance shop.eve canary weight 20"],
            waiting: "Soaking",
        },
        Row {
            name: "before the interval is over",
            look: at_weight(20).with(|look| look.now = at(59)),
            stage: progressing(run(20)),
            desired: "20",
            events: &[],
            waiting: "Soaking",
        },
        Row {
            name: "time counts from when the traffic was there",
            look: at_weight(20).with(|look| look.memory.matched_since = Some(at(61))),
            stage: progressing(run(20)),
            desired: "20",
            events: &[],
            waiting: "Soaking",
        },
        Row {
            name: "the next step",
            look: at_weight(20),
            stage: progressing(run(40)),
            desired: "40",
            events: &["Advance shop.eve canary weight 40"],
            waiting: "Soaking",
        },
        Row {
            name: "the last step",
            look: at_weight(60),
            stage: Stage::Promoting { weight: 60 },
            desired: "60 promote",
            events: &["Copying shop.eve template spec to shop-primary.eve"],
            waiting: "PrimaryUpdating",
        },
        Row {
            name: "the route is not accepted",
            look: at_weight(20).with(|look| look.seen.traffic = Traffic::Pending("no listener".into())),
            stage: progressing(run(20)),
            desired: "20",
            events: &[],
            waiting: "RouteNotAccepted",
        },
        Row {
            name: "the route is broken",
            look: at_weight(20).with(|look| look.seen.traffic = Traffic::Broken("mend spec.service.hosts".into())),
            stage: progressing(run(20)),
            desired: "20",
            events: &["! mend spec.service.hosts"],
            waiting: "RouteBroken",
        },
        Row {
            name: "the primary is busy",
            look: at_weight(20).primary_is(not_ready()),
            stage: progressing(run(20)),
            desired: "20",
            events: &[],
            waiting: "PrimaryNotReady",
        },
        Row {
            name: "a single step",
            look: Look::new(spec(weights(&[100])), under_way(progressing(run(100)))),
            stage: Stage::Promoting { weight: 100 },
            desired: "100 promote",
            events: &["Copying shop.eve template spec to shop-primary.eve"],
            waiting: "PrimaryUpdating",
        },
    ]);
}

#[test]
fn mirroring_first() {
    let shadow = Run { mirrored: true, ..Run::default() };
    check(vec![
        Row {
            name: "shadow traffic first",
            look: Look::new(spec(mirrored()), under_way(progressing(run(0)))),
            stage: progressing(shadow),
            desired: "0 mirrored",
            events: &["Advance shop.eve canary mirrored traffic"],
            waiting: "Soaking",
        },
        Row {
            name: "the mirror is not in force",
            look: Look::new(spec(mirrored()), under_way(progressing(shadow))).split(0),
            stage: progressing(shadow),
            desired: "0 mirrored",
            events: &[],
            waiting: "TrafficShifting",
        },
        Row {
            name: "then real traffic",
            look: Look::new(spec(mirrored()), under_way(progressing(shadow))),
            stage: progressing(run(20)),
            desired: "20",
            events: &["Advance shop.eve canary weight 20"],
            waiting: "Soaking",
        },
    ]);
}

#[test]
fn blue_green_iterations() {
    let done =
        |weight, iterations| Look::new(spec(blue_green(2)), under_way(progressing(iteration(weight, iterations))));
    let shadowed = Strategy::BlueGreen { iterations: 2, mirror: Some(Mirror { percent: 100 }) };
    check(vec![
        Row {
            name: "the first iteration",
            look: done(0, 0),
            stage: progressing(iteration(0, 1)),
            desired: "0",
            events: &["Advance shop.eve canary iteration 1/2"],
            waiting: "Soaking",
        },
        Row {
            name: "the second iteration",
            look: done(0, 1),
            stage: progressing(iteration(0, 2)),
            desired: "0",
            events: &["Advance shop.eve canary iteration 2/2"],
            waiting: "Soaking",
        },
        Row {
            name: "then all traffic for one interval",
            look: done(0, 2),
            stage: progressing(iteration(100, 3)),
            desired: "100",
            events: &["Routing all traffic to canary"],
            waiting: "Soaking",
        },
        Row {
            name: "then the promotion",
            look: done(100, 3),
            stage: Stage::Promoting { weight: 100 },
            desired: "100 promote",
            events: &["Copying shop.eve template spec to shop-primary.eve"],
            waiting: "PrimaryUpdating",
        },
        Row {
            name: "with a mirror",
            look: Look::new(spec(shadowed.clone()), under_way(progressing(run(0)))),
            stage: progressing(Run { mirrored: true, ..iteration(0, 1) }),
            desired: "0 mirrored",
            events: &["Advance shop.eve canary iteration 1/2"],
            waiting: "Soaking",
        },
        Row {
            name: "the mirror ends with the iterations",
            look: Look::new(spec(shadowed), under_way(progressing(Run { mirrored: true, ..iteration(0, 2) }))),
            stage: progressing(iteration(100, 3)),
            desired: "100",
            events: &["Routing all traffic to canary"],
            waiting: "Soaking",
        },
    ]);
}

#[test]
fn ab_iterations() {
    let done = |weight, iterations| Look::new(spec(ab(2)), under_way(progressing(iteration(weight, iterations))));
    check(vec![
        Row {
            name: "those who match see the canary",
            look: done(0, 0),
            stage: progressing(iteration(100, 1)),
            desired: "100",
            events: &["Advance shop.eve canary iteration 1/2"],
            waiting: "Soaking",
        },
        Row {
            name: "the second iteration",
            look: done(100, 1),
            stage: progressing(iteration(100, 2)),
            desired: "100",
            events: &["Advance shop.eve canary iteration 2/2"],
            waiting: "Soaking",
        },
        Row {
            name: "then the promotion",
            look: done(100, 2),
            stage: Stage::Promoting { weight: 100 },
            desired: "100 promote",
            events: &["Copying shop.eve template spec to shop-primary.eve"],
            waiting: "PrimaryUpdating",
        },
    ]);
}

#[test]
fn session_cookies_live_as_long_as_the_canary_has_traffic() {
    let look = |stage| Look::new(spec(canary()), under_way(stage)).with(|look| look.spec.affinity = Some(affinity()));
    let first = look(progressing(run(0))).go().step;
    let cookies = first.state.cookies.clone();
    let value = cookies.canary.clone().expect("a cookie");
    assert!(value.starts_with("canary-cookie=") && value.len() == "canary-cookie=".len() + 10, "{value}");
    assert!(cookies.primary.as_ref().is_some_and(|cookie| cookie.starts_with("primary-cookie=")), "{cookies:?}");
    assert_eq!(first.desired.intent.cookies, cookies);

    let with = |look: Look| look.with(|look| look.state.cookies = cookies.clone());
    let promoted = with(look(Stage::Promoting { weight: 60 })).primary_runs("new").go().step;
    let expired = &promoted.desired.intent.cookies;
    assert_eq!((expired.canary.clone(), expired.primary.clone()), (None, None));
    assert_eq!(expired.previous, Some(value.clone()), "the last rollout's users are told to forget it");

    let newer = with(look(progressing(run(40)))).target("newer").go().step;
    assert_eq!(newer.state.cookies.previous, Some(value.clone()));
    let none = with(look(progressing(run(20)))).with(|look| look.spec.affinity = None).go().step;
    assert_eq!(none.state.cookies, rollout::Cookies::default());
    let smoke = with(look(progressing(run(20)))).hook(HookKind::Rollout, "smoke", HookAnswer::Yes).go().step;
    assert_eq!(smoke.state.cookies.canary, Some(value));
}

#[test]
fn skip_analysis_goes_straight_to_promotion() {
    let look = |stage| Look::new(spec(canary()), under_way(stage)).with(|look| look.spec.skip_analysis = true);
    check(vec![
        Row {
            name: "at once",
            look: look(progressing(run(0))),
            stage: Stage::Promoting { weight: 0 },
            desired: "0 promote",
            events: &["Analysis of shop.eve is skipped", "Copying shop.eve template spec to shop-primary.eve"],
            waiting: "PrimaryUpdating",
        },
        Row {
            name: "switched on under way",
            look: look(progressing(run(40))),
            stage: Stage::Promoting { weight: 40 },
            desired: "40 promote",
            events: &["Analysis of shop.eve is skipped", "Copying shop.eve template spec to shop-primary.eve"],
            waiting: "PrimaryUpdating",
        },
        Row {
            name: "not before the canary is ready",
            look: look(progressing(run(0))).canary_is(not_ready()),
            stage: progressing(run(0)),
            desired: "0",
            events: &[],
            waiting: "CanaryNotReady",
        },
        Row {
            name: "not past a closed confirm-rollout gate",
            look: look(Stage::Waiting { weight: 0 }).hook(
                HookKind::ConfirmRollout,
                "gate",
                HookAnswer::No("no".into()),
            ),
            stage: Stage::Waiting { weight: 0 },
            desired: "0",
            events: &[],
            waiting: "ConfirmRollout",
        },
        Row {
            name: "not while paused",
            look: look(progressing(run(0))).with(|look| look.state.paused = true),
            stage: progressing(run(0)),
            desired: "0",
            events: &[],
            waiting: "Paused",
        },
        Row {
            name: "and says so at the end",
            look: look(Stage::Finalising { reverted: false }).canary_is(Readiness::ScaledToZero),
            stage: Stage::Succeeded,
            desired: "0",
            events: &["Promotion completed! Canary analysis was skipped for shop.eve"],
            waiting: "",
        },
    ]);
}
