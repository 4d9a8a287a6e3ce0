//! What goes wrong ends as a condition with the mend, and stops nothing else.

use controller::agent::upstream::Mode;
use controller::agent::{Problem, Reason};
use serde_json::json;

use crate::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_repositories_end_as_conditions_and_what_stands_stays() {
    let world = World::new();
    let first = world.repository.commit([("deploy/a.yaml", Some(config_map("a", "1")))]);
    world.source("apps", json!({ "path": "deploy" }));
    world.until_applied("apps", &first).await;
    for (path, mode, content, begins) in [
        ("deploy/x.yaml", Mode::File, "a: [", "False InvalidManifest deploy/x.yaml:1 is not a manifest"),
        ("deploy/x.yaml", Mode::File, "kind: X\n", "False InvalidManifest deploy/x.yaml:1"),
        ("deploy/x.yaml", Mode::Link, "../../../etc/passwd", "False NotFollowed deploy/x.yaml is a symbolic link"),
        ("deploy/x", Mode::Submodule, "4f2c", "False NotFollowed deploy/x is a submodule"),
        (
            "deploy/x.yaml",
            Mode::File,
            "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n",
            "False UnknownKind deploy/x.yaml:1: the API server has no example.com/v1 Widget",
        ),
    ] {
        world.repository.put(path, mode, content);
        world.ask("apps");
        world.until_ready("apps", begins).await;
        assert_eq!(world.config("a").unwrap()["data"]["key"], "1");
        assert_eq!(world.status("apps")["lastAppliedRevision"], format!("main@sha1:{first}"));
        world.repository.state.lock().unwrap().files.remove(path);
    }
    let last = world.repository.commit([("deploy/a.yaml", Some(config_map("a", "2")))]);
    world.ask("apps");
    world.until_applied("apps", &last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_cannot_be_had_does_not_stop_another_nor_repairs() {
    let world = World::new();
    let first = world.repository.commit([("a.yaml", Some(config_map("a", "1")))]);
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    world.repository.refuse(Some(Problem::new(Reason::CredentialsRefused, "the credentials have run out")));
    world.ask("apps");
    world.until_ready("apps", "False CredentialsRefused the credentials have run out").await;
    world.cluster.patch("mia", CONFIG_MAP, "shop", "a", json!({ "data": { "key": "drifted" } })).unwrap();
    world.until("the repair", |world| world.config("a").unwrap()["data"]["key"] == "1").await;
    world.repository.refuse(None);
    world.until_ready("apps", "True Applied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_belongs_to_the_first_who_applied_it() {
    let world = World::new();
    world.repository.commit([
        ("one/a.yaml", Some(config_map("a", "one"))),
        ("two/a.yaml", Some(config_map("a", "two"))),
        ("two/b.yaml", Some(config_map("b", "two"))),
    ]);
    world.source("one", json!({ "path": "one" }));
    world.until_ready("one", "True Applied").await;
    world.source("two", json!({ "path": "two" }));
    let told = "False ClaimedByAnother two/a.yaml:1: ConfigMap shop/a is applied by GitSource shop/one already";
    world.until_ready("two", told).await;
    assert_eq!(world.config("a").unwrap()["data"]["key"], "one");
    assert!(world.config("b").is_some(), "the others are applied");
    // Also after a restart, when only the statuses know.
    let world = world.restart();
    world.ask("two");
    world.at_rest().await;
    assert_eq!(world.config("a").unwrap()["data"]["key"], "one");
    // When the first lets go, the second takes over.
    world.cluster.delete(GIT_SOURCE, "shop", "one").unwrap();
    world.until_ready("two", "True Applied").await;
    assert_eq!(world.config("a").unwrap()["data"]["key"], "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spec_that_cannot_be_used_says_what_is_wrong() {
    let world = World::new();
    world.source("apps", json!({ "url": "https://mia:hunter2@git.example/shop.git", "path": "../etc" }));
    world.until_ready("apps", "False InvalidSpec spec.url holds user information").await;
    let told = world.condition("apps", "Ready");
    assert!(told.contains("spec.path") && !told.contains("hunter2"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_read_once_and_again_when_refused() {
    let world = World::new();
    world.repository.commit([("a.yaml", Some(config_map("a", "1")))]);
    world.source("apps", json!({ "secretRef": { "name": "git" }, "interval": "5s" }));
    world.until_ready("apps", "False InvalidSecret spec.secretRef: there is no Secret shop/git").await;
    let secret = |password: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "git", "namespace": "shop" }, "stringData": { "username": "mia", "password": password } });
    world.cluster.apply_as("user", secret("hunter2")).unwrap();
    world.until_ready("apps", "True Applied").await;
    let seen = world.repository.state.lock().unwrap().seen.last().cloned().unwrap();
    assert_eq!(seen.credentials.0["password"], b"hunter2");
    assert!(!format!("{seen:?}").contains("hunter2"));

    world.cluster.apply_as("user", secret("correct horse")).unwrap();
    world.repository.refuse(Some(Problem::new(Reason::CredentialsRefused, "no")));
    let again = |world: &World| {
        let state = world.repository.state.lock().unwrap();
        state.seen.last().is_some_and(|seen| seen.credentials.0["password"] == b"correct horse")
    };
    world.until("the new password", again).await;
    world.repository.refuse(None);
    world.until_ready("apps", "True Applied").await;
    let everything = world.cluster.list(GIT_SOURCE, "").iter().map(ToString::to_string).collect::<String>();
    assert!(!everything.contains("hunter2") && !everything.contains("correct horse"));
}
