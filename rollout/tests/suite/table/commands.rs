//! Commands: what they do, and when they are refused.

use rollout::desired::{PrimaryAction, ScaleAction};
use rollout::spec::HookKind;
use rollout::{HookAnswer, Readiness, Run, Stage, State};

use crate::support::build::{ab, blue_green, canary, run, settled, spec, under_way};
use crate::support::look::Look;

fn outcome(look: &Look) -> (String, Stage) {
    let state = look.go().step.state;
    (state.last_command.expect("a command was taken").outcome, state.stage)
}

/// Too early for a look, so that what happens is the command's doing.
fn at(stage: Stage) -> Look {
    let down = matches!(stage, Stage::Waiting { .. } | Stage::Failed { .. });
    let look = Look::new(spec(canary()), under_way(stage)).with(|look| look.now = crate::support::build::at(30));
    if down { look.canary_is(Readiness::ScaledToZero) } else { look }
}

#[test]
fn what_commands_do() {
    let bg = |iterations| {
        at(Stage::Progressing(Run { iterations, ..run(0) })).with(|look| look.spec.strategy = blue_green(2))
    };
    let tests = at(Stage::Progressing(Run { iterations: 1, ..run(100) })).with(|look| look.spec.strategy = ab(2));
    let cases = [
        (
            at(Stage::Progressing(run(20))),
            "promote",
            "the canary gets 40 % of the traffic",
            Stage::Progressing(run(40)),
        ),
        (at(Stage::Progressing(run(60))), "promote", "the primary is being updated", Stage::Promoting { weight: 60 }),
        (
            at(Stage::WaitingPromotion(run(60))),
            "promote",
            "the primary is being updated",
            Stage::Promoting { weight: 60 },
        ),
        (
            at(Stage::Progressing(run(20))),
            "promote-full",
            "the primary is being updated",
            Stage::Promoting { weight: 20 },
        ),
        (bg(0), "promote", "the next step began", Stage::Progressing(Run { iterations: 1, ..run(0) })),
        (bg(2), "promote", "the primary is being updated", Stage::Promoting { weight: 0 }),
        (tests, "promote", "the next step began", Stage::Progressing(Run { iterations: 2, ..run(100) })),
        (at(Stage::Waiting { weight: 0 }), "promote", "the rollout was approved", Stage::Progressing(run(0))),
        (at(Stage::Progressing(run(20))), "pause", "paused", Stage::Progressing(run(20))),
        (at(Stage::Progressing(run(20))), "abort", "aborted", Stage::Failed { weight: 0, failed_checks: 0 }),
        (at(Stage::WaitingPromotion(run(60))), "abort", "aborted", Stage::Failed { weight: 0, failed_checks: 0 }),
        (at(Stage::Waiting { weight: 0 }), "abort", "aborted", Stage::Failed { weight: 0, failed_checks: 0 }),
        (
            at(Stage::Failed { weight: 0, failed_checks: 3 }),
            "retry",
            "the revision is being rolled out again",
            Stage::Progressing(run(0)),
        ),
    ];
    for (look, verb, expected, stage) in cases {
        let before = look.state.stage.clone();
        assert_eq!(outcome(&look.command(verb)), (expected.to_owned(), stage), "{verb} in {before:?}");
    }
}

#[test]
fn what_they_write() {
    let full = at(Stage::Progressing(run(20))).command("promote-full").go().step;
    assert_eq!((full.desired.primary, full.desired.intent.canary_weight), (PrimaryAction::Promote, 20));
    let down = |look: Look| look.canary_is(Readiness::ScaledToZero).go().step.desired.target;
    assert_eq!(down(at(Stage::Waiting { weight: 0 }).command("promote")), ScaleAction::Up);
    assert_eq!(down(at(Stage::Failed { weight: 0, failed_checks: 3 }).command("retry")), ScaleAction::Up);
    let abort = at(Stage::Progressing(run(20))).command("abort").go();
    assert_eq!(
        abort.events(),
        [
            "Command abort by ann on shop.eve: aborted",
            "! Rolling back shop.eve aborted by ann",
            "! Canary failed! Scaling down shop.eve"
        ]
    );
    assert_eq!(abort.alerts(), ["alert/warn/plain/Rolled back, aborted by ann"]);
    assert_eq!(abort.step.desired.intent.canary_weight, 0);
}

#[test]
fn what_is_refused() {
    let busy = Readiness::NotYet("1 of 2 pods are available".into());
    let cases = [
        (at(Stage::Succeeded), "promote", "refused: no analysis is under way, the phase is Succeeded"),
        (
            at(Stage::Promoting { weight: 60 }).primary_runs("new"),
            "abort",
            "refused: no analysis is under way, the phase is Promoting",
        ),
        (at(Stage::Initialized), "pause", "refused: no analysis is under way, the phase is Initialized"),
        (at(Stage::Progressing(run(20))), "resume", "refused: it is not paused"),
        (
            at(Stage::Progressing(run(20))),
            "retry",
            "refused: only a rollout in phase Failed can be tried again, this one is in phase Progressing",
        ),
        (
            at(Stage::Progressing(run(20))),
            "dance",
            "refused: unknown command \"dance\"; known are promote, promote-full, abort, pause, resume, retry, undo",
        ),
        (at(Stage::Progressing(run(20))).target("newer"), "promote", "refused: a newer revision has just arrived"),
        (
            at(Stage::Progressing(run(20))).canary_is(busy),
            "promote-full",
            "refused: the canary is not ready: 1 of 2 pods are available",
        ),
        (
            at(Stage::Progressing(run(20))).canary_is(Readiness::ScaledToZero),
            "promote",
            "refused: the canary is scaled to zero",
        ),
    ];
    for (look, verb, expected) in cases {
        let look = look.with(|look| {
            if look.state.stage == Stage::Succeeded || look.state.stage == Stage::Initialized {
                look.state = settled(look.state.stage.clone());
                look.seen.target.as_mut().expect("a target").revision = crate::support::build::revision("old");
            }
        });
        assert_eq!(outcome(&look.command(verb)).0, expected);
    }
}

#[test]
fn a_command_is_taken_once() {
    let look = at(Stage::Progressing(run(20))).command("promote");
    let taken = look.go().step;
    let again = Look { state: taken.state, memory: taken.memory, ..look }.go();
    assert_eq!((again.step.state.stage.weight(), again.events()), (40, vec![]));
}

#[test]
fn a_pause_holds_until_resume() {
    let paused = |look: Look| look.with(|look| look.state.paused = true);
    for stage in [Stage::Progressing(run(20)), Stage::WaitingPromotion(run(60)), Stage::Waiting { weight: 0 }] {
        let seen = paused(Look::new(spec(canary()), under_way(stage.clone()))).go();
        assert_eq!((seen.step.state.stage.clone(), seen.asked.len()), (stage.clone(), 0));
        assert_eq!(seen.reasons(), ["Paused"]);
        let resumed = paused(Look::new(spec(canary()), under_way(stage.clone()))).command("resume").go().step;
        assert!(!resumed.state.paused && resumed.state.stage != stage, "{stage:?}: it goes on in the same pass");
    }
    // Safety does not wait: a canary that breaks is taken back, a change is noticed.
    let broken = paused(at(Stage::Progressing(run(20)))).canary_is(Readiness::Stuck("0 of 2".into())).go().step;
    assert_eq!((broken.state.stage, broken.state.paused), (Stage::Failed { weight: 0, failed_checks: 0 }, false));
    let reverted = paused(at(Stage::Progressing(run(20)))).target("old").go().step.state;
    assert_eq!((reverted.stage, reverted.paused), (Stage::Finalising { reverted: true }, false));
    let newer = paused(at(Stage::Progressing(run(20)))).target("newer").go().step.state;
    assert_eq!((newer.stage, newer.paused), (Stage::Progressing(run(0)), true), "a pause outlives a newer revision");
}

#[test]
fn neither_gates_nor_checks_are_asked_by_a_command() {
    for kind in [HookKind::ConfirmTrafficIncrease, HookKind::ConfirmPromotion, HookKind::Rollout] {
        let look = Look::new(spec(canary()), under_way(Stage::Progressing(run(60)))).command("promote");
        let seen = look.hook(kind, "gate", HookAnswer::No("closed".into())).go();
        assert_eq!((seen.step.state.stage.clone(), seen.asked), (Stage::Promoting { weight: 60 }, vec![]));
    }
}

#[test]
fn retry_begins_with_a_clean_count() {
    let state = State { paused: true, ..under_way(Stage::Failed { weight: 0, failed_checks: 3 }) };
    let step = Look::new(spec(canary()), state).canary_is(Readiness::ScaledToZero).command("retry").go().step;
    assert_eq!((step.state.stage, step.state.paused, step.state.checked_at), (Stage::Progressing(run(0)), false, None));
}
