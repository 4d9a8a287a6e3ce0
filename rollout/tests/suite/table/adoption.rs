//! Taking over from another controller, in each phase: no pod and no weight moves because of it.

use std::collections::BTreeMap;

use crds::{CanaryStatus, Phase};
use rollout::desired::{PrimaryAction, ScaleAction};
use rollout::{Readiness, Run, Stage, State};

use crate::support::build::{ab, at, blue_green, canary, revision, run, spec};
use crate::support::look::Look;

/// A status as Flagger writes it.
fn flagger(phase: Phase, weight: i32, iterations: i32) -> CanaryStatus {
    CanaryStatus {
        phase,
        canary_weight: weight,
        iterations,
        last_applied_spec: Some("7f9c".into()),
        last_promoted_spec: Some("5b6d".into()),
        tracked_configs: Some(BTreeMap::new()),
        last_transition_time: Some(at(0)),
        ..CanaryStatus::default()
    }
}

fn take_over(status: CanaryStatus) -> Look {
    let look = Look::new(spec(canary()), State::from_status(&status));
    look.with(|look| {
        look.memory = Default::default();
        look.now = at(10);
        look.seen.primary.as_mut().expect("a primary").revision = None;
    })
}

fn matches(look: Look) -> Look {
    look.with(|look| look.seen.target.as_mut().expect("a target").matches_primary = true)
}

fn other_configs(look: Look) -> Look {
    look.with(|look| {
        look.seen.target.as_mut().expect("a target").revision.configs.insert("secret/shop".into(), "0123".into());
    })
}

#[test]
fn each_phase() {
    let failed = |weight| Stage::Failed { weight, failed_checks: 0 };
    let cases = [
        (matches(take_over(flagger(Phase::Initialized, 0, 0))), Stage::Initialized),
        (matches(take_over(flagger(Phase::Succeeded, 0, 0))), Stage::Succeeded),
        (take_over(flagger(Phase::Waiting, 0, 0)), Stage::Waiting { weight: 0 }),
        (take_over(flagger(Phase::Progressing, 20, 0)), Stage::Progressing(run(20))),
        // Flagger reports 0 while it waits, but the route keeps its weight; and takes one iteration off.
        (take_over(flagger(Phase::WaitingPromotion, 0, -1)).split(60), Stage::WaitingPromotion(run(60))),
        (matches(take_over(flagger(Phase::Promoting, 60, 0))).primary_is(busy()), Stage::Promoting { weight: 60 }),
        (matches(take_over(flagger(Phase::Finalising, 0, 0))), Stage::Finalising { reverted: false }),
        (take_over(flagger(Phase::Failed, 0, 0)), failed(0)),
        (matches(take_over(flagger(Phase::Failed, 100, 0))).primary_is(busy()), failed(100)),
    ];
    for (look, stage) in cases {
        let look = look.with(|look| {
            look.state.paused = matches!(stage, Stage::Waiting { .. }); // It would ask no gate, and begin.
        });
        let seen = look.go();
        let phase = stage.phase().as_str();
        assert_eq!(seen.step.state.stage, stage, "{phase}");
        assert_eq!(seen.events()[0], format!("Adopted shop.eve in phase {phase}"));
        assert_eq!(seen.step.desired.intent.canary_weight, stage.weight(), "{phase}: no weight moves");
        assert_eq!(seen.step.desired.primary, PrimaryAction::Keep, "{phase}");
        assert_eq!(seen.step.desired.target, ScaleAction::Keep, "{phase}: no pod moves");
        assert_eq!(seen.step.state.foreign, None, "{phase}: adopted once");
        let status = seen.step.state.to_status();
        assert_eq!(status.last_applied_spec.as_deref(), Some("7f9c"), "{phase}: it can be handed back");
    }
}

fn busy() -> Readiness {
    Readiness::NotYet("1 of 2 pods are available".into())
}

#[test]
fn what_flagger_never_looked_at_is_rolled_out() {
    for phase in [Phase::Initialized, Phase::Succeeded] {
        let changed = take_over(flagger(phase, 0, 0)).go().step;
        assert_eq!(changed.state.stage, Stage::Progressing(run(0)), "another template");
        let config = other_configs(matches(take_over(flagger(phase, 0, 0)))).go().step;
        assert_eq!(config.state.stage, Stage::Progressing(run(0)), "another config");
    }
    let failed = take_over(flagger(Phase::Failed, 0, 0)).go().step;
    assert_eq!(failed.state.stage.phase(), Phase::Failed, "what failed is not tried again");
    let next = Look { state: failed.state, memory: failed.memory, ..take_over(flagger(Phase::Failed, 0, 0)) };
    assert_eq!(next.target("fix").go().step.state.stage, Stage::Progressing(run(0)), "but a fix is");
}

#[test]
fn a_change_under_way_is_not_mistaken_for_what_was_analysed() {
    let restarted = other_configs(take_over(flagger(Phase::Progressing, 40, 0))).split(40).go().step;
    assert_eq!(restarted.state.stage, Stage::Progressing(Run::default()));

    // Flagger has copied the template; what differs now was changed after it.
    for phase in [Phase::Promoting, Phase::Finalising] {
        let look = take_over(flagger(phase, 0, 0)).canary_is(Readiness::ScaledToZero);
        let first = look.go().step;
        assert_eq!(first.desired.primary, PrimaryAction::Keep, "{phase:?}");
        let mut state = first.state;
        for _ in 0..3 {
            state = Look { state, ..look.clone() }.split(0).go().step.state;
        }
        assert_eq!(state.applied.map(|applied| applied.id), Some("new".into()), "{phase:?}");
        assert_eq!(state.stage, Stage::Progressing(Run::default()), "{phase:?}: the change gets its own analysis");
    }
}

#[test]
fn iterations_go_on() {
    let cases = [
        (blue_green(3), flagger(Phase::Progressing, 0, 2), 0, Stage::Progressing(Run { iterations: 2, ..run(0) })),
        (ab(3), flagger(Phase::Progressing, 0, 2), 100, Stage::Progressing(Run { iterations: 2, ..run(100) })),
        (
            ab(3),
            flagger(Phase::WaitingPromotion, 0, 2),
            100,
            Stage::WaitingPromotion(Run { iterations: 2, ..run(100) }),
        ),
        (
            blue_green(3),
            flagger(Phase::WaitingPromotion, 0, 2),
            100,
            Stage::WaitingPromotion(Run { iterations: 4, ..run(100) }),
        ),
    ];
    for (strategy, status, route, stage) in cases {
        let look = take_over(status).split(route).with(|look| look.spec.strategy = strategy);
        assert_eq!(look.go().step.state.stage, stage);
    }
}

#[test]
fn an_adoption_waits_for_what_holds_everything() {
    let held = take_over(flagger(Phase::Progressing, 20, 0)).with(|look| look.spec.suspend = true).go().step;
    assert!(held.state.foreign.is_some());
    let status = held.state.to_status();
    let expected = flagger(Phase::Progressing, 20, 0);
    assert_eq!(
        (status.last_applied_spec, status.tracked_configs),
        (expected.last_applied_spec, expected.tracked_configs)
    );
}

#[test]
fn a_lost_status_is_built_up_again_without_a_rollout() {
    let lost = Look::new(spec(canary()), State::default()).target("old").canary_is(Readiness::ScaledToZero);
    let found = lost.split(0).go().step;
    assert_eq!(found.state.stage, Stage::Initialized);
    assert_eq!(found.state.applied, Some(revision("old")));
}
