//! The controllers on a cluster whose clock is moved by hand.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    Cluster, ManualClock,
    controllers::{
        Behaviour, Controllers, Life, make_nodes,
        view::{Key, Kind},
    },
    kinds,
};

/// Lives by image; every other image is well behaved.
#[derive(Default, Clone)]
pub(super) struct Images(Arc<Mutex<BTreeMap<String, Life>>>);

impl Images {
    pub(super) fn set(&self, image: &str, life: Life) {
        self.0.lock().unwrap().insert(image.to_owned(), life);
    }
}

impl Behaviour for Images {
    fn of(&self, image: &str, _age: Duration) -> Life {
        self.0.lock().unwrap().get(image).cloned().unwrap_or_default()
    }
}

pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) images: Images,
    pub(super) looks: u64,
    clock: ManualClock,
    controllers: Controllers,
}

impl World {
    /// With three nodes and a namespace `test`, at the beginning of 2026.
    pub(super) fn new() -> World {
        let images = Images::default();
        let clock = ManualClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let cluster = Cluster::new(clock.clone());
        cluster.create("test", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test"}})).unwrap();
        make_nodes(&cluster, 3).unwrap();
        let controllers = Controllers::new(cluster.clone(), Arc::new(images.clone()));
        World { cluster, images, looks: 0, clock, controllers }
    }

    fn now(&self) -> Timestamp {
        self.cluster.now()
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Value {
        self.cluster.get(kind.of_cluster(), "test", name).map_or(Value::Null, Arc::unwrap_or_clone)
    }

    pub(super) fn all(&self, kind: Kind) -> Vec<Arc<Value>> {
        self.cluster.list(kind.of_cluster(), "test")
    }

    /// Reason and message of everything that people were told.
    pub(super) fn events(&self) -> Vec<String> {
        let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        let events = self.cluster.list(kinds::EVENT, "test");
        events.iter().map(|event| format!("{} {}", text(event, "reason"), text(event, "message"))).collect()
    }

    pub(super) fn put(&mut self, kind: Kind, mut object: Value) {
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.name().into();
        object["metadata"]["namespace"] = "test".into();
        self.cluster.create("test", object).unwrap();
    }

    pub(super) fn patch(&mut self, kind: Kind, name: &str, change: Value) {
        self.cluster.patch("test", kind.of_cluster(), "test", name, change).unwrap();
    }

    pub(super) fn delete(&mut self, key: &Key) {
        self.cluster.delete(key.kind.of_cluster(), &key.namespace, &key.name).unwrap();
    }

    /// Until nothing happens any more at this time. `check` sees the cluster after each look at an object.
    pub(super) fn settle_and(&mut self, check: &mut dyn FnMut(&World)) {
        for _ in 0..100_000 {
            if !self.controllers.step(self.now()) {
                return;
            }
            self.looks += 1;
            check(self);
        }
        panic!("the controllers do not come to rest");
    }

    pub(super) fn settle(&mut self) {
        self.settle_and(&mut |_| {});
    }

    /// Lets time go on, from wake to wake.
    pub(super) fn pass_and(&mut self, time: Duration, check: &mut dyn FnMut(&World)) {
        let end = self.now().checked_add(SignedDuration::try_from(time).unwrap()).unwrap();
        self.settle_and(check);
        while let Some(wake) = self.controllers.run_until_quiet(self.now()).filter(|wake| *wake <= end) {
            self.move_to(wake);
            self.settle_and(check);
        }
        self.move_to(end);
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.pass_and(Duration::from_secs(seconds), &mut |_| {});
    }

    fn move_to(&self, then: Timestamp) {
        self.clock.advance(then.duration_since(self.now()).try_into().unwrap());
    }
}

/// A Deployment of one container.
pub(super) fn deployment(name: &str, image: &str, replicas: i64) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

/// The change that gives a workload another image.
pub(super) fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}
