//! Gates and hooks, each kind: open, closed, silent.

use rollout::desired::ScaleAction;
use rollout::spec::HookKind;
use rollout::{Ask, HookAnswer, Memory, Owed, Run, Stage};

use super::{Row, check};
use crate::support::build::{ab, at, blue_green, canary, revision, run, settled, spec, under_way};
use crate::support::look::Look;

fn no() -> HookAnswer {
    HookAnswer::No("closed".into())
}

#[test]
fn confirm_rollout() {
    let new =
        |answer| Look::new(spec(canary()), settled(Stage::Succeeded)).hook(HookKind::ConfirmRollout, "gate", answer);
    let waiting = |answer| {
        Look::new(spec(canary()), under_way(Stage::Waiting { weight: 0 })).hook(
            HookKind::ConfirmRollout,
            "gate",
            answer,
        )
    };
    check(vec![
        Row {
            name: "closed",
            look: new(no()),
            stage: Stage::Waiting { weight: 0 },
            desired: "0",
            events: &["! Halt shop.eve advancement waiting for approval gate"],
            waiting: "ConfirmRollout",
        },
        Row {
            name: "broken down is closed",
            look: new(HookAnswer::Failed("timeout".into())),
            stage: Stage::Waiting { weight: 0 },
            desired: "0",
            events: &["! Halt shop.eve advancement waiting for approval gate"],
            waiting: "ConfirmRollout",
        },
        Row {
            name: "open at once",
            look: new(HookAnswer::Yes),
            stage: Stage::Progressing(run(0)),
            desired: "0 up",
            events: &["Confirm-rollout check gate passed", "New revision detected! Scaling up shop.eve"],
            waiting: "CanaryScalingUp",
        },
        Row {
            name: "still closed",
            look: waiting(no()),
            stage: Stage::Waiting { weight: 0 },
            desired: "0",
            events: &[],
            waiting: "ConfirmRollout",
        },
        Row {
            name: "open at last",
            look: waiting(HookAnswer::Yes),
            stage: Stage::Progressing(run(0)),
            desired: "0 up",
            events: &["Confirm-rollout check gate passed", "New revision detected! Scaling up shop.eve"],
            waiting: "CanaryScalingUp",
        },
        Row {
            name: "the change is taken back",
            look: waiting(no()).target("old"),
            stage: Stage::Succeeded,
            desired: "0",
            events: &["New revision withdrawn! shop.eve is as promoted"],
            waiting: "",
        },
        Row {
            name: "a newer change",
            look: waiting(no()).target("newer"),
            stage: Stage::Waiting { weight: 0 },
            desired: "0",
            events: &["New revision detected! Waiting for approval of shop.eve"],
            waiting: "ConfirmRollout",
        },
    ]);
    let owing = waiting(no()).with(|look| look.state.owed = vec![Owed::ScaleDown]).go().step;
    assert_eq!(owing.desired.target, ScaleAction::Down, "the canary of a former rollout goes while the gate is closed");
    let stood_in =
        Look::new(spec(canary()), under_way(Stage::Failed { weight: 100, failed_checks: 0 })).target("newer");
    let stood_in = stood_in.hook(HookKind::ConfirmRollout, "gate", no()).go().step.state;
    assert_eq!((stood_in.stage, stood_in.owed.first()), (Stage::Waiting { weight: 0 }, Some(&Owed::ScaleDown)));
    let soon = waiting(no()).with(|look| look.memory.asked_at = Some(at(100))).go();
    assert_eq!((soon.asked.len(), soon.step.wake), (0, Some(at(160))), "a gate is asked once an interval");
    assert_eq!(new(no()).go().alerts(), ["alert/warn/plain/Canary is waiting for approval."]);
}

#[test]
fn pre_rollout() {
    let fresh = |answer| {
        Look::new(spec(canary()), under_way(Stage::Progressing(run(0)))).hook(HookKind::PreRollout, "smoke", answer)
    };
    check(vec![
        Row {
            name: "no",
            look: fresh(no()),
            stage: Stage::Progressing(Run { failed_checks: 1, ..run(0) }),
            desired: "0",
            events: &["! Halt shop.eve advancement pre-rollout check smoke failed closed"],
            waiting: "Soaking",
        },
        Row {
            name: "yes",
            look: fresh(HookAnswer::Yes),
            stage: Stage::Progressing(run(20)),
            desired: "20",
            events: &["Pre-rollout check smoke passed", "Advance shop.eve canary weight 20"],
            waiting: "Soaking",
        },
    ]);
    assert!(!fresh(HookAnswer::Yes).go().asked.contains(&Ask::Metrics), "there is no traffic to measure yet");
    let third = fresh(no()).with(|look| look.state.stage = Stage::Progressing(Run { failed_checks: 2, ..run(0) }));
    assert_eq!(third.go().step.state.stage, Stage::Failed { weight: 0, failed_checks: 3 });
}

#[test]
fn confirm_traffic_increase() {
    let step = |weight, answer| {
        Look::new(spec(canary()), under_way(Stage::Progressing(run(weight)))).hook(
            HookKind::ConfirmTrafficIncrease,
            "gate",
            answer,
        )
    };
    check(vec![
        Row {
            name: "closed",
            look: step(20, no()),
            stage: Stage::Progressing(run(20)),
            desired: "20",
            events: &["! Halt shop.eve advancement waiting for approval gate"],
            waiting: "ConfirmTrafficIncrease",
        },
        Row {
            name: "open",
            look: step(20, HookAnswer::Yes),
            stage: Stage::Progressing(run(40)),
            desired: "40",
            events: &["Confirm-traffic-increase check gate passed", "Advance shop.eve canary weight 40"],
            waiting: "Soaking",
        },
        Row {
            name: "closed before promotion, which gives the revision all traffic",
            look: step(60, no()),
            stage: Stage::Progressing(run(60)),
            desired: "60",
            events: &["! Halt shop.eve advancement waiting for approval gate"],
            waiting: "ConfirmTrafficIncrease",
        },
        Row {
            name: "open before promotion",
            look: step(60, HookAnswer::Yes),
            stage: Stage::Promoting { weight: 60 },
            desired: "60 promote",
            events: &[
                "Confirm-traffic-increase check gate passed",
                "Copying shop.eve template spec to shop-primary.eve",
            ],
            waiting: "PrimaryUpdating",
        },
    ]);
    let first = step(0, no()).hook(HookKind::PreRollout, "smoke", HookAnswer::Yes);
    let held = first.go().step;
    let again = Look { state: held.state, memory: held.memory, now: at(180), ..first.clone() }.go();
    assert_eq!(again.asked, [Ask::Hooks(HookKind::ConfirmTrafficIncrease)], "what passed is not run again at the gate");
    let between = Look { state: again.step.state, memory: again.step.memory, now: at(200), ..first.clone() }.go();
    assert_eq!(between.reasons(), ["ConfirmTrafficIncrease"], "between two looks it still names the gate");

    let newer =
        Look { state: between.step.state, memory: between.step.memory, now: at(210), ..first.clone() }.with(|look| {
            look.seen.target.as_mut().expect("a target").revision = revision("newer");
            look.spec.metrics.clear();
        });
    let restarted = newer.go().step;
    let looked = Look { state: restarted.state, memory: restarted.memory, now: at(1000), ..newer };
    assert!(looked.go().asked.contains(&Ask::Hooks(HookKind::PreRollout)), "what passed was another revision");
}

#[test]
fn confirm_promotion() {
    let gate = |look: Look, answer| look.hook(HookKind::ConfirmPromotion, "gate", answer);
    let last = |stage| Look::new(spec(canary()), under_way(stage));
    let done = Run { iterations: 2, ..run(100) };
    check(vec![
        Row {
            name: "closed",
            look: gate(last(Stage::Progressing(run(60))), no()),
            stage: Stage::WaitingPromotion(run(60)),
            desired: "60",
            events: &["! Halt shop.eve advancement waiting for approval gate"],
            waiting: "ConfirmPromotion",
        },
        Row {
            name: "open",
            look: gate(last(Stage::WaitingPromotion(run(60))), HookAnswer::Yes),
            stage: Stage::Promoting { weight: 60 },
            desired: "60 promote",
            events: &["Confirm-promotion check gate passed", "Copying shop.eve template spec to shop-primary.eve"],
            waiting: "PrimaryUpdating",
        },
        Row {
            name: "A/B keeps its iterations",
            look: gate(Look::new(spec(ab(2)), under_way(Stage::Progressing(done))), no()),
            stage: Stage::WaitingPromotion(done),
            desired: "100",
            events: &["! Halt shop.eve advancement waiting for approval gate"],
            waiting: "ConfirmPromotion",
        },
        Row {
            name: "blue/green takes no traffic before",
            look: gate(Look::new(spec(blue_green(2)), under_way(Stage::Progressing(Run { weight: 0, ..done }))), no()),
            stage: Stage::WaitingPromotion(Run { weight: 0, ..done }),
            desired: "0",
            events: &["! Halt shop.eve advancement waiting for approval gate"],
            waiting: "ConfirmPromotion",
        },
        Row {
            name: "a newer revision while waiting",
            look: gate(last(Stage::WaitingPromotion(run(60))), no()).target("newer"),
            stage: Stage::Progressing(run(0)),
            desired: "0",
            events: &["New revision detected! Restarting analysis for shop.eve"],
            waiting: "AnalysisRestarted",
        },
    ]);
    let bad = gate(last(Stage::WaitingPromotion(Run { failed_checks: 2, ..run(60) })), no());
    let bad = bad.reading(rollout::Reading::Value(1.0)).go();
    assert_eq!(
        bad.step.state.stage,
        Stage::Failed { weight: 0, failed_checks: 3 },
        "the analysis goes on while it waits"
    );
    let status = last(Stage::WaitingPromotion(run(60))).state.to_status();
    assert_eq!(status.canary_weight, 60, "the status tells the weight that users get");
}

#[test]
fn a_muted_gate_alerts_nobody() {
    for (kind, stage) in [
        (HookKind::ConfirmRollout, Stage::Succeeded),
        (HookKind::ConfirmTrafficIncrease, Stage::Progressing(run(20))),
        (HookKind::ConfirmPromotion, Stage::Progressing(run(60))),
    ] {
        let state = if stage == Stage::Succeeded { settled(stage) } else { under_way(stage) };
        for (mute, alerts) in [(false, 1), (true, 0)] {
            let look = Look::new(spec(canary()), state.clone()).hook(kind, "gate", no());
            let seen = look.with(|look| look.spec.webhooks[0].mute_alert = mute).go();
            assert_eq!(seen.alerts().len(), alerts, "{kind:?} muted: {mute}");
            assert_eq!(seen.events().len(), 1, "the event is told all the same");
        }
    }
}

#[test]
fn the_rollback_hook() {
    let hooked = |stage, answer| Look::new(spec(canary()), under_way(stage)).hook(HookKind::Rollback, "panic", answer);
    for stage in [Stage::Progressing(run(20)), Stage::WaitingPromotion(run(60))] {
        for answer in [no(), HookAnswer::Failed("timeout".into())] {
            let seen = hooked(stage.clone(), answer).go();
            assert_ne!(seen.step.state.stage.phase(), crds::Phase::Failed, "silence is no rollback");
        }
        let seen = hooked(stage, HookAnswer::Yes).go();
        assert_eq!(seen.step.state.stage, Stage::Failed { weight: 0, failed_checks: 0 });
        let told = ["! Rolling back shop.eve manual webhook invoked", "! Canary failed! Scaling down shop.eve"];
        assert_eq!(seen.events(), told);
    }
}

#[test]
fn post_rollout_hooks_are_called_once_after_the_end_is_written() {
    for (answer, told) in
        [(HookAnswer::Yes, "Post-rollout hook clean-up passed"), (no(), "! Post-rollout hook clean-up failed closed")]
    {
        let ended = Look::new(spec(canary()), under_way(Stage::Finalising { reverted: false }))
            .hook(HookKind::PostRollout, "clean-up", answer)
            .canary_is(rollout::Readiness::ScaledToZero);
        let end = ended.go();
        assert_eq!(end.asked, [], "not before");
        assert!(end.step.state.owed.contains(&Owed::PostRollout));
        let after = Look { state: end.step.state, memory: Memory::default(), ..ended.clone() }.go();
        assert_eq!(
            (after.asked.clone(), after.events()),
            (vec![Ask::Hooks(HookKind::PostRollout)], vec![told.to_owned()])
        );
        assert!(!after.step.state.owed.contains(&Owed::PostRollout));
        let newer = Look { state: ended.go().step.state, ..ended }.target("newer").go();
        assert!(newer.asked.contains(&Ask::Hooks(HookKind::PostRollout)), "not even when a newer revision is there");
    }
}

#[test]
fn an_alert_is_owed_until_it_was_delivered() {
    let look = Look::new(spec(canary()), settled(Stage::Succeeded));
    let began = look.go().step;
    let owed = began.state.owed.clone();
    assert_eq!(owed.len(), 1);
    let retried = Look { state: began.state.clone(), memory: began.memory.clone(), ..look.clone() }.go().step;
    assert!(retried.effects.contains(&rollout::Effect::Deliver(owed[0].clone())));
    let memory = Memory { delivered: owed, ..began.memory };
    let acknowledged = Look { state: began.state, memory, ..look.clone() }.go().step;
    assert_eq!(acknowledged.state.owed, []);
    let deaf = look.with(|look| look.spec.alerts.clear()).go().step;
    assert_eq!(deaf.state.owed, [], "nothing is owed when nobody listens");
}
