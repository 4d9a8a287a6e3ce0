//! The pretend kubelet: it starts pods that have a node, reports on them, and ends them gracefully.

mod container;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use self::container::{Container, News, Restart, later};
use super::{
    behaviour::{Behaviour, Life},
    object::{self, list, name, number, stamp, text, uid},
    view::{Key, Kind},
    write::{Event, Outcome, Write},
};

const BY: &str = "kubelet";

/// What runs, by the pods' uids. All nodes have this one kubelet.
#[derive(Debug, Default)]
pub(super) struct Kubelet {
    running: BTreeMap<String, Run>,
    /// Addresses given so far.
    addresses: u32,
}

#[derive(Debug)]
struct Run {
    since: Timestamp,
    address: String,
    containers: Vec<Container>,
    asked_to_end: Option<Timestamp>,
}

impl Kubelet {
    /// One look at a pod that has a node, whose address is `host`.
    pub(super) fn look(&mut self, pod: &Value, host: &str, behaviour: &dyn Behaviour, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        if object::has_ended(pod) && !object::is_deleting(pod) {
            return outcome;
        }
        let place = format!("{}_{}({})", name(pod), object::namespace(pod), uid(pod));
        let addresses = &mut self.addresses;
        let run = self.running.entry(uid(pod).to_owned()).or_insert_with(|| {
            *addresses += 1;
            Run {
                since: now,
                address: format!("10.244.{}.{}", (*addresses >> 8) & 255, *addresses & 255),
                containers: list(pod, "/spec/containers")
                    .iter()
                    .map(|spec| Container::new(spec, uid(pod), now))
                    .collect(),
                asked_to_end: None,
            }
        });
        // In-place changes of the image start nothing anew here; the life is asked for by what runs.
        let age = now.duration_since(run.since).unsigned_abs();
        let lives: Vec<Life> = run.containers.iter().map(|container| behaviour.of(&container.image, age)).collect();
        if object::is_deleting(pod) {
            run.end(pod, &lives, now, &mut outcome);
            return outcome;
        }
        let restart = if text(pod, "/spec/restartPolicy") == "Never" { Restart::Never } else { Restart::Always };
        let mut news = Vec::new();
        for (container, life) in run.containers.iter_mut().zip(&lives) {
            let next = container.advance(life, restart, &place, now, &mut news);
            let ready = container.ready_at(life).filter(|at| *at > now);
            let shown = container.error_shown_until().filter(|at| *at > now);
            for at in [next, ready, shown].into_iter().flatten() {
                outcome.wake_at(at);
            }
        }
        for News { warning, reason, message } in news {
            let tell = if warning { Event::warning } else { Event::normal };
            outcome.writes.push(tell(Kind::Pod, pod, BY, reason, message));
        }
        let status = run.status(pod, host, &lives, &place, now);
        outcome.status(Kind::Pod, pod, status);
        outcome
    }

    /// Forgets a pod that is gone.
    pub(super) fn forget(&mut self, uid: &str) {
        self.running.remove(uid);
    }
}

impl Run {
    /// The containers have until the end of the grace period; when they are done, the pod goes.
    fn end(&mut self, pod: &Value, lives: &[Life], now: Timestamp, outcome: &mut Outcome) {
        if self.asked_to_end.is_none() {
            for container in self.containers.iter().filter(|container| container.is_running()) {
                let message = format!("Stopping container {}", container.name());
                outcome.writes.push(Event::normal(Kind::Pod, pod, BY, "Killing", message));
            }
        }
        let asked = *self.asked_to_end.get_or_insert(now);
        let grace = number(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(30);
        let slowest = self
            .containers
            .iter()
            .zip(lives)
            .filter(|(container, _)| container.is_running())
            .map(|(_, life)| life.end_after)
            .max()
            .unwrap_or_default()
            .min(Duration::from_secs(grace.unsigned_abs()));
        let over = later(asked, slowest);
        if over <= now {
            outcome.writes.push(Write::Remove(Key::of(Kind::Pod, pod)));
        } else {
            outcome.wake_at(over);
        }
    }

    fn status(&self, pod: &Value, host: &str, lives: &[Life], place: &str, now: Timestamp) -> Value {
        let ready: Vec<bool> = self
            .containers
            .iter()
            .zip(lives)
            .map(|(container, life)| container.ready_at(life).is_some_and(|at| at <= now))
            .collect();
        let statuses: Vec<Value> =
            self.containers.iter().zip(&ready).map(|(container, ready)| container.status(*ready, place, now)).collect();
        let unready: Vec<&str> = self
            .containers
            .iter()
            .zip(&ready)
            .filter(|(_, ready)| !**ready)
            .map(|(container, _)| container.name())
            .collect();
        let phase = if !self.containers.is_empty() && self.containers.iter().all(Container::has_ended) {
            "Failed"
        } else if self.containers.iter().any(|container| container.status(false, place, now)["containerID"].is_string())
        {
            "Running"
        } else {
            "Pending"
        };
        json!({
            "phase": phase,
            "observedGeneration": object::generation(pod),
            "hostIP": host, "hostIPs": [{"ip": host}],
            "podIP": self.address, "podIPs": [{"ip": self.address}],
            "startTime": stamp(self.since),
            "qosClass": pod.pointer("/status/qosClass"),
            "containerStatuses": statuses,
            "conditions": conditions(pod, &unready, now),
        })
    }
}

/// The kubelet's conditions, after which come those that others have set.
fn conditions(pod: &Value, unready: &[&str], now: Timestamp) -> Vec<Value> {
    const OWN: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let before = list(pod, "/status/conditions");
    let gates_open = list(pod, "/spec/readinessGates").iter().all(|gate| {
        object::condition(before, text(gate, "/conditionType")).is_some_and(|condition| condition["status"] == "True")
    });
    let mut conditions: Vec<Value> = OWN
        .iter()
        .map(|of| {
            let mut condition = json!({
                "type": of, "status": "True", "observedGeneration": object::generation(pod),
            });
            if *of == "Ready" && unready.is_empty() && !gates_open {
                condition["status"] = "False".into();
                condition["reason"] = "ReadinessGatesNotReady".into();
            } else if matches!(*of, "Ready" | "ContainersReady") && !unready.is_empty() {
                condition["status"] = "False".into();
                condition["reason"] = "ContainersNotReady".into();
                condition["message"] = format!("containers with unready status: [{}]", unready.join(" ")).into();
            }
            let since = object::condition(before, of)
                .filter(|old| old["status"] == condition["status"])
                .and_then(|old| old["lastTransitionTime"].as_str());
            condition["lastTransitionTime"] = since.map_or_else(|| stamp(now), str::to_owned).into();
            condition
        })
        .collect();
    conditions.extend(before.iter().filter(|other| !OWN.contains(&text(other, "/type"))).cloned());
    conditions
}
