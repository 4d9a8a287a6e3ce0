//! Serin's own kinds on the cluster: their definitions are as good as their schemas.

use serde_json::{Value, json};
use sim::kinds::CUSTOM_RESOURCE_DEFINITION;
use sim::{Cluster, Kind, ManualClock};

const CANARY: Kind<'static> = Kind { group: "flagger.app", kind: "Canary" };

fn cluster() -> Cluster {
    let cluster = Cluster::new(ManualClock::starting_at(jiff::Timestamp::UNIX_EPOCH));
    for text in [
        include_str!("../../crds/canaries.yaml"),
        include_str!("../../crds/metrictemplates.yaml"),
        include_str!("../../crds/alertproviders.yaml"),
    ] {
        let definition: Value = serde_saphyr::from_str(text).expect("YAML");
        cluster.apply_as("test", definition).expect("a definition");
    }
    cluster
}

fn canary() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "service": { "port": 80 },
            "analysis": { "interval": "1m", "threshold": 5, "maxWeight": 50, "stepWeight": 10 },
        },
    })
}

#[test]
fn a_canary_is_stored_with_its_status_apart() {
    let cluster = cluster();
    assert_eq!(cluster.list(CUSTOM_RESOURCE_DEFINITION, "").len(), 3);
    let mut body = canary();
    body["spec"]["bogus"] = 1.into();
    let made = cluster.create("kubectl", body).unwrap();
    assert_eq!(made["spec"], canary()["spec"]);
    let status = json!({ "status": { "phase": "Progressing", "canaryWeight": 10 } });
    let after = cluster.patch_status("serin", CANARY, "default", "web", status).unwrap();
    assert_eq!((&after["status"]["canaryWeight"], &after["metadata"]["generation"]), (&json!(10), &json!(1)));
}

#[test]
fn a_canary_without_a_target_is_refused() {
    let cluster = cluster();
    let mut body = canary();
    body["spec"].as_object_mut().unwrap().remove("targetRef");
    let refused = cluster.create("kubectl", body).unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert!(refused.message.contains("spec.targetRef: Required value"), "{refused}");
}
