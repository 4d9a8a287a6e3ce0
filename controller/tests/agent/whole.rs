//! The controller with its agent: from a commit to the promotion of what it brings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use controller::assembly::{Controller, Surroundings};
use controller::clock::Clock;
use controller::http::Clients;
use controller::metrics::Metrics;
use serde_json::json;
use sim::Kind;
use sim::controllers::{Controllers, WellBehaved, make_nodes};
use tokio::task::JoinHandle;

use crate::world::*;

pub(crate) const CANARY: Kind<'static> = Kind { group: "flagger.app", kind: "Canary" };

/// Lets the whole controller work, with these flags too, and what makes pods.
pub(crate) fn roll_out(world: &mut World, more: &[&str]) -> JoinHandle<()> {
    controller::http::install_cryptography();
    make_nodes(&world.cluster, 1).unwrap();
    let kubelet = tokio::spawn(Controllers::new(world.cluster.clone(), Arc::new(WellBehaved)).run());
    let flags = ["--mesh-provider=kubernetes", "--min-interval=1s", "--drain=1s", "--settle=1s"];
    let flags = flags.iter().chain(more).map(|flag| (*flag).to_owned());
    let args = controller::arguments(flags).unwrap();
    let controller = Controller::new(
        controller::settings(&args).unwrap(),
        Surroundings {
            client: world.cluster.client(),
            namespace: None,
            outside: Arc::new(Clients::default()),
            clock: Clock::System,
            metrics: Metrics::new("test", "kubernetes"),
        },
    );
    let controller = controller.with_agent(world.agent.clone());
    world.work(async move { controller.work(std::future::pending()).await });
    kubelet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_starts_a_rollout_and_is_named_as_its_cause() {
    let mut world = World::new();
    let kubelet = roll_out(&mut world, &[]);
    let canary = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: web}\nspec:\n  \
                  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  service: {port: 80}\n  \
                  analysis: {interval: 1s, threshold: 5, iterations: 1}\n";
    world
        .repository
        .commit([("web.yaml", Some(deployment("web", 2, "web:1"))), ("canary.yaml", Some(canary.to_owned()))]);
    world.source("apps", json!({ "interval": "1h" }));
    let of = |world: &World, kind: Kind<'_>, name: &str, pointer: &str| {
        let found = world.cluster.get(kind, "shop", name);
        found.and_then(|found| found.pointer(pointer).cloned()).unwrap_or_default()
    };
    let rests = |world: &World| {
        of(world, CANARY, "web", "/status/phase") == "Initialized"
            && of(world, DEPLOYMENT, "web", "/spec/replicas") == 0
    };
    world.until("initialization", rests).await;
    world.at_rest().await;
    // What was first seen within the last ten seconds might be what brought a revision, so attribution waits them out.
    tokio::time::timeout(Duration::from_secs(11), std::future::pending::<()>()).await.unwrap_err();

    let second = world.repository.commit([("web.yaml", Some(deployment("web", 2, "web:2")))]);
    let begin = Instant::now();
    world.ask("apps");
    world.until("the canary", |world| of(world, DEPLOYMENT, "web", "/spec/replicas") != 0).await;
    let took = begin.elapsed();
    eprintln!("from the push to the canary that is scaled up: {took:?}");
    assert!(took.as_secs() < 2, "{took:?}");
    world.until("the promotion", |world| of(world, CANARY, "web", "/status/phase") == "Succeeded").await;
    assert_eq!(of(&world, DEPLOYMENT, "web-primary", "/spec/template/spec/containers/0/image"), "web:2");
    let told = of(&world, CANARY, "web", "/status").to_string();
    assert!(told.contains(&second) && told.contains("Commit 2"), "{told}");
    kubelet.abort();
}
