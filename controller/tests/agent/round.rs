//! The way round with a real repository: what was judged bad is reverted in it, what a person undoes goes back in it, and the
//! agent brings both to the cluster.

use std::sync::Arc;

use controller::agent::{Mirrors, Rules};
use controller::command::{Verb, random_id, written, written_undo};
use serde_json::{Value, json};
use sim::Kind;

use crate::real::Repository;
use crate::whole::{CANARY, roll_out};
use crate::world::*;

fn of(world: &World, kind: Kind<'_>, name: &str, pointer: &str) -> Value {
    let found = world.cluster.get(kind, "shop", name);
    found.and_then(|found| found.pointer(pointer).cloned()).unwrap_or_default()
}

fn command(world: &World, patch: Value) {
    world.cluster.patch("mia", CANARY, "shop", "web", patch).unwrap();
}

async fn until_phase(world: &World, phase: &str) {
    world.until(phase, |world| of(world, CANARY, "web", "/status/phase") == phase).await;
}

/// Commits a version, and waits until it is analysed. Returns the commit.
async fn ship(world: &World, repository: &Repository, version: u8) -> String {
    repository.write("web.yaml", deployment("web", 1, &format!("web:{version}")));
    let commit = repository.commit(&format!("Ship {version}"));
    world.ask("apps");
    until_phase(world, "Progressing").await;
    commit
}

/// Waits until the commit is known for certain to have brought what stands there.
async fn until_certain(world: &World, commit: &str) {
    world
        .until("a certain source", |world| {
            let source = of(world, CANARY, "web", "/status/source");
            source["commit"] == commit && source["provisional"].is_null()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_is_reverted_and_what_is_undone_goes_back_in_the_repository() {
    let (repository, folder) = (Repository::new(), tempfile::tempdir().unwrap());
    // A push moves the files along.
    repository.git(&["config", "receive.denyCurrentBranch", "updateInstead"]);
    let upstream = Arc::new(Mirrors::new(folder.path().join("sources"), git::Limits::default()));
    let rules = Rules { local_repositories: true, ..Rules::default() };
    let mut world = World::with(cluster(), upstream, Memory::default(), rules);
    let storage = format!("--git-storage={}", folder.path().display());
    let kubelet = roll_out(&mut world, &["--git-local-repositories", &storage]);

    let canary = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: web}\nspec:\n  \
                  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  service: {port: 80}\n  \
                  git: {onRollback: Revert}\n  analysis: {interval: 1s, threshold: 5, iterations: 100}\n";
    repository.write("web.yaml", deployment("web", 1, "web:1"));
    repository.write("canary.yaml", canary);
    let first = repository.commit("Ship 1");
    world.source("apps", json!({ "url": repository.url(), "interval": "1h" }));
    until_phase(&world, "Initialized").await;
    until_certain(&world, &first).await;

    let second = ship(&world, &repository, 2).await;
    world
        .until("a canary to promote", |world| of(world, CANARY, "web", "/status/waitingFor/0/reason") == "Soaking")
        .await;
    command(&world, written(Verb::PromoteFull, &random_id(), "mia"));
    until_phase(&world, "Succeeded").await;
    until_certain(&world, &second).await;

    let third = ship(&world, &repository, 3).await;
    until_certain(&world, &third).await;
    repository.out_of_reach(true);
    command(&world, written(Verb::Abort, &random_id(), "mia"));
    let delayed = |world: &World| of(world, CANARY, "web", "/status/git/message").is_string();
    world.until("the delay", delayed).await;
    repository.out_of_reach(false);
    let reverted = |world: &World| of(world, CANARY, "web", "/status/git/state") == "Reverted";
    world.until("the revert", reverted).await;
    let git = of(&world, CANARY, "web", "/status/git");
    assert_eq!((&git["failedCommit"], &git["goodCommit"]), (&json!(third), &json!(second)));
    assert_eq!(git["revertCommit"], repository.git(&["rev-parse", "HEAD"]));
    assert_eq!(repository.read("web.yaml"), deployment("web", 1, "web:2"));
    world.ask("apps");
    let let_go = |world: &World| {
        of(world, DEPLOYMENT, "web", "/spec/template/spec/containers/0/image") == "web:2"
            && of(world, GIT_SOURCE, "apps", "/metadata/annotations/serin.dev~1hold").is_null()
            && of(world, DEPLOYMENT, "web", "/spec/replicas") == 0
    };
    world.until("the reverted release, and nobody held", let_go).await;

    // Not before who applied it has said by which commit.
    world
        .until("a certain source", |world| {
            let status = of(world, CANARY, "web", "/status");
            status["appliedRevision"] == status["promotedRevision"] && status["source"]["provisional"].is_null()
        })
        .await;
    command(&world, written_undo(&first, &random_id(), "mia"));
    let taken = format!("undo {first}");
    world.until("the undo", |world| of(world, CANARY, "web", "/status/lastCommand/command") == taken.as_str()).await;
    let outcome = of(&world, CANARY, "web", "/status/lastCommand/outcome");
    assert!(outcome.as_str().unwrap().contains("is being taken back in Git"), "{outcome}");
    world.until("the commit", |_| repository.read("web.yaml") == deployment("web", 1, "web:1")).await;
    let message = repository.git(&["log", "-1", "--format=%B"]);
    assert!(message.contains("mia asked Serin") && message.contains(&format!("..{first}")), "{message}");
    world.ask("apps");
    until_phase(&world, "Progressing").await;
    assert_eq!(of(&world, DEPLOYMENT, "web", "/spec/template/spec/containers/0/image"), "web:1");
    kubelet.abort();
}
