//! `serin undo` where the target comes from Git.

use crds::{AppliedBy, GitRollbackState, OnRollback, PromotedCommit, Source};
use rollout::spec::Git;
use rollout::{Effect, GitOutcome, Stage, State};

use crate::support::build::{at, canary, run, settled, spec, under_way};
use crate::support::look::{Look, Seen};

const OLDER: &str = "01de00001de00001de00001de00001de00001de0";
const BEFORE: &str = "bef0000bef0000bef0000bef0000bef0000bef00";
const NOW: &str = "90000009000000900000090000009000000900ab";

fn source(commit: &str) -> Source {
    Source {
        repository: Some("https://git.example.com/shop".into()),
        branch: Some("main".into()),
        commit: Some(commit.into()),
        revision: Some(format!("main@sha1:{commit}")),
        applied_by: Some(AppliedBy {
            api_version: "serin.dev/v1alpha1".into(),
            kind: "GitSource".into(),
            namespace: "eve".into(),
            name: "shop".into(),
        }),
        ..Source::default()
    }
}

fn promoted(revision: &str, commit: &str, image: &str) -> PromotedCommit {
    PromotedCommit { revision: revision.into(), commit: commit.into(), images: vec![image.into()], time: at(0) }
}

/// Three releases came one after the other, and the last one stands.
fn stands() -> Look {
    let state = State {
        source: Some(source(NOW)),
        promoted_source: Some(source(NOW)),
        promoted_commits: vec![
            promoted("oldest", OLDER, "acme/shop:1"),
            promoted("older", BEFORE, "acme/shop:2"),
            promoted("old", NOW, "acme/shop:3"),
        ],
        ..settled(Stage::Succeeded)
    };
    Look::new(spec(canary()), state).target("old")
}

fn outcome(seen: &Seen) -> String {
    seen.step.state.last_command.clone().expect("a command was taken").outcome
}

fn good(seen: &Seen) -> Option<String> {
    seen.step.state.git.clone().and_then(|git| git.good_commit)
}

#[test]
fn it_goes_to_the_commit_before_or_to_the_one_that_is_named() {
    for (command, expected) in [
        ("undo", BEFORE),
        ("undo 01de", OLDER),
        (&format!("undo {OLDER}"), OLDER),
        // Long ago, and no longer remembered.
        ("undo 5555555555555555555555555555555555555555", "5555555555555555555555555555555555555555"),
    ] {
        let seen = stands().command(command).go();
        assert_eq!(good(&seen).as_deref(), Some(expected), "{command}: {}", outcome(&seen));
        let git = seen.step.state.git.clone().expect("something is owed in Git");
        assert_eq!((git.failed_commit.as_deref(), git.undone_by.as_deref()), (Some(NOW), Some("ann")));
        assert!(seen.step.effects.contains(&Effect::RevertInGit), "{command}");
        assert_eq!(git.hold, None);
        assert_eq!(seen.step.state.stage, Stage::Succeeded);
    }
}

#[test]
fn what_cannot_be_undone_is_refused_with_what_can() {
    let rows: [(&str, Look, &str); 8] = [
        (
            "undo 7777",
            stands(),
            "refused: \"7777\" is no commit that was promoted; remembered are bef0000 (acme/shop:2), 01de000 (acme/shop:1)",
        ),
        ("undo 9000000", stands(), "refused: commit 9000000 is what stands there"),
        ("undo x", stands(), "refused: \"x\" is no commit"),
        ("undo", stands().with(|look| look.state.promoted_commits.clear()), "refused: no earlier commit is known"),
        ("undo", stands().with(|look| look.state.source = None), "refused: nothing says that shop.eve comes from Git"),
        (
            "undo",
            stands().with(|look| look.state.source.as_mut().expect("a source").provisional = true),
            "refused: who applied the revision has not said yet",
        ),
        (
            "undo",
            Look::new(spec(canary()), under_way(Stage::Progressing(run(20)))),
            "refused: a rollout is under way; abort it first",
        ),
        (
            "undo",
            stands().with(|look| {
                let source = look.state.source.as_mut().expect("a source");
                (source.branch, source.tag) = (None, Some("v3".into()));
            }),
            "refused: GitSource eve/shop follows the tag v3",
        ),
    ];
    for (command, look, begins) in rows {
        let seen = look.command(command).go();
        assert!(outcome(&seen).starts_with(begins), "{}", outcome(&seen));
        assert_eq!(seen.step.state.git, None, "{begins}");
        assert!(!seen.step.effects.contains(&Effect::RevertInGit));
    }
}

#[test]
fn what_was_taken_back_without_git_can_be_taken_back_in_git() {
    let state = State {
        source: Some(source(NOW)),
        promoted_source: Some(source(BEFORE)),
        promoted_commits: vec![promoted("old", BEFORE, "acme/shop:2")],
        ..under_way(Stage::Failed { weight: 0, failed_checks: 3 })
    };
    let look = Look::new(spec(canary()), state).canary_is(rollout::Readiness::ScaledToZero).command("undo");
    assert_eq!(look.spec.git.on_rollback, OnRollback::None);
    assert_eq!(good(&look.go()).as_deref(), Some(BEFORE));
}

#[test]
fn it_is_told_until_the_next_revision_is_promoted() {
    let look = stands().with(|look| look.spec.git = Git { on_rollback: OnRollback::PullRequest, ..Git::default() });
    let asked = look.clone().command("undo").go();
    let next = look.with(|look| {
        look.state = State::from_status(&asked.step.state.to_status());
        look.memory.git_outcome = Some(("old".into(), GitOutcome::Reverted { commit: "0ddba11".into() }));
    });
    let reverted = next.go();
    let git = reverted.step.state.git.clone().expect("it is told");
    assert_eq!((git.state, git.revert_commit.as_deref()), (GitRollbackState::Reverted, Some("0ddba11")));
    let again = next.clone().with(|look| {
        look.state = reverted.step.state.clone();
        look.seen.command = Some(rollout::Command { id: "2".into(), verb: "undo".into(), by: None });
    });
    assert_eq!(outcome(&again.go()), "refused: commit 9000000 is reverted by commit 0ddba11");
    let promoted = next.with(|look| {
        look.state = State { git: Some(git), ..settled(Stage::Succeeded) };
        (look.state.applied, look.state.promoted) = {
            let newer = crate::support::build::revision("newer");
            (Some(newer.clone()), Some((&newer).into()))
        };
        look.memory.git_outcome = None;
    });
    assert_eq!(promoted.target("newer").primary_runs("newer").go().step.state.git, None);
}

#[test]
fn ten_commits_that_were_promoted_are_remembered() {
    let mut look = stands().with(|look| look.state.promoted_commits.clear());
    let promote = |look: &mut Look, number: usize| {
        let revision = crate::support::build::revision(&format!("r{number}"));
        let commit = format!("{number:040x}");
        look.state.source = Some(source(&commit));
        look.state.promoted_source.clone_from(&look.state.source);
        (look.state.applied, look.state.promoted) = (Some(revision.clone()), Some((&revision).into()));
        *look = look.clone().target(&format!("r{number}")).primary_runs(&format!("r{number}"));
        look.state = look.go().step.state;
    };
    for number in 0..12 {
        promote(&mut look, number);
        let known = look.state.promoted_commits.clone();
        look.state = look.go().step.state;
        assert_eq!(look.state.promoted_commits, known, "another look changes nothing");
    }
    let known = &look.state.promoted_commits;
    assert_eq!((known.len(), known[0].revision.as_str(), known[9].revision.as_str()), (10, "r2", "r11"));
}
