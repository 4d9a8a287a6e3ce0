//! Commits and pushes.

use git::{Change, CommitId, Credentials, Error, Limits, Mirror, NewCommit, Pushed, Remote};
use jiff::Timestamp;

use crate::fixture::{World, git, main, serin};
use crate::server::{Mood, Server};

fn limits() -> Limits {
    Limits::default()
}

pub(crate) fn new(parent: CommitId, changes: Vec<Change>, message: &str) -> NewCommit {
    let time = Timestamp::from_second(1_800_000_000).expect("time");
    NewCommit { parent, changes, author: serin(), committer: serin(), time, message: message.into() }
}

fn head_of(mirror: &mut Mirror, remote: &Remote) -> CommitId {
    mirror.fetch(remote, &limits()).expect("fetch").commit.id
}

#[test]
fn over_file_a_commit_of_a_shallow_mirror_is_pushed() {
    let world = World::new();
    pushes(&world, &world.remote());
}

#[test]
fn over_http_a_commit_of_a_shallow_mirror_is_pushed() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    pushes(&world, &Remote::new(&server.url(), main(), Credentials::None).expect("remote"));
}

fn pushes(world: &World, remote: &Remote) {
    world.write("more", "x");
    world.commit("Second");
    let mut mirror = world.mirror();
    let parent = head_of(&mut mirror, remote);
    let changes =
        vec![Change::write("deploy/app.yaml", "image: good\n"), Change::write("new/a/b", "c"), Change::remove("more")];
    let commit = new(parent, changes, "Roll back\n\nBecause.\n");
    let id = mirror.commit(&commit).expect("commit");
    assert_eq!(mirror.commit(&commit).expect("again"), id, "the same commit has the same id");
    assert_eq!(mirror.push(remote, "main", &id, &limits()).expect("push"), Pushed::Done);
    assert_eq!(mirror.push(remote, "main", &id, &limits()).expect("again"), Pushed::Done);
    assert_eq!(world.served("main:deploy/app.yaml"), "image: good");
    assert_eq!(world.served("main:new/a/b"), "c");
    git(&world.bare(), &["fsck", "--strict"]);
    let log = git(&world.bare(), &["log", "-1", "--format=%an <%ae> %cn %at %s|%b|%P", "main"]);
    assert_eq!(log, format!("Serin <serin@example.com> Serin 1800000000 Roll back|Because.\n|{parent}"));
    assert_eq!(git(&world.bare(), &["ls-tree", "-r", "--name-only", "main"]), "README\ndeploy/app.yaml\nnew/a/b");
    assert_eq!(head_of(&mut mirror, remote), id);
    // A branch of its own, as for a pull request.
    assert_eq!(mirror.push(remote, "serin/rollback", &id, &limits()).expect("branch"), Pushed::Done);
}

#[test]
fn of_two_pushers_one_is_told_that_the_branch_moved() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    let http = Remote::new(&server.url(), main(), Credentials::None).expect("remote");
    for remote in [&world.remote(), &http] {
        let (mut one, mut two) =
            (Mirror::new(world.folder.path().join("one")), Mirror::new(world.folder.path().join("two")));
        let parent = head_of(&mut one, remote);
        head_of(&mut two, remote);
        let first =
            one.commit(&new(parent, vec![Change::write("x", format!("one {}", remote.url()))], "One")).expect("one");
        let second =
            two.commit(&new(parent, vec![Change::write("x", format!("two {}", remote.url()))], "Two")).expect("two");
        assert_eq!(one.push(remote, "main", &first, &limits()).expect("one"), Pushed::Done);
        assert_eq!(two.push(remote, "main", &second, &limits()).expect("two"), Pushed::Moved);
        let parent = head_of(&mut two, remote);
        assert_eq!(parent, first);
        let again =
            two.commit(&new(parent, vec![Change::write("x", format!("two {}", remote.url()))], "Two")).expect("two");
        assert_eq!(two.push(remote, "main", &again, &limits()).expect("again"), Pushed::Done);
    }
}

#[test]
fn pushes_at_the_same_moment_end_as_done_or_moved() {
    let world = World::new();
    let remote = world.remote();
    let outcomes = std::thread::scope(|scope| {
        let push = |at: usize| {
            let (remote, folder) = (&remote, world.folder.path().join(format!("mirror-{at}")));
            scope.spawn(move || {
                let mut mirror = Mirror::new(folder);
                let parent = head_of(&mut mirror, remote);
                let id = mirror.commit(&new(parent, vec![Change::write("x", at.to_string())], "Race")).expect("commit");
                mirror.push(remote, "main", &id, &limits()).expect("push")
            })
        };
        let racers = (0..4).map(push).collect::<Vec<_>>();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert!(outcomes.contains(&Pushed::Done), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Pushed::Done | Pushed::Moved)), "{outcomes:?}");
}

#[test]
fn a_protected_branch_says_why() {
    let world = World::new();
    let hook = world.bare().join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho 'main is protected: open a pull request' >&2\nexit 1\n").expect("hook");
    std::process::Command::new("chmod").arg("+x").arg(&hook).status().expect("chmod");
    let server = Server::start(world.folder.path());
    let http = Remote::new(&server.url(), main(), Credentials::None).expect("remote");
    for remote in [&world.remote(), &http] {
        let mut mirror = world.mirror();
        let parent = head_of(&mut mirror, remote);
        let id = mirror.commit(&new(parent, vec![Change::write("x", "y")], "X")).expect("commit");
        let Pushed::Refused { why } = mirror.push(remote, "main", &id, &limits()).expect("outcome") else {
            panic!("not refused")
        };
        assert!(why.contains("main is protected: open a pull request"), "{why}");
    }
}

#[test]
fn who_may_not_and_who_is_not_there() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    let remote = Remote::new(&server.url(), main(), Credentials::None).expect("remote");
    let mut mirror = world.mirror();
    let parent = head_of(&mut mirror, &remote);
    let id = mirror.commit(&new(parent, vec![Change::write("x", "y")], "X")).expect("commit");
    let push = |mood: Mood| {
        server.mood(mood);
        mirror.push(&remote, "main", &id, &limits()).expect_err("refused")
    };
    let status = |status| Mood { status: Some(status), ..Mood::default() };
    assert!(matches!(push(status(401)), Error::Authentication { .. }));
    assert!(matches!(push(status(403)), Error::Forbidden { .. }));
    assert!(matches!(push(status(404)), Error::NoRepository { .. }));
    assert!(matches!(push(status(503)), Error::Unreachable { .. }));
    server.mood(Mood { delay: 10_000, ..Mood::default() });
    let short = Limits { deadline: std::time::Duration::from_millis(300), ..limits() };
    let error = mirror.push(&remote, "main", &id, &short).expect_err("late");
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    drop(server);
    let error = mirror.push(&remote, "main", &id, &limits()).expect_err("gone");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn changes_that_make_no_commit() {
    let world = World::new();
    std::os::unix::fs::symlink("/etc", world.user().join("etc")).expect("link");
    world.commit("Link");
    let mut mirror = world.mirror();
    let parent = head_of(&mut mirror, &world.remote());
    let try_one = |change: Change| mirror.commit(&new(parent, vec![change], "X")).expect_err("refused");
    assert!(matches!(try_one(Change::write("README", "shop\n")), Error::NothingToCommit { .. }));
    assert!(matches!(try_one(Change::remove("nowhere")), Error::NoPath { .. }));
    assert!(matches!(try_one(Change::write("etc/passwd", "x")), Error::NotFollowed { .. }));
    assert!(matches!(try_one(Change::write("etc", "x")), Error::NotFollowed { .. }));
    assert!(matches!(try_one(Change::write("deploy", "x")), Error::NotFollowed { .. }));
    for path in ["", "..", "../x", "/x", ".git/config", "a/.git/hooks/x", "a//b"] {
        assert!(matches!(try_one(Change::write(path, "x")), Error::Path { .. }), "{path}");
    }
}

#[test]
fn a_program_stays_a_program() {
    let world = World::new();
    world.write("run", "one");
    git(&world.user(), &["add", "-A"]);
    git(&world.user(), &["update-index", "--chmod=+x", "run"]);
    git(&world.user(), &["commit", "-q", "-m", "Run"]);
    git(&world.user(), &["push", "-q", "origin", "HEAD:main"]);
    let mut mirror = world.mirror();
    let parent = head_of(&mut mirror, &world.remote());
    let id = mirror.commit(&new(parent, vec![Change::write("run", "two")], "Two")).expect("commit");
    mirror.push(&world.remote(), "main", &id, &limits()).expect("push");
    assert!(git(&world.bare(), &["ls-tree", "main", "run"]).starts_with("100755"));
}
