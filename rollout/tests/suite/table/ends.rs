//! Promotion and its failure, changes under way, suspension, a missing target, deletion.

use crds::Phase;
use rollout::desired::FinalizerAction;
use rollout::{Effect, Owed, Readiness, Run, Stage, State, Traffic};

use super::{Row, check, desired};
use crate::support::build::{ab, at, blue_green, canary, gradual, revision, run, settled, spec, under_way};
use crate::support::look::Look;

fn not_ready() -> Readiness {
    Readiness::NotYet("1 of 2 pods are available".into())
}

fn stuck() -> Readiness {
    Readiness::Stuck("0 of 2 pods are available".into())
}

fn promoting(weight: u8) -> Look {
    Look::new(spec(canary()), under_way(Stage::Promoting { weight })).primary_runs("new")
}

#[test]
fn promotion() {
    let shifting = |weight| promoting(weight).with(|look| look.spec.strategy = gradual(25));
    check(vec![
        Row {
            name: "the primary was not written yet",
            look: promoting(60).primary_runs("old"),
            stage: Stage::Promoting { weight: 60 },
            desired: "60 promote",
            events: &[],
            waiting: "PrimaryUpdating",
        },
        Row {
            name: "the primary starts",
            look: promoting(60).primary_is(not_ready()),
            stage: Stage::Promoting { weight: 60 },
            desired: "60",
            events: &[],
            waiting: "PrimaryNotReady",
        },
        Row {
            name: "at once",
            look: promoting(60),
            stage: Stage::Finalising { reverted: false },
            desired: "0",
            events: &["Routing all traffic to primary"],
            waiting: "TrafficShifting",
        },
        Row {
            name: "by steps",
            look: shifting(60),
            stage: Stage::Promoting { weight: 35 },
            desired: "35",
            events: &["Advance shop.eve primary weight 65"],
            waiting: "TrafficShifting",
        },
        Row {
            name: "each step lasts an interval",
            look: shifting(35).with(|look| look.memory.matched_since = Some(at(70))),
            stage: Stage::Promoting { weight: 35 },
            desired: "35",
            events: &[],
            waiting: "Soaking",
        },
        Row {
            name: "the last step is no larger than what is left",
            look: shifting(10),
            stage: Stage::Finalising { reverted: false },
            desired: "0",
            events: &["Advance shop.eve primary weight 100", "Routing all traffic to primary"],
            waiting: "TrafficShifting",
        },
        Row {
            name: "a newer revision waits for the end",
            look: promoting(60).target("newer"),
            stage: Stage::Finalising { reverted: false },
            desired: "0",
            events: &["Routing all traffic to primary"],
            waiting: "TrafficShifting",
        },
    ]);
    for strategy in [ab(2), blue_green(2)] {
        let look = promoting(100).with(|look| look.spec.strategy = strategy);
        assert_eq!(look.go().step.state.stage, Stage::Finalising { reverted: false });
    }
}

#[test]
fn finalising() {
    let finalising = || Look::new(spec(canary()), under_way(Stage::Finalising { reverted: false }));
    let row = |name, look, desired, waiting| Row {
        name,
        look,
        stage: Stage::Finalising { reverted: false },
        desired,
        events: &[],
        waiting,
    };
    check(vec![
        row("the route still sends", finalising().split(60), "0", "TrafficShifting"),
        row("requests may end", finalising().with(|look| look.memory.matched_since = Some(at(119))), "0", "Draining"),
        row("then the canary goes", finalising(), "0 down", "CanaryScalingDown"),
        Row {
            name: "and that is it",
            look: finalising().canary_is(Readiness::ScaledToZero),
            stage: Stage::Succeeded,
            desired: "0",
            events: &["Promotion completed! Scaling down shop.eve"],
            waiting: "",
        },
    ]);
    let end = finalising().canary_is(Readiness::ScaledToZero).go();
    assert_eq!(end.step.state.promoted.as_ref().map(|promoted| promoted.id.as_str()), Some("new"));
    assert_eq!(end.alerts(), ["alert/info/plain/Canary analysis completed successfully, promotion finished."]);
    assert!(end.step.effects.contains(&Effect::Ended { success: true, skipped: false }));
}

#[test]
fn a_promotion_that_fails_leaves_the_canary_serving() {
    check(vec![Row {
        name: "the primary broke",
        look: promoting(60).primary_is(stuck()),
        stage: Stage::Failed { weight: 100, failed_checks: 0 },
        desired: "100",
        events: &[
            "! Promotion failed, primary not ready: 0 of 2 pods are available",
            "! Routing all traffic to canary",
        ],
        waiting: "PrimaryBroken",
    }]);
    let seen = promoting(60).primary_is(stuck()).go();
    assert_eq!(seen.alerts(), ["alert/error/plain/Promotion failed, primary not ready: 0 of 2 pods are available"]);
    assert!(!seen.step.state.owed.contains(&Owed::ScaleDown));

    let idle = Look::new(spec(canary()), seen.step.state.clone()).primary_runs("new").primary_is(stuck()).go();
    assert_eq!((idle.reasons(), desired(&idle.step.desired).as_str()), (vec!["PrimaryBroken"], "100"));
}

#[test]
fn a_bad_canary_that_stands_in_gives_way_when_the_primary_is_back() {
    let state = under_way(Stage::Failed { weight: 100, failed_checks: 3 });
    let stays = Look::new(spec(canary()), state.clone()).primary_is(stuck()).go().step;
    assert_eq!(stays.state.stage, state.stage);
    let back = Look::new(spec(canary()), state.clone()).go().step;
    assert_eq!(back.state.stage, Stage::Failed { weight: 0, failed_checks: 3 });
    assert!(back.state.owed.contains(&Owed::ScaleDown));
    // After a failed promotion both hold the same revision: whether to trust the primary again is a person's to say.
    let promoted = State { promoted: Some((&revision("new")).into()), ..state.clone() };
    assert_eq!(Look::new(spec(canary()), promoted).go().step.state.stage, state.stage);
}

#[test]
fn changes_under_way() {
    let at_weight =
        |weight| Look::new(spec(canary()), under_way(Stage::Progressing(Run { failed_checks: 2, ..run(weight) })));
    check(vec![
        Row {
            name: "a newer revision",
            look: at_weight(40).target("newer"),
            stage: Stage::Progressing(run(0)),
            desired: "0",
            events: &["New revision detected! Restarting analysis for shop.eve"],
            waiting: "AnalysisRestarted",
        },
        Row {
            name: "taken back",
            look: at_weight(40).target("old"),
            stage: Stage::Finalising { reverted: true },
            desired: "0",
            events: &["Revision of shop.eve is the promoted one again, ending the analysis"],
            waiting: "TrafficShifting",
        },
        Row {
            name: "and then at rest",
            look: Look::new(spec(canary()), settled(Stage::Finalising { reverted: true }))
                .target("old")
                .canary_is(Readiness::ScaledToZero),
            stage: Stage::Succeeded,
            desired: "0",
            events: &["Analysis of shop.eve ended without promotion, its revision was taken back"],
            waiting: "",
        },
        Row {
            name: "a fix while the primary is broken and shares the traffic",
            look: at_weight(40).target("newer").primary_is(stuck()),
            stage: Stage::Progressing(run(40)),
            desired: "40",
            events: &["New revision detected! Restarting analysis for shop.eve"],
            waiting: "AnalysisRestarted",
        },
        Row {
            name: "during the drain after promotion it waits",
            look: Look::new(spec(canary()), under_way(Stage::Finalising { reverted: false })).target("newer"),
            stage: Stage::Finalising { reverted: false },
            desired: "0 down",
            events: &[],
            waiting: "CanaryScalingDown",
        },
        Row {
            name: "a config alone",
            look: Look::new(spec(canary()), settled(Stage::Succeeded)).target("old").with(|look| {
                let target = look.seen.target.as_mut().expect("a target");
                target.revision = revision("old-with-new-config");
                target.revision.configs.insert("configmap/shop".into(), "0123456789abcdef".into());
                target.matches_primary = true;
            }),
            stage: Stage::Progressing(run(0)),
            desired: "0 up",
            events: &["New revision detected! Scaling up shop.eve"],
            waiting: "CanaryScalingUp",
        },
        Row {
            name: "the hash alone, as after an upgrade of Kubernetes",
            look: Look::new(spec(canary()), settled(Stage::Succeeded)).with(|look| {
                look.seen.target.as_mut().expect("a target").matches_primary = true;
            }),
            stage: Stage::Succeeded,
            desired: "0",
            events: &[],
            waiting: "",
        },
    ]);
}

#[test]
fn a_rollback() {
    let bad = Look::new(spec(canary()), under_way(Stage::Failed { weight: 0, failed_checks: 3 }));
    let owing = |look: Look| look.with(|look| look.state.owed = vec![Owed::ScaleDown]);
    let row = |name, look, desired, waiting| Row {
        name,
        look,
        stage: Stage::Failed { weight: 0, failed_checks: 3 },
        desired,
        events: &[],
        waiting,
    };
    check(vec![
        row("the route still sends", owing(bad.clone()).split(20), "0", "TrafficShifting"),
        row(
            "requests may end",
            owing(bad.clone()).with(|look| look.memory.matched_since = Some(at(100))),
            "0",
            "Draining",
        ),
        row("then the canary goes", owing(bad.clone()), "0 down", "CanaryScalingDown"),
        row("and stays down", owing(bad.clone()).canary_is(Readiness::ScaledToZero), "0", ""),
        row("taken back to the promoted one it stays failed", bad.target("old"), "0", ""),
    ]);
}

#[test]
fn at_rest_the_routes_are_watched() {
    let idle = || Look::new(spec(canary()), settled(Stage::Succeeded)).target("old");
    let row = |name, look, waiting, events| Row { name, look, stage: Stage::Succeeded, desired: "0", events, waiting };
    check(vec![
        row("all is well", idle(), "", &[]),
        row("drift", idle().split(30), "TrafficShifting", &[]),
        row(
            "not accepted",
            idle().with(|look| look.seen.traffic = Traffic::Pending("no listener".into())),
            "RouteNotAccepted",
            &[],
        ),
        row(
            "broken",
            idle().with(|look| look.seen.traffic = Traffic::Broken("mend it".into())),
            "RouteBroken",
            &["! mend it"],
        ),
    ]);
}

#[test]
fn what_stops_everything() {
    let running = || Look::new(spec(canary()), under_way(Stage::Progressing(run(20))));
    let problem = ("WriteRefused".to_owned(), "policy no-root refuses shop-primary".to_owned());
    check(vec![
        Row {
            name: "suspended",
            look: running().with(|look| look.spec.suspend = true),
            stage: Stage::Progressing(run(20)),
            desired: "20 untouched",
            events: &[],
            waiting: "Suspended",
        },
        Row {
            name: "a problem of the shell",
            look: running().with(|look| look.seen.problems = vec![problem]),
            stage: Stage::Progressing(run(20)),
            desired: "20 untouched",
            events: &[],
            waiting: "WriteRefused",
        },
    ]);
}

#[test]
fn a_missing_target() {
    let gone = |stage| Look::new(spec(canary()), under_way(stage)).with(|look| look.seen.target = None);
    let told = "! Deployment shop does not exist; create it or mend spec.targetRef";
    for (stage, expected, weight) in [
        (Stage::Succeeded, Stage::Succeeded, "0 untouched"),
        (Stage::Progressing(run(0)), Stage::Progressing(run(0)), "0 routes"),
        (Stage::Progressing(run(40)), Stage::Progressing(run(0)), "0 routes"),
        (Stage::WaitingPromotion(run(60)), Stage::Progressing(run(0)), "0 routes"),
        (Stage::Promoting { weight: 60 }, Stage::Promoting { weight: 0 }, "0 routes"),
    ] {
        let seen = gone(stage.clone()).go();
        assert_eq!(seen.step.state.stage, expected, "{stage:?}: no users are sent to nobody");
        assert_eq!(desired(&seen.step.desired), weight, "{stage:?}");
        assert_eq!(seen.reasons(), ["TargetMissing"]);
        assert_eq!(seen.events()[0], told);
    }
    let broken = gone(Stage::Progressing(run(100))).primary_is(stuck()).go().step;
    assert_eq!(broken.state.stage, Stage::Progressing(run(100)), "a broken primary is no better");
}

#[test]
fn the_finalizer() {
    let idle = || Look::new(spec(canary()), settled(Stage::Succeeded)).target("old");
    for (wanted, there, action) in [
        (true, false, FinalizerAction::Add),
        (true, true, FinalizerAction::Keep),
        (false, true, FinalizerAction::Remove),
        (false, false, FinalizerAction::Keep),
    ] {
        let look = idle().with(|look| (look.spec.revert_on_deletion, look.seen.finalizer) = (wanted, there));
        assert_eq!(look.go().step.desired.finalizer, action);
    }
}

#[test]
fn deletion_gives_the_target_back() {
    let deleted = || {
        Look::new(spec(canary()), under_way(Stage::Succeeded)).with(|look| {
            (look.seen.deleting, look.seen.finalizer) = (true, true);
            look.state.stage = Stage::Terminating;
        })
    };
    let row =
        |name, look, desired, waiting| Row { name, look, stage: Stage::Terminating, desired, events: &[], waiting };
    check(vec![
        row(
            "the target is scaled up",
            deleted().canary_is(Readiness::ScaledToZero),
            "0 untouched up",
            "TargetScalingUp",
        ),
        row("it must serve first", deleted().canary_is(not_ready()), "0 untouched up", "TargetNotReady"),
        row("then the apex goes back", deleted(), "0 untouched up revert", "Reverting"),
        row(
            "then requests may end",
            deleted().with(|look| (look.seen.apex, look.memory.matched_since) = (false, None)),
            "0 untouched up revert",
            "Draining",
        ),
        Row {
            name: "then the Canary goes",
            look: deleted().with(|look| look.seen.apex = false),
            stage: Stage::Terminating,
            desired: "0 untouched up revert release",
            events: &["Terminated canary shop.eve"],
            waiting: "",
        },
        Row {
            name: "a target that is gone needs nothing",
            look: deleted().with(|look| look.seen.target = None),
            stage: Stage::Terminating,
            desired: "0 untouched release",
            events: &["Terminated canary shop.eve"],
            waiting: "",
        },
        Row {
            name: "suspension does not keep it",
            look: deleted().with(|look| look.spec.suspend = true),
            stage: Stage::Terminating,
            desired: "0 untouched up revert",
            events: &[],
            waiting: "Reverting",
        },
    ]);
    let free = Look::new(spec(canary()), settled(Stage::Succeeded)).with(|look| look.seen.deleting = true).go().step;
    assert_eq!((free.state.stage.phase(), desired(&free.desired).as_str()), (Phase::Succeeded, "0 untouched"));
}

/// Nothing changes in the cluster when pods make no progress any more.
#[test]
fn whoever_waits_for_pods_looks_again_when_their_time_is_up() {
    let analysed = Look::new(spec(canary()), under_way(Stage::Progressing(run(20)))).canary_is(not_ready());
    let promoted = Look::new(spec(canary()), under_way(Stage::Promoting { weight: 50 })).with(|look| {
        let primary = look.seen.primary.as_mut().expect("a primary");
        primary.revision = look.state.applied.as_ref().map(|applied| applied.id.clone());
        primary.readiness = not_ready();
    });
    for look in [analysed, promoted] {
        let (now, deadline) = (look.now, look.spec.progress_deadline);
        let step = look.go().step;
        let wait = step.wake.map(|wake| wake.duration_since(now));
        assert_eq!(wait, jiff::SignedDuration::try_from(deadline).ok(), "{:?}", step.waiting);
    }
}
