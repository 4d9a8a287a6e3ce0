//! Which commit a revision is said to come from, and when that is certain.

use crds::{AppliedBy, Source};
use rollout::observation::{Applied, SourceSeen};
use rollout::{Memory, Stage, State};

use crate::support::build::{at, canary, revision, run, settled, spec};
use crate::support::look::Look;

/// What an operator says: that it has applied this commit, or is applying it.
fn says(commit: &str, at_work: bool) -> Option<SourceSeen> {
    let by = AppliedBy {
        api_version: "kustomize.toolkit.fluxcd.io/v1".into(),
        kind: "Kustomization".into(),
        namespace: "flux-system".into(),
        name: "apps".into(),
    };
    let source = Source {
        commit: Some(commit.into()),
        revision: Some(format!("main@sha1:{commit}")),
        applied_by: Some(by),
        ..Source::default()
    };
    Some(SourceSeen { source, at_work })
}

struct Passes {
    state: State,
    memory: Memory,
}

impl Passes {
    /// Revision `old` is promoted and came from commit `aaaaaaa`.
    fn idle() -> Passes {
        let source = says("aaaaaaa", false).map(|seen| seen.source);
        let state = State { source: source.clone(), promoted_source: source, ..settled(Stage::Succeeded) };
        Passes { state, memory: Memory { looked: true, matched_since: Some(at(0)), ..Memory::default() } }
    }

    /// One pass at that second, with this revision in the target; returns what was told.
    fn pass(&mut self, second: i64, id: &str, says: Option<SourceSeen>) -> Vec<String> {
        let look = Look::new(spec(canary()), self.state.clone()).target(id).with(|look| {
            look.now = at(second);
            look.memory = self.memory.clone();
            look.seen.target.as_mut().expect("a target").source = says;
        });
        let seen = look.go();
        self.state = seen.step.state.clone();
        self.memory = seen.step.memory.clone();
        seen.events().iter().map(ToString::to_string).collect()
    }

    fn commit(&self) -> (Option<&str>, bool) {
        let source = self.state.source.as_ref().expect("a source");
        (source.commit.as_deref(), source.provisional)
    }
}

#[test]
fn who_speaks_before_applying_is_named_at_once_and_believed_when_done() {
    let mut passes = Passes::idle();
    passes.pass(100, "old", says("aaaaaaa", false));
    let told = passes.pass(120, "new", says("bbbbbbb", true));
    assert_eq!(
        told,
        ["New revision detected! Scaling up shop.eve, from commit bbbbbbb (Kustomization flux-system/apps)"]
    );
    assert_eq!(passes.commit(), (Some("bbbbbbb"), true));
    passes.pass(121, "new", says("bbbbbbb", false));
    assert_eq!(passes.commit(), (Some("bbbbbbb"), true), "what they say may be older than the revision");
    let told = passes.pass(122, "new", says("bbbbbbb", false));
    assert_eq!(passes.commit(), (Some("bbbbbbb"), false));
    assert!(!told.iter().any(|told| told.contains("comes from")), "{told:?}");
    // Later commits change nothing of it.
    passes.pass(125, "new", says("ccccccc", true));
    passes.pass(126, "new", says("ccccccc", false));
    assert_eq!(passes.commit(), (Some("bbbbbbb"), false));
    let promoted = passes.state.promoted_source.as_ref().and_then(|source| source.commit.as_deref());
    assert_eq!(promoted, Some("aaaaaaa"), "nothing was promoted yet");
}

#[test]
fn the_commit_before_is_not_named() {
    let mut passes = Passes::idle();
    // A commit that did not touch the target.
    passes.pass(50, "old", says("abababa", false));
    let told = passes.pass(120, "new", says("abababa", false));
    assert_eq!(told, ["New revision detected! Scaling up shop.eve"]);
    assert_eq!(passes.commit(), (None, true));
    passes.pass(130, "new", says("abababa", true));
    assert_eq!(passes.commit(), (None, true));
    let told = passes.pass(131, "new", says("bbbbbbb", true));
    assert!(told[0].starts_with("Revision of shop.eve comes from commit bbbbbbb"), "{told:?}");
    assert_eq!(passes.commit(), (Some("bbbbbbb"), true));
    passes.pass(140, "new", says("bbbbbbb", false));
    assert_eq!(passes.commit(), (Some("bbbbbbb"), false));
}

#[test]
fn of_two_commits_within_a_second_the_second_is_named() {
    let mut passes = Passes::idle();
    passes.pass(120, "new", says("bbbbbbb", true));
    // Before the first is certain they are at the second, and say so before it is seen in the target.
    passes.pass(121, "new", says("ccccccc", true));
    passes.pass(121, "newer", says("ccccccc", true));
    assert_eq!(passes.commit(), (Some("ccccccc"), true));
    passes.pass(124, "newer", says("ccccccc", false));
    assert_eq!(passes.commit(), (Some("ccccccc"), false));
    let mut by_hand = Passes::idle();
    by_hand.pass(120, "new", says("aaaaaaa", false));
    by_hand.pass(121, "newer", says("aaaaaaa", false));
    by_hand.pass(140, "newer", says("aaaaaaa", false));
    assert_eq!(by_hand.commit(), (None, true), "nobody's");
}

#[test]
fn a_change_by_hand_is_nobodys_commit() {
    let mut passes = Passes::idle();
    passes.pass(100, "old", says("aaaaaaa", false));
    for second in [120, 130, 400] {
        passes.pass(second, "new", says("aaaaaaa", false));
        assert_eq!(passes.commit(), (None, true));
    }
}

#[test]
fn what_overtook_the_revision_is_what_brought_it() {
    let mut passes = Passes::idle();
    passes.pass(60, "old", says("aaaaaaa", false));
    // The watch of the operator is ahead of the watch of the target.
    passes.pass(119, "old", says("bbbbbbb", false));
    passes.pass(120, "new", says("bbbbbbb", false));
    assert_eq!(passes.commit(), (Some("bbbbbbb"), true));
    passes.pass(122, "new", says("bbbbbbb", false));
    assert_eq!(passes.commit(), (Some("bbbbbbb"), false));
}

#[test]
fn a_restart_loses_nothing() {
    let mut passes = Passes::idle();
    passes.pass(120, "new", says("aaaaaaa", false));
    passes.memory = Memory::default();
    passes.pass(121, "new", says("aaaaaaa", false));
    assert_eq!(passes.commit(), (None, true), "still the commit before");
    passes.memory = Memory::default();
    passes.pass(130, "new", says("bbbbbbb", false));
    assert_eq!(passes.commit(), (Some("bbbbbbb"), false));
}

#[test]
fn nobody_is_blamed_for_what_began_before_it_was_written_down() {
    let state = State { applied: Some(revision("new")), ..settled(Stage::Progressing(run(20))) };
    let mut passes = Passes { state, memory: Memory::default() };
    for second in [120, 140] {
        passes.pass(second, "new", says("aaaaaaa", false));
        assert_eq!(passes.commit(), (Some("aaaaaaa"), true));
    }
}

#[test]
fn labels_are_certain_at_once_and_what_is_learnt_later_completes_a_commit() {
    let mut passes = Passes::idle();
    let labelled = || {
        let mut seen = says("bbbbbbb", false);
        seen.as_mut().expect("a source").source.applied_by = None;
        seen
    };
    passes.pass(120, "new", labelled());
    assert_eq!(passes.commit(), (Some("bbbbbbb"), false));
    let mut known = labelled();
    known.as_mut().expect("a source").source.message = Some("Bump".into());
    passes.pass(125, "new", known);
    assert_eq!(passes.state.source.as_ref().and_then(|source| source.message.as_deref()), Some("Bump"));
}

#[test]
fn a_promotion_makes_it_the_last_good_commit() {
    let source = says("bbbbbbb", false).map(|seen| seen.source);
    let state = State {
        applied: Some(revision("new")),
        source: source.clone(),
        promoted_source: says("aaaaaaa", false).map(|seen| seen.source),
        ..settled(Stage::Finalising { reverted: false })
    };
    let memory = Memory { applied_then: vec![Applied { word: "x".into(), since: at(0) }], ..Memory::default() };
    let mut passes = Passes { state, memory };
    for second in [120, 300] {
        let look = Look::new(spec(canary()), passes.state.clone()).target("new").with(|look| {
            look.now = at(second);
            look.memory = passes.memory.clone();
            let target = look.seen.target.as_mut().expect("a target");
            target.source = says("ccccccc", false);
            target.scaled_down = true;
        });
        let step = look.go().step;
        (passes.state, passes.memory) = (step.state, step.memory);
    }
    assert_eq!(passes.state.stage, Stage::Succeeded);
    assert_eq!((&passes.state.source, &passes.state.promoted_source), (&source, &source));
}

#[test]
fn a_commit_that_follows_at_once_is_not_taken_for_the_one_before() {
    let mut passes = Passes::idle();
    passes.state.source.as_mut().expect("a source").provisional = true;
    passes.memory.noticed = Some(("old".into(), at(90)));
    // Nobody looked in between; then the operator says that it has applied another one, and the target follows.
    passes.pass(100, "old", says("bbbbbbb", false));
    assert_eq!(passes.commit(), (Some("aaaaaaa"), false));
    passes.pass(101, "new", says("bbbbbbb", false));
    passes.pass(104, "new", says("bbbbbbb", false));
    assert_eq!(passes.commit(), (Some("bbbbbbb"), false));
}
