//! The Canary and what hangs on it: revisions, workloads, ReplicaSets, pods.

use crds::{CanaryStatus, Phase};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::health::{self, Health};
use super::{Detail, Look, Snapshot, number, owners, phase_word, seconds_between, text, time};

/// Whose a revision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tag {
    /// The revision that was promoted last.
    Stable,
    /// The revision that is tried, or was tried and taken back.
    Canary,
}

impl Tag {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tag::Stable => "stable",
            Tag::Canary => "canary",
        }
    }
}

/// One object of the tree.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Kind of the object; `Revision` for the nodes that stand for one.
    pub kind: String,
    /// Name of the object, or the revision.
    pub name: String,
    /// How it is.
    pub look: Look,
    /// The word for that; empty for revisions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Seconds since it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
    /// Ready containers of a pod, or ready pods of a workload, of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Restarts of a pod's containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<i64>,
    /// Whose revision it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Percent of the traffic meant for the revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// What else there is to say: role, images, reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<String>,
    /// What hangs on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

/// What a tree is drawn from.
pub(super) struct Seen<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) status: &'a CanaryStatus,
    pub(super) look: Look,
    pub(super) now: Timestamp,
    pub(super) detail: Detail,
}

/// True when the target holds a revision other than the promoted one.
pub(super) fn target_is_canary(snapshot: &Snapshot, status: &CanaryStatus) -> bool {
    let same = match (applied(status), promoted(status)) {
        (Some(applied), Some(promoted)) => applied == promoted,
        (None, _) | (_, None) => true,
    };
    let images = |workload: &Option<Value>| workload.as_ref().map(health::images);
    !same || images(&snapshot.target) != images(&snapshot.primary)
}

fn applied(status: &CanaryStatus) -> Option<&String> {
    status.applied_revision.as_ref().or(status.last_applied_spec.as_ref())
}

fn promoted(status: &CanaryStatus) -> Option<&String> {
    status.promoted_revision.as_ref().or(status.last_promoted_spec.as_ref())
}

impl Seen<'_> {
    pub(super) fn tree(&self) -> Node {
        let mut root = self.node(&self.snapshot.canary, self.look, phase_word(self.status.phase));
        root.kind = "Canary".to_owned();
        root.children = self.revisions();
        root
    }

    fn revisions(&self) -> Vec<Node> {
        let primary = self.snapshot.primary.as_ref().map(|primary| self.workload(primary, "primary"));
        let target = self.snapshot.target.as_ref().map(|target| self.workload(target, "target"));
        if primary.is_some() && target.is_some() && target_is_canary(self.snapshot, self.status) {
            let stable = self.revision(promoted(self.status), Tag::Stable, self.snapshot.primary.as_ref(), primary);
            let canary = self.revision(applied(self.status), Tag::Canary, self.snapshot.target.as_ref(), target);
            return vec![stable, canary];
        }
        let source = self.snapshot.primary.as_ref().or(self.snapshot.target.as_ref());
        let hash = promoted(self.status).or(applied(self.status));
        let workloads: Vec<Node> = primary.into_iter().chain(target).collect();
        if workloads.is_empty() { Vec::new() } else { vec![self.revision(hash, Tag::Stable, source, workloads)] }
    }

    fn revision(
        &self,
        hash: Option<&String>,
        tag: Tag,
        source: Option<&Value>,
        workloads: impl IntoIterator<Item = Node>,
    ) -> Node {
        let look = match (tag, self.status.phase) {
            (Tag::Canary, Phase::Failed) => Look::Bad,
            (Tag::Canary, _) => self.look,
            (Tag::Stable, _) => Look::Good,
        };
        let weight = match tag {
            Tag::Canary if self.status.canary_weight > 0 => Some(self.status.canary_weight),
            Tag::Canary | Tag::Stable => None,
        };
        Node {
            kind: "Revision".to_owned(),
            name: hash.cloned().unwrap_or_else(|| "unknown".to_owned()),
            look,
            status: String::new(),
            age_seconds: None,
            ready: None,
            restarts: None,
            tags: vec![tag],
            info: source.map(health::images).unwrap_or_default(),
            weight,
            children: workloads.into_iter().collect(),
        }
    }

    fn workload(&self, workload: &Value, role: &str) -> Node {
        let Health { look, word, detail } = health::workload(workload);
        let replicas = health::replicas(workload);
        let mut node = self.node(workload, look, word);
        node.ready = Some(format!("{}/{}", replicas.ready, replicas.desired));
        node.info = std::iter::once(role.to_owned()).chain(detail).collect();
        node.children = if node.kind == "DaemonSet" { self.pods(workload) } else { self.replica_sets(workload) };
        node
    }

    /// The ReplicaSets that have pods or are to have some, and the newest; newest first.
    fn replica_sets(&self, workload: &Value) -> Vec<Node> {
        let revision = |object: &Value| {
            let text = object.pointer("/metadata/annotations/deployment.kubernetes.io~1revision");
            text.and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0)
        };
        let mut owned: Vec<&Value> = self.owned(&self.snapshot.replica_sets, workload);
        owned.sort_by_key(|object| (-revision(object), text(object, "/metadata/name")));
        owned
            .into_iter()
            .enumerate()
            .filter_map(|(index, replica_set)| {
                let Health { look, word, detail } = health::replica_set(replica_set);
                let mut node = self.node(replica_set, look, word);
                node.children = self.pods(replica_set);
                let shown = index == 0 || look != Look::Idle || !node.children.is_empty();
                let ready = number(replica_set, "/status/readyReplicas").unwrap_or(0);
                node.ready = Some(format!("{ready}/{}", number(replica_set, "/spec/replicas").unwrap_or(1)));
                node.info = std::iter::once(format!("revision {}", revision(replica_set))).chain(detail).collect();
                (shown || self.detail == Detail::Wide).then_some(node)
            })
            .collect()
    }

    fn pods(&self, owner: &Value) -> Vec<Node> {
        let mut owned = self.owned(&self.snapshot.pods, owner);
        owned.sort_by_key(|pod| text(pod, "/metadata/name"));
        owned
            .into_iter()
            .map(|pod| {
                let seen = health::pod(pod);
                let mut node = self.node(pod, seen.health.look, seen.health.word);
                node.ready = Some(seen.ready);
                node.restarts = Some(seen.restarts);
                node.info = seen.health.detail.into_iter().collect();
                if self.detail == Detail::Wide {
                    node.info.extend(Some(text(pod, "/spec/nodeName")).filter(|name| !name.is_empty()));
                }
                node
            })
            .collect()
    }

    fn owned<'o>(&self, objects: &'o [Value], owner: &Value) -> Vec<&'o Value> {
        let uid = text(owner, "/metadata/uid");
        objects.iter().filter(|object| owners(object).contains(uid.as_str())).collect()
    }

    fn node(&self, object: &Value, look: Look, status: String) -> Node {
        Node {
            kind: text(object, "/kind"),
            name: text(object, "/metadata/name"),
            look,
            status,
            age_seconds: time(object, "/metadata/creationTimestamp").map(|then| seconds_between(then, self.now)),
            ready: None,
            restarts: None,
            tags: Vec::new(),
            weight: None,
            info: Vec::new(),
            children: Vec::new(),
        }
    }
}
