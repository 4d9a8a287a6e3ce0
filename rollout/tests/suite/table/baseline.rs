//! The copy of the primary that the canary is compared with: when it joins, has users, leaves and goes.

use crds::{Baseline, BaselineStatus};
use rollout::desired::BaselineAction;
use rollout::{BaselineSeen, Readiness, Stage, Traffic};

use crate::support::build::{at, run, spec, under_way, weights};
use crate::support::look::Look;

fn cost() -> BaselineStatus {
    BaselineStatus { pods: 2, cpu: "200m".into(), memory: "128Mi".into() }
}

fn seen(readiness: Readiness, serves: bool) -> Option<BaselineSeen> {
    Some(BaselineSeen { readiness, serves, cost: cost() })
}

fn not_ready() -> Readiness {
    Readiness::NotYet("1 of 2 pods are available".into())
}

/// In the middle of an interval, beside a baseline that takes part.
fn look(stage: Stage) -> Look {
    let look = Look::new(spec(weights(&[20, 40, 60, 100])), under_way(stage));
    look.beside_baseline().with(|look| look.now = at(30))
}

fn analysed(weight: u8) -> Look {
    look(Stage::Progressing(run(weight)))
}

/// Share, action and reasons.
fn outcome(look: &Look) -> (u8, &'static str, String) {
    let seen = look.go();
    let desired = &seen.step.desired;
    let action = match &desired.baseline {
        BaselineAction::Keep => "keep",
        BaselineAction::Run { beside } => {
            assert_eq!(beside, "new");
            "run"
        }
        BaselineAction::Remove => "remove",
    };
    (desired.intent.baseline_weight, action, seen.reasons().join(" "))
}

#[test]
fn it_has_as_many_users_as_the_canary_or_those_that_are_left() {
    for (weight, share) in [(20, 20), (40, 40), (60, 40), (100, 0)] {
        assert_eq!(outcome(&analysed(weight)), (share, "run", "Soaking".into()), "{weight}");
    }
    assert_eq!(outcome(&look(Stage::WaitingPromotion(run(60)))).0, 40);
    let skipped = analysed(20).with(|look| look.spec.skip_analysis = true);
    assert_eq!(outcome(&skipped).0, 0, "without analysis there is nothing to compare");
}

#[test]
fn the_analysis_waits_for_it_and_users_are_sent_only_to_pods_that_serve() {
    let with = |baseline: Option<BaselineSeen>| analysed(20).with(|look| look.seen.baseline = baseline);
    for (name, look, expected) in [
        ("gone", with(None), (0, "run", "TrafficShifting BaselineCreating")),
        ("none serves", with(seen(not_ready(), false)), (0, "run", "TrafficShifting BaselineNotReady")),
        ("some serve", with(seen(not_ready(), true)), (20, "run", "BaselineNotReady")),
        ("stuck", with(seen(Readiness::Stuck("0 of 2".into()), false)), (0, "run", "TrafficShifting BaselineNotReady")),
        ("larger", with(seen(Readiness::Ready, true)), (20, "run", "Soaking")),
    ] {
        let (share, action, reasons) = expected;
        assert_eq!(outcome(&look), (share, action, reasons.into()), "{name}");
    }
    let fresh = analysed(0).with(|look| {
        look.state.baseline = None;
        look.state.checked_at = None;
    });
    let joins = fresh.go();
    assert_eq!(
        joins.events(),
        ["Baseline shop-baseline is ready, it costs 2 pods, 200m CPU, 128Mi of memory for at least 4 min"]
    );
    assert_eq!(joins.step.state.baseline, Some(cost()));
}

#[test]
fn a_broken_primary_is_nothing_to_compare_with() {
    let look = analysed(20).primary_is(Readiness::Stuck("0 of 2".into()));
    let (share, action, _) = outcome(&look);
    assert_eq!((share, action), (0, "keep"));
}

#[test]
fn it_goes_when_its_users_have_gone_whatever_the_stage() {
    for stage in [
        Stage::Failed { weight: 0, failed_checks: 3 },
        Stage::Succeeded,
        Stage::Initialized,
        Stage::Promoting { weight: 60 },
        Stage::Finalising { reverted: true },
    ] {
        let after = |seconds: i64| look(stage.clone()).with(|look| look.now = at(seconds));
        let action = |look: &Look| outcome(look).1;
        assert_eq!(action(&after(10)), "keep", "{stage:?}");
        assert_eq!(action(&after(60)), "remove", "{stage:?}");
        let pending = after(60).with(|look| look.seen.traffic = Traffic::Pending("not accepted".into()));
        assert_eq!(action(&pending), "keep", "{stage:?}");
        let woken = after(10).go().step.wake;
        assert!(woken.is_some_and(|wake| wake <= at(30)), "{stage:?}: {woken:?}");
    }
}

#[test]
fn another_policy_ends_it_under_way() {
    let look = analysed(20).with(|look| look.spec.judge.baseline = Baseline::Primary);
    let before = look.clone().with(|look| look.seen.traffic = Traffic::Pending("20 % to the baseline".into()));
    assert_eq!(outcome(&before), (0, "keep", "TrafficShifting".into()));
    let after = look.with(|look| look.state.baseline = None).with(|look| look.now = at(59));
    assert_eq!(outcome(&after).1, "remove");
}
