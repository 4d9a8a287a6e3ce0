//! Who has to look at what, and when: changes come in, writes go out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    autoscaler,
    behaviour::Behaviour,
    daemon_set, deployment, endpoint_slices,
    kubelet::Kubelet,
    object::{self, list, text, uid},
    placement, replica_set, routes,
    view::{Key, Kind, View},
    write::{Outcome, Write},
};

/// The controllers' common desk.
pub(super) struct Desk {
    view: View,
    behaviour: Arc<dyn Behaviour>,
    kubelet: Kubelet,
    /// What has changed and was not looked at since.
    dirty: BTreeSet<Key>,
    /// What is to be looked at again at a time.
    wakes: BTreeMap<Key, Timestamp>,
    order: BTreeSet<(Timestamp, Key)>,
}

impl Desk {
    pub(super) fn new(behaviour: Arc<dyn Behaviour>) -> Desk {
        Desk {
            view: View::default(),
            behaviour,
            kubelet: Kubelet::default(),
            dirty: BTreeSet::new(),
            wakes: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Takes in a change of an object; none: it is gone.
    pub(super) fn note(&mut self, key: &Key, object: Option<Arc<Value>>) {
        let old = self.view.set(key, object.clone());
        self.dirty.insert(key.clone());
        for object in [&old, &object].into_iter().flatten() {
            self.note_makers(key, object);
        }
        match key.kind {
            Kind::Pod => {
                if let (Some(old), None) = (&old, &object) {
                    self.kubelet.forget(uid(old));
                }
                for object in [&old, &object].into_iter().flatten() {
                    for service in self.view.services_for(&key.namespace, &object["metadata"]["labels"]) {
                        self.dirty.insert(Key::new(Kind::Service, &key.namespace, &service));
                    }
                }
            }
            Kind::Node => {
                let daemons = self.view.all(Kind::DaemonSet).map(|set| Key::of(Kind::DaemonSet, set));
                let waiting = self.view.unbound();
                self.dirty.extend(daemons.chain(waiting));
            }
            Kind::EndpointSlice => {
                let label = endpoint_slices::SERVICE_NAME;
                for object in [&old, &object].into_iter().flatten() {
                    if let Some(service) = object["metadata"]["labels"][label].as_str() {
                        self.dirty.insert(Key::new(Kind::Service, &key.namespace, service));
                    }
                }
            }
            Kind::Deployment => {
                let scaling = self.view.autoscalers_of(key.kind, &key.namespace, &key.name);
                self.dirty.extend(scaling.map(|name| Key::new(Kind::Autoscaler, &key.namespace, name)));
            }
            // Routes ask only whether it is there: its status counts them, and would wake all of them for each.
            Kind::Gateway if old.is_some() == object.is_some() => {}
            Kind::Gateway => {
                let attached = self.view.attached(key);
                self.dirty.extend(attached.map(|route| Key::of(Kind::HttpRoute, route)));
            }
            Kind::HttpRoute => {
                let parents = |route: &Option<Arc<Value>>| -> BTreeSet<Key> {
                    route.as_ref().map(|route| routes::parents(route).collect()).unwrap_or_default()
                };
                let (before, after) = (parents(&old), parents(&object));
                self.dirty.extend(before.symmetric_difference(&after).cloned());
            }
            Kind::Service
            | Kind::ReplicaSet
            | Kind::ControllerRevision
            | Kind::DaemonSet
            | Kind::Autoscaler
            | Kind::Ingress => {}
        }
    }

    fn note_makers(&mut self, key: &Key, object: &Value) {
        let Some((kind, name, _)) = object::controller_of(object) else { return };
        let Some(kind) = Kind::of(kind) else { return };
        let maker = Key::new(kind, &key.namespace, name);
        // A Deployment that recreates waits for the pods themselves.
        let above = self.view.get(&maker).filter(|_| key.kind == Kind::Pod).and_then(|maker| {
            let (kind, name, _) = object::controller_of(maker)?;
            Some(Key::new(Kind::of(kind)?, &key.namespace, name))
        });
        let gone = self.view.get(key).is_none();
        self.dirty.extend(above.filter(|_| gone));
        self.dirty.insert(maker);
    }

    /// Looks at the next object that needs it. None: all is quiet until [`Desk::wake`].
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(Key, Vec<Write>)> {
        while let Some((at, key)) = self.order.first().cloned().filter(|(at, _)| *at <= now) {
            self.order.remove(&(at, key.clone()));
            self.wakes.remove(&key);
            self.dirty.insert(key);
        }
        let key = self.dirty.pop_first()?;
        let outcome = self.look(&key, now);
        if let Some(at) = self.wakes.remove(&key) {
            self.order.remove(&(at, key.clone()));
        }
        if let Some(at) = outcome.wake {
            self.wake_at(&key, at);
        }
        Some((key, outcome.writes))
    }

    /// Looks at an object again at a time, if not before.
    pub(super) fn wake_at(&mut self, key: &Key, at: Timestamp) {
        match self.wakes.get(key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => self.order.remove(&(*later, key.clone())),
            None => false,
        };
        self.wakes.insert(key.clone(), at);
        self.order.insert((at, key.clone()));
    }

    /// All objects of a kind that came in and are not gone.
    pub(super) fn known(&self, kind: Kind) -> impl Iterator<Item = Key> {
        self.view.all(kind).map(move |object| Key::of(kind, object))
    }

    /// When time alone makes something happen next.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    fn look(&mut self, key: &Key, now: Timestamp) -> Outcome {
        let view = &self.view;
        let Some(object) = view.get(key) else {
            return Outcome::default();
        };
        let owned = |kind| view.owned(uid(object), kind);
        match key.kind {
            Kind::Deployment => {
                let has_pods = |set: &str| view.owned(set, Kind::Pod).iter().any(|pod| !object::has_ended(pod));
                deployment::reconcile(object, &owned(Kind::ReplicaSet), has_pods, now)
            }
            Kind::ReplicaSet => replica_set::reconcile(object, &owned(Kind::Pod), now),
            Kind::DaemonSet => {
                let around = daemon_set::Surroundings {
                    pods: owned(Kind::Pod),
                    revisions: owned(Kind::ControllerRevision),
                    nodes: view.all(Kind::Node).collect(),
                };
                daemon_set::reconcile(object, &around, now)
            }
            Kind::Pod => {
                let node = text(object, "/spec/nodeName");
                if !node.is_empty() {
                    let host = view.get(&Key::new(Kind::Node, "", node)).and_then(|node| internal_address(node));
                    return self.kubelet.look(object, host.unwrap_or("10.0.0.1"), self.behaviour.as_ref(), now);
                }
                let mut outcome = Outcome::default();
                if object::is_deleting(object) {
                    outcome.writes.push(Write::Remove(key.clone()));
                } else {
                    outcome = placement::schedule(object, view, &object::stamp(now));
                }
                outcome
            }
            Kind::Service => {
                let pods: Vec<&Arc<Value>> = view.selected(object);
                let slices = owned(Kind::EndpointSlice);
                endpoint_slices::reconcile(object, &pods, &slices, view)
            }
            Kind::Autoscaler => {
                let target = Kind::of(text(object, "/spec/scaleTargetRef/kind")).and_then(|kind| {
                    let name = text(object, "/spec/scaleTargetRef/name");
                    Some((kind, view.get(&Key::new(kind, &key.namespace, name))?))
                });
                autoscaler::reconcile(object, target, self.behaviour.as_ref(), now)
            }
            Kind::Gateway => routes::gateway(object, view, now),
            Kind::HttpRoute => routes::http_route(object, view, now),
            Kind::Ingress => routes::ingress(object),
            Kind::Node | Kind::EndpointSlice | Kind::ControllerRevision => Outcome::default(),
        }
    }
}

fn internal_address(node: &Value) -> Option<&str> {
    let address = list(node, "/status/addresses").iter().find(|address| address["type"] == "InternalIP")?;
    address["address"].as_str()
}
