//! Signed commits, by SSH and OpenPGP keys made here.

use std::process::Command;

use git::{CommitId, Error, Limits, Mirror, PublicKey};

use crate::fixture::{World, run};

fn ssh_key(world: &World, name: &str) -> (String, PublicKey) {
    let path = world.folder.path().join(name);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path));
    let public = std::fs::read_to_string(path.with_extension("pub")).expect("public key");
    (path.to_str().expect("path").to_owned(), PublicKey::Ssh(public))
}

fn signed(world: &World, settings: &[&str], home: Option<&std::path::Path>) -> CommitId {
    world.write("x", format!("{settings:?}"));
    let mut command = Command::new("git");
    command.arg("-C").arg(world.user()).args(settings);
    command.args(["commit", "-q", "-a", "--allow-empty", "-S", "-m", "Signed"]);
    if let Some(home) = home {
        command.env("GNUPGHOME", home);
    }
    run(&mut command);
    crate::fixture::git(&world.user(), &["push", "-q", "origin", "HEAD:main"]);
    world.id("HEAD")
}

fn fetched(world: &World) -> Mirror {
    let mut mirror = world.mirror();
    mirror.fetch(&world.remote(), &Limits::default()).expect("fetch");
    mirror
}

#[test]
fn ssh_signatures() {
    let world = World::new();
    let (key, public) = ssh_key(&world, "key");
    let (_, other) = ssh_key(&world, "other");
    let unsigned = world.id("HEAD");
    let mirror = fetched(&world);
    assert!(matches!(mirror.verify(&unsigned, std::slice::from_ref(&public)), Err(Error::NotSigned { .. })));
    let id = signed(&world, &["-c", "gpg.format=ssh", "-c", &format!("user.signingkey={key}")], None);
    let mirror = fetched(&world);
    let fingerprint = mirror.verify(&id, &[other.clone(), public]).expect("trusted");
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    for keys in [&[other][..], &[]] {
        let error = mirror.verify(&id, keys).expect_err("not trusted");
        assert!(matches!(error, Error::NotTrusted { .. }), "{error}");
    }
}

#[test]
fn openpgp_signatures() {
    let world = World::new();
    let make = |name: &str| {
        let home = world.folder.path().join(name);
        std::fs::create_dir(&home).expect("home");
        run(Command::new("chmod").arg("700").arg(&home));
        let gpg = || {
            let mut command = Command::new("gpg");
            command.arg("--homedir").arg(&home).args([
                "--batch",
                "--quiet",
                "--passphrase",
                "",
                "--pinentry-mode",
                "loopback",
            ]);
            command
        };
        let address = format!("{name}@example.com");
        run(gpg().args(["--quick-generate-key", &address, "ed25519", "sign", "never"]));
        let public = run(gpg().args(["--armor", "--export", &address]));
        (home, address, PublicKey::OpenPgp(public))
    };
    let (home, address, public) = make("ada");
    let (other_home, _, other) = make("eve");
    let id = signed(&world, &["-c", &format!("user.signingkey={address}")], Some(&home));
    let mirror = fetched(&world);
    let fingerprint = mirror.verify(&id, &[other.clone(), public]).expect("trusted");
    assert_eq!(fingerprint.len(), 40, "{fingerprint}");
    let error = mirror.verify(&id, &[other]).expect_err("not trusted");
    assert!(matches!(error, Error::NotTrusted { .. }), "{error}");
    let error = mirror.verify(&id, &[PublicKey::OpenPgp("nonsense".into())]).expect_err("no key");
    assert!(matches!(error, Error::Key { .. }), "{error}");
    for home in [home, other_home] {
        run(Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "all"]));
    }
}
