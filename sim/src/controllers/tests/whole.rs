//! All controllers together: on tokio's time, twice alike, and many at once.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use super::world::{World, deployment, image};
use crate::{
    Cluster, RuntimeClock,
    controllers::{Controllers, WellBehaved, make_nodes, view::Kind},
    kinds,
};

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_task_follows_changes_and_the_clock() {
    let cluster = Cluster::new(RuntimeClock::starting_at(start()));
    make_nodes(&cluster, 2).unwrap();
    let controllers = tokio::spawn(Controllers::new(cluster.clone(), Arc::new(WellBehaved)).run());
    let mut shop = deployment("shop", "shop:1", 2);
    shop["apiVersion"] = json!("apps/v1");
    shop["kind"] = json!("Deployment");
    shop["metadata"]["namespace"] = json!("default");
    cluster.create("test", shop).unwrap();
    let available = async {
        let mut changed = cluster.changed();
        loop {
            let shop = cluster.get(kinds::DEPLOYMENT, "default", "shop").unwrap();
            if shop["status"]["availableReplicas"] == 2 {
                return;
            }
            changed.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), available).await.expect("two pods are available within five seconds");
    assert_eq!(cluster.now().duration_since(start()).as_secs(), 1);
    controllers.abort();
}

#[test]
fn the_same_story_is_the_same_twice() {
    let story = || {
        let mut world = World::new();
        for at in 0..5 {
            world.put(Kind::Deployment, deployment(&format!("shop-{at}"), "shop:1", at));
        }
        world.pass(3);
        world.patch(Kind::Deployment, "shop-3", image("shop:2"));
        world.pass(30);
        Kind::ALL.iter().flat_map(|kind| world.all(*kind)).map(|object| object.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(story(), story());
}

#[test]
fn the_work_grows_with_what_changes_and_not_with_what_is_there() {
    let looks_for_one_rollout = |others: i64| {
        let mut world = World::new();
        for at in 0..=others {
            world.put(Kind::Deployment, deployment(&format!("shop-{at}"), "shop:1", 2));
        }
        world.pass(10);
        let before = world.looks;
        world.patch(Kind::Deployment, "shop-0", image("shop:2"));
        world.pass(30);
        world.looks - before
    };
    assert_eq!(looks_for_one_rollout(0), looks_for_one_rollout(40));
}
