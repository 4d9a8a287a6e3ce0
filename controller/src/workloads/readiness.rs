//! Whether the pods of a workload serve.

use std::time::Duration;

use jiff::Timestamp;
use rollout::Readiness;
use rollout::spec::TargetKind;
use serde_json::Value;

use super::scale::scaled_down;
use crate::denial::{self, Denial};
use crate::objects::At;

/// Reads the readiness of a target or primary from its status.
///
/// `ready_percent` of the replicas must be available. When they are not within `progress_deadline`, the workload is
/// stuck. The deadline runs from `since`, when somebody began to wait for the pods, or from the last progress that the
/// status tells, whichever is later; without `since` a DaemonSet and a Deployment that still serves are never stuck.
pub fn readiness(
    kind: TargetKind,
    object: &Value,
    ready_percent: u8,
    progress_deadline: Duration,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Readiness {
    if scaled_down(kind, object) {
        return Readiness::ScaledToZero;
    }
    let generation = number(object, "/metadata/generation");
    if number(object, "/status/observedGeneration") < generation {
        return Readiness::NotYet(format!("generation {generation} is not observed yet"));
    }
    match kind {
        TargetKind::Deployment => deployment(object, ready_percent, progress_deadline, since, now),
        TargetKind::DaemonSet => daemon_set(object, ready_percent, progress_deadline, since, now),
    }
}

/// The policy that keeps pods of the workload from being made, when its status tells of one.
pub fn refused_pods(object: &Value) -> Option<Denial> {
    let failure = condition(object, "ReplicaFailure").filter(|failure| text(failure, "status") == Some("True"))?;
    denial::parse(text(failure, "message")?)
}

fn deployment(
    object: &Value,
    ready_percent: u8,
    deadline: Duration,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Readiness {
    let progressing = condition(object, "Progressing");
    if let Some(progressing) = progressing
        && text(progressing, "reason") == Some("ProgressDeadlineExceeded")
    {
        let message = text(progressing, "message").unwrap_or("its progressDeadlineSeconds is exceeded");
        return Readiness::Stuck(message.to_owned());
    }
    let wanted = object.at("/spec/replicas").map_or(1, |replicas| replicas.as_i64().unwrap_or(1));
    let updated = number(object, "/status/updatedReplicas");
    let total = number(object, "/status/replicas");
    let available = number(object, "/status/availableReplicas");
    let missing = if updated < wanted {
        format!("{updated} of {wanted} replicas are updated")
    } else if total > updated {
        format!("{} old replicas are still there", total - updated)
    } else if available < share(updated, ready_percent) {
        format!("{available} of {updated} replicas are available, {} are needed", share(updated, ready_percent))
    } else {
        return Readiness::Ready;
    };
    let unavailable = condition(object, "Available").filter(|available| {
        text(available, "status") == Some("False") && text(available, "reason") == Some("MinimumReplicasUnavailable")
    });
    if unavailable.is_none() && since.is_none() {
        return Readiness::NotYet(missing);
    }
    // Progress moves the deadline: a new revision of a workload that has long been broken gets its own time.
    let progress = [unavailable, progressing].into_iter().flatten().filter_map(last_update).max();
    judged(missing, progress.max(since), deadline, now)
}

fn daemon_set(
    object: &Value,
    ready_percent: u8,
    deadline: Duration,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Readiness {
    let wanted = number(object, "/status/desiredNumberScheduled");
    let updated = number(object, "/status/updatedNumberScheduled");
    let available = number(object, "/status/numberAvailable");
    let missing = if updated < wanted {
        format!("{updated} of {wanted} pods are updated")
    } else if available < share(wanted, ready_percent) {
        format!("{available} of {wanted} pods are available, {} are needed", share(wanted, ready_percent))
    } else {
        return Readiness::Ready;
    };
    judged(missing, since, deadline, now)
}

fn judged(missing: String, since: Option<Timestamp>, deadline: Duration, now: Timestamp) -> Readiness {
    let waited = since.map(|since| Duration::try_from(now.duration_since(since)).unwrap_or_default());
    match waited {
        Some(waited) if waited > deadline => {
            Readiness::Stuck(format!("{missing}, without progress for more than {} seconds", deadline.as_secs()))
        }
        Some(_) | None => Readiness::NotYet(missing),
    }
}

/// `percent` of `count`, rounded down as Flagger does.
fn share(count: i64, percent: u8) -> i64 {
    count.saturating_mul(percent.into()) / 100
}

fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = object.at("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| text(condition, "type") == Some(kind))
}

fn last_update(condition: &Value) -> Option<Timestamp> {
    text(condition, "lastUpdateTime")?.parse().ok()
}

fn text<'v>(object: &'v Value, field: &str) -> Option<&'v str> {
    object.get(field)?.as_str()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.at(pointer).and_then(Value::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rollout::revision::SCALE_TO_ZERO;
    use serde_json::json;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn at(time: &str) -> Timestamp {
        format!("2026-01-01T00:{time}Z").parse().unwrap()
    }

    /// wanted, updated, total, available
    fn deployment_with(counts: [i64; 4], conditions: Value) -> Value {
        let [wanted, updated, total, available] = counts;
        json!({
            "metadata": {"generation": 2},
            "spec": {"replicas": wanted},
            "status": {"observedGeneration": 2, "updatedReplicas": updated, "replicas": total,
                "availableReplicas": available, "conditions": conditions},
        })
    }

    fn read(object: &Value, percent: u8, since: Option<&str>) -> Readiness {
        readiness(TargetKind::Deployment, object, percent, DEADLINE, since.map(at), at("10:00"))
    }

    #[test]
    fn a_deployment_is_ready_when_enough_updated_replicas_are_available() {
        let not_yet = |message: &str| Readiness::NotYet(message.into());
        for (counts, percent, expected) in [
            ([2, 2, 2, 2], 100, Readiness::Ready),
            ([2, 1, 2, 2], 100, not_yet("1 of 2 replicas are updated")),
            ([2, 2, 3, 2], 100, not_yet("1 old replicas are still there")),
            ([2, 2, 2, 1], 100, not_yet("1 of 2 replicas are available, 2 are needed")),
            ([2, 2, 2, 1], 50, Readiness::Ready),
            ([3, 3, 3, 1], 50, Readiness::Ready),
            ([4, 4, 4, 1], 50, not_yet("1 of 4 replicas are available, 2 are needed")),
            ([2, 0, 0, 0], 0, not_yet("0 of 2 replicas are updated")),
            ([2, 2, 2, 0], 0, Readiness::Ready),
            ([0, 0, 0, 0], 100, Readiness::ScaledToZero),
            ([0, 2, 2, 2], 100, Readiness::ScaledToZero),
        ] {
            assert_eq!(read(&deployment_with(counts, json!([])), percent, None), expected, "{counts:?}");
        }
    }

    #[test]
    fn a_status_of_an_earlier_generation_says_nothing() {
        let mut object = deployment_with([2, 2, 2, 2], json!([]));
        object["metadata"]["generation"] = json!(3);
        assert_eq!(read(&object, 100, None), Readiness::NotYet("generation 3 is not observed yet".into()));
    }

    #[test]
    fn a_deployment_is_stuck_past_its_deadline() {
        let unavailable = |time: &str| json!({"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "lastUpdateTime": at(time)});
        let progressing = |time: &str| json!({"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": at(time)});
        let exceeded = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"});
        let available = json!({"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "lastUpdateTime": at("00:00")});
        for (name, conditions, since, stuck) in [
            ("says so itself", json!([exceeded]), None, true),
            ("unavailable for long", json!([unavailable("08:00")]), None, true),
            ("unavailable for just the deadline", json!([unavailable("09:00")]), None, false),
            ("long unavailable, but progressing", json!([unavailable("00:00"), progressing("09:30")]), None, false),
            ("long unavailable, but just begun", json!([unavailable("00:00")]), Some("09:30"), false),
            ("partly available, nobody waits", json!([available]), None, false),
            ("partly available, waited for", json!([available]), Some("08:00"), true),
            ("partly available, just begun", json!([available]), Some("09:30"), false),
            ("a clock that is behind", json!([unavailable("20:00")]), None, false),
        ] {
            let seen = read(&deployment_with([4, 4, 4, 3], conditions), 100, since);
            assert_eq!(matches!(seen, Readiness::Stuck(_)), stuck, "{name}: {seen:?}");
        }
    }

    #[test]
    fn a_ready_deployment_is_ready_however_long_it_took() {
        let conditions = json!([{"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "lastUpdateTime": at("00:00")}]);
        assert_eq!(read(&deployment_with([2, 2, 2, 2], conditions), 100, Some("00:00")), Readiness::Ready);
    }

    #[test]
    fn a_daemon_set_is_ready_when_enough_updated_pods_are_available() {
        let daemon_set = |counts: [i64; 3]| {
            let [wanted, updated, available] = counts;
            json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "desiredNumberScheduled": wanted,
                "updatedNumberScheduled": updated, "numberAvailable": available}})
        };
        let read = |object: &Value, percent, since: Option<&str>| {
            readiness(TargetKind::DaemonSet, object, percent, DEADLINE, since.map(at), at("10:00"))
        };
        assert_eq!(read(&daemon_set([3, 3, 3]), 100, None), Readiness::Ready);
        assert_eq!(read(&daemon_set([3, 3, 2]), 67, None), Readiness::Ready);
        assert_eq!(read(&daemon_set([3, 2, 3]), 100, None), Readiness::NotYet("2 of 3 pods are updated".into()));
        let missing = "2 of 3 pods are available, 3 are needed";
        assert_eq!(read(&daemon_set([3, 3, 2]), 100, None), Readiness::NotYet(missing.into()));
        assert_eq!(read(&daemon_set([3, 3, 2]), 100, Some("09:30")), Readiness::NotYet(missing.into()));
        assert_eq!(
            read(&daemon_set([3, 3, 2]), 100, Some("08:00")),
            Readiness::Stuck(format!("{missing}, without progress for more than 60 seconds"))
        );
        let mut scaled_down = daemon_set([0, 0, 0]);
        scaled_down["spec"] = json!({"template": {"spec": {"nodeSelector": {SCALE_TO_ZERO: "true"}}}});
        assert_eq!(read(&scaled_down, 100, None), Readiness::ScaledToZero);
    }

    #[test]
    fn a_policy_that_refuses_pods_is_read_from_the_status() {
        let failure = |status: &str, message: &str| json!([{"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": message}]);
        let quota =
            "pods \"web-5d-\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2";
        for (conditions, policy) in [
            (failure("True", quota), Some("small")),
            (failure("False", quota), None),
            (failure("True", "no service account"), None),
            (json!([{"type": "ReplicaFailure", "status": "True"}]), None),
            (json!(7), None),
        ] {
            let denial = refused_pods(&deployment_with([2, 2, 2, 1], conditions));
            assert_eq!(denial.as_ref().map(|denial| denial.policy.as_str()), policy);
        }
    }

    #[test]
    fn malformed_objects_are_not_ready() {
        for object in [json!(null), json!([]), json!({"status": {"conditions": 1}, "spec": {"replicas": "two"}})] {
            assert!(matches!(read(&object, 100, None), Readiness::NotYet(_)), "{object}");
        }
    }
}
