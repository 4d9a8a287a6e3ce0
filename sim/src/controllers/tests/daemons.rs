use std::time::Duration;

use serde_json::{Value, json};

use super::world::{World, image};
use crate::controllers::{object, view::Kind};

fn daemon(strategy: Value) -> Value {
    json!({
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "updateStrategy": strategy,
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "main", "image": "agent:1"}]},
            },
        },
    })
}

fn status(world: &World) -> Value {
    world.get(Kind::DaemonSet, "agent")["status"].clone()
}

fn nodes(world: &World) -> Vec<String> {
    let mut nodes: Vec<String> =
        world.all(Kind::Pod).iter().map(|pod| object::text(pod, "/spec/nodeName").to_owned()).collect();
    nodes.sort();
    nodes
}

#[test]
fn each_node_that_fits_has_one() {
    let mut world = World::new();
    world.put(Kind::DaemonSet, daemon(json!({"type": "RollingUpdate"})));
    world.pass(5);
    assert_eq!(nodes(&world), ["node-1", "node-2", "node-3"]);
    assert_eq!(
        status(&world),
        json!({
            "currentNumberScheduled": 3, "desiredNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 3,
            "updatedNumberScheduled": 3, "numberAvailable": 3, "observedGeneration": 1,
        })
    );
    world.put(Kind::Node, json!({"metadata": {"name": "node-4"}}));
    world.pass(5);
    assert_eq!(nodes(&world), ["node-1", "node-2", "node-3", "node-4"]);
    // What Flagger does to take a DaemonSet out of service.
    world.patch(Kind::DaemonSet, "agent", json!({"spec": {"template": {"spec": {"nodeSelector": {"no": "where"}}}}}));
    world.pass(5);
    assert!(nodes(&world).is_empty());
    assert_eq!(status(&world)["desiredNumberScheduled"], 0);
}

#[test]
fn updates_stay_within_their_limits() {
    for (strategy, least, most) in [
        (json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}), 2, 3),
        (json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}), 3, 4),
    ] {
        let mut world = World::new();
        world.put(Kind::DaemonSet, daemon(strategy));
        world.pass(5);
        world.patch(Kind::DaemonSet, "agent", image("agent:2"));
        world.pass_and(Duration::from_secs(60), &mut |world| {
            let pods = world.all(Kind::Pod);
            let living: Vec<_> = pods.iter().filter(|pod| !object::is_deleting(pod)).collect();
            let ready = living.iter().filter(|pod| object::ready_since(pod).is_some()).count();
            assert!(ready >= least && living.len() <= most, "{ready} of {}", living.len());
        });
        assert_eq!(status(&world)["updatedNumberScheduled"], 3);
        assert_eq!(status(&world)["numberAvailable"], 3);
        assert_eq!(status(&world)["observedGeneration"], 2);
        let revisions: Vec<i64> =
            world.all(Kind::ControllerRevision).iter().map(|one| one["revision"].as_i64().unwrap()).collect();
        assert_eq!(revisions.iter().max(), Some(&2));
        world.patch(Kind::DaemonSet, "agent", image("agent:1"));
        world.pass(60);
        let revisions: Vec<i64> =
            world.all(Kind::ControllerRevision).iter().map(|one| one["revision"].as_i64().unwrap()).collect();
        assert_eq!((revisions.len(), revisions.iter().max()), (2, Some(&3)), "the old revision is used again");
    }
}

#[test]
fn on_delete_leaves_old_pods_alone() {
    let mut world = World::new();
    world.put(Kind::DaemonSet, daemon(json!({"type": "OnDelete"})));
    world.pass(5);
    world.patch(Kind::DaemonSet, "agent", image("agent:2"));
    world.pass(60);
    assert_eq!(status(&world)["updatedNumberScheduled"], Value::Null);
    assert_eq!(status(&world)["numberReady"], 3);
}
