//! What a Deployment asks for and what it said last.

use serde_json::{Value, json};

use crate::controllers::object::{self, list, number, text};

/// Kubernetes takes this number for "no limit".
const UNLIMITED: i64 = i32::MAX as i64;

/// How the pods of the old template give way to those of the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Side by side: so many more than wanted, and so many fewer available.
    RollingUpdate { surge: i64, unavailable: i64 },
    /// All old ones end before the first new one is made.
    Recreate,
}

/// The spec with its defaults.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) replicas: i64,
    pub(super) strategy: Strategy,
    pub(super) paused: bool,
    pub(super) min_ready_seconds: i64,
    /// Old ReplicaSets to keep; none: all of them.
    pub(super) history_limit: Option<i64>,
    /// Seconds without progress after which the rollout counts as failed; none: never.
    pub(super) progress_deadline: Option<i64>,
}

impl Spec {
    pub(super) fn of(deployment: &Value) -> Spec {
        let limited =
            |pointer, default| Some(number(deployment, pointer).unwrap_or(default)).filter(|limit| *limit != UNLIMITED);
        let replicas = number(deployment, "/spec/replicas").unwrap_or(1);
        Spec {
            replicas,
            strategy: Strategy::of(deployment, replicas),
            paused: deployment.pointer("/spec/paused") == Some(&Value::Bool(true)),
            min_ready_seconds: number(deployment, "/spec/minReadySeconds").unwrap_or(0),
            history_limit: limited("/spec/revisionHistoryLimit", 10),
            progress_deadline: limited("/spec/progressDeadlineSeconds", 600),
        }
    }

    /// Pods that there may be beyond those wanted.
    pub(super) fn surge(&self) -> i64 {
        match self.strategy {
            Strategy::RollingUpdate { surge, .. } => surge,
            Strategy::Recreate => 0,
        }
    }

    /// Pods that may be missing from those wanted.
    pub(super) fn unavailable(&self) -> i64 {
        match self.strategy {
            Strategy::RollingUpdate { unavailable, .. } => unavailable.min(self.replicas),
            Strategy::Recreate => 0,
        }
    }
}

impl Strategy {
    fn of(deployment: &Value, replicas: i64) -> Strategy {
        if text(deployment, "/spec/strategy/type") == "Recreate" {
            return Strategy::Recreate;
        }
        let limit = |name: &str, up| {
            let value = deployment.pointer(&format!("/spec/strategy/rollingUpdate/{name}"));
            share(value.unwrap_or(&json!("25%")), replicas, up)
        };
        let surge = limit("maxSurge", true);
        let unavailable = limit("maxUnavailable", false);
        // With neither nothing could ever move. Rounding leads there, validation forbids to ask for it.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Strategy::RollingUpdate { surge, unavailable }
    }
}

/// A number, or a percentage of `whole`, rounded up or down.
pub(in crate::controllers) fn share(value: &Value, whole: i64, up: bool) -> i64 {
    let Some(percentage) = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok()) else {
        return value.as_i64().unwrap_or(0);
    };
    let hundredths = percentage.saturating_mul(whole);
    if up { (hundredths + 99).div_euclid(100) } else { hundredths.div_euclid(100) }
}

/// The status, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    pub(super) observed_generation: i64,
    pub(super) replicas: i64,
    pub(super) updated: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    pub(super) unavailable: i64,
    pub(super) terminating: i64,
    pub(super) collisions: Option<i64>,
    pub(super) conditions: Vec<Value>,
}

impl Status {
    pub(super) fn of(deployment: &Value) -> Status {
        let count = |name: &str| number(deployment, &format!("/status/{name}")).unwrap_or(0);
        Status {
            observed_generation: count("observedGeneration"),
            replicas: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
            unavailable: count("unavailableReplicas"),
            terminating: count("terminatingReplicas"),
            collisions: number(deployment, "/status/collisionCount"),
            conditions: list(deployment, "/status/conditions").to_vec(),
        }
    }

    /// Whether all pods are of the new template and available, and no others are left.
    pub(super) fn is_complete(&self, deployment: &Value, wanted: i64) -> bool {
        self.updated == wanted
            && self.replicas == wanted
            && self.available == wanted
            && self.observed_generation >= object::generation(deployment)
    }

    /// Whether anything has moved towards the new template since `before`.
    pub(super) fn is_ahead_of(&self, before: &Status) -> bool {
        self.updated > before.updated
            || self.replicas - self.updated < before.replicas - before.updated
            || self.ready > before.ready
            || self.available > before.available
    }

    /// As it is written: zeros are left out, except where the real one writes them.
    pub(super) fn to_value(&self) -> Value {
        let mut status = json!({
            "observedGeneration": self.observed_generation,
            "terminatingReplicas": self.terminating,
            "conditions": self.conditions,
        });
        for (name, count) in [
            ("replicas", self.replicas),
            ("updatedReplicas", self.updated),
            ("readyReplicas", self.ready),
            ("availableReplicas", self.available),
            ("unavailableReplicas", self.unavailable),
        ] {
            if count != 0 {
                status[name] = count.into();
            }
        }
        if let Some(collisions) = self.collisions {
            status["collisionCount"] = collisions.into();
        }
        status
    }

    pub(super) fn condition(&self, of: &str) -> Option<&Value> {
        object::condition(&self.conditions, of)
    }

    /// Puts a condition in the place of the one of its type. One with the same status and reason stays as it is, its message
    /// included; one with the same status keeps the time of its last transition.
    pub(super) fn set_condition(&mut self, of: &str, status: &str, reason: &str, message: &str, stamp: &str) {
        let old = self.condition(of);
        if old.is_some_and(|old| old["status"] == status && old["reason"] == reason) {
            return;
        }
        self.renew_condition(of, status, reason, message, stamp);
    }

    /// As [`Status::set_condition`], but what says the same is told anew: its update time shows that there was progress.
    pub(super) fn renew_condition(&mut self, of: &str, status: &str, reason: &str, message: &str, stamp: &str) {
        let since = self
            .condition(of)
            .filter(|old| old["status"] == status)
            .map_or(stamp, |old| text(old, "/lastTransitionTime"))
            .to_owned();
        self.drop_condition(of);
        self.conditions.push(json!({
            "type": of, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": stamp, "lastTransitionTime": since,
        }));
    }

    pub(super) fn drop_condition(&mut self, of: &str) {
        self.conditions.retain(|condition| condition["type"] != of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_and_unavailable_are_rounded_as_kubernetes_rounds_them() {
        for (surge, unavailable, replicas, expected) in [
            (json!("25%"), json!("25%"), 1, (1, 0)),
            (json!("25%"), json!("25%"), 10, (3, 2)),
            (json!(0), json!("1%"), 2, (0, 1)),
            (json!("1%"), json!(0), 2, (1, 0)),
            (json!(2), json!(5), 3, (2, 3)),
            (json!("0%"), json!("0%"), 3, (0, 1)),
        ] {
            let spec = Spec::of(&json!({"spec": {"replicas": replicas, "strategy": {"rollingUpdate":
                {"maxSurge": surge, "maxUnavailable": unavailable}}}}));
            assert_eq!((spec.surge(), spec.unavailable()), expected, "{surge} {unavailable} of {replicas}");
        }
    }

    #[test]
    fn a_spec_has_the_defaults_of_kubernetes() {
        let spec = Spec::of(&json!({"spec": {"progressDeadlineSeconds": UNLIMITED}}));
        assert_eq!((spec.replicas, spec.history_limit, spec.progress_deadline), (1, Some(10), None));
        assert_eq!(spec.strategy, Strategy::RollingUpdate { surge: 1, unavailable: 0 });
    }
}
