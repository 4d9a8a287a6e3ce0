//! HorizontalPodAutoscaler → the size of its target, from a utilisation that the simulated world sets.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    behaviour::Behaviour,
    object::{self, list, name, namespace, number, stamp, text},
    view::{Key, Kind},
    write::{Event, Outcome, Write},
};

const BY: &str = "horizontal-pod-autoscaler";
/// How often the real one looks at the metrics, in seconds.
const PERIOD: i64 = 15;
/// Changes smaller than this part are not worth it.
const TOLERANCE: f64 = 0.1;

/// One look at an autoscaler and its target; none if that does not exist.
pub(super) fn reconcile(
    autoscaler: &Value,
    target: Option<(Kind, &Arc<Value>)>,
    behaviour: &dyn Behaviour,
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome::default();
    if object::is_deleting(autoscaler) {
        return outcome;
    }
    let mut conditions = Conditions { list: list(autoscaler, "/status/conditions").to_vec(), stamp: stamp(now) };
    let mut status = json!({"desiredReplicas": 0, "currentMetrics": null});
    if let Some(scaled) = autoscaler.pointer("/status/lastScaleTime") {
        status["lastScaleTime"] = scaled.clone();
    }
    if let Some((kind, target)) = target {
        let current = number(target, "/spec/replicas").unwrap_or(1);
        let verdict = judge(autoscaler, kind, target, current, behaviour, &mut conditions);
        if let Some(current) = number(target, "/status/replicas").filter(|current| *current != 0) {
            status["currentReplicas"] = current.into();
        }
        status["desiredReplicas"] = verdict.replicas.into();
        if let Some(metrics) = verdict.metrics {
            status["currentMetrics"] = metrics;
            if let Ok(at) = now.checked_add(SignedDuration::from_secs(PERIOD)) {
                outcome.wake_at(at);
            }
        }
        if verdict.replicas != current {
            status["lastScaleTime"] = stamp(now).into();
            outcome.writes.push(Write::Patch {
                key: Key::of(kind, target),
                merge: json!({"spec": {"replicas": verdict.replicas}}),
            });
            let message = format!("New size: {}; reason: {}", verdict.replicas, verdict.reason);
            outcome.writes.push(Event::normal(Kind::Autoscaler, autoscaler, BY, "SuccessfulRescale", message));
        }
    } else {
        let wanted = format!(
            "{}/{}",
            text(autoscaler, "/spec/scaleTargetRef/kind"),
            text(autoscaler, "/spec/scaleTargetRef/name")
        );
        let message = format!("the HPA controller was unable to get the target's current scale: {wanted} not found");
        conditions.set("AbleToScale", false, "FailedGetScale", &message);
    }
    status["conditions"] = conditions.list.into();
    outcome.status(Kind::Autoscaler, autoscaler, status);
    outcome
}

struct Verdict {
    replicas: i64,
    reason: String,
    metrics: Option<Value>,
}

fn judge(
    autoscaler: &Value,
    kind: Kind,
    target: &Value,
    current: i64,
    behaviour: &dyn Behaviour,
    conditions: &mut Conditions,
) -> Verdict {
    let least = number(autoscaler, "/spec/minReplicas").unwrap_or(1);
    let most = number(autoscaler, "/spec/maxReplicas").unwrap_or(least).max(least);
    let unmeasured = |replicas, reason: &str| Verdict { replicas, reason: reason.to_owned(), metrics: None };
    conditions.set(
        "AbleToScale",
        true,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    );
    if current == 0 && least > 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        conditions.set("ScalingActive", false, "ScalingDisabled", message);
        return unmeasured(0, "");
    }
    let rescaled = |conditions: &mut Conditions, size: i64| {
        let message = format!("the HPA controller was able to update the target scale to {size}");
        conditions.set("AbleToScale", true, "SucceededRescale", &message);
    };
    if current > most {
        rescaled(conditions, most);
        return unmeasured(most, "Current number of replicas above Spec.MaxReplicas");
    }
    if current < least {
        rescaled(conditions, least);
        return unmeasured(least, "Current number of replicas below Spec.MinReplicas");
    }
    let metric = list(autoscaler, "/spec/metrics").first();
    let resource = metric.map_or("cpu", |metric| metric["resource"]["name"].as_str().unwrap_or("cpu"));
    let aim = metric.and_then(|metric| number(metric, "/resource/target/averageUtilization")).unwrap_or(80).max(1);
    let measured = behaviour.utilisation(namespace(target), kind.name(), name(target)).map(i64::from);
    let proposed = measured.map_or(current, |measured| proposal(current, measured, aim));
    let message = format!(
        "the HPA was able to successfully calculate a replica count from {resource} resource utilization (percentage of request)"
    );
    conditions.set("ScalingActive", true, "ValidMetricFound", &message);
    let replicas = proposed.clamp(least, most);
    let (limited, reason, message) = if proposed > most {
        (true, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
    } else if proposed < least {
        (true, "TooFewReplicas", "the desired replica count is less than the minimum replica count")
    } else {
        (false, "DesiredWithinRange", "the desired count is within the acceptable range")
    };
    conditions.set("ScalingLimited", limited, reason, message);
    if replicas == current {
        conditions.set("AbleToScale", true, "ReadyForNewScale", "recommended size matches current size");
    } else {
        rescaled(conditions, replicas);
    }
    let reason = if replicas > current {
        format!("{resource} resource utilization (percentage of request) above target")
    } else {
        "All metrics below target".to_owned()
    };
    let metrics = measured.map(|measured| {
        json!([{"type": "Resource", "resource": {"name": resource, "current": {"averageUtilization": measured}}}])
    });
    Verdict { replicas, reason, metrics }
}

fn proposal(current: i64, measured: i64, aim: i64) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "percentages and replicas are small")]
    let ratio = measured as f64 / aim as f64;
    if (ratio - 1.0).abs() <= TOLERANCE { current } else { (current * measured + aim - 1).div_euclid(aim) }
}

struct Conditions {
    list: Vec<Value>,
    stamp: String,
}

impl Conditions {
    fn set(&mut self, of: &str, status: bool, reason: &str, message: &str) {
        let status = if status { "True" } else { "False" };
        let since = object::condition(&self.list, of)
            .filter(|old| old["status"] == status)
            .map_or(self.stamp.as_str(), |old| text(old, "/lastTransitionTime"));
        let condition = json!({
            "type": of, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
        });
        match self.list.iter_mut().find(|old| old["type"] == of) {
            Some(old) => *old = condition,
            None => self.list.push(condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::controllers::behaviour::Life;

    struct Busy(Option<u32>);

    impl Behaviour for Busy {
        fn of(&self, _image: &str, _age: Duration) -> Life {
            Life::default()
        }

        fn utilisation(&self, _namespace: &str, _kind: &str, _name: &str) -> Option<u32> {
            self.0
        }
    }

    #[test]
    fn the_size_follows_the_utilisation_within_its_limits() {
        for (replicas, busy, expected, reason) in [
            (2, None, 2, "ReadyForNewScale"),
            (0, Some(300), 0, "SucceededGetScale"),
            (1, None, 2, "SucceededRescale"),
            (9, None, 5, "SucceededRescale"),
            (2, Some(84), 2, "ReadyForNewScale"),
            (2, Some(160), 4, "SucceededRescale"),
            (3, Some(900), 5, "SucceededRescale"),
            (5, Some(20), 2, "SucceededRescale"),
        ] {
            let autoscaler = json!({"metadata": {"name": "a"}, "spec": {"minReplicas": 2, "maxReplicas": 5,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]}});
            let target = Arc::new(json!({"metadata": {"name": "t"}, "spec": {"replicas": replicas}}));
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let outcome = reconcile(&autoscaler, Some((Kind::Deployment, &target)), &Busy(busy), now);
            let Some(Write::Status { status, .. }) = outcome.writes.last() else { panic!("no status") };
            assert_eq!(status["desiredReplicas"], expected, "{replicas} at {busy:?}");
            assert_eq!(status["conditions"][0]["reason"], reason, "{replicas} at {busy:?}");
            let scaled = outcome.writes.iter().any(|write| matches!(write, Write::Patch { .. }));
            assert_eq!(scaled, expected != replicas);
        }
    }
}
