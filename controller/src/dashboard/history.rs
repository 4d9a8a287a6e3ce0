//! What a rollout went through, in memory: weights, checks and decisions, for those who look. The cluster keeps only
//! where it stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crds::CanaryStatus;
use jiff::Timestamp;
use serde::Serialize;
use serde::ser::Serializer;
use serde_json::Value;

use crate::cache::CanaryKey;
use crate::rollout_view::read_status;

use super::story::{LineKind, Past, Story, is_rolling};

/// Bytes of all Canaries together. Beyond it, those that have been quiet longest are forgotten.
pub(super) const TOTAL: usize = 4 << 20;

/// The last rollout of each Canary. Keeps nothing, and costs nothing, before [`History::keep`]. Cheap to clone; all
/// clones are the same.
#[derive(Clone, Default)]
pub struct History {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Told of each Canary whose history grew.
    listener: OnceLock<Listener>,
    /// Told when the standing is another.
    bell: OnceLock<Bell>,
    standing: Mutex<Standing>,
    kept: Mutex<Kept>,
}

type Listener = Box<dyn Fn(&CanaryKey) + Send + Sync>;
type Bell = Box<dyn Fn() + Send + Sync>;

/// How this replica stands among the others, and since when it records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// It makes the passes.
    pub leads: bool,
    /// Who leads, when that is another and known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Weights and checks are recorded since; in milliseconds.
    #[serde(serialize_with = "milliseconds", skip_serializing_if = "Option::is_none")]
    pub seen_since: Option<Timestamp>,
    /// Decisions are made, and recorded, since; in milliseconds.
    #[serde(serialize_with = "milliseconds", skip_serializing_if = "Option::is_none")]
    pub decided_since: Option<Timestamp>,
}

fn milliseconds<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(Timestamp::as_millisecond).serialize(serializer)
}

#[derive(Default)]
struct Kept {
    stories: HashMap<CanaryKey, Story>,
    bytes: usize,
    changes: u64,
}

impl History {
    /// Keeps from now on, and tells the listener of each Canary whose history grew, and the bell of another standing.
    pub fn keep(
        &self,
        now: Timestamp,
        listener: impl Fn(&CanaryKey) + Send + Sync + 'static,
        bell: impl Fn() + Send + Sync + 'static,
    ) {
        // A second dashboard would look at the same history; the first listener stays.
        if self.shared.listener.set(Box::new(listener)).is_ok() {
            let _ = self.shared.bell.set(Box::new(bell));
            self.stand(|standing| standing.seen_since = Some(now));
        }
    }

    /// This process makes the passes from now on, so what is decided is known here.
    pub fn lead(&self, now: Timestamp) {
        self.stand(|standing| {
            standing.decided_since.get_or_insert(now);
            (standing.leads, standing.leader) = (true, None);
        });
    }

    /// Another replica makes the passes.
    pub fn follow(&self, leader: &str) {
        let leader = Some(leader.to_owned()).filter(|leader| !leader.is_empty());
        self.stand(|standing| standing.leader = leader);
    }

    /// Who leads, and since when this process knows what happens.
    pub fn standing(&self) -> Standing {
        self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As if it had been kept since then.
    #[cfg(test)]
    pub(super) fn kept_since(&self, then: Timestamp) {
        self.stand(|standing| standing.seen_since = Some(then));
    }

    fn stand(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(bell) = self.shared.bell.get() {
            bell();
        }
    }

    /// Notes where the Canary stands as another replica has written it.
    pub fn observe(&self, canary: &Value, now: Timestamp) {
        self.record(canary, &read_status(canary, &mut Vec::new()), now);
    }

    /// Notes where the Canary stands after a pass. What stands already is noted only once.
    pub fn record(&self, canary: &Value, status: &CanaryStatus, now: Timestamp) {
        let Some(listener) = self.shared.listener.get() else { return };
        let key = key(canary);
        let changed = self.lock().change(&key, is_rolling(status.phase), |story| story.record(status, now));
        if changed {
            listener(&key);
        }
    }

    /// Notes a decision, or what came in its way.
    pub fn tell(&self, canary: &Value, warning: bool, message: &str, now: Timestamp) {
        let Some(listener) = self.shared.listener.get() else { return };
        let key = key(canary);
        let kind = if warning { LineKind::Warning } else { LineKind::Normal };
        self.lock().change(&key, true, |story| story.tell(kind, message, now));
        listener(&key);
    }

    /// Forgets a Canary that is gone.
    pub fn forget(&self, key: &CanaryKey) {
        let mut kept = self.lock();
        if let Some(story) = kept.stories.remove(key) {
            kept.bytes -= story.bytes;
        }
    }

    /// What is known of the Canary.
    pub fn of(&self, key: &CanaryKey) -> Option<Past> {
        self.lock().stories.get(key).map(Story::past)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Changes the story of the Canary, which is begun when `begin` says so; true when it did change.
    fn change(&mut self, key: &CanaryKey, begin: bool, change: impl FnOnce(&mut Story) -> bool) -> bool {
        if !begin && !self.stories.contains_key(key) {
            return false;
        }
        self.changes += 1;
        let changes = self.changes;
        let story = self.stories.entry(key.clone()).or_default();
        if !change(story) {
            return false;
        }
        story.change = changes;
        let size = story.size();
        self.bytes = self.bytes - std::mem::replace(&mut story.bytes, size) + size;
        if self.bytes > TOTAL {
            self.shed();
        }
        true
    }

    /// Forgets the quietest until an eighth is free, so that this is seldom needed.
    fn shed(&mut self) {
        let mut by_age: Vec<(u64, CanaryKey)> =
            self.stories.iter().map(|(key, story)| (story.change, key.clone())).collect();
        by_age.sort_unstable();
        for (_, key) in by_age {
            if self.bytes <= TOTAL / 8 * 7 {
                break;
            }
            self.bytes -= self.stories.remove(&key).map_or(0, |story| story.bytes);
        }
    }
}

fn key(canary: &Value) -> CanaryKey {
    let text = |pointer| canary.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    CanaryKey::new(text("/metadata/namespace"), text("/metadata/name"))
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
