use std::time::Duration;

use serde_json::{Value, json};

use super::world::{World, deployment, image};
use crate::controllers::{
    behaviour::Life,
    view::{Key, Kind},
};

fn only_pod(world: &World) -> Value {
    let pods = world.all(Kind::Pod);
    assert_eq!(pods.len(), 1, "{pods:?}");
    (*pods[0]).clone()
}

fn container(world: &World) -> Value {
    only_pod(world)["status"]["containerStatuses"][0].clone()
}

#[test]
fn a_pod_goes_from_pending_over_running_to_ready() {
    let mut world = World::new();
    let slow =
        Life { pull: Some(Duration::from_secs(5)), ready_after: Some(Duration::from_secs(7)), ..Life::default() };
    world.images.set("shop:1", slow);
    world.put(Kind::Deployment, deployment("shop", "shop:1", 1));
    world.settle();
    let pod = only_pod(&world);
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    world.pass(5);
    let pod = only_pod(&world);
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["containerStatuses"][0]["ready"], false);
    assert_eq!(pod["status"]["conditions"][2]["message"], "containers with unready status: [main]");
    world.pass(7);
    let pod = only_pod(&world);
    assert_eq!(
        pod["status"]["conditions"][2],
        json!({"type": "Ready", "status": "True", "observedGeneration":
        pod["metadata"]["generation"], "lastTransitionTime": "2026-01-01T00:00:12Z"})
    );
    assert_eq!(pod["status"]["hostIP"], "10.0.0.1");
    assert_eq!(pod["status"]["podIP"], "10.244.0.1");
    assert_eq!(pod["status"]["startTime"], "2026-01-01T00:00:00Z");
}

#[test]
fn a_crashing_container_is_started_again_ever_later() {
    let mut world = World::new();
    world.images.set("shop:1", Life { crash_after: Some(Duration::from_secs(2)), ..Life::default() });
    world.put(Kind::Deployment, deployment("shop", "shop:1", 1));
    world.pass(3);
    assert_eq!(container(&world)["restartCount"], 1);
    assert_eq!(container(&world)["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(container(&world)["state"]["running"]["startedAt"], "2026-01-01T00:00:02Z");
    world.pass(2);
    let waiting = container(&world)["state"]["waiting"].clone();
    assert_eq!(waiting["reason"], "CrashLoopBackOff");
    assert!(
        waiting["message"].as_str().unwrap().starts_with("back-off 10s restarting failed container=main pod=shop-")
    );
    assert_eq!(world.get(Kind::Deployment, "shop")["status"]["readyReplicas"], Value::Null);
    // Started again 10 s, 20 s, 40 s … after each crash, 5 min at most.
    for (passed, restarts) in [(10, 2), (22, 3), (42, 4), (82, 5), (162, 6), (302, 7), (302, 8)] {
        world.pass(passed);
        assert_eq!(container(&world)["restartCount"], restarts);
    }
    assert!(world.events().iter().any(|event| event.starts_with("BackOff Back-off restarting failed container main")));
}

#[test]
fn an_image_that_cannot_be_pulled_is_tried_again_until_it_can() {
    let mut world = World::new();
    world.images.set("shop:1", Life { pull: None, ..Life::default() });
    world.put(Kind::Deployment, deployment("shop", "shop:1", 1));
    world.settle();
    assert_eq!(container(&world)["state"]["waiting"]["reason"], "ErrImagePull");
    world.pass(2);
    assert_eq!(container(&world)["state"]["waiting"]["reason"], "ImagePullBackOff");
    assert_eq!(only_pod(&world)["status"]["phase"], "Pending");
    world.images.set("shop:1", Life::default());
    world.pass(10);
    assert_eq!(world.get(Kind::Deployment, "shop")["status"]["availableReplicas"], 1);
}

#[test]
fn a_deleted_pod_ends_gracefully_and_still_serves_meanwhile() {
    let mut world = World::new();
    world.images.set("shop:1", Life { end_after: Duration::from_secs(4), ..Life::default() });
    world.put(Kind::Deployment, deployment("shop", "shop:1", 1));
    world.put(
        Kind::Service,
        json!({"metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"},
        "clusterIP": "10.96.0.1", "ports": [{"port": 80, "targetPort": 8080}]}}),
    );
    world.pass(5);
    let first = only_pod(&world);
    world.delete(&Key::of(Kind::Pod, &first));
    world.pass(2);
    assert_eq!(world.all(Kind::Pod).len(), 2);
    let slice = &world.all(Kind::EndpointSlice)[0];
    let endpoints = slice["endpoints"].as_array().unwrap();
    let old = endpoints.iter().find(|endpoint| endpoint["targetRef"]["name"] == first["metadata"]["name"]).unwrap();
    assert_eq!(old["conditions"], json!({"ready": false, "serving": true, "terminating": true}));
    world.pass(2);
    assert_ne!(only_pod(&world)["metadata"]["name"], first["metadata"]["name"]);
    assert_eq!(world.all(Kind::EndpointSlice)[0]["endpoints"].as_array().unwrap().len(), 1);
}

#[test]
fn a_pod_that_fits_nowhere_waits_for_a_node() {
    let mut world = World::new();
    let mut shop = deployment("shop", "shop:1", 1);
    shop["spec"]["template"]["spec"]["nodeSelector"] = json!({"zone": "far"});
    world.put(Kind::Deployment, shop);
    world.pass(10);
    assert_eq!(only_pod(&world)["status"]["conditions"][0]["reason"], "Unschedulable");
    world.put(Kind::Node, json!({"metadata": {"name": "far", "labels": {"zone": "far"}}}));
    world.pass(10);
    assert_eq!(world.get(Kind::Deployment, "shop")["status"]["availableReplicas"], 1);
}

#[test]
fn endpoints_follow_a_rollout() {
    let mut world = World::new();
    world.put(Kind::Deployment, deployment("shop", "shop:1", 3));
    world.put(
        Kind::Service,
        json!({"metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"},
        "ports": [{"port": 80}]}}),
    );
    world.pass(5);
    world.patch(Kind::Deployment, "shop", image("shop:2"));
    world.pass_and(Duration::from_secs(30), &mut |world| {
        let slices = world.all(Kind::EndpointSlice);
        let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().unwrap().clone());
        assert!(endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count() >= 3);
    });
    let mut serving: Vec<String> = world.all(Kind::EndpointSlice)[0]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| endpoint["targetRef"]["name"].as_str().unwrap().to_owned())
        .collect();
    serving.sort();
    let pods: Vec<String> =
        world.all(Kind::Pod).iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(serving, pods);
}
