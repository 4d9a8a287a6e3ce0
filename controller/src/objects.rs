//! Kubernetes objects as values: what was seen, and what is wanted. No client here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// A kind of object, with all that is needed to reach its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// Kind as written in manifests.
    pub kind: &'static str,
    /// Plural as written in URLs and RBAC rules.
    pub plural: &'static str,
}

impl Kind {
    /// `group/version`, or `version` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.into() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Kinds that more than one part uses.
pub mod kinds {
    use super::Kind;

    /// Canary.
    pub const CANARY: Kind = Kind { group: "flagger.app", version: "v1beta1", kind: "Canary", plural: "canaries" };
    /// MetricTemplate.
    pub const METRIC_TEMPLATE: Kind =
        Kind { group: "flagger.app", version: "v1beta1", kind: "MetricTemplate", plural: "metrictemplates" };
    /// AlertProvider.
    pub const ALERT_PROVIDER: Kind =
        Kind { group: "flagger.app", version: "v1beta1", kind: "AlertProvider", plural: "alertproviders" };
    /// `serin.dev/v1alpha1` GitSource.
    pub const GIT_SOURCE: Kind =
        Kind { group: "serin.dev", version: "v1alpha1", kind: "GitSource", plural: "gitsources" };
    /// `serin.dev/v1alpha1` CanaryRun.
    pub const CANARY_RUN: Kind =
        Kind { group: "serin.dev", version: "v1alpha1", kind: "CanaryRun", plural: "canaryruns" };
    /// CanaryTemplate.
    pub const CANARY_TEMPLATE: Kind =
        Kind { group: "serin.dev", version: "v1alpha1", kind: "CanaryTemplate", plural: "canarytemplates" };
    /// ClusterCanaryTemplate, which is in no namespace.
    pub const CLUSTER_CANARY_TEMPLATE: Kind = Kind {
        group: "serin.dev",
        version: "v1alpha1",
        kind: "ClusterCanaryTemplate",
        plural: "clustercanarytemplates",
    };
    /// `coordination.k8s.io/v1` Lease.
    pub const LEASE: Kind = Kind { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases" };
    /// Event.
    pub const EVENT: Kind = Kind { group: "", version: "v1", kind: "Event", plural: "events" };
    /// `apps/v1` Deployment.
    pub const DEPLOYMENT: Kind = Kind { group: "apps", version: "v1", kind: "Deployment", plural: "deployments" };
    /// `apps/v1` DaemonSet.
    pub const DAEMON_SET: Kind = Kind { group: "apps", version: "v1", kind: "DaemonSet", plural: "daemonsets" };
    /// `apps/v1` ReplicaSet.
    pub const REPLICA_SET: Kind = Kind { group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets" };
    /// `apps/v1` ControllerRevision.
    pub const CONTROLLER_REVISION: Kind =
        Kind { group: "apps", version: "v1", kind: "ControllerRevision", plural: "controllerrevisions" };
    /// Service.
    pub const SERVICE: Kind = Kind { group: "", version: "v1", kind: "Service", plural: "services" };
    /// Pod.
    pub const POD: Kind = Kind { group: "", version: "v1", kind: "Pod", plural: "pods" };
    /// ConfigMap.
    pub const CONFIG_MAP: Kind = Kind { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps" };
    /// Secret.
    pub const SECRET: Kind = Kind { group: "", version: "v1", kind: "Secret", plural: "secrets" };
    /// `networking.k8s.io/v1` Ingress.
    pub const INGRESS: Kind = Kind { group: "networking.k8s.io", version: "v1", kind: "Ingress", plural: "ingresses" };
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    pub const HORIZONTAL_POD_AUTOSCALER: Kind = Kind {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
    };
    /// `authentication.k8s.io/v1` TokenReview.
    pub const TOKEN_REVIEW: Kind =
        Kind { group: "authentication.k8s.io", version: "v1", kind: "TokenReview", plural: "tokenreviews" };
    /// `authorization.k8s.io/v1` SubjectAccessReview.
    pub const SUBJECT_ACCESS_REVIEW: Kind = Kind {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
    };
}

/// Where objects are looked up. Every look-up, also one that finds nothing, is remembered by the caller, so that a
/// change of that object wakes the Canary that asked.
pub trait Lookup {
    /// The object as last seen, in the namespace of the Canary.
    fn get(&self, kind: Kind, name: &str) -> Option<Arc<Value>>;
}

impl Lookup for BTreeMap<(Kind, String), Arc<Value>> {
    fn get(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.get(&(kind, name.to_owned())).cloned()
    }
}

/// A write that would make something true. Rendering one costs nothing; `converge` skips it when the live object
/// already covers it.
#[derive(Clone, Debug, PartialEq)]
pub enum Desired {
    /// Server-side apply of exactly the fields Serin owns. Fields that must be empty are written as empty (`[]`,
    /// `{}`), so that covering the body is the same as being right.
    Apply {
        /// What it is.
        kind: Kind,
        /// Whole object: `apiVersion`, `kind`, `metadata` and the owned fields.
        body: Value,
    },
    /// Create the object when it is missing; replace the values at these JSON pointers where they differ exactly.
    Replace {
        /// What it is.
        kind: Kind,
        /// The object to create when there is none.
        body: Value,
        /// JSON pointers into `body` whose values must stand exactly so in the live object. Where the body has nothing,
        /// the live object must have nothing; objects missing on the way are made. Empty: create only.
        pointers: Vec<String>,
    },
    /// Set or remove single fields of an object that belongs to the user. Does nothing when the object is missing.
    Patch {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// JSON pointers with the value that must stand there; `None` removes. Objects missing on the way are made.
        pointer_values: Vec<(String, Option<Value>)>,
    },
    /// Delete the object when it exists and is controlled by the Canary.
    Delete {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
    },
}

impl Desired {
    /// Name of the object meant.
    pub fn name(&self) -> &str {
        match self {
            Desired::Apply { body, .. } | Desired::Replace { body, .. } => {
                body.at("/metadata/name").and_then(Value::as_str).unwrap_or_default()
            }
            Desired::Patch { name, .. } | Desired::Delete { name, .. } => name,
        }
    }

    /// Kind of the object meant.
    pub fn kind(&self) -> Kind {
        match self {
            Desired::Apply { kind, .. }
            | Desired::Replace { kind, .. }
            | Desired::Patch { kind, .. }
            | Desired::Delete { kind, .. } => *kind,
        }
    }

    /// True when the object as it stands needs no write. Whether an object may be deleted is not looked at.
    pub fn met_by(&self, live: Option<&Value>) -> bool {
        match self {
            Desired::Apply { body, .. } => live.is_some() && covers(live, body),
            Desired::Replace { body, pointers, .. } => {
                live.is_some_and(|live| pointers.iter().all(|at| stands(live.at(at), body.at(at))))
            }
            Desired::Patch { pointer_values, .. } => {
                live.is_none_or(|live| pointer_values.iter().all(|(at, value)| stands(live.at(at), value.as_ref())))
            }
            Desired::Delete { .. } => live.is_none(),
        }
    }
}

/// The API server leaves out what is empty, so what is wanted empty may as well be absent.
fn stands(live: Option<&Value>, wanted: Option<&Value>) -> bool {
    live == wanted || (live.is_none() && wanted.is_some_and(is_empty))
}

/// JSON pointer to a key of the object at `parent`; keys such as `app.kubernetes.io/name` are escaped.
pub fn pointer_to(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// True when everything in `wanted` stands in `live`: objects by key, lists by position and equal length, an empty
/// list, object or null also by absence. Fields that only `live` has are someone else's or the server's defaults.
pub fn covers(live: Option<&Value>, wanted: &Value) -> bool {
    match (live, wanted) {
        (None | Some(Value::Null), wanted) => is_empty(wanted),
        (Some(live), Value::Null) => is_empty(live),
        (Some(Value::Object(live)), Value::Object(wanted)) => {
            if wanted.is_empty() {
                return live.is_empty();
            }
            wanted.iter().all(|(key, value)| covers(live.get(key), value))
        }
        (Some(Value::Array(live)), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(Some(live), wanted))
        }
        (Some(live), wanted) => live == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() || fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Looking up by JSON pointer.
pub trait At {
    /// The value there. As [`Value::pointer`], which makes texts of its own at each step: a pass looks up thousands.
    fn at(&self, pointer: &str) -> Option<&Value>;
}

impl At for Value {
    fn at(&self, pointer: &str) -> Option<&Value> {
        if pointer.contains('~') || !(pointer.is_empty() || pointer.starts_with('/')) {
            return self.pointer(pointer);
        }
        pointer.split('/').skip(1).try_fold(self, |value, token| match value {
            Value::Object(fields) => fields.get(token),
            // Numbers of items are written in one way alone.
            Value::Array(_) => value.pointer(&format!("/{token}")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

/// What all objects made for one Canary share.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Namespace of the Canary and of all it makes.
    pub namespace: String,
    /// Name of the Canary.
    pub name: String,
    /// Uid of the Canary.
    pub uid: String,
}

impl Owner {
    /// The controller reference to the Canary.
    pub fn reference(&self) -> Value {
        serde_json::json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": self.name, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true,
        })
    }

    /// True when the Canary controls the object.
    pub fn controls(&self, object: &Value) -> bool {
        object.at("/metadata/ownerReferences").and_then(Value::as_array).is_some_and(|owners| {
            owners.iter().any(|owner| owner["uid"] == self.uid.as_str() && owner["controller"] == true)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_looked_up_is_what_a_json_pointer_names() {
        let object =
            json!({"a/b": 1, "m~n": 2, "": {"": 3}, "list": [{"name": "x"}, [4]], "0": {"1": 5}, "null": null});
        for pointer in [
            "",
            "/",
            "//",
            "///",
            "/0",
            "/0/1",
            "/0/1/2",
            "/a~1b",
            "/m~0n",
            "/m~1n",
            "/a/b",
            "/list",
            "/list/0",
            "/list/0/name",
            "/list/00",
            "/list/+0",
            "/list/-",
            "/list/1/0",
            "/list/2",
            "/list/",
            "/null",
            "/null/x",
            "/none",
            "list",
            "a/b",
        ] {
            assert_eq!(object.at(pointer), object.pointer(pointer), "{pointer:?}");
        }
    }

    #[test]
    fn a_write_is_met_when_what_it_names_stands_exactly_so() {
        let live =
            json!({"spec": {"ports": [{"port": 80}], "replicas": 2}, "metadata": {"labels": {"a/b": "c", "d": "e"}}});
        let replace = |body: Value, pointer: &str| Desired::Replace {
            kind: kinds::SERVICE,
            body,
            pointers: vec![pointer.to_owned()],
        };
        let patch = |pointer: &str, value: Option<Value>| Desired::Patch {
            kind: kinds::DEPLOYMENT,
            name: "web".into(),
            pointer_values: vec![(pointer.to_owned(), value)],
        };
        for (desired, met) in [
            (replace(json!({"spec": {"ports": [{"port": 80}]}}), "/spec/ports"), true),
            (replace(json!({"spec": {"ports": [{}]}}), "/spec/ports"), false),
            (replace(json!({}), "/spec/ports"), false),
            (replace(json!({}), "/spec/selector"), true),
            (replace(json!({"spec": {"selector": {}}}), "/spec/selector"), true),
            (replace(json!({"metadata": {"labels": {"a/b": "c"}}}), &pointer_to("/metadata/labels", "a/b")), true),
            (patch("/spec/replicas", Some(json!(2))), true),
            (patch("/spec/replicas", Some(json!(0))), false),
            (patch("/spec/replicas", None), false),
            (patch("/spec/paused", None), true),
        ] {
            assert_eq!(desired.met_by(Some(&live)), met, "{desired:?}");
        }
        assert!(!replace(json!({}), "/spec").met_by(None), "a missing object is to be made");
        assert!(patch("/spec/replicas", Some(json!(0))).met_by(None), "a user's object that is gone is not");
    }
}
