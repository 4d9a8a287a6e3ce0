//! The cache against an API in memory: who is woken by what.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cache::{Cache, CanaryKey};
use crate::configs::Configs;
use crate::fake::Fake;
use crate::metrics::Metrics;
use crate::objects::kinds::{CANARY, CONFIG_MAP, DEPLOYMENT, SECRET, SERVICE};
use crate::objects::{Kind, Lookup};
use crate::queue::{Limits, Outcome, Queue};
use crate::rest::Rest;

const TRAEFIK_SERVICE: Kind =
    Kind { group: "traefik.io", version: "v1alpha1", kind: "TraefikService", plural: "traefikservices" };

struct World {
    fake: Fake,
    cache: Cache,
    woken: mpsc::UnboundedReceiver<CanaryKey>,
}

impl World {
    fn new() -> World {
        World::with(Fake::new())
    }

    fn with(fake: Fake) -> World {
        let metrics = Metrics::new("test", "istio");
        let queue = Queue::new(Limits { burst: 1000.0, ..Limits::default() }, metrics.clone());
        let (sender, woken) = mpsc::unbounded_channel();
        let running = queue.clone();
        tokio::spawn(async move {
            running
                .run(std::future::pending(), move |key| {
                    let _ = sender.send(key);
                    async { Ok::<_, String>(Outcome::default()) }
                })
                .await;
        });
        let cache = Cache::new(fake.client(), None, queue, metrics);
        cache.ensure(CANARY);
        World { fake, cache, woken }
    }

    async fn synced(&self, kind: Kind) {
        self.cache.ensure(kind);
        until(|| self.cache.is_synced(kind)).await;
    }

    /// Names of the Canaries woken until nothing happens any more.
    async fn woken(&mut self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        while let Ok(Some(key)) = timeout(Duration::from_millis(200), self.woken.recv()).await {
            names.insert(key.to_string());
        }
        names
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waited = timeout(Duration::from_secs(600), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("it comes to hold");
}

fn canary(name: &str, target: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "shop" },
        "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": target } },
    })
}

fn object(name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": spec })
}

fn key(name: &str) -> CanaryKey {
    CanaryKey::new("shop", name)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("{name}.shop")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_those_that_asked_and_nobody_else() {
    let mut world = World::new();
    world.fake.put(CANARY, canary("a", "web"));
    world.fake.put(CANARY, canary("b", "other"));
    world.fake.put(DEPLOYMENT, object("web", json!({ "replicas": 1 })));
    world.synced(CANARY).await;
    world.synced(DEPLOYMENT).await;
    world.synced(SERVICE).await;
    assert_eq!(world.woken().await, names(&["a", "b"]));

    let view = world.cache.view(key("a"));
    let seen = view.get(DEPLOYMENT, "web").unwrap();
    assert_eq!((&seen["kind"], &seen["apiVersion"]), (&json!("Deployment"), &json!("apps/v1")));
    assert!(view.get(SERVICE, "web-canary").is_none());
    assert_eq!(view.unsynced(), []);
    view.finish();

    world.fake.put(DEPLOYMENT, object("web", json!({ "replicas": 2 })));
    assert_eq!(world.woken().await, names(&["a"]), "changed");
    world.fake.put(DEPLOYMENT, object("other", json!({})));
    assert_eq!(world.woken().await, names(&[]), "of no concern");
    world.fake.put(SERVICE, object("web-canary", json!({})));
    assert_eq!(world.woken().await, names(&["a"]), "a miss came into being");
    world.fake.remove(DEPLOYMENT, "shop", "web");
    assert_eq!(world.woken().await, names(&["a"]), "deleted");
}

#[tokio::test(start_paused = true)]
async fn writes_that_change_nothing_of_interest_wake_nobody() {
    let mut world = World::new();
    world.synced(DEPLOYMENT).await;
    let view = world.cache.view(key("a"));
    let mut web = object("web", json!({ "replicas": 1 }));
    world.fake.put(DEPLOYMENT, web.clone());
    assert_eq!(world.woken().await, names(&[]));
    view.get(DEPLOYMENT, "web");
    view.finish();
    web["metadata"]["managedFields"] = json!([{ "manager": "kubectl" }]);
    web["status"] = json!({});
    world.fake.put(DEPLOYMENT, web.clone());
    assert_eq!(world.woken().await, names(&["a"]), "a status");
    web["metadata"]["managedFields"] = json!([{ "manager": "someone" }]);
    web["status"] = json!({ "collisionCount": 3 });
    world.fake.put(DEPLOYMENT, web);
    assert_eq!(world.woken().await, names(&[]));
    let version = world.cache.resource_version(DEPLOYMENT, "shop", "web");
    assert_eq!(
        version,
        Some(
            world.fake.object(DEPLOYMENT, "shop", "web").unwrap()["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .to_owned()
        )
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_asked_for_no_longer_wakes() {
    let mut world = World::new();
    world.synced(DEPLOYMENT).await;
    let view = world.cache.view(key("a"));
    view.get(DEPLOYMENT, "old");
    view.finish();
    let view = world.cache.view(key("a"));
    view.get(DEPLOYMENT, "new");
    view.finish();
    world.fake.put(DEPLOYMENT, object("old", json!({})));
    assert_eq!(world.woken().await, names(&[]));
    world.fake.put(DEPLOYMENT, object("new", json!({})));
    assert_eq!(world.woken().await, names(&["a"]));
}

#[tokio::test(start_paused = true)]
async fn a_change_during_the_very_first_pass_is_not_lost() {
    let mut world = World::new();
    world.synced(DEPLOYMENT).await;
    let view = world.cache.view(key("a"));
    assert!(view.get(DEPLOYMENT, "web").is_none());
    world.fake.put(DEPLOYMENT, object("web", json!({})));
    assert_eq!(world.woken().await, names(&["a"]));
    assert!(view.get(DEPLOYMENT, "web").is_none(), "the picture of a pass is steady");
    assert!(view.fresh(DEPLOYMENT, "web").is_some());
    view.finish();
}

#[tokio::test(start_paused = true)]
async fn a_view_says_what_is_not_listed_yet_and_is_woken_when_it_is() {
    let mut world = World::new();
    world.fake.put(DEPLOYMENT, object("web", json!({})));
    let view = world.cache.view(key("a"));
    assert!(view.get(DEPLOYMENT, "web").is_none());
    assert_eq!(view.unsynced(), [DEPLOYMENT]);
    view.finish();
    assert_eq!(world.woken().await, names(&["a"]));
    let view = world.cache.view(key("a"));
    assert!(view.get(DEPLOYMENT, "web").is_some());
    assert_eq!(view.unsynced(), []);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_not_installed_is_named_and_taken_up_when_it_comes() {
    let mut world = World::new();
    world.fake.uninstall(TRAEFIK_SERVICE, true);
    world.cache.view(key("a")).get(TRAEFIK_SERVICE, "web");
    assert_eq!(world.woken().await, names(&["a"]));
    let problem = world.cache.problem(TRAEFIK_SERVICE).unwrap();
    assert!(problem.starts_with("the API traefik.io/v1alpha1 TraefikService is not installed"), "{problem}");
    let view = world.cache.view(key("a"));
    view.get(TRAEFIK_SERVICE, "web");
    assert_eq!(view.problems(), [problem]);
    assert!(world.cache.is_ready(), "others are served meanwhile");
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.woken().await;
    world.fake.uninstall(TRAEFIK_SERVICE, false);
    let begin = tokio::time::Instant::now();
    until(|| world.cache.is_synced(TRAEFIK_SERVICE)).await;
    assert!(begin.elapsed() <= Duration::from_secs(61), "{:?}", begin.elapsed());
    assert_eq!(world.cache.problem(TRAEFIK_SERVICE), None);
    assert_eq!(world.woken().await, names(&["a"]));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_goes_away_takes_its_objects_with_it() {
    let mut world = World::new();
    world.fake.put(TRAEFIK_SERVICE, object("web", json!({})));
    world.synced(TRAEFIK_SERVICE).await;
    assert!(world.cache.view(key("a")).get(TRAEFIK_SERVICE, "web").is_some());
    world.fake.uninstall(TRAEFIK_SERVICE, true);
    until(|| !world.cache.is_synced(TRAEFIK_SERVICE)).await;
    assert_eq!(world.woken().await, names(&["a"]));
    assert!(world.cache.get(TRAEFIK_SERVICE, "shop", "web").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named() {
    let world = World::new();
    world.fake.forbid(DEPLOYMENT);
    world.cache.ensure(DEPLOYMENT);
    until(|| world.cache.problem(DEPLOYMENT).is_some()).await;
    assert_eq!(
        world.cache.problem(DEPLOYMENT).unwrap(),
        "the service account may not list and watch deployments.apps in all namespaces; grant get, list and watch to it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_is_taken_up_where_it_was() {
    let mut world = World::new();
    world.synced(DEPLOYMENT).await;
    world.cache.view(key("a")).get(DEPLOYMENT, "web");
    world.fake.hang_up();
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.fake.put(DEPLOYMENT, object("web", json!({})));
    assert_eq!(world.woken().await, names(&["a"]));
    assert!(world.cache.is_alive());
}

#[tokio::test(start_paused = true)]
async fn canaries_are_indexed_by_target_and_all_that_share_one_are_woken() {
    let mut world = World::new();
    world.fake.put(CANARY, canary("a", "web"));
    world.fake.put(CANARY, canary("b", "other"));
    world.synced(CANARY).await;
    world.woken().await;
    world.fake.put(CANARY, canary("b", "web"));
    assert_eq!(world.woken().await, names(&["a", "b"]));
    assert_eq!(world.cache.canaries_of_target("shop", "Deployment", "web"), [key("a"), key("b")]);
    assert_eq!(world.cache.canaries_of_target("shop", "Deployment", "other"), []);
    world.fake.remove(CANARY, "shop", "a");
    assert_eq!(world.woken().await, names(&["a", "b"]));
    assert_eq!(world.cache.canaries_of_target("shop", "Deployment", "web"), [key("b")]);
    assert_eq!(world.cache.canaries(), [key("b")]);
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_makes_no_sense_is_seen_all_the_same() {
    let mut world = World::new();
    world.fake.put(CANARY, object("bad", json!({ "targetRef": 7, "analysis": ["?"] })));
    world.synced(CANARY).await;
    assert_eq!(world.woken().await, names(&["bad"]));
    assert_eq!(world.cache.canary(&key("bad")).unwrap()["spec"]["targetRef"], 7);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_canary_leaves_nothing_behind() {
    let mut world = World::new();
    world.fake.put(CANARY, canary("a", "web"));
    world.synced(CANARY).await;
    world.synced(DEPLOYMENT).await;
    let view = world.cache.view(key("a"));
    view.get(DEPLOYMENT, "web");
    view.finish();
    world.woken().await;
    world.fake.remove(CANARY, "shop", "a");
    assert_eq!(world.woken().await, names(&["a"]), "one last pass");
    world.fake.put(DEPLOYMENT, object("web", json!({})));
    assert_eq!(world.woken().await, names(&[]));
}

#[tokio::test(start_paused = true)]
async fn configs_are_read_once_per_version_and_secrets_are_not_kept() {
    let mut world = World::new();
    let secret =
        |password: &str| json!({ "metadata": { "name": "s", "namespace": "shop" }, "data": { "password": password } });
    world.fake.put(SECRET, secret("one"));
    world.synced(SECRET).await;
    world.synced(CONFIG_MAP).await;
    let rest = Rest::new(world.fake.client(), Metrics::new("test", "istio"));
    let configs = Configs::new(rest, world.cache.clone());
    let password = |secret: &Value| secret["data"]["password"].as_str().map(str::to_owned);

    for _ in 0..2 {
        let view = world.cache.view(key("a"));
        assert_eq!(configs.checksum(&view, SECRET, "s", password).await.unwrap(), Some(Some("one".to_owned())));
        assert_eq!(configs.checksum(&view, CONFIG_MAP, "missing", password).await.unwrap(), None);
        view.finish();
    }
    assert_eq!(world.fake.requests().len(), 1);

    world.fake.put(SECRET, secret("two"));
    assert_eq!(world.woken().await, names(&["a"]));
    let view = world.cache.view(key("a"));
    assert_eq!(configs.checksum(&view, SECRET, "s", password).await.unwrap(), Some(Some("two".to_owned())));
    assert_eq!(world.fake.requests().len(), 2);
}
