//! The writer against an API in memory: what is written, and what is not.

use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::cache::{Cache, CanaryKey};
use crate::fake::Fake;
use crate::metrics::Metrics;
use crate::objects::kinds::{CANARY, CONFIG_MAP, DEPLOYMENT, SERVICE};
use crate::objects::{Desired, Kind, Owner};
use crate::problem::Class;
use crate::queue::{Limits, Queue};
use crate::rest::Rest;
use crate::writer::{Writer, Written};

struct World {
    fake: Fake,
    cache: Cache,
    writer: Writer,
}

impl World {
    async fn new(kinds: &[Kind]) -> World {
        let fake = Fake::new();
        let metrics = Metrics::new("test", "istio");
        let queue = Queue::new(Limits::default(), metrics.clone());
        let cache = Cache::new(fake.client(), None, queue, metrics.clone());
        for kind in kinds {
            cache.ensure(*kind);
            while !cache.is_synced(*kind) {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let writer = Writer::new(Rest::new(fake.client(), metrics), cache.clone());
        World { fake, cache, writer }
    }

    async fn write(&self, desired: &Desired) -> Result<Written, crate::problem::ApiProblem> {
        let view = self.cache.view(CanaryKey::new("shop", "web"));
        self.writer.write(&view, &owner(), desired).await
    }

    /// The cache sees what was written.
    async fn caught_up(&self) {
        sleep(Duration::from_millis(100)).await;
    }

    fn requests(&self) -> usize {
        self.fake.requests().len()
    }

    fn last(&self) -> String {
        self.fake.requests().last().cloned().unwrap_or_default()
    }
}

fn owner() -> Owner {
    Owner { namespace: "shop".into(), name: "web".into(), uid: "u1".into() }
}

fn object(kind: Kind, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": { "name": name, "namespace": "shop" }, "spec": spec,
    })
}

fn apply(kind: Kind, name: &str, spec: Value) -> Desired {
    Desired::Apply { kind, body: object(kind, name, spec) }
}

#[tokio::test(start_paused = true)]
async fn an_apply_is_sent_once_even_while_the_cache_lags() {
    let world = World::new(&[SERVICE]).await;
    let desired = apply(SERVICE, "web", json!({ "a": 1 }));
    assert_eq!(world.write(&desired).await.unwrap(), Written::Changed);
    assert!(world.last().starts_with("PATCH /api/v1/namespaces/shop/services/web?fieldManager=serin&force=true"));
    assert_eq!(world.write(&desired).await.unwrap(), Written::Unchanged, "before the watch has told");
    world.caught_up().await;
    assert_eq!(world.write(&desired).await.unwrap(), Written::Unchanged, "after the watch has told");
    assert_eq!(world.requests(), 1);
    world.fake.remove(SERVICE, "shop", "web");
    world.caught_up().await;
    assert_eq!(world.write(&desired).await.unwrap(), Written::Changed, "gone again");
}

#[tokio::test(start_paused = true)]
async fn fields_of_others_do_not_cause_a_write_but_drift_does() {
    let world = World::new(&[SERVICE]).await;
    world.fake.put(SERVICE, object(SERVICE, "web", json!({ "a": 1, "theirs": 2 })));
    world.caught_up().await;
    let desired = apply(SERVICE, "web", json!({ "a": 1 }));
    assert_eq!(world.write(&desired).await.unwrap(), Written::Unchanged);
    world.fake.put(SERVICE, object(SERVICE, "web", json!({ "a": 9, "theirs": 2 })));
    world.caught_up().await;
    assert_eq!(world.write(&desired).await.unwrap(), Written::Changed);
    assert_eq!(world.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_is_no_longer_wanted_is_written_off() {
    let world = World::new(&[SERVICE]).await;
    world.write(&apply(SERVICE, "web", json!({ "a": 1, "b": 2 }))).await.unwrap();
    world.caught_up().await;
    let without = apply(SERVICE, "web", json!({ "a": 1 }));
    assert_eq!(world.write(&without).await.unwrap(), Written::Changed, "the live object covers it, and yet");
    world.caught_up().await;
    assert_eq!(world.write(&without).await.unwrap(), Written::Unchanged);
}

#[tokio::test(start_paused = true)]
async fn ownership_is_taken_from_flagger_before_the_first_apply_and_only_then() {
    let world = World::new(&[DEPLOYMENT]).await;
    let mut live = object(DEPLOYMENT, "web-primary", json!({ "replicas": 3, "template": { "old": true } }));
    live["metadata"]["managedFields"] = json!([
        { "manager": "flagger", "operation": "Update", "fieldsV1": { "f:spec": { "f:replicas": {}, "f:template": {} } } },
    ]);
    world.fake.put(DEPLOYMENT, live);
    world.caught_up().await;
    let as_is = apply(DEPLOYMENT, "web-primary", json!({ "template": { "old": true } }));
    assert_eq!(world.write(&as_is).await.unwrap(), Written::Unchanged);
    assert_eq!(world.requests(), 0, "taking over writes nothing");

    world.write(&apply(DEPLOYMENT, "web-primary", json!({ "template": { "new": true } }))).await.unwrap();
    let verbs: Vec<String> =
        world.fake.requests().iter().map(|line| line[..line.find(' ').unwrap()].to_owned()).collect();
    assert_eq!(verbs, ["GET", "PATCH", "PATCH"]);
    let managed = &world.fake.object(DEPLOYMENT, "shop", "web-primary").unwrap()["metadata"]["managedFields"];
    assert_eq!(managed[0]["manager"], "serin");
    assert_eq!(managed[0]["fieldsV1"]["f:spec"], json!({ "f:template": {} }), "the replica count is left to its owner");
    world.caught_up().await;
    world.write(&apply(DEPLOYMENT, "web-primary", json!({ "template": { "newer": true } }))).await.unwrap();
    assert_eq!(world.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn replace_creates_then_changes_only_the_pointers_that_differ() {
    let world = World::new(&[SERVICE]).await;
    let desired = |port: u16| Desired::Replace {
        kind: SERVICE,
        body: object(SERVICE, "web", json!({ "port": port, "once": true })),
        pointers: vec!["/spec/port".into()],
    };
    assert_eq!(world.write(&desired(80)).await.unwrap(), Written::Changed);
    assert!(world.last().starts_with("POST "));
    assert_eq!(world.write(&desired(80)).await.unwrap(), Written::Unchanged, "not made twice");
    world.caught_up().await;
    assert_eq!(world.write(&desired(80)).await.unwrap(), Written::Unchanged);
    assert_eq!(world.write(&desired(81)).await.unwrap(), Written::Changed);
    assert!(world.last().ends_with(r#"[{"op":"replace","path":"/spec/port","value":81}]"#), "{}", world.last());
    assert_eq!(world.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn positions_in_lists_are_guarded_by_the_version() {
    let world = World::new(&[SERVICE]).await;
    world.fake.put(SERVICE, object(SERVICE, "web", json!({ "rules": [{ "weight": 1 }] })));
    world.caught_up().await;
    let desired = Desired::Patch {
        kind: SERVICE,
        name: "web".into(),
        pointer_values: vec![("/spec/rules/0/weight".into(), Some(json!(2)))],
    };
    let view = world.cache.view(CanaryKey::new("shop", "web"));
    world.fake.put(SERVICE, object(SERVICE, "web", json!({ "rules": [{ "other": 0 }, { "weight": 1 }] })));
    let problem = world.writer.write(&view, &owner(), &desired).await.unwrap_err();
    assert_eq!(problem.class, Class::Conflict);
}

#[tokio::test(start_paused = true)]
async fn of_an_object_that_is_created_meanwhile_the_answer_is_a_conflict() {
    let world = World::new(&[SERVICE]).await;
    let desired = Desired::Replace { kind: SERVICE, body: object(SERVICE, "web", json!({})), pointers: Vec::new() };
    world.fake.put(SERVICE, object(SERVICE, "web", json!({})));
    assert_eq!(world.write(&desired).await.unwrap_err().class, Class::Conflict);
    world.caught_up().await;
    assert_eq!(world.write(&desired).await.unwrap(), Written::Unchanged);
}

#[tokio::test(start_paused = true)]
async fn a_patch_of_a_missing_object_is_no_wish() {
    let world = World::new(&[DEPLOYMENT]).await;
    let desired = Desired::Patch {
        kind: DEPLOYMENT,
        name: "web".into(),
        pointer_values: vec![("/spec/replicas".into(), Some(json!(0)))],
    };
    assert_eq!(world.write(&desired).await.unwrap(), Written::Unchanged);
    world.fake.put(DEPLOYMENT, object(DEPLOYMENT, "web", json!({ "replicas": 2 })));
    world.caught_up().await;
    assert_eq!(world.write(&desired).await.unwrap(), Written::Changed);
    assert_eq!(world.fake.object(DEPLOYMENT, "shop", "web").unwrap()["spec"]["replicas"], 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_the_canary_controls_is_deleted() {
    let world = World::new(&[SERVICE]).await;
    world.fake.put(SERVICE, object(SERVICE, "theirs", json!({})));
    let mut ours = object(SERVICE, "ours", json!({}));
    ours["metadata"]["ownerReferences"] = json!([owner().reference()]);
    world.fake.put(SERVICE, ours);
    world.caught_up().await;
    for (name, written) in [("theirs", Written::Unchanged), ("ours", Written::Changed), ("none", Written::Unchanged)] {
        let desired = Desired::Delete { kind: SERVICE, name: name.into() };
        assert_eq!(world.write(&desired).await.unwrap(), written, "{name}");
    }
    assert!(world.last().contains("preconditions"), "{}", world.last());
    assert!(world.fake.object(SERVICE, "shop", "ours").is_none());
}

#[tokio::test(start_paused = true)]
async fn copies_of_configs_are_compared_whole_though_only_metadata_is_watched() {
    let world = World::new(&[CONFIG_MAP]).await;
    let copy = |value: &str| Desired::Replace {
        kind: CONFIG_MAP,
        body: json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "c-primary", "namespace": "shop" }, "data": { "key": value },
        }),
        pointers: vec!["/data".into()],
    };
    assert_eq!(world.write(&copy("1")).await.unwrap(), Written::Changed);
    world.caught_up().await;
    assert_eq!(world.write(&copy("1")).await.unwrap(), Written::Unchanged);
    assert_eq!(world.requests(), 1, "known to be so, without a read");
    assert_eq!(world.write(&copy("2")).await.unwrap(), Written::Changed);
    assert_eq!(world.fake.object(CONFIG_MAP, "shop", "c-primary").unwrap()["data"]["key"], "2");
}

#[tokio::test(start_paused = true)]
async fn a_status_is_replaced_whole_and_only_on_the_version_that_was_seen() {
    let world = World::new(&[CANARY]).await;
    let mut canary = object(CANARY, "web", json!({ "a": 1 }));
    canary["status"] = json!({ "phase": "Progressing", "stale": true });
    world.fake.put(CANARY, canary);
    world.caught_up().await;
    let seen = world.cache.canary(&CanaryKey::new("shop", "web")).unwrap();
    let written = world.writer.persist_status(&seen, &json!({ "phase": "Succeeded" })).await.unwrap();
    assert_eq!(written["status"], json!({ "phase": "Succeeded" }));
    assert_eq!(written["spec"], json!({ "a": 1 }));
    let again = world.writer.persist_status(&seen, &json!({ "phase": "Failed" })).await.unwrap_err();
    assert_eq!(again.class, Class::Conflict);
    assert_eq!(again.doing, "patch Canary shop/web (status)");
}

#[tokio::test(start_paused = true)]
async fn finalizers_come_and_go_without_harm_to_others() {
    let world = World::new(&[]).await;
    let mut canary = object(CANARY, "web", json!({}));
    canary["metadata"]["finalizers"] = json!(["others.example/keep"]);
    world.fake.put(CANARY, canary);
    let live = world.fake.object(CANARY, "shop", "web").unwrap();
    let added = world.writer.set_finalizer(&live, "finalizer.flagger.app", true).await.unwrap().unwrap();
    assert_eq!(added["metadata"]["finalizers"], json!(["others.example/keep", "finalizer.flagger.app"]));
    assert_eq!(world.writer.set_finalizer(&added, "finalizer.flagger.app", true).await.unwrap(), None);
    let removed = world.writer.set_finalizer(&added, "finalizer.flagger.app", false).await.unwrap().unwrap();
    assert_eq!(removed["metadata"]["finalizers"], json!(["others.example/keep"]));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_not_there_is_named_instead_of_asked() {
    let world = World::new(&[]).await;
    world.fake.uninstall(SERVICE, true);
    world.cache.ensure(SERVICE);
    while world.cache.problem(SERVICE).is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    let problem = world.write(&apply(SERVICE, "web", json!({}))).await.unwrap_err();
    assert_eq!(problem.class, Class::NotFound);
    assert!(problem.to_string().contains("is not installed"), "{problem}");
    assert_eq!(world.requests(), 0);
}
