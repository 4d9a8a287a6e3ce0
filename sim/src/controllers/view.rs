//! What the controllers know of the cluster: the objects they deal with, and who made what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{object, routes};

macro_rules! kinds {
    ($($variant:ident $name:literal $version:literal,)*) => {
        /// The kinds that the controllers look at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Kind { $($variant,)* }

        impl Kind {
            pub(super) const ALL: &[Kind] = &[$(Kind::$variant,)*];

            pub(super) fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            pub(super) fn api_version(self) -> &'static str {
                match self { $(Kind::$variant => $version,)* }
            }
        }
    };
}

// In the order in which they are worked off: what is made before its makers, so that a maker looks once at all that happened.
kinds! {
    Node "Node" "v1",
    Pod "Pod" "v1",
    EndpointSlice "EndpointSlice" "discovery.k8s.io/v1",
    Service "Service" "v1",
    ReplicaSet "ReplicaSet" "apps/v1",
    ControllerRevision "ControllerRevision" "apps/v1",
    DaemonSet "DaemonSet" "apps/v1",
    Deployment "Deployment" "apps/v1",
    Autoscaler "HorizontalPodAutoscaler" "autoscaling/v2",
    HttpRoute "HTTPRoute" "gateway.networking.k8s.io/v1",
    Gateway "Gateway" "gateway.networking.k8s.io/v1",
    Ingress "Ingress" "networking.k8s.io/v1",
}

impl Kind {
    /// As the cluster names it.
    pub(super) fn of_cluster(self) -> crate::Kind<'static> {
        let group = self.api_version().split_once('/').map_or("", |(group, _)| group);
        crate::Kind { group, kind: self.name() }
    }

    pub(super) fn of(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// Which object: the namespace is empty for those of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(kind: Kind, namespace: &str, name: &str) -> Key {
        Key { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn of(kind: Kind, object: &Value) -> Key {
        Key::new(kind, object::namespace(object), object::name(object))
    }
}

/// The objects, and the ways from one to another.
#[derive(Default)]
pub(super) struct View {
    objects: BTreeMap<Key, Arc<Value>>,
    owned: BTreeMap<String, BTreeSet<Key>>,
    /// Pods by each of their labels, within a namespace.
    labelled: BTreeMap<(String, String, String), BTreeSet<String>>,
    /// Services by each pair of their selector, within a namespace.
    selecting: BTreeMap<(String, String, String), BTreeSet<String>>,
    /// Autoscalers by the kind and name of their target, within a namespace.
    scaling: BTreeMap<(String, String, String), BTreeSet<String>>,
    on_node: BTreeMap<String, BTreeSet<Key>>,
    /// HTTPRoutes by the Gateway that they name as a parent.
    attached: BTreeMap<Key, BTreeSet<Key>>,
}

impl View {
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// All of one kind, by namespace and name.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &Arc<Value>> {
        self.objects
            .range(Key::new(kind, "", "")..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    /// What an owner controls, of one kind, by name.
    pub(super) fn owned(&self, owner: &str, kind: Kind) -> Vec<&Arc<Value>> {
        let Some(keys) = self.owned.get(owner) else {
            return Vec::new();
        };
        keys.iter().filter(|key| key.kind == kind).filter_map(|key| self.objects.get(key)).collect()
    }

    /// The names of the Services whose selector matches these labels of a pod.
    pub(super) fn services_for(&self, namespace: &str, labels: &Value) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (label, value) in object::texts(labels, "") {
            let pair = (namespace.to_owned(), label, value);
            for name in self.selecting.get(&pair).into_iter().flatten() {
                let selector = self
                    .get(&Key::new(Kind::Service, namespace, name))
                    .and_then(|service| object::at(service, "/spec/selector")?.as_object());
                if selector.is_some_and(|selector| object::contains(labels, selector)) {
                    names.insert(name.clone());
                }
            }
        }
        names
    }

    /// The names of the autoscalers of a workload.
    pub(super) fn autoscalers_of(&self, kind: Kind, namespace: &str, name: &str) -> impl Iterator<Item = &String> {
        let target = (namespace.to_owned(), kind.name().to_owned(), name.to_owned());
        self.scaling.get(&target).into_iter().flatten()
    }

    /// The pods that a Service selects, by name.
    pub(super) fn selected(&self, service: &Value) -> Vec<&Arc<Value>> {
        let namespace = object::namespace(service);
        let Some(selector) = object::at(service, "/spec/selector").and_then(Value::as_object) else {
            return Vec::new();
        };
        let fewest = object::texts(service, "/spec/selector")
            .into_iter()
            .map(|(label, value)| self.labelled.get(&(namespace.to_owned(), label, value)))
            .min_by_key(|names| names.map_or(0, BTreeSet::len))
            .flatten();
        let pods = fewest.into_iter().flatten().filter_map(|name| self.get(&Key::new(Kind::Pod, namespace, name)));
        pods.filter(|pod| object::contains(&pod["metadata"]["labels"], selector)).collect()
    }

    /// The HTTPRoutes that name a Gateway as a parent.
    pub(super) fn attached(&self, gateway: &Key) -> impl Iterator<Item = &Arc<Value>> {
        self.attached.get(gateway).into_iter().flatten().filter_map(|route| self.get(route))
    }

    /// The pods that have no node yet.
    pub(super) fn unbound(&self) -> impl Iterator<Item = Key> {
        self.on_node.get("").into_iter().flatten().cloned()
    }

    /// How many pods are bound to a node.
    pub(super) fn pods_on(&self, node: &str) -> usize {
        self.on_node.get(node).map_or(0, BTreeSet::len)
    }

    /// Puts an object in, or takes it out, and gives back what was there.
    pub(super) fn set(&mut self, key: &Key, object: Option<Arc<Value>>) -> Option<Arc<Value>> {
        let old = match &object {
            Some(object) => self.objects.insert(key.clone(), Arc::clone(object)),
            None => self.objects.remove(key),
        };
        if old.as_deref().map(indexed) != object.as_deref().map(indexed) {
            if let Some(old) = &old {
                self.index(key, old, false);
            }
            if let Some(object) = &object {
                self.index(key, object, true);
            }
        }
        old
    }

    fn index(&mut self, key: &Key, object: &Value, present: bool) {
        if let Some((_, _, owner)) = object::controller_of(object) {
            note(&mut self.owned, owner.to_owned(), key.clone(), present);
        }
        if key.kind == Kind::Pod {
            let node = object::text(object, "/spec/nodeName").to_owned();
            note(&mut self.on_node, node, key.clone(), present);
            for (label, value) in object::texts(object, "/metadata/labels") {
                note(&mut self.labelled, (key.namespace.clone(), label, value), key.name.clone(), present);
            }
        }
        if key.kind == Kind::Service {
            for (label, value) in object::texts(object, "/spec/selector") {
                let pair = (key.namespace.clone(), label, value);
                note(&mut self.selecting, pair, key.name.clone(), present);
            }
        }
        if key.kind == Kind::HttpRoute {
            for gateway in routes::parents(object) {
                note(&mut self.attached, gateway, key.clone(), present);
            }
        }
        if key.kind == Kind::Autoscaler {
            let target = (
                key.namespace.clone(),
                object::text(object, "/spec/scaleTargetRef/kind").to_owned(),
                object::text(object, "/spec/scaleTargetRef/name").to_owned(),
            );
            note(&mut self.scaling, target, key.name.clone(), present);
        }
    }
}

/// What the indexes are made of.
fn indexed(object: &Value) -> [Option<&Value>; 6] {
    [
        "/metadata/labels",
        "/metadata/ownerReferences",
        "/spec/nodeName",
        "/spec/selector",
        "/spec/scaleTargetRef",
        "/spec/parentRefs",
    ]
    .map(|part| object::at(object, part))
}

fn note<K: Ord, V: Ord>(index: &mut BTreeMap<K, BTreeSet<V>>, key: K, value: V, present: bool) {
    if present {
        index.entry(key).or_default().insert(value);
    } else if let Some(values) = index.get_mut(&key) {
        values.remove(&value);
        if values.is_empty() {
            index.remove(&key);
        }
    }
}
