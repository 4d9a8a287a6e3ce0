//! What the server makes of built-in kinds.

use serde_json::{Value, json};

use crate::cases;
use crate::scene::{MERGE, STRATEGIC, Scene, config_map, deployment, service};

cases![
    a_deployment_gets_its_defaults,
    a_daemon_set_gets_its_defaults,
    a_service_gets_its_defaults_and_keeps_its_address,
    a_headless_service_has_no_address,
    an_autoscaler_gets_its_defaults,
    a_pod_template_gets_its_defaults,
    empty_values_are_not_stored,
    a_selector_cannot_change,
    a_selector_must_fit_the_template,
    a_deployment_without_containers_is_refused,
    the_generation_of_a_deployment,
    the_scale_of_a_deployment,
    the_status_of_a_deployment_is_apart,
    annotations_are_written_with_the_status,
    a_secret_takes_text,
    an_immutable_config_map_stays,
    a_lease_is_taken_by_version,
    an_event_is_seen_through_both_groups,
    an_event_of_the_newer_group_is_seen_in_the_core,
    a_namespace_is_active_and_labelled,
    a_namespace_gets_an_account,
    an_ingress_is_stored,
    a_cluster_address_cannot_change,
];

async fn a_deployment_gets_its_defaults(scene: Scene) {
    let spec = scene.create("deployments", &deployment("web")).await.ok()["spec"].clone();
    assert_eq!(
        (&spec["replicas"], &spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]),
        (&json!(0), &json!(10), &json!(600))
    );
    assert_eq!(
        spec["strategy"],
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } })
    );
}

async fn a_daemon_set_gets_its_defaults(scene: Scene) {
    let mut body = deployment("web");
    body["kind"] = "DaemonSet".into();
    body["spec"].as_object_mut().unwrap().remove("replicas");
    body["spec"]["template"]["spec"]["nodeSelector"] = json!({ "no": "where" });
    let made = scene.create("daemonsets", &body).await.ok();
    assert_eq!(
        made["spec"]["updateStrategy"],
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } })
    );
    assert_eq!(made["metadata"]["annotations"]["deprecated.daemonset.template.generation"], "1");
}

async fn a_service_gets_its_defaults_and_keeps_its_address(scene: Scene) {
    let made = scene.create("services", &service("web")).await.ok();
    let spec = &made["spec"];
    let address = spec["clusterIP"].as_str().unwrap();
    assert_eq!(
        *spec,
        json!({
            "clusterIP": address, "clusterIPs": [address], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 80 }],
            "selector": { "app": "web" }, "sessionAffinity": "None", "type": "ClusterIP",
        })
    );
    assert_eq!(made["status"], json!({ "loadBalancer": {} }));
    let after = scene.put("services", "web", &service("web")).await.ok();
    assert_eq!(after["spec"]["clusterIP"], *address);
}

async fn a_headless_service_has_no_address(scene: Scene) {
    let mut body = service("web");
    body["spec"]["clusterIP"] = "None".into();
    let made = scene.create("services", &body).await.ok();
    assert_eq!((&made["spec"]["clusterIP"], &made["spec"]["clusterIPs"]), (&json!("None"), &json!(["None"])));
}

async fn an_autoscaler_gets_its_defaults(scene: Scene) {
    let body = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "a" },
        "spec": { "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } },
    });
    let made = scene.create("horizontalpodautoscalers", &body).await.ok();
    assert_eq!(made["spec"]["minReplicas"], 1);
    assert_eq!(
        made["spec"]["metrics"],
        json!([{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } }])
    );
}

async fn a_pod_template_gets_its_defaults(scene: Scene) {
    let mut body = deployment("web");
    let spec = &mut body["spec"]["template"]["spec"];
    spec["containers"] = json!([
        { "name": "a", "image": "app:1", "resources": { "limits": { "cpu": "1" } },
          "env": [{ "name": "N", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
          "readinessProbe": { "httpGet": { "port": 80 } } },
        { "name": "b", "image": "app" },
    ]);
    spec["volumes"] = json!([{ "name": "c", "configMap": { "name": "x" } }, { "name": "e" }]);
    let made = scene.create("deployments", &body).await.ok();
    assert_eq!(
        made["spec"]["template"]["spec"],
        json!({
            "containers": [
                {
                    "name": "a", "image": "app:1", "imagePullPolicy": "IfNotPresent",
                    "resources": { "limits": { "cpu": "1" } },
                    "env": [{ "name": "N", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }],
                    "readinessProbe": {
                        "httpGet": { "path": "/", "port": 80, "scheme": "HTTP" },
                        "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1,
                    },
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                },
                {
                    "name": "b", "image": "app", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                },
            ],
            "volumes": [{ "name": "c", "configMap": { "name": "x", "defaultMode": 420 } }, { "name": "e", "emptyDir": {} }],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30,
        })
    );
}

async fn empty_values_are_not_stored(scene: Scene) {
    let mut body = deployment("web");
    body["metadata"]["labels"] = json!({});
    body["spec"]["paused"] = false.into();
    body["spec"]["minReadySeconds"] = 0.into();
    let spec = &mut body["spec"]["template"]["spec"];
    spec["hostNetwork"] = false.into();
    spec["nodeSelector"] = json!({});
    spec["containers"][0]["args"] = json!([]);
    spec["containers"][0]["env"] = Value::Null;
    let made = scene.create("deployments", &body).await.ok();
    assert!(made["metadata"].get("labels").is_none());
    let spec = &made["spec"];
    assert!(spec.get("paused").is_none() && spec.get("minReadySeconds").is_none());
    let pod = &spec["template"]["spec"];
    assert!(pod.get("hostNetwork").is_none() && pod.get("nodeSelector").is_none());
    assert!(pod["containers"][0].get("args").is_none() && pod["containers"][0].get("env").is_none());
}

async fn a_selector_cannot_change(scene: Scene) {
    scene.create("deployments", &deployment("web")).await.ok();
    let patch = json!({ "spec": { "selector": { "matchLabels": { "x": "y" } }, "template": { "metadata": { "labels": { "x": "y" } } } } });
    let status = scene.patch("deployments", "web", MERGE, &patch).await.refused(422, "Invalid");
    assert!(status["message"].as_str().unwrap().ends_with("field is immutable"), "{status}");
}

async fn a_selector_must_fit_the_template(scene: Scene) {
    let mut body = deployment("web");
    body["spec"]["selector"] = json!({ "matchLabels": { "app": "other" } });
    let status = scene.create("deployments", &body).await.refused(422, "Invalid");
    assert!(status["message"].as_str().unwrap().ends_with("`selector` does not match template `labels`"), "{status}");
}

async fn a_deployment_without_containers_is_refused(scene: Scene) {
    let mut body = deployment("web");
    body["spec"]["template"]["spec"] = json!({ "containers": [] });
    let status = scene.create("deployments", &body).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.template.spec.containers");
    assert_eq!(status["details"]["causes"][0]["message"], "Required value");
}

async fn the_generation_of_a_deployment(scene: Scene) {
    scene.create("deployments", &deployment("web")).await.ok();
    let patch = |patch: Value| {
        let scene = scene.clone();
        async move { scene.patch("deployments", "web", STRATEGIC, &patch).await.ok()["metadata"]["generation"].clone() }
    };
    assert_eq!(patch(json!({ "metadata": { "labels": { "x": "y" } } })).await, 1);
    assert_eq!(patch(json!({ "spec": { "replicas": 0 } })).await, 1);
    assert_eq!(patch(json!({ "spec": { "minReadySeconds": 1 } })).await, 2);
}

async fn the_scale_of_a_deployment(scene: Scene) {
    scene.create("deployments", &deployment("web")).await.ok();
    let scale = scene.get("deployments", "web/scale").await.ok();
    assert_eq!((&scale["spec"], &scale["status"]["selector"]), (&json!({}), &json!("app=web")));
}

async fn the_status_of_a_deployment_is_apart(scene: Scene) {
    scene.create("deployments", &deployment("web")).await.ok();
    let patch = json!({ "spec": { "paused": true }, "status": { "collisionCount": 7 } });
    let after = scene.patch("deployments", "web", MERGE, &patch).await.ok();
    assert_eq!(after["spec"]["paused"], true);
    assert!(after["status"].get("collisionCount").is_none(), "{}", after["status"]);
}

async fn annotations_are_written_with_the_status(scene: Scene) {
    scene.create("services", &service("web")).await.ok();
    let patch = json!({ "metadata": { "annotations": { "x": "y" } } });
    let after = scene.patch("services", "web/status", MERGE, &patch).await.ok();
    assert_eq!(after["metadata"]["annotations"], json!({ "x": "y" }));
}

async fn a_secret_takes_text(scene: Scene) {
    let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "stringData": { "x": "y" } });
    let made = scene.create("secrets", &body).await.ok();
    assert_eq!((&made["data"], &made["type"]), (&json!({ "x": "eQ==" }), &json!("Opaque")));
    assert!(made.get("stringData").is_none());
}

async fn an_immutable_config_map_stays(scene: Scene) {
    let mut body = config_map("a", &json!({ "x": "1" }));
    body["immutable"] = true.into();
    scene.create("configmaps", &body).await.ok();
    let status = scene.patch("configmaps", "a", MERGE, &json!({ "data": { "x": "2" } })).await.refused(422, "Invalid");
    assert!(status["message"].as_str().unwrap().contains("field is immutable when `immutable` is set"), "{status}");
}

async fn a_lease_is_taken_by_version(scene: Scene) {
    let body = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "a" },
        "spec": { "holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z" } });
    let mut mine = scene.create("leases", &body).await.ok();
    let mut theirs = mine.clone();
    mine["spec"]["holderIdentity"] = "mine".into();
    theirs["spec"]["holderIdentity"] = "theirs".into();
    scene.put("leases", "a", &mine).await.ok();
    scene.put("leases", "a", &theirs).await.refused(409, "Conflict");
}

async fn an_event_is_seen_through_both_groups(scene: Scene) {
    let body = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": "a" }, "reason": "R", "message": "m", "type": "Normal",
        "involvedObject": { "kind": "Pod", "name": "p", "namespace": scene.namespace }, "count": 2,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:01Z", "source": { "component": "me" },
    });
    let made = scene.create("events", &body).await.ok();
    assert_eq!(made["eventTime"], Value::Null);
    let newer = scene.get("newerevents", "a").await.ok();
    assert_eq!(
        (&newer["note"], &newer["regarding"]["name"], &newer["deprecatedCount"]),
        (&json!("m"), &json!("p"), &json!(2))
    );
    assert_eq!(newer["apiVersion"], "events.k8s.io/v1");
    assert_eq!(newer["deprecatedSource"], json!({ "component": "me" }));
}

async fn an_event_of_the_newer_group_is_seen_in_the_core(scene: Scene) {
    let body = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "a" }, "reason": "R", "note": "n", "type": "Normal",
        "regarding": { "kind": "Pod", "name": "p", "namespace": scene.namespace }, "action": "Do",
        "reportingController": "serin.app/x", "reportingInstance": "me-1", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    scene.create("newerevents", &body).await.ok();
    let core = scene.get("events", "a").await.ok();
    assert_eq!((&core["message"], &core["involvedObject"]["name"]), (&json!("n"), &json!("p")));
    assert_eq!((&core["reportingComponent"], &core["apiVersion"]), (&json!("serin.app/x"), &json!("v1")));
}

async fn a_namespace_is_active_and_labelled(scene: Scene) {
    let found = scene.call("GET", &format!("/api/v1/namespaces/{}", scene.namespace), "", None).await.ok();
    assert_eq!((&found["status"]["phase"], &found["spec"]["finalizers"]), (&json!("Active"), &json!(["kubernetes"])));
    assert_eq!(found["metadata"]["labels"]["kubernetes.io/metadata.name"], scene.namespace.as_str());
}

async fn a_namespace_gets_an_account(scene: Scene) {
    scene.eventually("there is an account", async || scene.get("serviceaccounts", "default").await.code == 200).await;
}

async fn an_ingress_is_stored(scene: Scene) {
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    let body = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": "web", "annotations": { "nginx.ingress.kubernetes.io/canary": "true" } },
        "spec": { "ingressClassName": "nginx", "rules": [{ "host": "a.b", "http": { "paths": [
            { "path": "/", "pathType": "Prefix", "backend": backend },
        ] } }] },
    });
    let made = scene.create("ingresses", &body).await.ok();
    assert_eq!((&made["spec"], &made["metadata"]["generation"]), (&body["spec"], &json!(1)));
    assert_eq!(made["status"], json!({ "loadBalancer": {} }));
}

async fn a_cluster_address_cannot_change(scene: Scene) {
    scene.create("services", &service("web")).await.ok();
    let patch = json!({ "spec": { "clusterIP": "10.96.250.250" } });
    scene.patch("services", "web", MERGE, &patch).await.refused(422, "Invalid");
}
