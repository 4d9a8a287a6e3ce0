//! What follows in Git when a revision is taken back.

use crds::{AppliedBy, GitRollbackState, HoldState, OnRollback, Source};
use rollout::desired::HoldAction;
use rollout::spec::Git;
use rollout::{DeployerSeen, Effect, GitOutcome, SourceSeen, Stage, State};

use crate::support::build::{at, canary, run, spec, under_way};
use crate::support::look::{Look, Seen};

const BAD: &str = "bad0000bad0000bad0000bad0000bad0000bad00";
const GOOD: &str = "900d0000900d0000900d0000900d0000900d0000";

fn source(commit: &str) -> Source {
    Source {
        repository: Some("https://git.example.com/shop".into()),
        branch: Some("main".into()),
        path: Some("deploy".into()),
        commit: Some(commit.into()),
        revision: Some(format!("main@sha1:{commit}")),
        applied_by: Some(AppliedBy {
            api_version: "kustomize.toolkit.fluxcd.io/v1".into(),
            kind: "Kustomization".into(),
            namespace: "flux-system".into(),
            name: "shop".into(),
        }),
        ..Source::default()
    }
}

/// A rollout that a person takes back.
fn aborted() -> Look {
    let state = State {
        source: Some(source(BAD)),
        promoted_source: Some(source(GOOD)),
        ..under_way(Stage::Progressing(run(20)))
    };
    let git = Git { on_rollback: OnRollback::Revert, hold: true, ..Git::default() };
    Look::new(spec(canary()), state).with(|look| (look.spec.git, look.seen.finalizer) = (git, true)).command("abort")
}

fn deployer(head: &str, held: bool, suspended: bool) -> Option<DeployerSeen> {
    Some(DeployerSeen { head: Some(head.into()), held, suspended })
}

/// The next look at what the last one left.
fn next(look: &Look, seen: &Seen, change: impl FnOnce(&mut Look)) -> Look {
    let mut look = look.clone();
    look.state = seen.step.state.clone();
    look.memory = seen.step.memory.clone();
    look.now = at(300);
    look.seen.traffic = rollout::Traffic::Split { weight: look.state.stage.weight(), mirrored: false };
    change(&mut look);
    look
}

fn reverts(seen: &Seen) -> bool {
    seen.step.effects.contains(&Effect::RevertInGit)
}

fn git(seen: &Seen) -> crds::GitRollback {
    seen.step.state.git.clone().expect("something is owed in Git")
}

fn hold(seen: &Seen) -> HoldState {
    git(seen).hold.expect("a hold").state
}

#[test]
fn a_revert_and_a_hold_are_owed_with_the_verdict_and_settled_one_after_the_other() {
    let look = aborted().with(|look| look.seen.deployer = deployer(BAD, false, false));
    let verdict = look.go();
    let owed = git(&verdict);
    assert_eq!((owed.state, owed.failed_commit.as_deref()), (GitRollbackState::Pending, Some(BAD)));
    assert_eq!(owed.good_commit.as_deref(), Some(GOOD));
    assert!(owed.why.contains("aborted by ann"), "{}", owed.why);
    assert!(reverts(&verdict));
    assert_eq!((hold(&verdict), verdict.step.desired.hold), (HoldState::Wanted, HoldAction::Set));

    let look = next(&look, &verdict, |look| {
        look.seen.deployer = deployer(BAD, true, false);
        look.memory.git_outcome = Some(("new".into(), GitOutcome::Reverted { commit: "0ddba11".into() }));
    });
    let reverted = look.go();
    assert_eq!((git(&reverted).state, hold(&reverted)), (GitRollbackState::Reverted, HoldState::Held));
    assert!(!reverts(&reverted));
    assert_eq!(reverted.step.desired.hold, HoldAction::Keep);

    let look = next(&look, &reverted, |look| look.seen.deployer = deployer("0ddba11", true, false));
    let lifting = look.go();
    assert_eq!((hold(&lifting), lifting.step.desired.hold), (HoldState::Lifting, HoldAction::Lift));

    let look = next(&look, &lifting, |look| look.seen.deployer = deployer("0ddba11", false, false));
    let lifted = look.go();
    assert_eq!((hold(&lifted), lifted.step.desired.hold), (HoldState::Lifted, HoldAction::Keep));
}

#[test]
fn after_a_restart_it_is_owed_as_before() {
    let look = aborted().with(|look| look.seen.deployer = deployer(BAD, false, false));
    let verdict = look.go();
    let read = State::from_status(&verdict.step.state.to_status());
    let again = next(&look, &verdict, |look| (look.state, look.memory) = (read, Default::default())).go();
    assert!(reverts(&again));
    assert_eq!((hold(&again), again.step.desired.hold), (HoldState::Wanted, HoldAction::Set));
}

#[test]
fn nothing_is_owed_where_nothing_was_asked_for() {
    let seen = aborted().with(|look| look.spec.git = Git::default()).go();
    assert_eq!(seen.step.state.git, None);
    assert!(!reverts(&seen));
}

#[test]
fn no_commit_is_blamed_before_it_is_certain() {
    let look = aborted().with(|look| look.state.source.as_mut().expect("a source").provisional = true);
    let seen = look.go();
    assert_eq!((git(&seen).state, git(&seen).failed_commit), (GitRollbackState::Pending, None));
    assert!(!reverts(&seen));
    let later = next(&look, &seen, |look| look.state.source = Some(source(BAD))).go();
    assert_eq!(git(&later).failed_commit.as_deref(), Some(BAD));
    assert!(reverts(&later));
}

#[test]
fn what_no_program_can_revert_says_what_a_person_has_to_do() {
    type Change = fn(&mut Source);
    let rows: [(&str, Change); 4] = [
        ("by hand", |source| source.commit = None),
        ("by hand", |source| source.repository = None),
        ("follows the tag v1", |source| (source.branch, source.tag) = (None, Some("v1".into()))),
        ("follows no branch", |source| source.branch = None),
    ];
    for (words, change) in rows {
        let seen = aborted().with(|look| change(look.state.source.as_mut().expect("a source"))).go();
        let git = git(&seen);
        assert_eq!(git.state, GitRollbackState::Blocked, "{words}");
        assert!(git.message.as_ref().is_some_and(|message| message.contains(words)), "{words}: {:?}", git.message);
        assert!(!reverts(&seen));
    }
}

#[test]
fn a_suspension_of_somebody_else_is_left_alone() {
    let look = aborted().with(|look| look.seen.deployer = deployer(BAD, false, true));
    let seen = look.go();
    assert_eq!((hold(&seen), seen.step.desired.hold), (HoldState::NotOurs, HoldAction::Keep));
}

#[test]
fn a_new_rollout_or_the_end_of_the_canary_lifts_the_hold() {
    let look = aborted().with(|look| look.seen.deployer = deployer(BAD, false, false));
    let verdict = look.go();
    let held = next(&look, &verdict, |look| look.seen.deployer = deployer(BAD, true, false));
    let held_seen = held.go();
    assert_eq!(hold(&held_seen), HoldState::Held);
    let deleted = next(&held, &held_seen, |look| (look.seen.deleting, look.seen.finalizer) = (true, true)).go();
    assert_eq!(deleted.step.desired.hold, HoldAction::Lift);
    assert_eq!(deleted.step.desired.finalizer, rollout::desired::FinalizerAction::Keep);
    let newer = next(&held, &held_seen, |look| {
        look.seen.command = None;
        look.memory.git_outcome = Some(("new".into(), GitOutcome::MovedOn { message: "there is no revert".into() }));
    });
    let newer = newer.target("newer").go();
    assert_eq!(newer.step.desired.hold, HoldAction::Lift);
    assert_eq!(git(&newer).state, GitRollbackState::MovedOn);
}

#[test]
fn what_a_revert_brought_is_told_by_whoever_sees_it_first() {
    let look = aborted();
    let verdict = look.go();
    let moved_on = next(&look, &verdict, |look| {
        look.seen.command = None;
        look.memory = Default::default();
    });
    let with_source = |look: &Look| {
        let mut look = look.clone().target("newer");
        look.seen.target.as_mut().expect("a target").source =
            Some(SourceSeen { source: source("0ddba11"), at_work: true });
        look
    };
    let looking = with_source(&moved_on).go();
    let finds = |seen: &Seen| seen.step.effects.contains(&Effect::FindRevertInGit);
    assert!(finds(&looking) && !reverts(&looking), "{:?}", looking.step.effects);
    assert_eq!(git(&looking).state, GitRollbackState::Pending);
    for (outcome, state) in [
        (GitOutcome::Reverted { commit: "0ddba11".into() }, GitRollbackState::Reverted),
        (GitOutcome::MovedOn { message: "there is no revert of it".into() }, GitRollbackState::MovedOn),
        (GitOutcome::Delayed { message: "cannot reach git.example.com".into() }, GitRollbackState::MovedOn),
    ] {
        let told = next(&moved_on, &looking, |look| {
            *look = with_source(look);
            look.memory.git_outcome = Some((git(&looking).revision, outcome));
        });
        let told = told.go();
        assert_eq!((git(&told).state, finds(&told), reverts(&told)), (state, false, false));
    }
}

#[test]
fn nobody_is_held_before_the_finalizer_is_on() {
    let look = aborted().with(|look| (look.seen.deployer, look.seen.finalizer) = (deployer(BAD, false, false), false));
    let seen = look.go();
    assert_eq!((hold(&seen), seen.step.desired.hold), (HoldState::Wanted, HoldAction::Keep));
    assert_eq!(seen.step.desired.finalizer, rollout::desired::FinalizerAction::Add);
}

#[test]
fn a_delay_is_told_once_and_tried_again() {
    let look = aborted();
    let verdict = look.go();
    let delayed = |message: &str| Some(("new".into(), GitOutcome::Delayed { message: message.to_owned() }));
    let look = next(&look, &verdict, |look| look.memory.git_outcome = delayed("cannot reach git.example.com"));
    let first = look.go();
    assert!(reverts(&first) && first.step.effects.iter().any(|effect| matches!(effect, Effect::Event { .. })));
    let second = next(&look, &first, |look| look.memory.git_outcome = delayed("cannot reach git.example.com")).go();
    assert!(reverts(&second));
    assert!(
        !second.step.effects.iter().any(|effect| matches!(effect, Effect::Event { .. })),
        "{:?}",
        second.step.effects
    );
    assert_eq!(git(&second).state, GitRollbackState::Pending);
    // While nothing else is known, the delay stays the reason.
    let third = next(&look, &second, |_| {}).go();
    let reasons: Vec<_> = third.step.waiting.iter().map(|waiting| waiting.message.as_str()).collect();
    assert!(reverts(&third) && reasons.iter().any(|reason| reason.contains("is delayed: cannot reach")), "{reasons:?}");
}
