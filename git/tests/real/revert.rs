//! Taking commits back.

use git::{CommitId, Limits, Mirror, Pushed, Reverted};

use crate::fixture::{World, git};
use crate::push::new;

fn limits() -> Limits {
    Limits::default()
}

/// A mirror at the head, deep enough to take `commit` back.
fn ready(world: &World, commit: &CommitId) -> (Mirror, CommitId) {
    let mut mirror = world.mirror();
    let head = mirror.fetch(&world.remote(), &limits()).expect("fetch").commit.id;
    mirror.deepen(&world.remote(), commit, &limits()).expect("deepen");
    (mirror, head)
}

#[test]
fn the_last_commit_is_taken_back() {
    let world = World::new();
    world.write("deploy/app.yaml", "image: two\n\n\n\n\n\nreplicas: 1\n");
    world.write("deploy/added", "x");
    std::fs::remove_file(world.user().join("README")).expect("remove");
    let bad = world.commit("Bad");
    let (mirror, head) = ready(&world, &bad);
    let Reverted::Clean(changes) = mirror.revert(&bad, &head, &[""], &limits()).expect("revert") else {
        panic!("conflict")
    };
    assert_eq!(changes.len(), 3);
    let id = mirror.commit(&new(head, changes, "Revert \"Bad\"")).expect("commit");
    assert_eq!(mirror.push(&world.remote(), "main", &id, &limits()).expect("push"), Pushed::Done);
    assert_eq!(git(&world.bare(), &["diff", "--stat", "main~2", "main"]), "");
    // Done once, there is nothing left to do.
    let (mirror, head) = ready(&world, &bad);
    assert_eq!(head, id);
    assert_eq!(mirror.revert(&bad, &head, &[""], &limits()).expect("again"), Reverted::Clean(vec![]));
}

#[test]
fn what_was_done_since_stays_and_only_the_given_paths_are_touched() {
    let world = World::new();
    world.write("deploy/app.yaml", "image: two\n\n\n\n\n\nreplicas: 1\n");
    world.write("README", "changed\n");
    let bad = world.commit("Bad");
    world.write("deploy/app.yaml", "image: two\n\n\n\n\n\nreplicas: 5\n");
    world.write("other", "x");
    world.commit("Good");
    let (mirror, head) = ready(&world, &bad);
    let Reverted::Clean(changes) = mirror.revert(&bad, &head, &["deploy"], &limits()).expect("revert") else {
        panic!("conflict")
    };
    let changes = changes.into_iter().map(|change| (change.path, change.bytes)).collect::<Vec<_>>();
    assert_eq!(changes, [("deploy/app.yaml".into(), Some(b"image: one\n\n\n\n\n\nreplicas: 5\n".to_vec()))]);
}

#[test]
fn a_conflict_names_its_files() {
    let world = World::new();
    world.write("deploy/app.yaml", "image: two\n");
    world.write("deploy/gone", "x");
    let bad = world.commit("Bad");
    world.write("deploy/app.yaml", "image: three\n");
    world.write("deploy/gone", "y");
    world.commit("Since");
    let (mirror, head) = ready(&world, &bad);
    let reverted = mirror.revert(&bad, &head, &["deploy"], &limits()).expect("revert");
    assert_eq!(reverted, Reverted::Conflict(vec!["deploy/app.yaml".into(), "deploy/gone".into()]));
    assert_eq!(mirror.revert(&bad, &head, &["elsewhere"], &limits()).expect("revert"), Reverted::Clean(vec![]));
}

#[test]
fn it_agrees_with_git_revert() {
    // A file of ten lines; each step changes one, and taking any step back must end as it does with git.
    for at in 0..4 {
        let world = World::new();
        let mut lines = (0..40).map(|line| format!("line {line}")).collect::<Vec<_>>();
        world.write("file", lines.join("\n"));
        world.commit("Base");
        let ids = [3, 20, 4, 37].map(|line| {
            lines[line] = format!("changed {line}");
            world.write("file", lines.join("\n"));
            world.commit(&format!("Change {line}"))
        });
        let (mirror, head) = ready(&world, &ids[at]);
        let ours = mirror.revert(&ids[at], &head, &["."], &limits()).expect("revert");
        let theirs = std::process::Command::new("git")
            .args(["-C", world.user().to_str().expect("path"), "-c", "user.name=A", "-c", "user.email=a@b"])
            .args(["revert", "--no-edit", &ids[at].to_string()])
            .output()
            .expect("git revert");
        match ours {
            Reverted::Clean(changes) => {
                assert!(theirs.status.success(), "git sees a conflict in step {at}");
                assert_eq!(changes[0].bytes, Some(std::fs::read(world.user().join("file")).expect("file")));
            }
            Reverted::Conflict(_) => assert!(!theirs.status.success(), "git sees no conflict in step {at}"),
        }
    }
}

#[test]
fn a_merge_is_taken_back_towards_its_first_parent() {
    let world = World::new();
    let user = world.user();
    git(&user, &["checkout", "-q", "-b", "feature"]);
    world.write("feature", "x");
    git(&user, &["add", "-A"]);
    git(&user, &["commit", "-q", "-m", "Feature"]);
    git(&user, &["checkout", "-q", "main"]);
    git(&user, &["merge", "-q", "--no-ff", "-m", "Merge", "feature"]);
    git(&user, &["push", "-q", "origin", "HEAD:main"]);
    let merge = world.id("HEAD");
    let (mirror, head) = ready(&world, &merge);
    let Reverted::Clean(changes) = mirror.revert(&merge, &head, &[""], &limits()).expect("revert") else {
        panic!("conflict")
    };
    assert_eq!(
        changes.iter().map(|change| (change.path.as_str(), change.bytes.is_none())).collect::<Vec<_>>(),
        [("feature", true)]
    );
}
