use std::time::Duration;

use serde_json::{Value, json};

use super::world::{World, deployment, image};
use crate::controllers::{behaviour::Life, view::Kind};

fn never_ready() -> Life {
    Life { ready_after: None, ..Life::default() }
}

fn progressing(deployment: &Value) -> (&str, &str) {
    let conditions = deployment["status"]["conditions"].as_array().unwrap();
    let condition = conditions.iter().find(|condition| condition["type"] == "Progressing").unwrap();
    (condition["status"].as_str().unwrap(), condition["reason"].as_str().unwrap())
}

/// Image, wanted replicas and revision of each ReplicaSet, by revision.
fn sets(world: &World) -> Vec<(String, i64, String)> {
    let mut sets: Vec<_> = world
        .all(Kind::ReplicaSet)
        .iter()
        .map(|set| {
            (
                set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned(),
                set["spec"]["replicas"].as_i64().unwrap(),
                set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    sets.sort_by_key(|(_, _, revision)| revision.parse::<i64>().unwrap());
    sets
}

fn rows(rows: &[(&str, i64, &str)]) -> Vec<(String, i64, String)> {
    rows.iter().map(|(image, replicas, revision)| ((*image).to_owned(), *replicas, (*revision).to_owned())).collect()
}

#[test]
fn a_new_deployment_becomes_available() {
    let mut world = World::new();
    world.put(Kind::Deployment, deployment("shop", "shop:1", 3));
    world.settle();
    let young = world.get(Kind::Deployment, "shop");
    assert_eq!(young["status"]["unavailableReplicas"], 3);
    assert_eq!(young["status"]["readyReplicas"], Value::Null);
    assert_eq!(progressing(&young), ("True", "ReplicaSetUpdated"));
    world.pass(1);
    let shop = world.get(Kind::Deployment, "shop");
    let set = &world.all(Kind::ReplicaSet)[0]["metadata"];
    assert_eq!(shop["metadata"]["annotations"], json!({"deployment.kubernetes.io/revision": "1"}));
    assert_eq!(
        shop["status"],
        json!({
            "observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "terminatingReplicas": 0,
            "conditions": [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
                 "message": "Deployment has minimum availability.",
                 "lastUpdateTime": "2026-01-01T00:00:01Z", "lastTransitionTime": "2026-01-01T00:00:01Z"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                 "message": format!("ReplicaSet {} has successfully progressed.", set["name"]),
                 "lastUpdateTime": "2026-01-01T00:00:01Z", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
        })
    );
    assert_eq!(set["annotations"]["deployment.kubernetes.io/desired-replicas"], "3");
    assert_eq!(set["annotations"]["deployment.kubernetes.io/max-replicas"], "4");
    let hash = set["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(set["name"], format!("shop-{hash}"));
    assert!(world.all(Kind::Pod).iter().all(|pod| pod["metadata"]["labels"]["pod-template-hash"] == hash));
    assert!(world.events().contains(&format!("ScalingReplicaSet Scaled up replica set shop-{hash} from 0 to 3")));
}

#[test]
fn a_rollout_replaces_the_pods_and_going_back_takes_the_old_replica_set_again() {
    let mut world = World::new();
    world.put(Kind::Deployment, deployment("shop", "shop:1", 3));
    world.pass(5);
    world.patch(Kind::Deployment, "shop", image("shop:2"));
    world.pass(20);
    assert_eq!(sets(&world), rows(&[("shop:1", 0, "1"), ("shop:2", 3, "2")]));
    let shop = world.get(Kind::Deployment, "shop");
    assert_eq!(shop["status"]["updatedReplicas"], 3);
    assert_eq!(shop["status"]["terminatingReplicas"], 0);
    assert_eq!(progressing(&shop), ("True", "NewReplicaSetAvailable"));
    world.patch(Kind::Deployment, "shop", image("shop:1"));
    world.pass(20);
    assert_eq!(sets(&world), rows(&[("shop:2", 0, "2"), ("shop:1", 3, "3")]));
    assert_eq!(
        world.get(Kind::Deployment, "shop")["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    let reused = world.all(Kind::ReplicaSet).into_iter().find(|set| set["spec"]["replicas"] == 3).unwrap();
    assert_eq!(reused["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn a_rollout_that_does_not_move_is_reported_after_the_deadline_and_recovers() {
    let mut world = World::new();
    world.images.set("shop:bad", never_ready());
    let mut shop = deployment("shop", "shop:1", 2);
    shop["spec"]["progressDeadlineSeconds"] = json!(60);
    world.put(Kind::Deployment, shop);
    world.pass(5);
    world.patch(Kind::Deployment, "shop", image("shop:bad"));
    world.pass(60);
    assert_eq!(progressing(&world.get(Kind::Deployment, "shop")), ("True", "ReplicaSetUpdated"));
    world.pass(2);
    let stuck = world.get(Kind::Deployment, "shop");
    assert_eq!(progressing(&stuck), ("False", "ProgressDeadlineExceeded"));
    assert_eq!(stuck["status"]["availableReplicas"], 2, "the old pods serve on");
    world.patch(Kind::Deployment, "shop", image("shop:1"));
    world.pass(10);
    assert_eq!(progressing(&world.get(Kind::Deployment, "shop")), ("True", "NewReplicaSetAvailable"));
}

#[test]
fn a_rollout_under_way_is_scaled_in_proportion() {
    let mut world = World::new();
    world.images.set("shop:bad", never_ready());
    let mut shop = deployment("shop", "shop:1", 10);
    shop["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    world.put(Kind::Deployment, shop);
    world.pass(5);
    world.patch(Kind::Deployment, "shop", image("shop:bad"));
    world.pass(5);
    assert_eq!(sets(&world), rows(&[("shop:1", 8, "1"), ("shop:bad", 5, "2")]));
    world.patch(Kind::Deployment, "shop", json!({"spec": {"replicas": 15}}));
    world.pass(5);
    assert_eq!(sets(&world), rows(&[("shop:1", 11, "1"), ("shop:bad", 7, "2")]));
}

#[test]
fn scaling_says_nothing_of_a_rollout() {
    let mut world = World::new();
    world.put(Kind::Deployment, deployment("shop", "shop:1", 2));
    world.pass(5);
    for replicas in [5, 0, 1] {
        world.patch(Kind::Deployment, "shop", json!({"spec": {"replicas": replicas}}));
        world.pass(10);
        let shop = world.get(Kind::Deployment, "shop");
        assert_eq!(shop["status"]["replicas"].as_i64().unwrap_or(0), replicas);
        assert_eq!(shop["status"]["availableReplicas"].as_i64().unwrap_or(0), replicas);
        assert_eq!(shop["status"]["observedGeneration"], shop["metadata"]["generation"]);
        assert_eq!(progressing(&shop), ("True", "NewReplicaSetAvailable"));
        assert_eq!(sets(&world), rows(&[("shop:1", replicas, "1")]));
    }
}

#[test]
fn a_paused_deployment_is_scaled_but_not_rolled_out() {
    let mut world = World::new();
    world.put(Kind::Deployment, deployment("shop", "shop:1", 2));
    world.pass(5);
    world.patch(Kind::Deployment, "shop", json!({"spec": {"paused": true}}));
    world.patch(Kind::Deployment, "shop", image("shop:2"));
    world.patch(Kind::Deployment, "shop", json!({"spec": {"replicas": 3}}));
    world.pass(3600);
    assert_eq!(sets(&world), rows(&[("shop:1", 3, "1")]));
    assert_eq!(progressing(&world.get(Kind::Deployment, "shop")), ("Unknown", "DeploymentPaused"));
    world.patch(Kind::Deployment, "shop", json!({"spec": {"paused": false}}));
    world.pass(20);
    assert_eq!(sets(&world), rows(&[("shop:1", 0, "1"), ("shop:2", 3, "2")]));
    assert_eq!(progressing(&world.get(Kind::Deployment, "shop")), ("True", "NewReplicaSetAvailable"));
}

#[test]
fn recreate_never_runs_two_templates_at_once() {
    let mut world = World::new();
    let mut shop = deployment("shop", "shop:1", 3);
    shop["spec"]["strategy"] = json!({"type": "Recreate"});
    world.put(Kind::Deployment, shop);
    world.pass(5);
    world.patch(Kind::Deployment, "shop", image("shop:2"));
    world.pass_and(Duration::from_secs(20), &mut |world| {
        let mut images: Vec<_> = world
            .all(Kind::Pod)
            .iter()
            .map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned())
            .collect();
        images.dedup();
        assert!(images.len() <= 1, "{images:?}");
    });
    assert_eq!(sets(&world), rows(&[("shop:1", 0, "1"), ("shop:2", 3, "2")]));
    assert_eq!(world.get(Kind::Deployment, "shop")["status"]["availableReplicas"], 3);
}

#[test]
fn old_revisions_are_kept_up_to_the_limit() {
    let mut world = World::new();
    let mut shop = deployment("shop", "shop:1", 1);
    shop["spec"]["revisionHistoryLimit"] = json!(2);
    world.put(Kind::Deployment, shop);
    for at in 2..=6 {
        world.pass(10);
        world.patch(Kind::Deployment, "shop", image(&format!("shop:{at}")));
    }
    world.pass(10);
    assert_eq!(sets(&world), rows(&[("shop:4", 0, "4"), ("shop:5", 0, "5"), ("shop:6", 1, "6")]));
}

#[test]
fn min_ready_seconds_slow_a_rollout_down() {
    let mut world = World::new();
    let mut shop = deployment("shop", "shop:1", 2);
    shop["spec"]["minReadySeconds"] = json!(30);
    world.put(Kind::Deployment, shop);
    world.pass(30);
    let young = world.get(Kind::Deployment, "shop");
    assert_eq!((&young["status"]["readyReplicas"], &young["status"]["availableReplicas"]), (&json!(2), &Value::Null));
    world.pass(1);
    assert_eq!(world.get(Kind::Deployment, "shop")["status"]["availableReplicas"], 2);
}

#[test]
fn an_idle_cluster_costs_no_look() {
    let mut world = World::new();
    world.put(Kind::Deployment, deployment("shop", "shop:1", 2));
    world.pass(60);
    let looks = world.looks;
    world.pass(24 * 3600);
    // One remains: whether the deadline has passed.
    assert!(world.looks - looks <= 1, "{} looks at nothing", world.looks - looks);
}

#[test]
fn a_deleted_deployment_takes_everything_with_it() {
    let mut world = World::new();
    world.put(Kind::Deployment, deployment("shop", "shop:1", 2));
    world.pass(5);
    world.delete(&crate::controllers::view::Key::new(Kind::Deployment, "test", "shop"));
    world.pass(5);
    assert!(world.all(Kind::ReplicaSet).is_empty() && world.all(Kind::Pod).is_empty());
}
