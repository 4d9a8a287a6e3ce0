//! How workloads and pods are.

use crds::Phase;
use serde::Serialize;
use serde_json::Value;

use super::{ReplicasView, number, text};

/// How a thing is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Look {
    /// All is well.
    Good,
    /// Under way.
    Busy,
    /// Waits for someone.
    Held,
    /// Not well.
    Bad,
    /// Rests, as it should.
    Idle,
    /// Nobody knows.
    Unknown,
}

impl Look {
    /// How a phase is to be taken.
    pub fn of_phase(phase: Phase) -> Self {
        match phase {
            Phase::New => Look::Unknown,
            Phase::Initializing | Phase::Progressing | Phase::Promoting | Phase::Finalising | Phase::Terminating => {
                Look::Busy
            }
            Phase::Waiting | Phase::WaitingPromotion => Look::Held,
            Phase::Initialized | Phase::Succeeded => Look::Good,
            Phase::Failed => Look::Bad,
            Phase::Terminated => Look::Idle,
        }
    }
}

/// A look with its word, and with details for people.
#[derive(Debug, PartialEq)]
pub(super) struct Health {
    pub(super) look: Look,
    pub(super) word: String,
    pub(super) detail: Option<String>,
}

impl Health {
    fn new(look: Look, word: &str) -> Self {
        Health { look, word: word.to_owned(), detail: None }
    }
}

/// Replicas of a Deployment or DaemonSet.
pub(super) fn replicas(workload: &Value) -> ReplicasView {
    let of = |pointer: &str| number(workload, pointer).unwrap_or(0);
    if workload["kind"] == "DaemonSet" {
        return ReplicasView {
            desired: of("/status/desiredNumberScheduled"),
            updated: of("/status/updatedNumberScheduled"),
            ready: of("/status/numberReady"),
            available: of("/status/numberAvailable"),
        };
    }
    ReplicasView {
        desired: number(workload, "/spec/replicas").unwrap_or(1),
        updated: of("/status/updatedReplicas"),
        ready: of("/status/readyReplicas"),
        available: of("/status/availableReplicas"),
    }
}

/// Images of the pod template, as they stand in it; init containers do not count.
pub(super) fn images(workload: &Value) -> Vec<String> {
    let containers = workload.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    containers.into_iter().flatten().filter_map(|container| container["image"].as_str()).map(str::to_owned).collect()
}

/// A Deployment or DaemonSet.
pub(super) fn workload(workload: &Value) -> Health {
    let replicas = replicas(workload);
    let conditions = workload.pointer("/status/conditions").and_then(Value::as_array);
    let conditions = || conditions.into_iter().flatten();
    if let Some(late) = conditions().find(|condition| condition["reason"] == "ProgressDeadlineExceeded") {
        return Health { detail: late["message"].as_str().map(str::to_owned), ..Health::new(Look::Bad, "Degraded") };
    }
    let unseen = number(workload, "/metadata/generation") > number(workload, "/status/observedGeneration");
    if unseen {
        return Health::new(Look::Busy, "Progressing");
    }
    let total = number(workload, "/status/replicas").unwrap_or(replicas.updated);
    if replicas.desired == 0 {
        return match total {
            0 => Health::new(Look::Idle, "ScaledDown"),
            _ => Health::new(Look::Busy, "ScalingDown"),
        };
    }
    if replicas.updated < replicas.desired || replicas.available < replicas.desired || total > replicas.updated {
        let refused = conditions()
            .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")
            .and_then(|condition| condition["message"].as_str().map(str::to_owned));
        return match refused {
            Some(why) => Health { detail: Some(why), ..Health::new(Look::Bad, "Refused") },
            None => Health::new(Look::Busy, "Progressing"),
        };
    }
    Health::new(Look::Good, "Healthy")
}

/// A ReplicaSet.
pub(super) fn replica_set(replica_set: &Value) -> Health {
    let desired = number(replica_set, "/spec/replicas").unwrap_or(1);
    let available = number(replica_set, "/status/availableReplicas").unwrap_or(0);
    let total = number(replica_set, "/status/replicas").unwrap_or(0);
    match desired {
        0 if total == 0 => Health::new(Look::Idle, "ScaledDown"),
        0 => Health::new(Look::Busy, "ScalingDown"),
        _ if available >= desired => Health::new(Look::Good, "Healthy"),
        _ => Health::new(Look::Busy, "Progressing"),
    }
}

/// What `kubectl get pods` tells of a pod.
#[derive(Debug, PartialEq)]
pub(super) struct PodHealth {
    pub(super) health: Health,
    pub(super) ready: String,
    pub(super) restarts: i64,
}

/// A pod.
pub(super) fn pod(pod: &Value) -> PodHealth {
    let statuses = |pointer: &str| pod.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let containers = statuses("/status/containerStatuses");
    let wanted = pod.pointer("/spec/containers").and_then(Value::as_array).map_or(containers.len(), Vec::len);
    let ready = containers.iter().filter(|container| container["ready"] == true).count();
    let restarts = containers.iter().filter_map(|container| container["restartCount"].as_i64()).sum();
    PodHealth { health: pod_health(pod, &containers, ready == wanted), ready: format!("{ready}/{wanted}"), restarts }
}

fn pod_health(pod: &Value, containers: &[Value], all_ready: bool) -> Health {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return Health::new(Look::Busy, "Terminating");
    }
    let init = pod.pointer("/status/initContainerStatuses").and_then(Value::as_array);
    let stuck_init = init.into_iter().flatten().find_map(stuck);
    if let Some((word, detail)) = stuck_init {
        return Health { look: Look::Bad, word: format!("Init:{word}"), detail };
    }
    if let Some((word, detail)) = containers.iter().find_map(stuck) {
        return Health { look: Look::Bad, word, detail };
    }
    let phase = text(pod, "/status/phase");
    match phase.as_str() {
        "Running" if all_ready => Health::new(Look::Good, "Running"),
        "Running" => Health::new(Look::Busy, "NotReady"),
        "Succeeded" => Health::new(Look::Good, "Completed"),
        "Failed" => {
            let reason = text(pod, "/status/reason");
            let detail = pod.pointer("/status/message").and_then(Value::as_str).map(str::to_owned);
            let word = if reason.is_empty() { phase } else { reason };
            Health { look: Look::Bad, word, detail }
        }
        "" => Health::new(Look::Unknown, "Unknown"),
        _ => pending(pod, containers, phase.clone()),
    }
}

fn pending(pod: &Value, containers: &[Value], phase: String) -> Health {
    let unschedulable = pod
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .and_then(|conditions| conditions.iter().find(|condition| condition["reason"] == "Unschedulable"));
    if let Some(condition) = unschedulable {
        let detail = condition["message"].as_str().map(str::to_owned);
        return Health { look: Look::Bad, word: "Unschedulable".to_owned(), detail };
    }
    let waiting = containers.iter().find_map(|container| container.pointer("/state/waiting/reason")?.as_str());
    Health::new(Look::Busy, waiting.unwrap_or(&phase))
}

/// A container that will not get well by waiting, with its reason and message.
fn stuck(container: &Value) -> Option<(String, Option<String>)> {
    let waiting = container.pointer("/state/waiting").filter(|waiting| {
        waiting["reason"].as_str().is_some_and(|reason| !matches!(reason, "ContainerCreating" | "PodInitializing"))
    });
    let ended = container.pointer("/state/terminated").filter(|ended| ended["exitCode"] != 0);
    let state = waiting.or(ended)?;
    let word = state["reason"].as_str().unwrap_or("Error").to_owned();
    Some((word, state["message"].as_str().map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn deployments_are_as_healthy_as_their_numbers() {
        let deployment = |generation: i64, desired: i64, total: i64, updated: i64, available: i64| {
            json!({
                "kind": "Deployment", "metadata": {"generation": generation}, "spec": {"replicas": desired},
                "status": {"observedGeneration": 2, "replicas": total, "updatedReplicas": updated,
                           "readyReplicas": available, "availableReplicas": available},
            })
        };
        for (object, word) in [
            (deployment(2, 2, 2, 2, 2), "Healthy"),
            (deployment(3, 2, 2, 2, 2), "Progressing"),
            (deployment(2, 2, 3, 2, 2), "Progressing"),
            (deployment(2, 2, 2, 1, 2), "Progressing"),
            (deployment(2, 0, 0, 0, 0), "ScaledDown"),
            (deployment(2, 0, 1, 1, 1), "ScalingDown"),
        ] {
            assert_eq!(workload(&object).word, word, "{object}");
        }
    }

    #[test]
    fn a_refusal_by_policy_is_told_in_the_words_of_the_policy() {
        let refused = json!({
            "kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 1},
            "status": {"observedGeneration": 1, "conditions": [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                 "message": "admission webhook denied the request: latest is not allowed"}]},
        });
        let health = workload(&refused);
        assert_eq!((health.look, health.word.as_str()), (Look::Bad, "Refused"));
        assert!(health.detail.is_some_and(|why| why.contains("latest is not allowed")));
    }

    #[test]
    fn pods_say_what_kubectl_says() {
        let of = |status: Value| pod(&json!({"spec": {"containers": [{}]}, "status": status}));
        let waiting = |reason: &str| {
            of(json!({"phase": "Pending", "containerStatuses": [
                {"ready": false, "restartCount": 3, "state": {"waiting": {"reason": reason, "message": "why"}}}]}))
        };
        let running = of(json!({"phase": "Running", "containerStatuses": [{"ready": true, "restartCount": 0}]}));
        assert_eq!((running.health.look, running.ready.as_str()), (Look::Good, "1/1"));
        assert_eq!(waiting("ContainerCreating").health.look, Look::Busy);
        let crashing = waiting("CrashLoopBackOff");
        assert_eq!((crashing.health.look, crashing.restarts), (Look::Bad, 3));
        assert_eq!(crashing.health.detail.as_deref(), Some("why"));
        let unplaced = of(json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}));
        assert_eq!(unplaced.health.word, "Unschedulable");
        assert_eq!(of(json!({})).health.look, Look::Unknown);
    }
}
