//! Repositories that are too much.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use git::{Credentials, Error, Limits, Remote};

use crate::fixture::{World, git, main};
use crate::server::{Mood, Server};

#[test]
fn ten_thousand_files_are_the_limit() {
    let world = World::new();
    for at in 0..10_001 {
        world.write(&format!("many/{}/{at}", at % 10), at.to_string());
    }
    let head = world.commit("Many");
    let mut mirror = world.mirror();
    mirror.fetch(&world.remote(), &Limits::default()).expect("fetch");
    let tree = mirror.tree(&head).expect("tree");
    let error = tree.files("", &Limits::default()).expect_err("too many");
    assert!(matches!(error, Error::TooManyFiles { limit: 10_000, .. }), "{error}");
    assert!(error.to_string().contains("many/"), "{error}");
    assert_eq!(tree.files("many/3", &Limits::default()).expect("a part").len(), 1000);
    let more = Limits { files: 20_000, ..Limits::default() };
    assert_eq!(tree.files("", &more).expect("all").len(), 10_003);
}

#[test]
fn a_tree_bomb_is_not_unfolded() {
    let world = World::new();
    let bare = world.bare();
    let mut entry = format!("100644 blob {}\tf\n", git(&bare, &["rev-parse", "main:README"]));
    for level in 0..12 {
        let entries: String = (0..10).map(|at| entry.replace("\tf", &format!("\t{at}"))).collect();
        let file = world.folder.path().join(format!("tree-{level}"));
        std::fs::write(&file, entries).expect("tree");
        let stdin = std::fs::File::open(&file).expect("tree");
        let tree =
            crate::fixture::run(std::process::Command::new("git").arg("-C").arg(&bare).args(["mktree"]).stdin(stdin));
        entry = format!("040000 tree {tree}\tf\n");
    }
    let tree = entry.split(['\t', ' ']).nth(2).expect("id").to_owned();
    let commit = git(&bare, &["commit-tree", "-m", "Bomb", &tree]);
    git(&bare, &["update-ref", "refs/heads/main", &commit]);
    let mut mirror = world.mirror();
    let head = mirror.fetch(&world.remote(), &Limits::default()).expect("fetch").commit.id;
    let error = mirror.tree(&head).expect("tree").files("", &Limits::default()).expect_err("bomb");
    assert!(matches!(error, Error::TooManyFiles { .. }), "{error}");
}

#[test]
fn a_file_of_fifty_megabytes_is_named_and_harms_nothing_beside_it() {
    let world = World::new();
    world.write("deploy/huge.bin", vec![7u8; 50 << 20]);
    let head = world.commit("Huge");
    let mut mirror = world.mirror();
    mirror.fetch(&world.remote(), &Limits::default()).expect("fetch");
    let tree = mirror.tree(&head).expect("tree");
    let error = tree.files("deploy", &Limits::default()).expect_err("huge").to_string();
    assert_eq!(error, "file 'deploy/huge.bin' has 52428800 bytes, more than the limit of 8388608");
    assert_eq!(tree.files("README", &Limits::default()).expect("beside").len(), 1);
    assert_eq!(tree.entries("deploy", &Limits::default()).expect("names").len(), 2);
    let total = Limits { total_bytes: 30, ..Limits::default() };
    let error = tree.files("README", &Limits { total_bytes: 3, ..total }).expect_err("total");
    assert!(matches!(error, Error::TotalTooLarge { limit: 3, .. }), "{error}");
}

#[test]
fn a_pack_that_is_too_large_ends_the_fetch_over_both_ways() {
    let world = World::new();
    let noise = (0..1_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>();
    let mut mirror = world.mirror();
    let before = mirror.fetch(&world.remote(), &Limits::default()).expect("before").commit.id;
    world.write("noise", noise);
    world.commit("Noise");
    let server = Server::start(world.folder.path());
    let http = Remote::new(&server.url(), main(), Credentials::None).expect("remote");
    let small = Limits { pack_bytes: 100_000, ..Limits::default() };
    for remote in [&world.remote(), &http] {
        let error = mirror.fetch(remote, &small).expect_err("too large");
        assert!(matches!(error, Error::PackTooLarge { limit: 100_000, .. }), "{error}");
        assert_eq!(mirror.current().expect("as before").id, before);
    }
    assert!(mirror.disk_bytes() < 300_000, "{}", mirror.disk_bytes());
    mirror.fetch(&world.remote(), &Limits::default()).expect("with room");
}

#[test]
fn a_server_that_dawdles_meets_the_deadline_and_the_flag() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    server.mood(Mood { delay: 10_000, ..Mood::default() });
    let remote = Remote::new(&server.url(), main(), Credentials::None).expect("remote");
    let limits = Limits { deadline: Duration::from_millis(300), ..Limits::default() };
    let started = Instant::now();
    let error = world.mirror().fetch(&remote, &limits).expect_err("late");
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let limits = Limits { deadline: Duration::from_secs(1), ..Limits::default() };
    limits.interrupt.store(true, Ordering::Relaxed);
    let error = world.mirror().fetch(&world.remote(), &limits).expect_err("interrupted");
    assert!(matches!(error, Error::Interrupted), "{error}");
}
