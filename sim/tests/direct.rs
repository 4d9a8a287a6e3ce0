//! The cluster as actors of the same process see it.

use serde_json::{Value, json};
use sim::kinds::{CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD, REPLICA_SET, SECRET, SERVICE};
use sim::{ChangeKind, Cluster, ManualClock};

fn cluster() -> Cluster {
    Cluster::new(ManualClock::starting_at("2026-01-01T00:00:00Z".parse().expect("a time")))
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": image, "ports": [{ "containerPort": 80 }] }] },
            },
        },
    })
}

fn owned(kind: &str, api_version: &str, name: &str, owner: &Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": { "name": name, "namespace": "default", "ownerReferences": [{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
        }] },
    })
}

#[test]
fn a_deployment_is_stored_as_a_server_stores_it() {
    let cluster = cluster();
    let stored = cluster.create("me", deployment("app:1")).unwrap();
    assert_eq!(
        stored["spec"],
        json!({
            "progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "containers": [{
                        "image": "app:1", "imagePullPolicy": "IfNotPresent", "name": "web",
                        "ports": [{ "containerPort": 80, "protocol": "TCP" }], "resources": {},
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    }],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30,
                },
            },
        })
    );
    assert_eq!(stored["metadata"]["generation"], 1);
    assert_eq!(stored["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
}

#[test]
fn the_same_calls_give_the_same_cluster() {
    let build = || {
        let cluster = cluster();
        let stored = cluster.create("me", deployment("app:1")).unwrap();
        let mut pod = owned("Pod", "v1", "", &stored);
        pod["metadata"]["generateName"] = "web-".into();
        pod["spec"] = json!({ "containers": [{ "name": "web", "image": "app:1" }] });
        cluster.create("me", pod).unwrap();
        (cluster.list(POD, ""), cluster.list(DEPLOYMENT, ""), cluster.version())
    };
    assert_eq!(build(), build());
}

#[test]
fn only_a_change_of_intent_counts_as_a_generation_and_only_a_change_is_written() {
    let cluster = cluster();
    cluster.create("me", deployment("app:1")).unwrap();
    let version = cluster.version();
    cluster.patch("me", DEPLOYMENT, "default", "web", json!({ "spec": { "replicas": 1 } })).unwrap();
    assert_eq!(cluster.version(), version);
    cluster.patch("me", DEPLOYMENT, "default", "web", json!({ "metadata": { "labels": { "a": "b" } } })).unwrap();
    let patched = cluster.patch("me", DEPLOYMENT, "default", "web", json!({ "status": { "replicas": 9 } })).unwrap();
    assert_eq!(patched["status"], json!({}));
    let patched = cluster
        .patch_status("me", DEPLOYMENT, "default", "web", json!({ "status": { "replicas": 2 }, "spec": null }))
        .unwrap();
    assert_eq!(patched["status"]["replicas"], 2);
    assert_eq!(patched["metadata"]["generation"], 1);
    let patched = cluster.patch("me", DEPLOYMENT, "default", "web", json!({ "spec": { "replicas": 3 } })).unwrap();
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(patched["status"]["replicas"], 2);
}

#[test]
fn dependents_go_with_their_owner() {
    let cluster = cluster();
    let owner = cluster.create("me", deployment("app:1")).unwrap();
    let mut replica_set = owned("ReplicaSet", "apps/v1", "web-1", &owner);
    replica_set["spec"] = owner["spec"].clone();
    for field in ["strategy", "progressDeadlineSeconds", "revisionHistoryLimit"] {
        replica_set["spec"].as_object_mut().unwrap().remove(field);
    }
    let replica_set = cluster.create("me", replica_set).unwrap();
    let mut pod = owned("Pod", "v1", "web-1-a", &replica_set);
    pod["spec"] = json!({ "containers": [{ "name": "web", "image": "app:1" }], "nodeName": "node" });
    cluster.create("me", pod).unwrap();
    assert_eq!(cluster.owned_by(owner["metadata"]["uid"].as_str().unwrap()).len(), 1);
    cluster.delete(DEPLOYMENT, "default", "web").unwrap();
    assert!(cluster.list(REPLICA_SET, "").is_empty());
    let ending = cluster.get(POD, "default", "web-1-a").unwrap();
    assert_eq!(ending["metadata"]["deletionTimestamp"], "2026-01-01T00:00:30Z");
    cluster.delete_now(POD, "default", "web-1-a").unwrap();
    assert!(cluster.list(POD, "").is_empty());
}

#[test]
fn a_namespace_takes_its_content_with_it() {
    let cluster = cluster();
    cluster.create("me", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } })).unwrap();
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "namespace": "shop", "finalizers": ["x.y/z"] } });
    cluster.create("me", map).unwrap();
    cluster.delete(NAMESPACE, "", "shop").unwrap();
    assert_eq!(cluster.get(NAMESPACE, "", "shop").unwrap()["status"]["phase"], "Terminating");
    let refused = cluster
        .create(
            "me",
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "b", "namespace": "shop" } }),
        )
        .unwrap_err();
    assert_eq!(refused.code, 403);
    cluster.patch("me", CONFIG_MAP, "shop", "a", json!({ "metadata": { "finalizers": null } })).unwrap();
    assert!(cluster.get(NAMESPACE, "", "shop").is_none());
    assert!(cluster.list(CONFIG_MAP, "shop").is_empty());
}

#[test]
fn a_namespace_that_changes_keeps_its_content() {
    let cluster = cluster();
    cluster.create("me", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } })).unwrap();
    let furnished = cluster.list(CONFIG_MAP, "shop");
    cluster.patch("me", NAMESPACE, "", "shop", json!({ "metadata": { "labels": { "a": "b" } } })).unwrap();
    assert_eq!(cluster.list(CONFIG_MAP, "shop"), furnished);
}

#[test]
fn services_get_an_address_and_secrets_their_bytes() {
    let cluster = cluster();
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "default" },
        "spec": { "ports": [{ "port": 80 }] } });
    let service = cluster.create("me", service).unwrap();
    assert!(service["spec"]["clusterIP"].as_str().unwrap().starts_with("10.96."));
    assert_eq!(service["spec"]["ports"], json!([{ "port": 80, "protocol": "TCP", "targetPort": 80 }]));
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "default" },
        "stringData": { "a": "b" } });
    assert_eq!(cluster.create("me", secret).unwrap()["data"], json!({ "a": "Yg==" }));
    assert_eq!(cluster.list(SECRET, "default").len(), 1);
    assert_eq!(cluster.list(SERVICE, "default").len(), 2, "and the API's own");
}

#[test]
fn changes_can_be_followed_from_a_version() {
    let cluster = cluster();
    let mut changed = cluster.changed();
    let version = cluster.version();
    cluster.create("me", deployment("app:1")).unwrap();
    cluster
        .apply_as(
            "serin",
            json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "default" }, "spec": { "replicas": 2 } }),
        )
        .unwrap();
    cluster.delete(DEPLOYMENT, "default", "web").unwrap();
    assert!(changed.has_changed());
    changed.mark_unchanged();
    assert!(!changed.has_changed());
    let kinds: Vec<ChangeKind> = cluster.watch_from(version).unwrap().iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Modified, ChangeKind::Deleted]);
    cluster.compact();
    assert_eq!(cluster.watch_from(version).unwrap_err().code, 410);
}
