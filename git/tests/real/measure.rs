//! What a fetch costs; by hand: `cargo test -p git --test real -- --ignored --nocapture measure`.

use std::time::Instant;

use git::{Credentials, Limits, Mirror, Remote};

use crate::fixture::{World, main};
use crate::server::Server;

#[test]
#[ignore = "a measurement"]
fn one_file_of_a_thousand() {
    let world = World::new();
    for at in 0..1000 {
        world.write(&format!("apps/{}/{at}.yaml", at % 50), manifest(at, 0));
    }
    world.commit("Many");
    let server = Server::start(world.folder.path());
    let http = Remote::new(&server.url(), main(), Credentials::None).expect("remote");
    for (name, remote) in [("file", world.remote()), ("http", http)] {
        let mut mirror = Mirror::new(world.folder.path().join(name));
        let limits = Limits::default();
        let before = resident();
        let started = Instant::now();
        let head = mirror.fetch(&remote, &limits).expect("fetch").commit.id;
        eprintln!("{name}: first fetch {:?}, {} KiB on disk", started.elapsed(), mirror.disk_bytes() >> 10);
        let mut times = (0..10)
            .map(|round| {
                world.write("apps/7/7.yaml", manifest(7, round + 1 + name.len() as u32));
                world.commit("One");
                let started = Instant::now();
                let head = mirror.fetch(&remote, &limits).expect("fetch").commit.id;
                let fetched = started.elapsed();
                let files = mirror.tree(&head).expect("tree").files("", &limits).expect("files").len();
                assert_eq!(files, 1002);
                (fetched, started.elapsed() - fetched)
            })
            .collect::<Vec<_>>();
        times.sort();
        let started = Instant::now();
        mirror.fetch(&remote, &limits).expect("fetch");
        eprintln!(
            "{name}: one file changed: fetch median {:?}, worst {:?}; reading 1002 files {:?}; nothing changed {:?}",
            times[5].0,
            times[9].0,
            times[5].1,
            started.elapsed()
        );
        eprintln!(
            "{name}: resident before {before} KiB, after {} KiB, peak {} KiB; first head {head}",
            resident(),
            peak()
        );
    }
}

fn manifest(at: u32, round: u32) -> String {
    let mut text = format!("kind: ConfigMap\nmetadata: {{name: c{at}}}\nround: {round}\ndata:\n");
    (0..40)
        .for_each(|line| text += &format!("  key{line}: {}\n", (at + 1).wrapping_mul(2_654_435_761).rotate_left(line)));
    text
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with(field)).expect(field);
    line.split_whitespace().nth(1).expect("figure").parse().expect("number")
}

fn resident() -> u64 {
    status("VmRSS")
}

fn peak() -> u64 {
    status("VmHWM")
}
