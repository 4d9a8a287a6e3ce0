//! The controllers on a cluster: what has changed there comes to the desk, what the desk wants is written there.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    behaviour::Behaviour,
    desk::Desk,
    object,
    view::{Key, Kind},
    write::{Event, Write},
};
use crate::{Change, ChangeKind, Cluster, Status, kinds};

/// Events are gone after an hour, as in every cluster.
const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(1);
/// What was refused is tried again after this.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// The controllers, the scheduler and the kubelet of a cluster.
pub struct Controllers {
    cluster: Cluster,
    desk: Desk,
    /// Version up to which changes are taken in; none: nothing yet.
    seen: Option<u64>,
    told: VecDeque<(Timestamp, String, String)>,
}

impl Controllers {
    /// Controllers that have not looked at anything yet. There must be one set of them for a cluster, or none.
    pub fn new(cluster: Cluster, behaviour: Arc<dyn Behaviour>) -> Controllers {
        Controllers { cluster, desk: Desk::new(behaviour), seen: None, told: VecDeque::new() }
    }

    /// Does all that there is to do at this time, and says when time alone makes something happen next.
    pub fn run_until_quiet(&mut self, now: Timestamp) -> Option<Timestamp> {
        while self.step(now) {}
        self.desk.wake()
    }

    /// Goes on for ever: at each change and at each time that matters, on tokio's clock, which may be paused.
    pub async fn run(mut self) {
        let mut changed = self.cluster.changed();
        loop {
            changed.mark_unchanged();
            let now = self.cluster.now();
            let wake = self.run_until_quiet(now);
            let until = wake.map(|wake| wake.duration_since(now).try_into().unwrap_or_default());
            let slept = async {
                match until {
                    Some(until) => tokio::time::sleep(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased; // a simulation is run again the same way
                () = changed.changed() => {}
                () = slept => {}
            }
        }
    }

    /// Looks at one object; false if none needs it.
    pub(super) fn step(&mut self, now: Timestamp) -> bool {
        self.take_in();
        let Some((key, writes)) = self.desk.next(now) else {
            return false;
        };
        for write in writes {
            let done = self.perform(write, now);
            // What is gone or there already has changed, and changes lead here again.
            let refused = done.is_err_and(|status| !status.is_not_found() && !status.is_already_exists());
            if refused && let Ok(at) = now.checked_add(TRY_AGAIN) {
                self.desk.wake_at(&key, at);
            }
        }
        true
    }

    fn take_in(&mut self) {
        let version = self.cluster.version();
        if self.seen == Some(version) {
            return;
        }
        match self.seen.and_then(|seen| self.cluster.watch_from(seen).ok()) {
            Some(changes) => {
                for Change { version, kind, object, .. } in changes {
                    self.seen = Some(version);
                    let Some(key) = key_of(&object) else { continue };
                    match kind {
                        ChangeKind::Added | ChangeKind::Modified => self.desk.note(&key, Some(object)),
                        ChangeKind::Deleted => self.desk.note(&key, None),
                    }
                }
            }
            None => {
                self.seen = Some(version);
                self.list();
            }
        }
    }

    fn list(&mut self) {
        for kind in Kind::ALL {
            let listed: BTreeMap<Key, Arc<Value>> = self
                .cluster
                .list(kind.of_cluster(), "")
                .into_iter()
                .map(|object| (Key::of(*kind, &object), object))
                .collect();
            let known: BTreeSet<Key> = self.desk.known(*kind).collect();
            for gone in known.iter().filter(|key| !listed.contains_key(key)) {
                self.desk.note(gone, None);
            }
            for (key, object) in listed {
                self.desk.note(&key, Some(object));
            }
        }
    }

    fn perform(&mut self, write: Write, now: Timestamp) -> Result<(), Status> {
        let cluster = &self.cluster;
        match write {
            Write::Create(kind, object) => cluster.create(manager(kind), object).map(|_| ()),
            Write::Patch { key, merge } => {
                let Key { kind, namespace, name } = &key;
                cluster.patch(manager(*kind), kind.of_cluster(), namespace, name, merge).map(|_| ())
            }
            Write::Status { key, status } => {
                let Key { kind, namespace, name } = &key;
                let status = Value::Object(Map::from_iter([("status".to_owned(), status)]));
                cluster.patch_status(manager(*kind), kind.of_cluster(), namespace, name, status).map(|_| ())
            }
            Write::Delete(Key { kind, namespace, name }) => cluster.delete(kind.of_cluster(), &namespace, &name),
            Write::Remove(Key { kind, namespace, name }) => cluster.delete_now(kind.of_cluster(), &namespace, &name),
            Write::Tell(event) => self.tell(&event, now),
        }
    }

    /// Events that say the same are one, counted.
    fn tell(&mut self, event: &Event, now: Timestamp) -> Result<(), Status> {
        while let Some((_, namespace, name)) = self.told.pop_front_if(|(at, ..)| now.duration_since(*at) > EVENTS_KEPT)
        {
            let _ = self.cluster.delete_now(kinds::EVENT, &namespace, &name);
        }
        let about = &event.regarding;
        let says = format!("{}/{}/{}", object::text(about, "/uid"), event.reason, event.message);
        let name = format!("{}.{}", object::text(about, "/name"), object::hash(&says));
        let namespace =
            Some(object::text(about, "/namespace")).filter(|namespace| !namespace.is_empty()).unwrap_or("default");
        let stamp = object::stamp(now);
        if let Some(known) = self.cluster.get(kinds::EVENT, namespace, &name) {
            let count = known["count"].as_i64().unwrap_or(1) + 1;
            let again = json!({"count": count, "lastTimestamp": stamp});
            return self.cluster.patch(event.by, kinds::EVENT, namespace, &name, again).map(|_| ());
        }
        self.told.push_back((now, namespace.to_owned(), name.clone()));
        let by = event.by;
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "involvedObject": about, "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason, "message": event.message, "count": 1,
            "firstTimestamp": stamp, "lastTimestamp": stamp,
            "source": {"component": event.by}, "reportingComponent": event.by,
        });
        self.cluster.create(by, event).map(|_| ())
    }
}

/// Makes nodes `node-1`, `node-2` … that are ready and endless.
///
/// # Errors
/// When one of them is there already.
pub fn make_nodes(cluster: &Cluster, count: u32) -> Result<(), Status> {
    let stamp = object::stamp(cluster.now());
    for at in 1..=count {
        let name = format!("node-{at}");
        let capacity = json!({"cpu": "64", "memory": "256Gi", "pods": "10000"});
        let condition = |of: &str, status: &str, reason: &str| json!({"type": of, "status": status, "reason": reason, "lastHeartbeatTime": stamp, "lastTransitionTime": stamp});
        cluster.create(
            "kubelet",
            json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {
                    "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                }},
            }),
        )?;
        cluster.patch_status(
            "kubelet",
            kinds::NODE,
            "",
            &name,
            json!({"status": {
                "capacity": capacity, "allocatable": capacity,
                "addresses": [
                    {"type": "InternalIP", "address": format!("10.0.{}.{}", (at >> 8) & 255, at & 255)},
                    {"type": "Hostname", "address": name},
                ],
                "conditions": [
                    condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                    condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                    condition("Ready", "True", "KubeletReady"),
                ],
                "nodeInfo": {"kubeletVersion": "v1.36.3", "operatingSystem": "linux", "architecture": "amd64"},
            }}),
        )?;
    }
    Ok(())
}

fn key_of(object: &Value) -> Option<Key> {
    let kind = Kind::of(object::text(object, "/kind"))?;
    let group = object::text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group == kind.of_cluster().group).then(|| Key::of(kind, object))
}

/// The field manager of what is written.
fn manager(kind: Kind) -> &'static str {
    match kind {
        Kind::Pod => "kubelet",
        Kind::Gateway | Kind::HttpRoute | Kind::Ingress => "gateway-controller",
        Kind::Node
        | Kind::EndpointSlice
        | Kind::Service
        | Kind::ReplicaSet
        | Kind::ControllerRevision
        | Kind::DaemonSet
        | Kind::Deployment
        | Kind::Autoscaler => "kube-controller-manager",
    }
}
