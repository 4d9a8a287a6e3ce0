//! The kinds that the cluster knows: those built in, and those that CustomResourceDefinitions add.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::schema::{Lazy, builtin};

/// A kind of object, by group and kind as manifests name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Kind such as `Deployment`.
    pub kind: &'a str,
}

/// Kinds that in-process actors use most.
pub mod kinds {
    use super::Kind;

    /// Namespace.
    pub const NAMESPACE: Kind<'static> = Kind { group: "", kind: "Namespace" };
    /// Node.
    pub const NODE: Kind<'static> = Kind { group: "", kind: "Node" };
    /// Pod.
    pub const POD: Kind<'static> = Kind { group: "", kind: "Pod" };
    /// Service.
    pub const SERVICE: Kind<'static> = Kind { group: "", kind: "Service" };
    /// Event, core view.
    pub const EVENT: Kind<'static> = Kind { group: "", kind: "Event" };
    /// ConfigMap.
    pub const CONFIG_MAP: Kind<'static> = Kind { group: "", kind: "ConfigMap" };
    /// Secret.
    pub const SECRET: Kind<'static> = Kind { group: "", kind: "Secret" };
    /// ServiceAccount.
    pub const SERVICE_ACCOUNT: Kind<'static> = Kind { group: "", kind: "ServiceAccount" };
    /// Deployment.
    pub const DEPLOYMENT: Kind<'static> = Kind { group: "apps", kind: "Deployment" };
    /// ReplicaSet.
    pub const REPLICA_SET: Kind<'static> = Kind { group: "apps", kind: "ReplicaSet" };
    /// DaemonSet.
    pub const DAEMON_SET: Kind<'static> = Kind { group: "apps", kind: "DaemonSet" };
    /// StatefulSet.
    pub const STATEFUL_SET: Kind<'static> = Kind { group: "apps", kind: "StatefulSet" };
    /// ControllerRevision.
    pub const CONTROLLER_REVISION: Kind<'static> = Kind { group: "apps", kind: "ControllerRevision" };
    /// HorizontalPodAutoscaler.
    pub const HORIZONTAL_POD_AUTOSCALER: Kind<'static> = Kind { group: "autoscaling", kind: "HorizontalPodAutoscaler" };
    /// EndpointSlice.
    pub const ENDPOINT_SLICE: Kind<'static> = Kind { group: "discovery.k8s.io", kind: "EndpointSlice" };
    /// Ingress.
    pub const INGRESS: Kind<'static> = Kind { group: "networking.k8s.io", kind: "Ingress" };
    /// Lease.
    pub const LEASE: Kind<'static> = Kind { group: "coordination.k8s.io", kind: "Lease" };
    /// CustomResourceDefinition.
    pub const CUSTOM_RESOURCE_DEFINITION: Kind<'static> =
        Kind { group: "apiextensions.k8s.io", kind: "CustomResourceDefinition" };
}

/// A kind with everything that its API needs.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// Where its objects are stored; two resources can be views of the same objects.
    pub(crate) storage: Arc<str>,
    /// Most preferred first. The first one is how objects are stored.
    pub(crate) versions: Vec<Version>,
    pub(crate) custom: bool,
    pub(crate) generations: bool,
}

/// One version of a kind.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) served: bool,
    pub(crate) schema: Lazy,
    /// The schema as OpenAPI shows it; of built-in kinds the name of the definition.
    pub(crate) raw: Arc<Value>,
    pub(crate) status: bool,
    pub(crate) scale: Option<Scale>,
    /// `additionalPrinterColumns`.
    pub(crate) columns: Vec<Value>,
    /// `selectableFields` as JSON paths.
    pub(crate) selectable: Vec<String>,
}

/// JSON pointers of the scale subresource.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) selector: Option<String>,
}

impl Resource {
    /// `deployments.apps`, or `pods` in the core group.
    pub(crate) fn qualified(&self) -> String {
        qualified(&self.plural, &self.group)
    }

    /// `Deployment.apps`, or `Pod` in the core group.
    pub(crate) fn qualified_kind(&self) -> String {
        qualified(&self.kind, &self.group)
    }

    pub(crate) fn api_version(&self, version: usize) -> String {
        let version = self.versions.get(version).map_or("", |version| version.name.as_str());
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    pub(crate) fn is(&self, kind: Kind<'_>) -> bool {
        self.group == kind.group && self.kind == kind.kind
    }
}

fn qualified(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// All kinds.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// By group and plural.
    resources: BTreeMap<(String, String), Arc<Resource>>,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        let mut registry = Registry::default();
        for fact in BUILTIN {
            registry.add(fact.resource());
        }
        registry
    }

    pub(crate) fn add(&mut self, resource: Resource) {
        self.resources.insert((resource.group.clone(), resource.plural.clone()), Arc::new(resource));
    }

    pub(crate) fn remove(&mut self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.resources.remove(&(group.to_owned(), plural.to_owned()))
    }

    pub(crate) fn by_plural(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.get(&(group.to_owned(), plural.to_owned()))
    }

    pub(crate) fn by_kind(&self, kind: Kind<'_>) -> Option<&Arc<Resource>> {
        self.resources.values().find(|resource| resource.is(kind))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }
}

/// A built-in kind: group, version, kind, plural, short names, whether it is in `kubectl get all`, whether it lives in
/// namespaces, subresources, and whether its generation is counted.
struct Builtin {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    all: bool,
    namespaced: bool,
    status: bool,
    scale: bool,
    generations: bool,
}

const fn builtin(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Builtin {
    Builtin {
        group,
        version,
        kind,
        plural,
        short: &[],
        all: false,
        namespaced: true,
        status: false,
        scale: false,
        generations: false,
    }
}

impl Builtin {
    const fn short(mut self, short: &'static [&'static str]) -> Builtin {
        self.short = short;
        self
    }

    const fn in_all(mut self) -> Builtin {
        self.all = true;
        self
    }

    const fn cluster_wide(mut self) -> Builtin {
        self.namespaced = false;
        self
    }

    const fn with_status(mut self) -> Builtin {
        self.status = true;
        self
    }

    const fn with_scale(mut self) -> Builtin {
        self.scale = true;
        self
    }

    const fn counted(mut self) -> Builtin {
        self.generations = true;
        self
    }

    fn resource(&self) -> Resource {
        let definition = builtin::definition(self.group, self.version, self.kind);
        let storage = if self.kind == "Event" { "events".to_owned() } else { qualified(self.plural, self.group) };
        let scale = Scale {
            spec_replicas: "/spec/replicas".to_owned(),
            status_replicas: "/status/replicas".to_owned(),
            selector: Some("/spec/selector".to_owned()),
        };
        let version = Version {
            name: self.version.to_owned(),
            served: true,
            schema: Lazy::new(|| builtin::schema(definition)),
            raw: Arc::new(Value::String(definition.to_owned())),
            status: self.status,
            scale: self.scale.then_some(scale),
            columns: vec![],
            selectable: vec![],
        };
        Resource {
            group: self.group.to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            singular: self.kind.to_lowercase(),
            short_names: self.short.iter().map(|&short| short.to_owned()).collect(),
            categories: if self.all { vec!["all".to_owned()] } else { vec![] },
            namespaced: self.namespaced,
            storage: storage.into(),
            versions: vec![version],
            custom: false,
            generations: self.generations,
        }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

const BUILTIN: &[Builtin] = &[
    builtin("", "v1", "ConfigMap", "configmaps").short(&["cm"]),
    builtin("", "v1", "Endpoints", "endpoints").short(&["ep"]),
    builtin("", "v1", "Event", "events").short(&["ev"]),
    builtin("", "v1", "Namespace", "namespaces").short(&["ns"]).cluster_wide().with_status(),
    builtin("", "v1", "Node", "nodes").short(&["no"]).cluster_wide().with_status(),
    builtin("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims").short(&["pvc"]).with_status(),
    builtin("", "v1", "Pod", "pods").short(&["po"]).in_all().with_status().counted(),
    builtin("", "v1", "Secret", "secrets"),
    builtin("", "v1", "Service", "services").short(&["svc"]).in_all().with_status(),
    builtin("", "v1", "ServiceAccount", "serviceaccounts").short(&["sa"]),
    builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
        .short(&["crd", "crds"])
        .cluster_wide()
        .with_status()
        .counted(),
    builtin("apps", "v1", "ControllerRevision", "controllerrevisions"),
    builtin("apps", "v1", "DaemonSet", "daemonsets").short(&["ds"]).in_all().with_status().counted(),
    builtin("apps", "v1", "Deployment", "deployments").short(&["deploy"]).in_all().with_status().with_scale().counted(),
    builtin("apps", "v1", "ReplicaSet", "replicasets").short(&["rs"]).in_all().with_status().with_scale().counted(),
    builtin("apps", "v1", "StatefulSet", "statefulsets").short(&["sts"]).in_all().with_status().with_scale().counted(),
    builtin("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .short(&["hpa"])
        .in_all()
        .with_status(),
    builtin("batch", "v1", "CronJob", "cronjobs").short(&["cj"]).in_all().with_status().counted(),
    builtin("batch", "v1", "Job", "jobs").in_all().with_status().counted(),
    builtin("coordination.k8s.io", "v1", "Lease", "leases"),
    builtin("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices").counted(),
    builtin("events.k8s.io", "v1", "Event", "events").short(&["ev"]),
    builtin("networking.k8s.io", "v1", "Ingress", "ingresses").short(&["ing"]).with_status().counted(),
    builtin("networking.k8s.io", "v1", "IngressClass", "ingressclasses").cluster_wide().counted(),
    builtin("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies").short(&["netpol"]).counted(),
    builtin("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets").short(&["pdb"]).with_status().counted(),
    builtin(RBAC, "v1", "ClusterRole", "clusterroles").cluster_wide(),
    builtin(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings").cluster_wide(),
    builtin(RBAC, "v1", "Role", "roles"),
    builtin(RBAC, "v1", "RoleBinding", "rolebindings"),
    builtin("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses").short(&["pc"]).cluster_wide().counted(),
];
