//! What goes wrong ends as a condition with the mend, and stops nothing else.

use std::sync::Arc;

use controller::agent::upstream::Mode;
use controller::agent::{Problem, Reason, Rules};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_refuses_is_named_and_asked_less_and_less() {
    let world = World::new();
    world.requests.deny(Some(
        "admission webhook \"validation.gatekeeper.sh\" denied the request: [owners] metadata.labels.owner is missing",
    ));
    world
        .repository
        .commit([("a.yaml", Some(config_map("a", "1"))), ("web.yaml", Some(deployment("web", 1, "web:1")))]);
    world.source("apps", json!({}));
    let begins = "False PolicyDenied a.yaml:1: could not apply ConfigMap shop/a: denied by owners (Gatekeeper)";
    world.until_ready("apps", begins).await;
    assert!(world.condition("apps", "Ready").contains("metadata.labels.owner is missing"));
    assert!(world.cluster.get(DEPLOYMENT, "shop", "web").is_some(), "the others are applied");
    tokio::time::timeout(std::time::Duration::from_secs(3), std::future::pending::<()>()).await.unwrap_err();
    let writes = world.requests.writes();
    let asked = writes.iter().filter(|write| write.contains("ConfigMap")).count();
    assert!((2..10).contains(&asked), "{writes:#?}");
    assert_eq!(writes.len() - asked, 1, "{writes:#?}");
    world.requests.deny(None);
    world.until_ready("apps", "True Applied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_between_two_writes_leaves_nothing_behind() {
    for writes in 0..=5 {
        let (cluster, repository) = (cluster(), Memory::default());
        repository.commit([("a.yaml", Some(config_map("a", "1"))), ("b.yaml", Some(config_map("b", "1")))]);
        let upstream = Arc::new(repository.clone());
        let world = World::dying(cluster, upstream, repository, Rules::default(), Some(writes));
        world.source("apps", json!({}));
        world.until("its death", |world| world.requests.writes_left() == Some(0)).await;
        world.at_rest().await;
        // What it had begun is no longer wanted when the next one comes.
        let last = world.repository.commit([("b.yaml", None), ("c.yaml", Some(config_map("c", "1")))]);
        let world = world.restart();
        world.until_applied("apps", &last).await;
        let mut names: Vec<_> =
            world.cluster.list(CONFIG_MAP, "shop").iter().map(|found| found["metadata"]["name"].clone()).collect();
        names.retain(|name| name != "kube-root-ca.crt");
        assert_eq!(names, ["a", "c"], "after {writes} writes");
    }
}
