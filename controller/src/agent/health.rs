//! How applied objects are, of the kinds that say so.

use serde_json::Value;

use crate::objects::Kind;

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Not, and it will not become so by itself.
    Bad(String),
    /// Its kind does not say.
    NotAsked,
}

/// True for kinds whose objects are watched whole, for their health.
pub fn has_health(kind: Kind) -> bool {
    matches!(
        (kind.group, kind.kind),
        ("apps", "Deployment" | "DaemonSet" | "StatefulSet") | ("batch", "Job") | ("flagger.app", "Canary")
    )
}

/// How the object is. The watch may leave its kind out, so it is told by what it has.
pub fn health(object: &Value) -> Health {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let status = &object["status"];
    if status["phase"].is_string() && !object["spec"]["targetRef"].is_null() {
        return canary(status);
    }
    if let Some(failed) = condition(status, "Failed").filter(|failed| failed["status"] == "True") {
        return Health::Bad(message(failed));
    }
    if let Some(late) = conditions(status).find(|condition| condition["reason"] == "ProgressDeadlineExceeded") {
        return Health::Bad(message(late));
    }
    if number("/metadata/generation") > number("/status/observedGeneration") && !status["observedGeneration"].is_null()
    {
        return Health::Busy;
    }
    if let Some(refused) = condition(status, "ReplicaFailure").filter(|refused| refused["status"] == "True") {
        return Health::Bad(message(refused));
    }
    if !status["desiredNumberScheduled"].is_null() {
        let wanted = number("/status/desiredNumberScheduled").unwrap_or_default();
        let (updated, available) = (number("/status/updatedNumberScheduled"), number("/status/numberAvailable"));
        let all = updated.unwrap_or_default() >= wanted && available.unwrap_or_default() >= wanted;
        return if all { Health::Good } else { Health::Busy };
    }
    if !object["spec"]["completions"].is_null() || !object["spec"]["backoffLimit"].is_null() {
        // A Job that runs is as it should be.
        return Health::Good;
    }
    if status.is_null() {
        return Health::Busy;
    }
    let wanted = number("/spec/replicas").unwrap_or(1);
    let (updated, ready) = (number("/status/updatedReplicas"), number("/status/readyReplicas"));
    let all = updated.unwrap_or_default() >= wanted && ready.unwrap_or_default() >= wanted;
    if all { Health::Good } else { Health::Busy }
}

fn canary(status: &Value) -> Health {
    match status["phase"].as_str() {
        Some("Failed") => {
            let why = condition(status, "Ready").or_else(|| condition(status, "Promoted")).map(message);
            Health::Bad(why.unwrap_or_else(|| "the last rollout was taken back".into()))
        }
        Some("Initialized" | "Succeeded") => Health::Good,
        Some(_) | None => Health::Busy,
    }
}

fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status["conditions"].as_array().into_iter().flatten()
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions(status).find(|condition| condition["type"] == kind)
}

fn message(condition: &Value) -> String {
    condition["message"].as_str().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_says_it_in_its_way() {
        let deployment = |wanted: i64, ready: i64, observed: i64| {
            json!({ "metadata": { "generation": 2 }, "spec": { "replicas": wanted },
                    "status": { "observedGeneration": observed, "updatedReplicas": ready, "readyReplicas": ready } })
        };
        let late = json!({ "spec": {}, "status": { "conditions": [{ "reason": "ProgressDeadlineExceeded", "message": "too late" }] } });
        let canary = |phase: &str| json!({ "spec": { "targetRef": {} }, "status": { "phase": phase, "conditions": [{ "type": "Promoted", "message": "no" }] } });
        let job = |conditions: Value| json!({ "spec": { "backoffLimit": 1 }, "status": { "conditions": conditions } });
        for (object, expected) in [
            (deployment(2, 2, 2), Health::Good),
            (deployment(0, 0, 2), Health::Good),
            (deployment(2, 1, 2), Health::Busy),
            (deployment(2, 2, 1), Health::Busy),
            (json!({ "spec": { "replicas": 1 } }), Health::Busy),
            (late, Health::Bad("too late".into())),
            (
                json!({ "spec": {}, "status": { "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1 } }),
                Health::Busy,
            ),
            (canary("Succeeded"), Health::Good),
            (canary("Progressing"), Health::Busy),
            (canary("Failed"), Health::Bad("no".into())),
            (job(json!([])), Health::Good),
            (
                job(json!([{ "type": "Failed", "status": "True", "message": "BackoffLimitExceeded" }])),
                Health::Bad("BackoffLimitExceeded".into()),
            ),
        ] {
            assert_eq!(health(&object), expected, "{object}");
        }
    }
}
