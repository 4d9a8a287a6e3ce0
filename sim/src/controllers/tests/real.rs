//! A story beside what a real control plane, Kubernetes 1.36.3 with its kubelet, left at each step of it.

use serde_json::{Value, json};

use super::world::{World, deployment, image};
use crate::controllers::{behaviour::Life, view::Kind};

/// The status without times, the current ReplicaSet called NEW.
fn status(world: &World) -> Value {
    let shop = world.get(Kind::Deployment, "shop");
    let revision = &shop["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    let sets = world.all(Kind::ReplicaSet);
    let current =
        sets.iter().find(|set| set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == *revision);
    let current = current.unwrap()["metadata"]["name"].as_str().unwrap();
    let mut status = shop["status"].clone();
    for condition in status["conditions"].as_array_mut().unwrap() {
        let condition = condition.as_object_mut().unwrap();
        condition.retain(|field, _| !field.ends_with("Time"));
        let message = condition["message"].as_str().unwrap().replace(current, "NEW");
        condition.insert("message".to_owned(), message.into());
    }
    status
}

fn expected(counts: &Value, progressing: (&str, &str, &str)) -> Value {
    let (status, reason, message) = progressing;
    let mut expected = counts.clone();
    expected["terminatingReplicas"] = 0.into();
    expected["conditions"] = json!([
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
         "message": "Deployment has minimum availability."},
        {"type": "Progressing", "status": status, "reason": reason, "message": message},
    ]);
    expected
}

/// Revision, revisions before, wanted and actual pods, and changes of what is wanted, of each ReplicaSet by revision.
fn sets(world: &World) -> Vec<Value> {
    let mut sets: Vec<Value> = world
        .all(Kind::ReplicaSet)
        .iter()
        .map(|set| {
            let annotation =
                |name: &str| set["metadata"]["annotations"][format!("deployment.kubernetes.io/{name}")].clone();
            json!([
                annotation("revision"),
                annotation("revision-history"),
                annotation("desired-replicas"),
                annotation("max-replicas"),
                set["spec"]["replicas"],
                set["metadata"]["generation"],
                set["status"],
            ])
        })
        .collect();
    sets.sort_by_key(|set| set[0].as_str().unwrap().to_owned());
    sets
}

fn set(revision: &str, before: Option<&str>, wanted: i64, generation: i64, status: Value) -> Value {
    let mut status = status;
    status["terminatingReplicas"] = 0.into();
    status["observedGeneration"] = generation.into();
    json!([revision, before, "3", "4", wanted, generation, status])
}

#[test]
fn each_step_leaves_what_a_real_control_plane_left() {
    let mut world = World::new();
    world.images.set("local/none:1", Life { pull: None, ..Life::default() });
    let mut shop = deployment("shop", "local/pause:1", 3);
    shop["spec"]["progressDeadlineSeconds"] = json!(12);
    world.put(Kind::Deployment, shop);
    world.pass(5);
    let all = |generation: i64| json!({"observedGeneration": generation, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3});
    let done = ("True", "NewReplicaSetAvailable", "ReplicaSet \"NEW\" has successfully progressed.");
    let full = || json!({"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3});
    let none = || json!({"replicas": 0});
    assert_eq!(status(&world), expected(&all(1), done));
    assert_eq!(sets(&world), [set("1", None, 3, 1, full())]);

    world.patch(Kind::Deployment, "shop", image("local/pause:2"));
    world.pass(15);
    assert_eq!(status(&world), expected(&all(2), done));
    assert_eq!(sets(&world), [set("1", None, 0, 4, none()), set("2", None, 3, 3, full())]);

    world.patch(Kind::Deployment, "shop", image("local/none:1"));
    world.pass(15);
    let stuck = json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 1, "readyReplicas": 3,
        "availableReplicas": 3, "unavailableReplicas": 1});
    let late = ("False", "ProgressDeadlineExceeded", "ReplicaSet \"NEW\" has timed out progressing.");
    assert_eq!(status(&world), expected(&stuck, late));
    assert_eq!(
        sets(&world),
        [
            set("1", None, 0, 4, none()),
            set("2", None, 3, 3, full()),
            set("3", None, 1, 1, json!({"replicas": 1, "fullyLabeledReplicas": 1})),
        ]
    );

    world.patch(Kind::Deployment, "shop", image("local/pause:2"));
    world.pass(15);
    assert_eq!(status(&world), expected(&all(4), done));
    assert_eq!(
        sets(&world),
        [set("1", None, 0, 4, none()), set("3", None, 0, 2, none()), set("4", Some("2"), 3, 3, full()),]
    );
    let scaled: Vec<String> =
        world.events().into_iter().filter(|event| event.starts_with("ScalingReplicaSet")).collect();
    assert_eq!(scaled.len(), 9, "{scaled:?}");
}
