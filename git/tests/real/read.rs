//! Reading trees, friendly and hostile.

use git::{Error, Limits, Mode};

use crate::fixture::{World, git};

#[test]
fn files_under_a_path_with_their_modes() {
    let world = World::new();
    world.write("deploy/run.sh", "#!/bin/sh\n");
    world.write("deployment/other", "x");
    git(&world.user(), &["add", "-A"]);
    git(&world.user(), &["update-index", "--chmod=+x", "deploy/run.sh"]);
    git(&world.user(), &["commit", "-q", "-m", "Run"]);
    git(&world.user(), &["push", "-q", "origin", "HEAD:main"]);
    let mut mirror = world.mirror();
    let head = mirror.fetch(&world.remote(), &Limits::default()).expect("fetch").commit.id;
    let tree = mirror.tree(&head).expect("tree");
    for under in ["deploy", "./deploy/"] {
        let files = tree.files(under, &Limits::default()).expect("files");
        let seen = files.iter().map(|file| (file.path.as_str(), file.mode, file.bytes.len())).collect::<Vec<_>>();
        assert_eq!(seen, [("deploy/app.yaml", Mode::File, 28), ("deploy/run.sh", Mode::Executable, 10)]);
    }
    assert_eq!(tree.files("deploy/app.yaml", &Limits::default()).expect("one").len(), 1);
    assert_eq!(tree.files(".", &Limits::default()).expect("all").len(), 4);
    assert!(matches!(tree.files("nowhere", &Limits::default()), Err(Error::NoPath { .. })));
    assert!(tree.file("nowhere", &Limits::default()).expect("none").is_none());
    for path in ["../x", "/etc", "a/../../b", ".git", "deploy/.git/config"] {
        assert!(matches!(tree.files(path, &Limits::default()), Err(Error::Path { .. })), "{path}");
    }
}

#[test]
fn links_and_submodules_are_told_of_and_not_followed() {
    let world = World::new();
    let user = world.user();
    std::os::unix::fs::symlink("/etc", user.join("deploy/etc")).expect("link");
    std::os::unix::fs::symlink("../../../../../etc/passwd", user.join("deploy/passwd")).expect("link");
    git(&user, &["add", "-A"]);
    let head = git(&user, &["rev-parse", "HEAD"]);
    git(&user, &["update-index", "--add", "--cacheinfo", &format!("160000,{head},deploy/library")]);
    git(&user, &["commit", "-q", "-m", "Traps"]);
    git(&user, &["push", "-q", "origin", "HEAD:main"]);
    let mut mirror = world.mirror();
    let commit = mirror.fetch(&world.remote(), &Limits::default()).expect("fetch").commit.id;
    let tree = mirror.tree(&commit).expect("tree");
    let files = tree.files("deploy", &Limits::default()).expect("files");
    let seen = files.iter().map(|file| (file.path.as_str(), file.mode, String::from_utf8_lossy(&file.bytes)));
    let seen = seen.filter(|(_, mode, _)| *mode != Mode::File).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            ("deploy/etc", Mode::Link, "/etc".into()),
            ("deploy/library", Mode::Submodule, head.as_str().into()),
            ("deploy/passwd", Mode::Link, "../../../../../etc/passwd".into()),
        ]
    );
    for path in ["deploy/etc/passwd", "deploy/library/x", "README/x"] {
        let error = tree.file(path, &Limits::default()).expect_err(path);
        assert!(matches!(error, Error::NotFollowed { .. }), "{error}");
    }
}

#[test]
fn a_tree_that_no_checkout_would_survive_is_refused_by_name() {
    let world = World::new();
    let bare = world.bare();
    let blob = git(&world.user(), &["rev-parse", "HEAD:README"]);
    for evil in ["..", ".git", "a\\b"] {
        // Written byte by byte, as git itself would not.
        let mut tree = format!("100644 {evil}\0").into_bytes();
        tree.extend((0..20).map(|at| u8::from_str_radix(&blob[at * 2..at * 2 + 2], 16).expect("hex")));
        let file = world.folder.path().join("tree");
        std::fs::write(&file, tree).expect("tree");
        let path = file.to_str().expect("path");
        let id = git(&bare, &["hash-object", "-t", "tree", "-w", "--literally", path]);
        let commit = git(&bare, &["commit-tree", "-m", "Evil", &id]);
        git(&bare, &["update-ref", "refs/heads/main", &commit]);
        let mut mirror = world.mirror();
        let head = mirror.fetch(&world.remote(), &Limits::default()).expect("fetch").commit.id;
        let error = mirror.tree(&head).expect("tree").files("", &Limits::default()).expect_err(evil);
        assert!(matches!(error, Error::Path { .. }), "{error}");
    }
}
