//! Credentials, right and wrong, and that they are never shown.

use git::{Change, Credentials, Error, Limits, Remote};

use crate::fixture::{World, main};
use crate::push::new;
use crate::server::{Mood, Server};

const PASSWORD: &str = "hunter2+/=%40x";

/// What `ada:` with [`PASSWORD`] is in a header.
const BASIC: &str = "Basic YWRhOmh1bnRlcjIrLz0lNDB4";

fn basic(password: &str) -> Credentials {
    Credentials::Basic { username: "ada".into(), password: password.into() }
}

#[test]
fn the_right_password_and_the_right_token_open() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    for (credentials, header) in
        [(basic(PASSWORD), BASIC), (Credentials::Bearer("secret-token".into()), "Bearer secret-token")]
    {
        server.mood(Mood { authorization: Some(header.into()), ..Mood::default() });
        let remote = Remote::new(&server.url(), main(), credentials).expect("remote");
        let mut mirror = world.mirror();
        let parent = mirror.fetch(&remote, &Limits::default()).expect("fetch").commit.id;
        let id = mirror.commit(&new(parent, vec![Change::write("x", header)], "X")).expect("commit");
        mirror.push(&remote, "main", &id, &Limits::default()).expect("push");
        assert_eq!(world.served("main:x"), header);
    }
}

#[test]
fn no_program_has_them_among_its_arguments_or_in_its_environment() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    let token = "secret-token";
    let bearer = Credentials::Bearer(token.into());
    for (text, credentials, header) in
        [("1", basic(PASSWORD), BASIC.to_owned()), ("2", bearer, format!("Bearer {token}"))]
    {
        server.mood(Mood { authorization: Some(header), ..Mood::default() });
        let remote = Remote::new(&server.url(), main(), credentials).expect("remote");
        let mut mirror = world.mirror();
        let parent = mirror.fetch(&remote, &Limits::default()).expect("fetch").commit.id;
        let id = mirror.commit(&new(parent, vec![Change::write("x", text)], "X")).expect("commit");
        mirror.push(&remote, "main", &id, &Limits::default()).expect("push");
    }
    let programs = server.programs();
    for program in ["push --porcelain", "remote-http"] {
        assert!(programs.iter().any(|shown| shown.contains(program)), "{program} was seen at work: {programs:#?}");
    }
    for secret in [PASSWORD, "hunter2", &BASIC[6..], token] {
        assert!(programs.iter().all(|shown| !shown.contains(secret)), "{secret} in {programs:#?}");
    }
}

#[test]
fn the_wrong_ones_do_not_and_nothing_shows_them() {
    let world = World::new();
    let server = Server::start(world.folder.path());
    let mut mirror = world.mirror();
    let anybody = Remote::new(&server.url(), main(), Credentials::None).expect("remote");
    let parent = mirror.fetch(&anybody, &Limits::default()).expect("fetch").commit.id;
    let id = mirror.commit(&new(parent, vec![Change::write("x", "y")], "X")).expect("commit");
    let secrets = [PASSWORD, "hunter2", &BASIC[6..], "secret-token", "hunter2%2B"];
    let remotes = [basic(PASSWORD), Credentials::Bearer("secret-token".into()), Credentials::None]
        .map(|credentials| Remote::new(&server.url(), main(), credentials).expect("remote"));
    let wrong = Mood { authorization: Some("Basic other".into()), ..Mood::default() };
    let moods = [wrong]
        .into_iter()
        .chain([403, 404, 418, 500, 503].map(|status| Mood { status: Some(status), ..Mood::default() }));
    let check = |error: Error| {
        let mut shown = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            shown += &format!(" {cause} {cause:?}");
            source = cause.source();
        }
        for secret in secrets {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        error
    };
    for (at, mood) in moods.enumerate() {
        server.mood(mood);
        for remote in &remotes {
            let fetch = check(mirror.fetch(remote, &Limits::default()).expect_err("refused"));
            let push = check(mirror.push(remote, "main", &id, &Limits::default()).expect_err("refused"));
            let fits = |error: &Error| match at {
                0 => matches!(error, Error::Authentication { .. }),
                1 => matches!(error, Error::Forbidden { .. }),
                2 => matches!(error, Error::NoRepository { .. }),
                3 => true,
                _ => matches!(error, Error::Unreachable { .. }),
            };
            assert!(fits(&fetch) && fits(&push), "mood {at}: {fetch:?} {push:?}");
        }
    }
    drop(server);
    for remote in &remotes {
        let fetch = check(mirror.fetch(remote, &Limits::default()).expect_err("gone"));
        assert!(matches!(fetch, Error::Unreachable { .. }), "{fetch}");
        check(mirror.push(remote, "main", &id, &Limits::default()).expect_err("gone"));
    }
    for secret in secrets {
        let found =
            std::process::Command::new("grep").args(["-r", "-F", "--", secret]).arg(world.mirror_folder()).output();
        assert!(found.expect("grep").stdout.is_empty(), "{secret} in the mirror");
    }
}
