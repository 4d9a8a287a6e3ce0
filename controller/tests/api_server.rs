//! The shell's infrastructure against a real API server, with the CustomResourceDefinitions of `crds/` installed and
//! nothing else running. Passes in one line unless SERIN_TEST_KUBECONFIG names one: it makes and deletes a namespace.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use controller::cache::{Cache, CanaryKey};
use controller::clock::Clock;
use controller::configs::Configs;
use controller::events::{EventType, Recorder};
use controller::leader::{Election, LEASE_NAME, Timing};
use controller::metrics::Metrics;
use controller::objects::kinds::{CANARY, CONFIG_MAP, DEPLOYMENT, EVENT, LEASE, SECRET, SERVICE};
use controller::objects::{Desired, Kind, Lookup, Owner};
use controller::problem::Class;
use controller::queue::{Limits, Outcome, Queue};
use controller::rest::{PatchType, Rest};
use controller::writer::{Writer, Written};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

const NAMESPACE: Kind = Kind { group: "", version: "v1", kind: "Namespace", plural: "namespaces" };
const MISSING: Kind = Kind { group: "missing.example", version: "v1", kind: "Missing", plural: "missings" };

struct World {
    namespace: String,
    rest: Rest,
    cache: Cache,
    writer: Writer,
    woken: mpsc::UnboundedReceiver<CanaryKey>,
}

impl World {
    async fn new() -> Option<World> {
        let Ok(path) = std::env::var("SERIN_TEST_KUBECONFIG") else {
            eprintln!("skipped: SERIN_TEST_KUBECONFIG names no API server");
            return None;
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(path).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let namespace = format!("shell-{:x}", since.as_nanos());
        let metrics = Metrics::new("test", "istio");
        let rest = Rest::new(client.clone(), metrics.clone());
        rest.create(NAMESPACE, "", &json!({ "metadata": { "name": namespace } })).await.unwrap();

        let queue = Queue::new(Limits::default(), metrics.clone());
        let (sender, woken) = mpsc::unbounded_channel();
        let running = queue.clone();
        tokio::spawn(async move {
            let work = move |key| {
                let _ = sender.send(key);
                async { Ok::<_, String>(Outcome::default()) }
            };
            running.run(std::future::pending(), work).await;
        });
        let cache = Cache::new(client, Some(namespace.clone()), queue, metrics);
        let writer = Writer::new(rest.clone(), cache.clone());
        Some(World { namespace, rest, cache, writer, woken })
    }

    fn key(&self) -> CanaryKey {
        CanaryKey::new(&self.namespace, "web")
    }

    fn owner(&self) -> Owner {
        Owner {
            namespace: self.namespace.clone(),
            name: "web".into(),
            uid: "3c1f6c3e-0000-4000-8000-000000000000".into(),
        }
    }

    async fn synced(&self, kinds: &[Kind]) {
        for kind in kinds {
            self.cache.ensure(*kind);
            until(|| self.cache.is_synced(*kind)).await;
        }
    }

    async fn write(&self, desired: &Desired) -> Written {
        self.writer.write(&self.cache.view(self.key()), &self.owner(), desired).await.unwrap()
    }

    /// Waits until the Canary is woken, and for the echo to pass.
    async fn woken(&mut self) {
        timeout(Duration::from_secs(10), self.woken.recv()).await.expect("the Canary is woken");
        while timeout(Duration::from_millis(300), self.woken.recv()).await.is_ok() {}
    }

    async fn get(&self, kind: Kind, name: &str) -> Value {
        self.rest.get(kind, &self.namespace, name).await.unwrap().unwrap()
    }

    async fn done(self) {
        let uid = self.rest.get(NAMESPACE, "", &self.namespace).await.unwrap().unwrap();
        let uid = uid["metadata"]["uid"].as_str().unwrap().to_owned();
        self.rest.delete(NAMESPACE, "", &self.namespace, &uid).await.unwrap();
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let holds = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), holds).await.expect("it comes to hold");
}

fn deployment(name: &str, namespace: &str, replicas: Option<u32>, labels: Value, env: Value) -> Value {
    let mut body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "c", "image": "i:1", "env": env }] },
            },
        },
    });
    if let Some(replicas) = replicas {
        body["spec"]["replicas"] = replicas.into();
    }
    body
}

#[tokio::test]
async fn flaggers_fields_are_taken_over_and_can_be_taken_out() {
    let Some(world) = World::new().await else { return };
    world.synced(&[DEPLOYMENT]).await;
    // As Flagger writes: a plain create under its own name.
    let labels = json!({ "app": "web", "old": "label" });
    let made = deployment("web", &world.namespace, Some(3), labels, json!([{ "name": "OLD", "value": "1" }]));
    let request =
        http::Request::post(format!("/apis/apps/v1/namespaces/{}/deployments?fieldManager=flagger", world.namespace));
    let request = request.header("content-type", "application/json").body(made.to_string().into_bytes()).unwrap();
    world.rest.client().request::<Value>(request).await.unwrap();
    until(|| world.cache.ownership(DEPLOYMENT, &world.namespace, "web").by_flagger).await;

    let body =
        deployment("web", &world.namespace, None, json!({ "app": "web" }), json!([{ "name": "NEW", "value": "2" }]));
    let desired = Desired::Apply { kind: DEPLOYMENT, body };
    assert_eq!(world.write(&desired).await, Written::Changed);
    let live = world.get(DEPLOYMENT, "web").await;
    assert_eq!(live["spec"]["replicas"], 3, "the replica count is not taken out");
    assert_eq!(live["spec"]["template"]["metadata"]["labels"], json!({ "app": "web" }));
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["env"], json!([{ "name": "NEW", "value": "2" }]));
    assert_eq!(world.write(&desired).await, Written::Unchanged, "before or after the watch told");
    until(|| !world.cache.ownership(DEPLOYMENT, &world.namespace, "web").by_flagger).await;

    // A count that was stated and no longer is stays too.
    let stated = deployment("web", &world.namespace, Some(4), json!({ "app": "web" }), json!([]));
    world.write(&Desired::Apply { kind: DEPLOYMENT, body: stated }).await;
    until(|| world.cache.ownership(DEPLOYMENT, &world.namespace, "web").applied_replicas).await;
    let unstated =
        deployment("web", &world.namespace, None, json!({ "app": "web" }), json!([{ "name": "A", "value": "b" }]));
    world.write(&Desired::Apply { kind: DEPLOYMENT, body: unstated }).await;
    assert_eq!(world.get(DEPLOYMENT, "web").await["spec"]["replicas"], 4);
    world.done().await;
}

#[tokio::test]
async fn replace_patch_and_delete_do_what_they_say() {
    let Some(world) = World::new().await else { return };
    world.synced(&[SERVICE, DEPLOYMENT]).await;
    let service = |port: u16, selector: &str| Desired::Replace {
        kind: SERVICE,
        body: json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "web", "namespace": world.namespace, "ownerReferences": [world.owner().reference()] },
            "spec": { "selector": { "app": selector }, "ports": [{ "name": "http", "port": port, "targetPort": 8080 }] },
        }),
        pointers: vec!["/spec/selector".into(), "/spec/ports/0/port".into(), "/metadata/annotations/a~1b".into()],
    };
    assert_eq!(world.write(&service(80, "web")).await, Written::Changed);
    assert_eq!(world.write(&service(80, "web")).await, Written::Unchanged);
    until(|| world.cache.get(SERVICE, &world.namespace, "web").is_some()).await;
    assert_eq!(world.write(&service(81, "web-primary")).await, Written::Changed);
    let live = world.get(SERVICE, "web").await;
    assert_eq!(
        (&live["spec"]["ports"][0]["port"], &live["spec"]["selector"]["app"]),
        (&json!(81), &json!("web-primary"))
    );

    // On a version that is no longer the last, positions in lists are not trusted.
    let view = world.cache.view(world.key());
    let moved = json!({ "spec": { "sessionAffinity": "ClientIP" } });
    world.rest.patch(SERVICE, &world.namespace, "web", None, PatchType::Merge, &moved).await.unwrap();
    let written = world.writer.write(&view, &world.owner(), &service(82, "web")).await;
    match written {
        Ok(_) => {} // the watch was faster
        Err(problem) => assert_eq!(problem.class, Class::Conflict, "{problem}"),
    }

    let patch = Desired::Patch {
        kind: SERVICE,
        name: "web".into(),
        pointer_values: vec![
            ("/metadata/annotations/serin.dev~1one".into(), Some(json!("1"))),
            ("/metadata/annotations/serin.dev~1two".into(), Some(json!("2"))),
        ],
    };
    assert_eq!(world.write(&patch).await, Written::Changed);
    let live = world.get(SERVICE, "web").await;
    assert_eq!(live["metadata"]["annotations"], json!({ "serin.dev/one": "1", "serin.dev/two": "2" }));

    assert_eq!(world.write(&Desired::Delete { kind: SERVICE, name: "web".into() }).await, Written::Changed);
    assert!(world.rest.get(SERVICE, &world.namespace, "web").await.unwrap().is_none());
    world.done().await;
}

#[tokio::test]
async fn the_server_says_no_in_ways_that_are_understood() {
    let Some(world) = World::new().await else { return };
    world.synced(&[DEPLOYMENT]).await;
    let mut bad = deployment("web", &world.namespace, Some(1), json!({ "app": "web" }), json!([]));
    bad["spec"]["template"]["spec"]["containers"] = json!([]);
    let view = world.cache.view(world.key());
    let problem =
        world.writer.write(&view, &world.owner(), &Desired::Apply { kind: DEPLOYMENT, body: bad }).await.unwrap_err();
    assert_eq!(problem.class, Class::Invalid, "{problem}");

    let quota = Kind { group: "", version: "v1", kind: "ResourceQuota", plural: "resourcequotas" };
    let none = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" }, "spec": { "hard": { "count/leases.coordination.k8s.io": "0" } },
    });
    let mut none = world.rest.create(quota, &world.namespace, &none).await.unwrap();
    none["status"] = json!({ "hard": none["spec"]["hard"], "used": { "count/leases.coordination.k8s.io": "0" } });
    world.rest.patch(quota, &world.namespace, "none", Some("status"), PatchType::Merge, &none).await.unwrap();
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "x" } });
    let denied = |class: &Class| matches!(class, Class::Denied(denial) if denial.policy == "none");
    let mut last = None;
    for _ in 0..50 {
        match world.rest.create(LEASE, &world.namespace, &lease).await {
            Ok(made) => {
                let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
                world.rest.delete(LEASE, &world.namespace, "x", &uid).await.unwrap();
            }
            Err(problem) => last = Some(problem.class),
        }
        if last.as_ref().is_some_and(denied) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(last.as_ref().is_some_and(denied), "{last:?}");

    world.cache.ensure(MISSING);
    until(|| world.cache.problem(MISSING).is_some()).await;
    assert!(world.cache.problem(MISSING).unwrap().contains("is not installed"));
    world.done().await;
}

#[tokio::test]
async fn a_status_is_written_whole_and_guarded_and_wakes_the_canary_once() {
    let Some(mut world) = World::new().await else { return };
    world.synced(&[CANARY]).await;
    let canary = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": { "name": "web" },
        "spec": {
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "service": { "port": 80 },
            "analysis": { "interval": "10s", "threshold": 5, "stepWeight": 10, "maxWeight": 50 },
        },
    });
    world.rest.create(CANARY, &world.namespace, &canary).await.unwrap();
    world.woken().await;
    assert_eq!(world.cache.canaries_of_target(&world.namespace, "Deployment", "web"), [world.key()]);
    let seen = world.cache.canary(&world.key()).unwrap();
    let status = json!({
        "phase": "Progressing", "failedChecks": 0, "canaryWeight": 10, "iterations": 0, "observedGeneration": 1,
        "conditions": [{ "type": "Promoted", "status": "Unknown", "message": "m", "reason": "Progressing" }],
    });
    let written = world.writer.persist_status(&seen, &status).await.unwrap();
    assert_eq!(written["status"], status);
    world.woken().await;
    let again = world.writer.persist_status(&seen, &status).await.unwrap_err();
    assert_eq!(again.class, Class::Conflict);

    let live = world.cache.canary(&world.key()).unwrap();
    assert_eq!(live["metadata"]["resourceVersion"], written["metadata"]["resourceVersion"]);
    let finalizer = "finalizer.flagger.app";
    let with = world.writer.set_finalizer(&live, finalizer, true).await.unwrap().unwrap();
    assert_eq!(with["metadata"]["finalizers"], json!([finalizer]));
    let without = world.writer.set_finalizer(&with, finalizer, false).await.unwrap().unwrap();
    assert!(without.pointer("/metadata/finalizers").is_none());
    world.done().await;
}

#[tokio::test]
async fn configs_are_watched_as_metadata_and_read_when_they_change() {
    let Some(mut world) = World::new().await else { return };
    let secret = |value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "key": value },
        })
    };
    world.rest.create(SECRET, &world.namespace, &secret("one")).await.unwrap();
    let helm = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "metadata": { "name": "helm" },
    });
    world.rest.create(SECRET, &world.namespace, &helm).await.unwrap();
    world.synced(&[SECRET, CONFIG_MAP]).await;
    assert!(world.cache.get(SECRET, &world.namespace, "helm").is_none(), "not even watched");
    let configs = Configs::new(world.rest.clone(), world.cache.clone());
    let sum = |secret: &Value| secret["data"]["key"].as_str().map(str::to_owned);
    let view = world.cache.view(world.key());
    assert_eq!(configs.checksum(&view, SECRET, "s", sum).await.unwrap(), Some(Some("b25l".to_owned())));
    assert!(view.get(SECRET, "s").unwrap().get("data").is_none());
    view.finish();
    world.rest.patch(SECRET, &world.namespace, "s", None, PatchType::Merge, &secret("two")).await.unwrap();
    world.woken().await;
    let view = world.cache.view(world.key());
    assert_eq!(configs.checksum(&view, SECRET, "s", sum).await.unwrap(), Some(Some("dHdv".to_owned())));
    world.done().await;
}

#[tokio::test]
async fn events_are_accepted_and_repeats_counted() {
    let Some(world) = World::new().await else { return };
    let canary = json!({ "metadata": { "name": "web", "namespace": world.namespace, "uid": "u" } });
    let (recorder, task) = Recorder::start(world.rest.clone(), Metrics::new("test", "istio"), Clock::System);
    for _ in 0..3 {
        recorder.publish(&canary, EventType::Warning, "Halt web advancement", Default::default());
    }
    recorder.publish(&canary, EventType::Normal, "Advance web canary weight 10", Default::default());
    drop(recorder);
    timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    let request =
        http::Request::get(format!("/api/v1/namespaces/{}/events", world.namespace)).body(Vec::new()).unwrap();
    let events = world.rest.client().request::<Value>(request).await.unwrap();
    let mut told: Vec<(String, u64, String)> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            (text("message"), event["count"].as_u64().unwrap(), text("type"))
        })
        .collect();
    told.sort();
    let expected = [
        ("Advance web canary weight 10".into(), 1, "Normal".into()),
        ("Halt web advancement".into(), 3, "Warning".into()),
    ];
    assert_eq!(told, expected);
    let name = events["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(world.get(EVENT, &name).await["source"]["component"], "flagger");
    world.done().await;
}

#[tokio::test]
async fn the_lease_is_taken_renewed_and_given_back() {
    let Some(world) = World::new().await else { return };
    let timing = Timing { retry: Duration::from_millis(200), ..Timing::default() };
    let election =
        |identity: &str| Election::new(world.rest.clone(), &world.namespace, identity, timing, Clock::System);
    let mut first = timeout(Duration::from_secs(5), election("a").acquire()).await.unwrap();
    assert!(timeout(Duration::from_secs(2), first.keep()).await.is_err());
    let lease = world.get(LEASE, LEASE_NAME).await;
    assert_eq!((&lease["spec"]["holderIdentity"], &lease["spec"]["leaseDurationSeconds"]), (&json!("a"), &json!(60)));
    assert_ne!(lease["spec"]["renewTime"], lease["spec"]["acquireTime"]);
    first.release().await;
    timeout(Duration::from_secs(5), election("b").acquire()).await.unwrap();
    assert_eq!(world.get(LEASE, LEASE_NAME).await["spec"]["holderIdentity"], "b");
    world.done().await;
}
