//! Following a branch, a tag or a commit.

use git::{Credentials, Error, Limits, Mirror, Reference, Remote};

use crate::fixture::{World, git, main};
use crate::server::Server;

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn over_file_a_branch_is_followed() {
    let world = World::new();
    follows(&world, &world.remote());
}

#[test]
fn over_http_a_branch_is_followed() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    follows(&world, &Remote::new(&server.url(), main(), Credentials::None).expect("remote"));
}

fn follows(world: &World, remote: &Remote) {
    let mut mirror = world.mirror();
    assert!(matches!(mirror.current(), Err(Error::Empty)));
    let first = mirror.fetch(remote, &limits()).expect("first");
    assert!(first.moved);
    assert_eq!((first.commit.id, first.commit.subject()), (world.id("HEAD"), "First"));
    assert_eq!(first.commit.author.email, "ada@example.com");
    assert!(!mirror.fetch(remote, &limits()).expect("again").moved);

    world.write("deploy/app.yaml", "image: two\n");
    let second = world.commit("Second\n\nWith a body.");
    let fetched = mirror.fetch(remote, &limits()).expect("second");
    assert!(fetched.moved);
    assert_eq!(fetched.commit.id, second);
    assert_eq!(fetched.commit.message, "Second\n\nWith a body.\n");
    assert_eq!(fetched.commit.parents, [first.commit.id]);
    let file = mirror.tree(&second).expect("tree").file("deploy/app.yaml", &limits()).expect("read").expect("there");
    assert_eq!(file.bytes, b"image: two\n");
    assert_eq!(mirror.current().expect("current").id, second);
    // Another process finds what this one left.
    let mut other = Mirror::new(world.mirror_folder());
    assert!(!other.fetch(remote, &limits()).expect("again").moved);
}

#[test]
fn a_branch_that_stays_costs_the_listing_and_no_more() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    let remote = Remote::new(&server.url(), main(), Credentials::None).expect("remote");
    let mut mirror = world.mirror();
    mirror.fetch(&remote, &limits()).expect("first");
    server.asked();
    mirror.fetch(&remote, &limits()).expect("again");
    // Protocol 2: what the server can do, and the reference.
    assert_eq!(server.asked(), ["GET /shop.git/info/refs", "POST /shop.git/git-upload-pack"]);
}

#[test]
fn a_commit_that_is_there_costs_nothing() {
    let world = World::new();
    let first = world.id("HEAD");
    world.write("x", "y");
    world.commit("Second");
    let server = Server::start(world.folder.path());
    let remote = Remote::new(&server.url(), Reference::Commit(first), Credentials::None).expect("remote");
    let mut mirror = world.mirror();
    assert_eq!(mirror.fetch(&remote, &limits()).expect("first").commit.id, first);
    server.asked();
    assert!(!mirror.fetch(&remote, &limits()).expect("again").moved);
    assert!(server.asked().is_empty());
    let missing = "1234567890123456789012345678901234567890".parse().expect("id");
    let error = mirror.fetch(&remote.at(Reference::Commit(missing)).expect("remote"), &limits()).expect_err("missing");
    assert!(matches!(error, Error::NoReference { .. }), "{error}");
}

#[test]
fn the_branch_of_those_who_name_none_is_told() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    let remotes = [world.remote(), Remote::new(&server.url(), main(), Credentials::None).expect("remote")];
    for branch in ["main", "trunk"] {
        git(&world.bare(), &["branch", "--move", "main", branch]);
        for remote in &remotes {
            assert_eq!(Mirror::default_branch(remote, &limits()).expect("told"), branch);
        }
    }
    git(&world.bare(), &["symbolic-ref", "HEAD", "refs/heads/none"]);
    let error = Mirror::default_branch(&remotes[0], &limits()).expect_err("there is none");
    assert!(matches!(error, Error::NoReference { .. }), "{error}");
}

#[test]
fn tags_are_peeled() {
    let world = World::new();
    git(&world.user(), &["tag", "-a", "v1", "-m", "One"]);
    git(&world.user(), &["push", "-q", "origin", "v1"]);
    let remote = world.remote().at(Reference::Tag("v1".into())).expect("remote");
    let mut mirror = world.mirror();
    assert_eq!(mirror.fetch(&remote, &limits()).expect("tag").commit.id, world.id("HEAD"));
    assert!(!mirror.fetch(&remote, &limits()).expect("again").moved);
}

#[test]
fn a_force_push_is_followed() {
    let world = World::new();
    world.write("a", "1");
    world.commit("Second");
    let mut mirror = world.mirror();
    mirror.fetch(&world.remote(), &limits()).expect("first");
    git(&world.user(), &["reset", "-q", "--hard", "HEAD~1"]);
    world.write("b", "2");
    git(&world.user(), &["add", "-A"]);
    git(&world.user(), &["commit", "-q", "-m", "Other"]);
    git(&world.user(), &["push", "-q", "-f", "origin", "HEAD:main"]);
    let fetched = mirror.fetch(&world.remote(), &limits()).expect("forced");
    assert!(fetched.moved);
    assert_eq!(fetched.commit.subject(), "Other");
    let files = mirror.tree(&fetched.commit.id).expect("tree").files("", &limits()).expect("files");
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["README", "b", "deploy/app.yaml"]);
}

#[test]
fn a_deleted_branch_is_told_and_what_was_there_can_still_be_read() {
    let world = World::new();
    git(&world.user(), &["push", "-q", "origin", "HEAD:feature"]);
    let remote = world.remote().at(Reference::Branch("feature".into())).expect("remote");
    let mut mirror = world.mirror();
    let before = mirror.fetch(&remote, &limits()).expect("first").commit.id;
    git(&world.user(), &["push", "-q", "origin", ":feature"]);
    let error = mirror.fetch(&remote, &limits()).expect_err("gone");
    assert!(matches!(error, Error::NoReference { .. }), "{error}");
    assert!(error.to_string().ends_with("has no branch 'feature'"), "{error}");
    assert_eq!(mirror.tree(&before).expect("tree").files("", &limits()).expect("files").len(), 2);
    // A branch whose name only begins like it is another one.
    git(&world.user(), &["push", "-q", "origin", "HEAD:feature-2"]);
    assert!(mirror.fetch(&remote, &limits()).is_err());
}

#[test]
fn an_empty_repository_has_no_branch() {
    let world = World::new();
    git(world.folder.path(), &["init", "-q", "--bare", "-b", "main", "empty.git"]);
    let url = format!("file://{}", world.folder.path().join("empty.git").display());
    let error = world.mirror().fetch(&Remote::new(&url, main(), Credentials::None).expect("remote"), &limits());
    assert!(matches!(error, Err(Error::NoReference { .. })), "{error:?}");
}

#[test]
fn another_address_is_another_mirror() {
    let world = World::new();
    let other = World::new();
    let foreign = {
        other.write("other", "x");
        other.commit("Elsewhere")
    };
    let mut mirror = world.mirror();
    let old = mirror.fetch(&world.remote(), &limits()).expect("first").commit.id;
    assert_eq!(mirror.fetch(&other.remote(), &limits()).expect("other").commit.id, foreign);
    world.write("x", "y");
    world.commit("Second");
    assert!(mirror.fetch(&other.remote(), &limits()).is_ok());
    assert!(old == foreign || matches!(mirror.tree(&old), Err(Error::NoCommit { .. })));
}

#[test]
fn a_damaged_mirror_is_built_anew() {
    let world = World::new();
    let mut mirror = world.mirror();
    let repository = world.mirror_folder().join("repository.git");
    let packs = || {
        let packs = std::fs::read_dir(repository.join("objects/pack")).expect("packs");
        packs.map(|entry| entry.expect("entry").path()).collect::<Vec<_>>()
    };
    let rewrite = |path: &std::path::Path, bytes: &[u8]| {
        std::fs::remove_file(path).expect("remove");
        std::fs::write(path, bytes).expect("write");
    };
    let damages: [&dyn Fn(); 6] = [
        &|| packs().iter().for_each(|pack| std::fs::remove_file(pack).expect("remove")),
        &|| packs().iter().for_each(|pack| rewrite(pack, b"garbage")),
        &|| std::fs::write(repository.join("HEAD"), b"\0\0").expect("write"),
        &|| std::fs::remove_dir_all(repository.join("refs")).expect("remove"),
        &|| std::fs::write(repository.join("refs/serin/head"), b"garbage").expect("write"),
        &|| {
            std::fs::remove_dir_all(&repository).expect("remove");
            std::fs::write(&repository, b"a file").expect("write");
        },
    ];
    for (at, damage) in damages.iter().enumerate() {
        mirror.fetch(&world.remote(), &limits()).expect("before");
        damage();
        let fetched = mirror.fetch(&world.remote(), &limits()).unwrap_or_else(|error| panic!("damage {at}: {error}"));
        let files = mirror.tree(&fetched.commit.id).and_then(|tree| tree.files("", &limits()));
        assert_eq!(files.unwrap_or_else(|error| panic!("damage {at}: {error}")).len(), 2);
    }
}

#[test]
fn a_blob_that_is_damaged_is_told_and_mended_by_the_next_fetch() {
    let world = World::new();
    world.write("big", (0..100_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>());
    let head = world.commit("Big");
    let mut mirror = world.mirror();
    mirror.fetch(&world.remote(), &limits()).expect("first");
    let folder = world.mirror_folder().join("repository.git/objects/pack");
    for entry in std::fs::read_dir(folder).expect("packs").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "pack") {
            let mut bytes = std::fs::read(entry.path()).expect("pack");
            let middle = bytes.len() / 2;
            bytes[middle..middle + 64].fill(0xff);
            std::fs::remove_file(entry.path()).expect("remove");
            std::fs::write(entry.path(), bytes).expect("write");
        }
    }
    let error = mirror.tree(&head).expect("tree").files("", &limits()).expect_err("damaged");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    mirror.fetch(&world.remote(), &limits()).expect("mended");
    assert_eq!(mirror.tree(&head).expect("tree").files("", &limits()).expect("files").len(), 3);
}

#[test]
fn a_mirror_does_not_grow_without_end() {
    let world = World::new();
    let noise = |seed: u32| -> Vec<u8> {
        (0..20_000u32)
            .flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).rotate_left(seed % 31).to_le_bytes())
            .collect()
    };
    let mut mirror = world.mirror();
    let mut most = 0;
    for at in 0..45 {
        world.write("noise", noise(at * 7919 + 1));
        let id = world.commit("More");
        assert_eq!(mirror.fetch(&world.remote(), &limits()).expect("fetch").commit.id, id);
        most = most.max(mirror.disk_bytes());
    }
    let packs = std::fs::read_dir(world.mirror_folder().join("repository.git/objects/pack")).expect("packs").count();
    assert!(packs <= 2 * 20 + 2, "{packs} files");
    assert!(most < 22 * 90_000, "{most} bytes");
}

#[test]
fn history_is_shallow_until_it_is_asked_for() {
    let world = World::new();
    let ids = (0..30)
        .map(|at| {
            world.write("count", at.to_string());
            world.commit(&format!("Count {at}"))
        })
        .collect::<Vec<_>>();
    let mut mirror = world.mirror();
    mirror.fetch(&world.remote(), &limits()).expect("first");
    assert_eq!(mirror.log(100).expect("log").len(), 1);
    assert!(matches!(mirror.read_commit(&ids[5]), Err(Error::NoCommit { .. })));
    let found = mirror.deepen(&world.remote(), &ids[5], &limits()).expect("deepen");
    assert_eq!(found.parents, [ids[4]]);
    assert!(mirror.read_commit(&ids[4]).is_ok());
    assert_eq!(
        mirror.log(3).expect("log").iter().map(|commit| commit.id).collect::<Vec<_>>(),
        [ids[29], ids[28], ids[27]]
    );
    let foreign = "1234567890123456789012345678901234567890".parse().expect("id");
    assert!(matches!(mirror.deepen(&world.remote(), &foreign, &limits()), Err(Error::NoCommit { .. })));
    // Deeper from the start.
    let mut deep = Mirror::new(world.folder.path().join("deep"));
    deep.fetch(&world.remote(), &Limits { depth: 5, ..limits() }).expect("deep");
    assert_eq!(deep.log(100).expect("log").len(), 5);
}

#[test]
fn locks_of_a_process_that_died_are_in_nobodys_way() {
    let world = World::new();
    let ids: Vec<_> = (0..30)
        .map(|at| {
            world.write("count", at.to_string());
            world.commit(&format!("Count {at}"))
        })
        .collect();
    let mut mirror = world.mirror();
    mirror.fetch(&world.remote(), &limits()).expect("first");
    let repository = world.folder.path().join("mirror/repository.git");
    let mut locks = vec![repository.join("shallow.lock"), repository.join("packed-refs.lock")];
    locks.push(repository.join("refs/heads/main.lock"));
    let lock = |locks: &[std::path::PathBuf]| {
        for path in locks {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
            std::fs::write(path, "").expect("a lock");
        }
    };
    lock(&locks);
    assert!(!mirror.fetch(&world.remote(), &limits()).expect("nothing moved").moved);
    lock(&locks);
    mirror.deepen(&world.remote(), &ids[5], &limits()).expect("deepen");
    assert!(locks.iter().all(|path| !path.exists()));
}
