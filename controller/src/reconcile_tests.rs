//! Whole passes against an API in memory: what they write, when, and who is woken.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::assembly::{Controller, Surroundings};
use crate::clock::Clock;
use crate::context::Settings;
use crate::fake::Fake;
use crate::http::Clients;
use crate::metrics::Metrics;
use crate::objects::Kind;
use crate::objects::kinds::{CANARY, DEPLOYMENT};
use crate::{notifiers, workloads};

const DEADLINE: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_secs(10);

fn settings() -> Settings {
    Settings {
        workloads: workloads::Settings {
            selector_labels: vec!["app".into()],
            include_label_prefix: Vec::new(),
            config_tracking: true,
        },
        rollout: rollout::Settings { drain: Duration::from_secs(5), settle: Duration::ZERO, global_notifier: false },
        provider: "traefik".into(),
        metrics_server: "http://127.0.0.1:1".into(),
        min_interval: INTERVAL,
        git_storage: std::env::temp_dir().join("serin-git-tests"),
        git_local_repositories: false,
        no_cross_namespace_refs: false,
        ingress_annotations_prefix: "nginx.ingress.kubernetes.io".into(),
        ingress_class: None,
        cluster_name: String::new(),
        dashboard_url: None,
        notifier: notifiers::GlobalSettings::default(),
        event_hook: None,
    }
}

/// A controller over an API in which Deployments are ready as soon as they are asked for.
struct World {
    fake: Fake,
}

impl World {
    fn start() -> World {
        let fake = Fake::new();
        let surroundings = Surroundings {
            client: fake.client(),
            namespace: None,
            outside: Arc::new(Clients::default()),
            clock: Clock::starting_at("2026-03-01T10:00:00Z".parse().unwrap()),
            metrics: Metrics::new("test", "traefik"),
        };
        let controller = Controller::new(settings(), surroundings);
        tokio::spawn(async move { controller.work(std::future::pending()).await });
        World { fake }
    }

    /// Makes a Deployment, and sees to the pods of it and of its primary.
    fn deploy(&self, name: &str) {
        self.fake.put(DEPLOYMENT, deployment(name, "1"));
        for name in [name.to_owned(), format!("{name}-primary")] {
            let fake = self.fake.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let Some(mut live) = fake.object(DEPLOYMENT, "shop", &name) else { continue };
                    let replicas = live["spec"]["replicas"].as_i64().unwrap_or(1);
                    let held = live["metadata"]["annotations"]["test/held"] == "true";
                    let ready = if held { 0 } else { replicas };
                    let status =
                        json!({ "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": ready });
                    if live["status"] != status {
                        live["status"] = status;
                        fake.put(DEPLOYMENT, live);
                    }
                }
            });
        }
    }

    fn change(&self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.fake.object(kind, "shop", name).expect("the object is there");
        change(&mut object);
        self.fake.put(kind, object);
    }

    fn status(&self, name: &str) -> Value {
        self.fake.object(CANARY, "shop", name).map(|canary| canary["status"].clone()).unwrap_or_default()
    }

    /// Waits until the status of the Canary is so; returns how long that took.
    async fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Duration {
        let begin = Instant::now();
        while !holds(&self.status(name)) {
            assert!(begin.elapsed() < DEADLINE, "waiting for {what}, the status is {:#}", self.status(name));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begin.elapsed()
    }

    /// A Canary `web` that is initialized, and that has just begun to roll out another revision at 10 %.
    async fn under_way(&self) {
        self.deploy("web");
        self.fake.put(CANARY, canary("web", "2026-01-01T00:00:00Z"));
        self.until("web", "initialization", |status| status["phase"] == "Initialized").await;
        self.change(DEPLOYMENT, "web", |web| *web = merged(web, deployment("web", "2")));
        self.until("web", "weight 10", |status| status["canaryWeight"] == 10).await;
    }

    fn status_writes(&self) -> usize {
        self.fake.requests().iter().filter(|request| request.contains("/canaries/web/status")).count()
    }
}

fn merged(live: &Value, mut wanted: Value) -> Value {
    wanted["metadata"] = live["metadata"].clone();
    wanted["spec"]["replicas"] = live["spec"]["replicas"].clone();
    wanted["status"] = live["status"].clone();
    wanted
}

fn deployment(name: &str, tag: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "shop" },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "c", "image": format!("i:{tag}"), "ports": [{ "containerPort": 80 }] }] },
            },
        },
    })
}

fn canary(name: &str, born: &str) -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": { "name": name, "namespace": "shop", "creationTimestamp": born, "generation": 1 },
        "spec": {
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "service": { "port": 80 },
            "analysis": { "interval": "10s", "threshold": 5, "stepWeights": [10, 20, 30, 40, 50] },
        },
    })
}

fn ready(status: &Value) -> &Value {
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().find(|condition| condition["type"] == "Ready").unwrap_or(&Value::Null)
}

#[tokio::test(start_paused = true)]
async fn a_weight_step_costs_the_status_the_route_its_record_and_an_event() {
    let world = World::start();
    world.under_way().await;
    // In the middle of a step nothing is under way.
    tokio::time::sleep(INTERVAL / 2).await;
    for weight in [20, 30, 40] {
        let before = world.fake.requests().len();
        world.until("web", "the next weight", |status| status["canaryWeight"] == weight).await;
        tokio::time::sleep(INTERVAL / 2).await;
        let requests = world.fake.requests().split_off(before);
        let of = |method: &str, path: &str| {
            requests.iter().filter(|request| request.starts_with(method) && request.contains(path)).count()
        };
        assert_eq!(of("PATCH", "/canaries/web/status"), 1, "weight {weight}: {requests:#?}");
        assert_eq!(of("PATCH", "/traefikservices/web"), 1, "weight {weight}: {requests:#?}");
        assert_eq!(of("POST", "/events"), 1, "weight {weight}: {requests:#?}");
        assert_eq!(of("PATCH", "/canaryruns/"), 1, "weight {weight}: {requests:#?}");
        assert_eq!(requests.len(), 4, "weight {weight}: {requests:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_lasts_has_its_reason_and_one_that_passes_costs_no_write() {
    let world = World::start();
    world.under_way().await;
    tokio::time::sleep(INTERVAL / 2).await;
    let hold =
        |held: &'static str| move |web: &mut Value| web["metadata"]["annotations"] = json!({ "test/held": held });
    let before = world.status_writes();
    world.change(DEPLOYMENT, "web", hold("true"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.change(DEPLOYMENT, "web", hold("false"));
    tokio::time::sleep(INTERVAL / 4).await;
    assert_eq!(world.status_writes(), before, "{:#}", world.status("web"));

    world.change(DEPLOYMENT, "web", hold("true"));
    let not_ready = |status: &Value| status["waitingFor"][0]["reason"] == "CanaryNotReady";
    let took = world.until("web", "the reason", not_ready).await;
    assert!(took <= Duration::from_secs(3), "{took:?}");
    assert!(ready(&world.status("web"))["message"].as_str().unwrap().contains("is not ready"));
}

#[tokio::test(start_paused = true)]
async fn a_rival_that_is_mended_or_broken_wakes_the_younger() {
    let world = World::start();
    world.deploy("web");
    let broken = |older: &mut Value| older["spec"]["analysis"]["stepWeights"] = json!([900]);
    let mut older = canary("older", "2026-01-01T00:00:00Z");
    broken(&mut older);
    world.fake.put(CANARY, older);
    world.fake.put(CANARY, canary("younger", "2026-02-02T00:00:00Z"));
    world.until("younger", "initialization", |status| status["phase"] == "Initialized").await;

    let at_once = Duration::from_millis(100);
    world.change(CANARY, "older", |older| older["spec"]["analysis"]["stepWeights"] = json!([10]));
    let refused = |status: &Value| ready(status)["reason"] == "InvalidSpec";
    let took = world.until("younger", "refusal", refused).await;
    assert!(took <= at_once, "{took:?}");

    world.change(CANARY, "older", broken);
    let took = world.until("younger", "its turn", |status| ready(status)["status"] == "True").await;
    assert!(took <= at_once, "{took:?}");

    world.change(CANARY, "older", |older| older["spec"]["analysis"]["stepWeights"] = json!([10]));
    world.until("younger", "refusal", refused).await;
    world.change(CANARY, "older", |older| older["spec"]["targetRef"]["name"] = "other".into());
    let took = world.until("younger", "its turn", |status| ready(status)["status"] == "True").await;
    assert!(took <= at_once, "{took:?}");

    world.change(CANARY, "older", |older| older["spec"]["targetRef"]["name"] = "web".into());
    world.until("younger", "refusal", refused).await;
    world.fake.remove(CANARY, "shop", "older");
    let took = world.until("younger", "its turn", |status| ready(status)["status"] == "True").await;
    assert!(took <= at_once, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_named_tried_again_at_leisure_and_the_rollout_goes_on_when_it_is_lifted() {
    let world = World::start();
    let message = "admission webhook \"validation.gatekeeper.sh\" denied the request: [must-have-owner] no owner";
    world.fake.deny(DEPLOYMENT, Some(message));
    world.deploy("web");
    world.fake.put(CANARY, canary("web", "2026-01-01T00:00:00Z"));
    let took = world.until("web", "the condition", |status| ready(status)["reason"] == "PolicyDenied").await;
    assert!(took <= Duration::from_secs(2), "{took:?}");
    let said = ready(&world.status("web"))["message"].as_str().unwrap().to_owned();
    for word in ["must-have-owner (Gatekeeper)", "no owner", "Deployment shop/web-primary"] {
        assert!(said.contains(word), "{said}");
    }

    tokio::time::sleep(Duration::from_secs(3600)).await;
    let requests = world.fake.requests();
    let makes = |request: &&String| request.starts_with("POST") && request.contains("/deployments?");
    let attempts = requests.iter().filter(makes).count();
    assert!((50..=110).contains(&attempts), "{attempts} attempts in an hour");
    assert_eq!(
        requests.iter().filter(|request| request.starts_with("POST") && request.contains("denied by")).count(),
        1
    );

    // A change of the target is worth a try at once.
    let before = world.fake.requests().len();
    world.change(DEPLOYMENT, "web", |web| web["metadata"]["annotations"] = json!({ "owner": "shop" }));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.fake.requests()[before..].iter().any(|request| makes(&request)));

    world.fake.deny(DEPLOYMENT, None);
    let took = world.until("web", "initialization", |status| status["phase"] == "Initialized").await;
    assert!(took <= Duration::from_secs(90), "{took:?}");
    assert_eq!(ready(&world.status("web"))["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn pods_that_a_policy_refuses_are_told_with_its_words() {
    let world = World::start();
    world.under_way().await;
    let message = "pods \"web-5d-\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true";
    let failure = json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message }]);
    // The loop that sees to the pods writes the status without conditions, so this one is written again and again.
    let fake = world.fake.clone();
    tokio::spawn(async move {
        loop {
            let mut web = fake.object(DEPLOYMENT, "shop", "web").expect("the target");
            web["metadata"]["annotations"] = json!({ "test/held": "true" });
            let status = json!({ "replicas": 1, "updatedReplicas": 1, "availableReplicas": 0, "conditions": failure });
            if web["status"] != status {
                web["status"] = status;
                fake.put(DEPLOYMENT, web);
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    });
    world.until("web", "the condition", |status| ready(status)["reason"] == "PolicyDenied").await;
    let told = |request: &&String| request.starts_with("POST") && request.contains("are denied by restricted:latest");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !world.fake.requests().iter().any(|request| told(&request)) {
        assert!(Instant::now() < deadline, "no Event told of it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Flux, as far as it writes: it says what it tries, applies it, waits, and says that it is done.
async fn a_commit_brings(world: &World, tag: &str, commit: &str, before: &str) {
    let kustomization = |reconciling: bool, attempted: &str, applied: &str| {
        let status = if reconciling { "True" } else { "False" };
        let ready = if reconciling { "Unknown" } else { "True" };
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": { "name": "apps", "namespace": "flux-system" },
            "spec": { "path": "./web", "sourceRef": { "kind": "GitRepository", "name": "shop" } },
            "status": {
                "lastAttemptedRevision": format!("main@sha1:{attempted}"),
                "lastAppliedRevision": format!("main@sha1:{applied}"),
                "conditions": [
                    { "type": "Reconciling", "status": status, "reason": "Progressing", "message": "Detecting drift" },
                    { "type": "Ready", "status": ready, "reason": "Progressing" },
                ],
            },
        })
    };
    world.fake.put(KUSTOMIZATION, kustomization(true, commit, before));
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.change(DEPLOYMENT, "web", |web| *web = merged(web, deployment("web", tag)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.fake.put(KUSTOMIZATION, kustomization(false, commit, commit));
}

const KUSTOMIZATION: Kind =
    Kind { group: "kustomize.toolkit.fluxcd.io", version: "v1", kind: "Kustomization", plural: "kustomizations" };

fn managed_by_flux(web: &mut Value) {
    web["metadata"]["labels"] =
        json!({ "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system" });
}

#[tokio::test(start_paused = true)]
async fn a_revision_is_of_the_commit_that_brought_it_and_of_no_other() {
    let (first, second) = ("1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222");
    let world = World::start();
    world.deploy("web");
    world.change(DEPLOYMENT, "web", managed_by_flux);
    world.fake.put(CANARY, canary("web", "2026-01-01T00:00:00Z"));
    a_commit_brings(&world, "1", first, first).await;
    world
        .until("web", "the first commit", |status| {
            status["phase"] == "Initialized"
                && status["source"]["commit"] == first
                && status["source"]["provisional"].is_null()
        })
        .await;
    assert_eq!(world.status("web")["promotedSource"]["commit"], first);

    a_commit_brings(&world, "2", second, first).await;
    let seen = |status: &Value| status["phase"] == "Progressing";
    world
        .until("web", "the rollout", |status| {
            let commit = &status["source"]["commit"];
            assert!(!seen(status) || commit == second || commit.is_null(), "blamed on the commit before: {status:#}");
            seen(status) && commit == second && status["source"]["provisional"].is_null()
        })
        .await;
    let status = world.status("web");
    assert_eq!(status["promotedSource"]["commit"], first, "{status:#}");
    assert_eq!(status["source"]["appliedBy"]["name"], "apps", "{status:#}");
    let told = world
        .fake
        .requests()
        .into_iter()
        .filter(|request| request.starts_with("POST") && request.contains("New revision detected!"))
        .collect::<Vec<_>>();
    assert!(told[0].contains("from commit 2222222 (Kustomization flux-system/apps)"), "{told:#?}");
    assert!(told[0].contains("serin.dev/commit"), "{told:#?}");
    world.until("web", "promotion", |status| status["phase"] == "Succeeded").await;
    assert_eq!(world.status("web")["promotedSource"]["commit"], second);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_is_not_installed_or_may_not_be_read_holds_nothing_up() {
    for missing in [true, false] {
        let world = World::start();
        if missing {
            world.fake.uninstall(KUSTOMIZATION, true)
        } else {
            world.fake.forbid(KUSTOMIZATION)
        }
        world.deploy("web");
        world.change(DEPLOYMENT, "web", managed_by_flux);
        world.fake.put(CANARY, canary("web", "2026-01-01T00:00:00Z"));
        world.until("web", "initialization", |status| status["phase"] == "Initialized").await;
        let status = world.status("web");
        assert_eq!(ready(&status)["status"], "True", "{status:#}");
        assert_eq!(status["source"], json!({ "images": [{ "container": "c", "image": "i:1" }] }));
    }
}
