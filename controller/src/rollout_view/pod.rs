//! One pod in one line.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Look, Tag, health, text, time};

/// One pod of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Whose pod it is, when its labels tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// How it is.
    pub look: Look,
    /// The word for that.
    pub status: String,
    /// What else there is to say of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Ready containers of all, as `1/2`.
    pub ready: String,
    /// Restarts of its containers.
    pub restarts: i64,
    /// The node, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

impl PodView {
    /// Draws the line of a pod of one of these workloads.
    pub fn of(pod: &Value, target: Option<&Value>, primary: Option<&Value>) -> Self {
        let selects = |workload: Option<&Value>| {
            let labels = workload.and_then(|workload| workload.pointer("/spec/selector/matchLabels")?.as_object());
            labels.is_some_and(|labels| {
                labels.iter().all(|(key, value)| pod["metadata"]["labels"].get(key) == Some(value))
            })
        };
        let tag = if selects(primary) {
            Some(Tag::Stable)
        } else if selects(target) {
            Some(Tag::Canary)
        } else {
            None
        };
        let health::PodHealth { health, ready, restarts } = health::pod(pod);
        PodView {
            name: text(pod, "/metadata/name"),
            tag,
            look: health.look,
            status: health.word,
            detail: health.detail,
            ready,
            restarts,
            node: Some(text(pod, "/spec/nodeName")).filter(|node| !node.is_empty()),
            created: time(pod, "/metadata/creationTimestamp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_tell_whose_a_pod_is() {
        let workload = |app: &str| json!({"spec": {"selector": {"matchLabels": {"app": app}}}});
        let (target, primary) = (workload("web"), workload("web-primary"));
        for (app, tag) in [("web", Some(Tag::Canary)), ("web-primary", Some(Tag::Stable)), ("other", None)] {
            let pod = json!({"metadata": {"name": "x", "labels": {"app": app}}, "spec": {}, "status": {}});
            assert_eq!(PodView::of(&pod, Some(&target), Some(&primary)).tag, tag, "{app}");
        }
    }
}
