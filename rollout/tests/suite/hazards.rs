//! The hazards that Flagger's users met (flagger-gaps §2.2), one by one, as far as the core answers them. What the
//! shell answers is tested where it is written:
//! 4 (weights reset on drift, order of headers) by each router; 9 (mirror never seen) by the routers' `observe`;
//! 10 (pod-name patterns) by the query templates of the providers; 11 (process-wide crashes) by the queue;
//! 12 (lost fields) by the writer's patches; 13 (first-sync errors) by the queue; 16 (status conflict) by the writer;
//! 18 (severity "", event reasons) by the parser and the events. The core's share of them stands below.

use jiff::Timestamp;
use rollout::desired::{PrimaryAction, ScaleAction};
use rollout::spec::{HookKind, Strategy};
use rollout::{Ask, History, HookAnswer, Memory, Owed, Readiness, Reading, Run, Stage, State, Traffic};

use crate::support::build::{
    ab, affinity, at, blue_green, canary, gradual, hook, mirrored, revision, run, settled, spec, under_way, weights,
};
use crate::support::look::Look;
use crate::support::world::{Pods, Quality, World};

fn failed(weight: u8) -> State {
    under_way(Stage::Failed { weight, failed_checks: 3 })
}

fn not_ready() -> Readiness {
    Readiness::NotYet("1 of 2 pods are available".into())
}

fn stuck() -> Readiness {
    Readiness::Stuck("0 of 2 pods are available".into())
}

#[test]
fn hazard_01_a_revision_is_not_lost_after_a_failed_rollout() {
    let fix = Look::new(spec(canary()), failed(0)).target("fix").primary_is(not_ready());
    let held = fix.go().step;
    assert_eq!(held.state.applied, Some(revision("new")), "nothing of the fix is written down while it cannot begin");
    assert_eq!(held.waiting[0].reason, "PrimaryNotReady");

    let begun = Look { state: held.state, memory: held.memory, ..fix }.primary_is(Readiness::Ready).go().step;
    assert_eq!(begun.state.applied, Some(revision("fix")));
    assert_eq!(begun.state.stage, Stage::Progressing(Run::default()));
    assert_eq!(begun.desired.target, ScaleAction::Up);
}

#[test]
fn hazard_01_a_revision_that_comes_while_something_is_in_the_way_is_not_lost() {
    let problem = ("CannotWatch".to_owned(), "serin may not watch httproutes".to_owned());
    let fix = Look::new(spec(canary()), failed(0)).target("fix");
    let blocked = fix.clone().with(|look| look.seen.problems = vec![problem]);
    let suspended = fix.clone().with(|look| look.spec.suspend = true);
    for held in [blocked, suspended].map(|look| look.go().step) {
        assert_eq!(held.state.applied, Some(revision("new")), "{:?}", held.waiting);
        let begun = Look { state: held.state, memory: held.memory, ..fix.clone() }.go().step;
        assert_eq!(begun.state.applied, Some(revision("fix")));
        assert_eq!(begun.state.stage, Stage::Progressing(Run::default()));
    }
}

#[test]
fn hazard_01_a_crash_after_the_status_write_loses_no_revision() {
    let mut world = World::new(spec(canary()));
    world.run(at(120), &mut |_, _| {});
    world.push("r1");
    assert_eq!(world.pass(Some(1)).writes, ["status"], "it dies before the canary is scaled up");
    world.run(at(3600), &mut |_, _| {});
    assert_eq!(world.state().stage, Stage::Succeeded);
    assert_eq!(world.primary.map(|primary| primary.revision), Some("r1".into()));
}

#[test]
fn hazard_02_after_a_failed_promotion_no_fix_sends_traffic_to_the_broken_primary() {
    let broken = |look: Look| look.target("fix").primary_is(stuck()).primary_runs("new").split(100);
    let begun = broken(Look::new(spec(canary()), failed(100))).go().step;
    assert_eq!(begun.state.stage, Stage::Progressing(run(100)), "the canary keeps serving while it takes the fix");

    // The same with a closed gate, a fix that is bad, a second fix, and the fix taken back.
    let gated = broken(Look::new(spec(canary()), failed(100)));
    let gated = gated.hook(HookKind::ConfirmRollout, "gate", HookAnswer::No("wait".into())).go().step;
    assert_eq!(gated.state.stage, Stage::Waiting { weight: 100 });
    assert_eq!(gated.desired.intent.canary_weight, 100);

    let mut state = under_way(Stage::Progressing(Run { failed_checks: 2, ..run(100) }));
    state.applied = Some(revision("fix"));
    state.promoted = Some((&revision("new")).into());
    let bad = broken(Look::new(spec(canary()), state.clone())).reading(Reading::Value(50.0)).go();
    assert_eq!(bad.step.state.stage, Stage::Failed { weight: 100, failed_checks: 3 });
    assert!(!bad.step.state.owed.contains(&Owed::ScaleDown), "the canary that serves stays up");

    for id in ["fix-2", "new"] {
        let again = broken(Look::new(spec(canary()), state.clone())).target(id).go().step;
        assert_eq!(again.state.stage, Stage::Progressing(run(100)), "{id}");
        assert_eq!(again.desired.intent.canary_weight, 100, "{id}");
    }
}

#[test]
fn hazard_02_a_primary_past_its_deadline_takes_the_fix() {
    let mut world = World::new(spec(canary()));
    world.run(at(120), &mut |_, _| {});
    world.primary.as_mut().expect("a primary").broken = true;
    world.push("r1");
    world.run(at(3600), &mut |_, _| {});
    assert_eq!(world.state().stage, Stage::Succeeded);
    assert_eq!(world.primary.map(|primary| primary.revision), Some("r1".into()));
}

#[test]
fn hazard_03_a_promotion_with_weight_0_ends() {
    for strategy in [canary(), gradual(10), blue_green(1), ab(1)] {
        let step = Look::new(spec(strategy), under_way(Stage::Promoting { weight: 0 })).primary_runs("new").go().step;
        assert_eq!(step.state.stage, Stage::Finalising { reverted: false });
    }
}

#[test]
fn hazard_03_a_new_revision_during_promotion_is_rolled_out_next() {
    let mut world = World::new(spec(gradual(20)));
    world.run(at(120), &mut |_, _| {});
    world.push("r1");
    while world.state().stage.phase() != crds::Phase::Promoting {
        let until = world.now + jiff::SignedDuration::from_secs(1);
        world.run(until, &mut |_, _| {});
    }
    world.push("r2");
    world.run(at(7200), &mut |_, _| {});
    assert_eq!(world.state().applied.map(|applied| applied.id), Some("r2".into()));
    assert_eq!(world.primary.map(|primary| primary.revision), Some("r2".into()));
}

#[test]
fn hazard_04_drift_of_a_route_holds_the_run_at_its_weight() {
    let look =
        Look::new(spec(canary()), under_way(Stage::Progressing(run(40)))).split(0).with(|look| look.now = at(600));
    let seen = look.go();
    assert_eq!(seen.step.state.stage, Stage::Progressing(run(40)), "the status, not the route, is the truth");
    assert_eq!(seen.step.desired.intent.canary_weight, 40);
    assert!(seen.step.desired.routes && seen.asked.is_empty(), "the route is mended, and nothing is judged on it");

    let mended = Look { state: seen.step.state, memory: seen.step.memory, ..look }.split(40);
    let soaking = mended.go();
    assert_eq!(soaking.reasons(), ["Soaking"], "the step starts anew, for it had no traffic");
    assert_eq!(soaking.step.wake, Some(at(660)));
}

#[test]
fn hazard_05_what_is_promoted_is_what_was_analysed() {
    let promoting = under_way(Stage::Promoting { weight: 60 });
    let same = Look::new(spec(canary()), promoting.clone()).go().step;
    assert_eq!(same.desired.primary, PrimaryAction::Promote);
    let moved_on = Look::new(spec(canary()), promoting).target("newer").go().step;
    assert_eq!(moved_on.desired.primary, PrimaryAction::Keep);
    assert_eq!(moved_on.state.stage, Stage::Progressing(Run::default()), "it is analysed first");
    assert_eq!(moved_on.state.applied, Some(revision("newer")));
}

#[test]
fn hazard_06_a_target_scaled_to_zero_is_neither_judged_nor_promoted() {
    for stage in [Stage::Progressing(run(60)), Stage::WaitingPromotion(run(60)), Stage::Progressing(run(0))] {
        let look = Look::new(spec(canary()), under_way(stage.clone())).canary_is(Readiness::ScaledToZero);
        let seen = look.go();
        assert_eq!(seen.step.state.stage, stage);
        assert_eq!(seen.step.desired.target, ScaleAction::Up);
        assert_eq!(seen.step.desired.primary, PrimaryAction::Keep);
        assert!(seen.asked.is_empty());

        let again = Look { state: seen.step.state, memory: seen.step.memory, ..look }.go().step;
        assert_eq!(again.desired.target, ScaleAction::Keep, "and two who disagree do not write in a circle");
        assert_eq!(again.wake, Some(at(180)));
    }
}

#[test]
fn hazard_06_a_canary_that_serves_is_scaled_up_again() {
    let failed = Look::new(spec(canary()), failed(100)).primary_is(stuck()).canary_is(Readiness::ScaledToZero);
    assert_eq!(failed.go().step.desired.target, ScaleAction::Up);
    let promoting = Look::new(spec(canary()), under_way(Stage::Promoting { weight: 60 })).primary_runs("new");
    assert_eq!(promoting.canary_is(Readiness::ScaledToZero).go().step.desired.target, ScaleAction::Up);
}

#[test]
fn hazard_07_a_revision_taken_back_ends_the_analysis_and_is_not_recorded_as_promoted() {
    for stage in [Stage::Progressing(run(40)), Stage::WaitingPromotion(run(60)), Stage::Promoting { weight: 60 }] {
        let step = Look::new(spec(canary()), under_way(stage)).target("old").go().step;
        assert_eq!(step.state.stage, Stage::Finalising { reverted: true });
        let ended = Look::new(spec(canary()), step.state).target("old").canary_is(Readiness::ScaledToZero).go().step;
        assert_eq!(ended.state.stage, Stage::Succeeded);
        assert_eq!(ended.state.promoted, Some((&revision("old")).into()));

        // The bad revision is noticed when it comes again.
        let back = Look::new(spec(canary()), ended.state).go().step;
        assert_eq!(back.state.applied, Some(revision("new")));
        assert_eq!(back.state.stage, Stage::Progressing(Run::default()));
    }
}

#[test]
fn hazard_07_a_failed_revision_is_noticed_when_it_comes_again() {
    let taken_back = Look::new(spec(canary()), failed(0)).target("old").go().step;
    assert_eq!(taken_back.state.stage, Stage::Failed { weight: 0, failed_checks: 3 });
    assert_eq!(taken_back.state.applied.as_ref().map(|applied| applied.id.as_str()), Some("old"));
    let again = Look::new(spec(canary()), taken_back.state).target("new").go().step;
    assert_eq!(again.state.stage, Stage::Progressing(Run::default()));
}

#[test]
fn hazard_08_edited_weights_never_jump() {
    let cases: &[(u8, &[u8], Stage)] = &[
        (20, &[10, 30, 50], Stage::Progressing(run(30))),
        (20, &[5, 25, 100], Stage::Progressing(run(25))),
        (40, &[10, 20], Stage::Promoting { weight: 40 }),
    ];
    for (weight, edited, expected) in cases {
        let look = Look::new(spec(weights(edited)), under_way(Stage::Progressing(run(*weight))));
        assert_eq!(look.go().step.state.stage, *expected, "at {weight} with {edited:?}");
    }
}

#[test]
fn hazard_08_a_strategy_changed_under_way_begins_anew() {
    let ab_run = Run { iterations: 1, ..run(100) };
    let cases: &[(Strategy, Run)] =
        &[(canary(), ab_run), (blue_green(3), ab_run), (blue_green(3), run(40)), (ab(3), run(40))];
    for (strategy, under) in cases {
        let seen = Look::new(spec(strategy.clone()), under_way(Stage::Progressing(*under))).go();
        assert_eq!(seen.step.state.stage, Stage::Progressing(Run::default()), "{strategy:?}");
        assert_eq!(seen.step.desired.intent.canary_weight, 0, "100 of those who match is not 100 of all");
        assert_eq!(seen.events(), ["Strategy changed! Restarting analysis for shop.eve"]);
    }
}

#[test]
fn hazard_09_mirroring_is_one_step_and_then_goes_on() {
    let fresh = Look::new(spec(mirrored()), under_way(Stage::Progressing(Run::default())));
    let mirror = fresh.go().step.state.stage;
    assert_eq!(mirror, Stage::Progressing(Run { mirrored: true, ..Run::default() }));
    let look = Look::new(spec(mirrored()), under_way(mirror)).hook(HookKind::PreRollout, "smoke", HookAnswer::Yes);
    let seen = look.go();
    assert_eq!(seen.step.state.stage, Stage::Progressing(run(20)));
    assert!(seen.asked.contains(&Ask::Metrics) && !seen.asked.contains(&Ask::Hooks(HookKind::PreRollout)));
}

#[test]
fn hazard_13_an_initialization_that_stopped_goes_on() {
    let mut world = World::new(spec(canary()));
    for crash in [0, 1, 0, 1, 0, 1] {
        world.pass(Some(crash));
        world.now += jiff::SignedDuration::from_secs(1);
    }
    world.run(at(300), &mut |_, _| {});
    assert_eq!(world.state().stage, Stage::Initialized);
}

#[test]
fn hazard_14_nothing_but_giving_back_happens_while_the_canary_is_deleted() {
    let deleted = |look: &mut Look| (look.seen.deleting, look.seen.finalizer) = (true, true);
    for stage in [Stage::Succeeded, Stage::Progressing(run(40)), Stage::Promoting { weight: 40 }, Stage::Initializing] {
        let step = Look::new(spec(canary()), under_way(stage)).with(deleted).go().step;
        assert_eq!(step.state.stage, Stage::Terminating);
        assert!(step.desired.revert && !step.desired.routes && !step.desired.services, "no route back to the primary");
        assert_eq!(step.desired.primary, PrimaryAction::Keep);
    }
}

#[test]
fn hazard_15_a_deleted_primary_is_not_made_from_what_was_never_promoted() {
    let gone = |state: State, target: &str| {
        Look::new(spec(canary()), state).target(target).with(|look| look.seen.primary = None).go()
    };
    for (state, target, action) in [
        (failed(0), "new", PrimaryAction::Keep),
        (failed(0), "old", PrimaryAction::Create),
        (settled(Stage::Succeeded), "old", PrimaryAction::Create),
        (under_way(Stage::Progressing(run(20))), "new", PrimaryAction::Keep),
    ] {
        assert_eq!(gone(state.clone(), target).step.desired.primary, action, "{:?} with {target}", state.stage);
    }
    assert_eq!(gone(failed(0), "new").reasons(), ["PrimaryMissing"], "and it says what mends it");
    // The history of the target is asked only when the target does not hold the promoted revision itself.
    assert!(gone(failed(0), "old").asked.is_empty());
    assert_eq!(gone(failed(0), "new").asked, [Ask::History]);
    for state in [failed(0), settled(Stage::Succeeded), under_way(Stage::Progressing(run(20)))] {
        let look = Look::new(spec(canary()), state).with(|look| look.seen.primary = None);
        let step = look.clone().with(|look| look.history = History::Kept).go().step;
        assert_eq!(step.desired.primary, PrimaryAction::Rebuild, "{:?}", look.state.stage);
        assert_eq!(step.waiting[0].reason, "PrimaryCreating");
    }
    let away = Look::new(spec(canary()), failed(0)).with(|look| {
        (look.seen.primary, look.history) = (None, History::Unreadable("the API is away".into()));
    });
    let away = away.go().step;
    assert_eq!((away.desired.primary, away.wake), (PrimaryAction::Keep, Some(at(180))), "it is asked again");
    assert!(away.waiting[0].message.contains("its history cannot be read: the API is away"));
    // A change that should be rolled out is analysed all the same, and becomes the primary at its end.
    let changed = gone(settled(Stage::Succeeded), "new").step;
    assert_eq!(
        (changed.state.stage, changed.desired.primary),
        (Stage::Progressing(Run::default()), PrimaryAction::Keep)
    );
}

#[test]
fn hazard_16_a_session_cookie_is_written_with_the_weight_and_does_not_change_by_repetition() {
    let look = Look::new(spec(canary()), under_way(Stage::Progressing(Run::default())));
    let look = look.with(|look| look.spec.affinity = Some(affinity()));
    let (first, lost) = (look.go().step, look.go().step);
    let cookie = first.state.cookies.canary.clone().expect("a cookie with the first traffic");
    assert_eq!(lost.state.cookies.canary.as_ref(), Some(&cookie), "a write that was lost is made again, the same");
    assert_eq!(first.desired.intent.cookies.canary.as_ref(), Some(&cookie));
    let next = Look { state: first.state, memory: Memory::default(), now: at(3600), ..look }.split(20).go().step;
    assert_eq!(next.state.cookies.canary, Some(cookie), "nor does the next step deal users anew");
}

#[test]
fn hazard_17_a_canary_is_scaled_down_only_after_its_traffic_has_drained() {
    let mut state = failed(0);
    state.owed = vec![Owed::ScaleDown];
    let scale = |state: &State, traffic: Traffic, matched: Option<Timestamp>, now| {
        let look = Look::new(spec(canary()), state.clone()).with(|look| {
            (look.seen.traffic, look.memory.matched_since, look.now) = (traffic, matched, at(now));
        });
        look.go().step.desired.target
    };
    let zero = || Traffic::Split { weight: 0, mirrored: false };
    for (state, drained) in
        [(state, ScaleAction::Down), (under_way(Stage::Finalising { reverted: false }), ScaleAction::Down)]
    {
        let pending = Traffic::Pending("the gateway is slow".into());
        assert_eq!(scale(&state, Traffic::Split { weight: 20, mirrored: false }, None, 600), ScaleAction::Keep);
        assert_eq!(scale(&state, pending, None, 600), ScaleAction::Keep);
        assert_eq!(scale(&state, zero(), None, 600), ScaleAction::Keep, "it was reached only now");
        assert_eq!(scale(&state, zero(), Some(at(600)), 629), ScaleAction::Keep);
        assert_eq!(scale(&state, zero(), Some(at(600)), 630), drained);
    }
}

#[test]
fn hazard_17_what_another_controller_moved_drains_from_when_that_moved_it() {
    let state = State { since: Some(at(590)), ..under_way(Stage::Finalising { reverted: false }) };
    let scale = |now| {
        let look = Look::new(spec(canary()), state.clone()).with(|look| {
            look.seen.traffic = Traffic::Split { weight: 0, mirrored: false };
            // This one has seen the half of it all the time, and nothing in between.
            look.memory.matched = Some(Traffic::Split { weight: 50, mirrored: false });
            look.now = at(now);
        });
        look.go().step.desired.target
    };
    assert_eq!(scale(600), ScaleAction::Keep);
    assert_eq!(scale(620), ScaleAction::Down);
}

#[test]
fn hazard_18_the_rollback_hook_is_asked_while_waiting_and_at_every_gate() {
    for stage in [Stage::Waiting { weight: 0 }, Stage::Progressing(run(20)), Stage::WaitingPromotion(run(60))] {
        let look = Look::new(spec(canary()), under_way(stage)).hook(HookKind::Rollback, "panic", HookAnswer::Yes);
        let look = look.with(|look| look.spec.webhooks.push(hook(HookKind::ConfirmRollout, "gate")));
        let seen = look.go();
        assert_eq!(seen.step.state.stage, Stage::Failed { weight: 0, failed_checks: 0 });
        assert_eq!(seen.alerts(), ["alert/warn/plain/Rolling back manual webhook invoked"]);
    }
}

#[test]
fn hazard_18_a_closed_traffic_gate_is_told_once_and_again_at_the_next_step() {
    let gate = |state: State, memory: Memory, now| {
        let look = Look::new(spec(canary()), state).hook(
            HookKind::ConfirmTrafficIncrease,
            "gate",
            HookAnswer::No("no".into()),
        );
        Look { memory, now: at(now), ..look }
    };
    let first =
        gate(under_way(Stage::Progressing(run(20))), Memory { matched_since: Some(at(0)), ..Memory::default() }, 60)
            .go();
    assert_eq!(first.events(), ["! Halt shop.eve advancement waiting for approval gate"]);
    assert_eq!(first.alerts(), ["alert/warn/plain/Canary traffic increase is waiting for approval."]);

    let second = gate(first.step.state.clone(), first.step.memory.clone(), 120).go();
    assert_eq!(second.events(), Vec::<String>::new());
    let open = gate(second.step.state, second.step.memory, 180).with(|look| look.hooks[0].1 = HookAnswer::Yes).go();
    assert_eq!(open.step.state.stage, Stage::Progressing(run(40)));
    let next = gate(open.step.state, Memory { matched_since: Some(at(180)), ..open.step.memory }, 240).go();
    assert_eq!(next.events(), ["! Halt shop.eve advancement waiting for approval gate"]);
}

#[test]
fn hazard_18_the_progress_deadline_is_alerted() {
    let mut world = World::new(spec(canary()));
    world.quality.insert("r1".into(), Quality::Crashing);
    world.run(at(120), &mut |_, _| {});
    world.push("r1");
    let mut alerts = Vec::new();
    world.run(at(3600), &mut |_, pass| alerts.extend(pass.step.state.owed.iter().map(ToString::to_string)));
    assert!(alerts.iter().any(|alert| alert.starts_with("alert/error/plain/Progress deadline exceeded for shop.eve")));
    assert!(world.state().owed.is_empty(), "and acknowledged");
    assert!(world.target.is_some_and(|Pods { up, .. }| !up));
}
