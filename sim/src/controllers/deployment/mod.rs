//! Deployment → ReplicaSets, by the rules of the real controller: what a rollout tool can see of a rollout is the same.

mod scale;
mod set;
pub(super) mod spec;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::{
    set::{REVISION, Set},
    spec::{Spec, Status, Strategy},
};
use super::{
    object::{self, name, stamp, text},
    view::{Key, Kind},
    write::{Event, Outcome, Write},
};

const BY: &str = "deployment-controller";

/// One look at a Deployment and the ReplicaSets that it controls. `has_pods` tells for a ReplicaSet's uid whether pods of it
/// are still there, ending ones included.
pub(super) fn reconcile(
    deployment: &Value,
    sets: &[&Arc<Value>],
    has_pods: impl Fn(&str) -> bool,
    now: Timestamp,
) -> Outcome {
    let mut pass = Pass::new(deployment, sets, now);
    if object::is_deleting(deployment) {
        pass.count();
        return pass.finish();
    }
    pass.note_pause();
    pass.find_current();
    if pass.spec.paused || pass.is_scaled() {
        pass.scale();
        if pass.spec.paused {
            pass.forget_old();
        }
        pass.count();
        return pass.finish();
    }
    let settled = match pass.spec.strategy {
        Strategy::RollingUpdate { .. } => pass.roll(),
        Strategy::Recreate => pass.recreate(has_pods),
    };
    if settled && pass.before.is_complete(deployment, pass.spec.replicas) {
        pass.forget_old();
    }
    pass.judge_progress();
    pass.finish()
}

struct Pass<'a> {
    deployment: &'a Value,
    spec: Spec,
    now: Timestamp,
    /// By age, oldest first.
    sets: Vec<Set>,
    /// Which of them has the present template.
    current: Option<usize>,
    revision: Option<String>,
    before: Status,
    status: Status,
    outcome: Outcome,
}

impl<'a> Pass<'a> {
    fn new(deployment: &'a Value, sets: &[&Arc<Value>], now: Timestamp) -> Pass<'a> {
        let mut sets: Vec<Set> = sets.iter().map(|set| Set::existing(Arc::clone(set))).collect();
        sets.sort_by(|one, other| one.age_order().cmp(&other.age_order()));
        let template = &deployment["spec"]["template"];
        Pass {
            deployment,
            spec: Spec::of(deployment),
            now,
            current: sets.iter().position(|set| set.is_of(template)),
            sets,
            revision: None,
            before: Status::of(deployment),
            status: Status::of(deployment),
            outcome: Outcome::default(),
        }
    }

    /// A pause says so, and the time of it does not count as a lack of progress.
    fn note_pause(&mut self) {
        if self.spec.progress_deadline.is_none() {
            return;
        }
        let reason = self.status.condition("Progressing").map_or("", |condition| text(condition, "/reason"));
        if reason == "ProgressDeadlineExceeded" {
            return;
        }
        if self.spec.paused && reason != "DeploymentPaused" {
            self.set_progressing("Unknown", "DeploymentPaused", "Deployment is paused");
        } else if !self.spec.paused && reason == "DeploymentPaused" {
            self.set_progressing("Unknown", "DeploymentResumed", "Deployment is resumed");
        }
    }

    /// Brings the ReplicaSet of the present template up to date, if there is one.
    fn find_current(&mut self) {
        let revision = self.next_revision();
        let Some(current) = self.current else { return };
        let set = &mut self.sets[current];
        set.make_current(self.deployment, &self.spec, revision);
        self.revision = Some(set.revision().to_string());
        let message = format!("Found new replica set {:?}", set.name());
        if self.spec.progress_deadline.is_some() && self.status.condition("Progressing").is_none() {
            self.set_progressing("True", "FoundNewReplicaSet", &message);
        }
    }

    /// The ReplicaSet of the present template; makes it where there is none. None if its name is taken.
    fn current_or_new(&mut self) -> Option<usize> {
        if let Some(current) = self.current {
            return Some(current);
        }
        let revision = self.next_revision();
        let template = &self.deployment["spec"]["template"];
        let mut hash = object::hash(&template.to_string());
        if let Some(collisions) = self.status.collisions {
            hash = object::hash(&format!("{hash}{collisions}"));
        }
        let mut set = Set::made_for(self.deployment, &hash);
        if self.sets.iter().any(|other| other.name() == set.name()) {
            self.status.collisions = Some(self.status.collisions.unwrap_or(0) + 1);
            return None;
        }
        set.make_current(self.deployment, &self.spec, revision);
        set.replicas = self.size_of_new(0);
        if set.replicas > 0 {
            self.tell_scaled(set.name().to_owned(), 0, set.replicas);
        }
        self.revision = Some(revision.to_string());
        if self.spec.progress_deadline.is_some() {
            let message = format!("Created new replica set {:?}", set.name());
            self.set_progressing("True", "NewReplicaSetCreated", &message);
        }
        self.sets.push(set);
        self.current = Some(self.sets.len() - 1);
        self.current
    }

    fn next_revision(&self) -> i64 {
        self.old().map(|at| self.sets[at].revision()).max().unwrap_or(0) + 1
    }

    /// The others than the current one, oldest first.
    fn old(&self) -> impl Iterator<Item = usize> + use<> {
        let current = self.current;
        (0..self.sets.len()).filter(move |at| Some(*at) != current)
    }

    fn total(&self) -> i64 {
        self.sets.iter().map(|set| set.replicas).sum()
    }

    fn available(&self) -> i64 {
        self.sets.iter().map(Set::available).sum()
    }

    /// How large the current ReplicaSet may be now that it is `size`.
    fn size_of_new(&self, size: i64) -> i64 {
        match self.spec.strategy {
            Strategy::Recreate => self.spec.replicas,
            Strategy::RollingUpdate { surge, .. } => {
                let room = self.spec.replicas + surge - self.total();
                if room <= 0 {
                    return size;
                }
                size + room.min(self.spec.replicas - size)
            }
        }
    }

    /// Whether it is larger or smaller now; in both cases it remembers for which size of the Deployment.
    fn resize(&mut self, at: usize, size: i64) -> bool {
        let set = &mut self.sets[at];
        let before = set.replicas;
        if before == size {
            return false;
        }
        set.replicas = size;
        set.note_scale(&self.spec);
        let name = set.name().to_owned();
        self.tell_scaled(name, before, size);
        true
    }

    /// One step of a rolling update; true when there was nothing to scale.
    fn roll(&mut self) -> bool {
        let Some(current) = self.current_or_new() else { return false };
        let size = self.sets[current].replicas;
        let wanted = if size > self.spec.replicas { self.spec.replicas } else { self.size_of_new(size) };
        if self.resize(current, wanted) {
            return false;
        }
        let least = self.spec.replicas - self.spec.unavailable();
        let starting = self.sets[current].replicas - self.sets[current].available();
        let mut spare = self.total() - least - starting;
        if spare <= 0 {
            return true;
        }
        let mut scaled = false;
        // First what does not serve anyway.
        for at in self.old() {
            let idle = self.sets[at].replicas - self.sets[at].available();
            if idle < 0 {
                // It has been scaled down and not yet counted again: what it says is available is not to be relied upon.
                return !scaled;
            }
            let fewer = idle.min(spare);
            spare -= fewer;
            scaled |= self.resize(at, self.sets[at].replicas - fewer);
        }
        let mut spare = self.available() - least;
        for at in self.old() {
            let fewer = self.sets[at].replicas.min(spare).max(0);
            spare -= fewer;
            scaled |= self.resize(at, self.sets[at].replicas - fewer);
        }
        !scaled
    }

    fn recreate(&mut self, has_pods: impl Fn(&str) -> bool) -> bool {
        let mut scaled = false;
        for at in self.old() {
            scaled |= self.resize(at, 0);
        }
        let remains = |set: &Set| set.actual() > 0 || has_pods(set.uid());
        if scaled || self.old().any(|at| remains(&self.sets[at])) {
            return false;
        }
        let Some(current) = self.current_or_new() else { return false };
        self.resize(current, self.spec.replicas);
        true
    }

    /// Deletes the oldest revisions beyond those to be kept.
    fn forget_old(&mut self) {
        let Some(limit) = self.spec.history_limit else { return };
        let mut old: Vec<usize> = self.old().collect();
        old.sort_by_key(|at| (self.sets[*at].revision(), *at));
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        for at in old.into_iter().take(surplus) {
            if self.sets[at].is_spent() {
                self.outcome.writes.push(self.sets[at].deletion());
            }
        }
    }

    fn set_progressing(&mut self, status: &str, reason: &str, message: &str) {
        let stamp = stamp(self.now);
        self.status.set_condition("Progressing", status, reason, message, &stamp);
    }

    fn tell_scaled(&mut self, set: String, before: i64, after: i64) {
        let direction = if before < after { "up" } else { "down" };
        self.outcome.writes.push(Event::normal(
            Kind::Deployment,
            self.deployment,
            BY,
            "ScalingReplicaSet",
            format!("Scaled {direction} replica set {set} from {before} to {after}"),
        ));
    }

    /// Counts what there is, and whether that is enough to serve.
    fn count(&mut self) {
        let sum = |count: fn(&Set) -> i64| self.sets.iter().map(count).sum::<i64>();
        let available = sum(Set::available);
        self.status = Status {
            observed_generation: object::generation(self.deployment),
            replicas: sum(Set::actual),
            updated: self.current.map_or(0, |current| self.sets[current].actual()),
            ready: sum(Set::ready),
            available,
            unavailable: (self.total() - available).max(0),
            terminating: sum(Set::terminating),
            collisions: self.status.collisions,
            conditions: std::mem::take(&mut self.status.conditions),
        };
        let (status, reason, message) = if available >= self.spec.replicas - self.spec.unavailable() {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        self.status.set_condition("Available", status, reason, message, &stamp(self.now));
    }

    fn judge_progress(&mut self) {
        let condition = self.status.condition("Progressing").cloned();
        self.count();
        let Some(deadline) = self.spec.progress_deadline else {
            self.status.drop_condition("Progressing");
            return;
        };
        let reason = condition.as_ref().map_or("", |condition| text(condition, "/reason"));
        let is_done = reason == "NewReplicaSetAvailable" && self.status.replicas == self.status.updated;
        if is_done {
            return;
        }
        let what = match self.current {
            Some(current) => format!("ReplicaSet {:?}", self.sets[current].name()),
            None => format!("Deployment {:?}", name(self.deployment)),
        };
        let due = condition
            .as_ref()
            .and_then(|condition| object::time(condition, "/lastUpdateTime"))
            .and_then(|since| since.checked_add(SignedDuration::from_secs(deadline)).ok());
        if self.status.is_complete(self.deployment, self.spec.replicas) {
            self.set_progressing("True", "NewReplicaSetAvailable", &format!("{what} has successfully progressed."));
        } else if self.status.is_ahead_of(&self.before) {
            let stamp = stamp(self.now);
            self.status.renew_condition(
                "Progressing",
                "True",
                "ReplicaSetUpdated",
                &format!("{what} is progressing."),
                &stamp,
            );
        } else if !matches!(reason, "NewReplicaSetAvailable" | "ProgressDeadlineExceeded")
            && due.is_some_and(|due| due < self.now)
        {
            self.set_progressing("False", "ProgressDeadlineExceeded", &format!("{what} has timed out progressing."));
        }
        self.wake_for_deadline(deadline);
    }

    /// A rollout that is stuck changes nothing, so the clock has to look at it.
    fn wake_for_deadline(&mut self, deadline: i64) {
        let Some(condition) = self.status.condition("Progressing") else { return };
        let reason = text(condition, "/reason");
        if matches!(reason, "NewReplicaSetAvailable" | "ProgressDeadlineExceeded") {
            return;
        }
        // A second later than due, since the times in conditions are cut to seconds.
        let due = object::time(condition, "/lastUpdateTime")
            .and_then(|since| since.checked_add(SignedDuration::from_secs(deadline + 1)).ok());
        if let Some(due) = due {
            self.outcome.wake_at(due);
        }
    }

    fn finish(self) -> Outcome {
        let mut outcome = self.outcome;
        outcome.writes.extend(self.sets.into_iter().filter_map(Set::write));
        let known = text(self.deployment, "/metadata/annotations/deployment.kubernetes.io~1revision");
        if let Some(revision) = self.revision.filter(|revision| revision != known) {
            outcome.writes.push(Write::Patch {
                key: Key::of(Kind::Deployment, self.deployment),
                merge: json!({"metadata": {"annotations": {REVISION: revision}}}),
            });
        }
        outcome.status(Kind::Deployment, self.deployment, self.status.to_value());
        outcome
    }
}
