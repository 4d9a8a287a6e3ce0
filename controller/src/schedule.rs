//! Which key is due when: one run at a time each, back-off after errors, a bound on how often. Time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::{Key, Limits};

/// The keys, and when each is due.
pub(crate) struct Schedule<K> {
    limits: Limits,
    slots: HashMap<K, Slot>,
    due: BTreeSet<(Instant, K)>,
}

struct Slot {
    due: Option<Instant>,
    running: bool,
    /// Asked for while running: the earliest time.
    again: Option<Instant>,
    failures: u32,
    /// A change during back-off does not wake the key before this.
    not_before: Option<Instant>,
    tokens: f64,
    refilled: Instant,
}

impl<K: Key> Schedule<K> {
    pub(crate) fn new(limits: Limits) -> Schedule<K> {
        Schedule { limits, slots: HashMap::new(), due: BTreeSet::new() }
    }

    /// The key is due `at` that time, or earlier when it was due earlier; true when the next due time may be another now.
    pub(crate) fn add(&mut self, key: &K, at: Instant, now: Instant) -> bool {
        let slot = self.slots.entry(key.clone()).or_insert_with(|| Slot::new(now, self.limits.burst));
        let at = slot.not_before.map_or(at, |not_before| at.max(not_before));
        if slot.running {
            slot.again = Some(slot.again.map_or(at, |again| again.min(at)));
            return false;
        }
        let earlier = slot.due.is_none_or(|due| at < due);
        if earlier {
            self.set(key, at);
        }
        earlier
    }

    /// Forgets the key, its back-off and its due time; a run under way ends as it will.
    pub(crate) fn forget(&mut self, key: &K) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.again = None;
        if !slot.running {
            if let Some(due) = slot.due {
                self.due.remove(&(due, key.clone()));
            }
            self.slots.remove(key);
        }
    }

    /// Number of keys that are due, counted up to `most`.
    pub(crate) fn depth(&self, now: Instant, most: usize) -> usize {
        self.due.iter().take(most).take_while(|(due, _)| *due <= now).count()
    }

    /// When the next key is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The next key whose time has come and that may run, marked as running.
    pub(crate) fn take(&mut self, now: Instant) -> Option<K> {
        loop {
            let (due, key) = self.due.first()?.clone();
            if due > now {
                return None;
            }
            self.due.pop_first();
            let slot = self.slots.get_mut(&key)?;
            slot.due = None;
            if let Err(wait) = slot.spend(now, &self.limits) {
                self.set(&key, now + wait);
                continue;
            }
            slot.running = true;
            slot.not_before = None;
            return Some(key);
        }
    }

    /// The run of the key ended well; it is due again `after` that time, or when it was asked for meanwhile.
    pub(crate) fn succeeded(&mut self, key: &K, after: Option<Duration>, now: Instant) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.running = false;
        slot.failures = 0;
        if let Some(at) = [slot.again.take(), after.map(|after| now + after)].into_iter().flatten().min() {
            self.set(key, at);
        }
    }

    /// The run of the key failed; returns after which time it is due again.
    pub(crate) fn failed(&mut self, key: &K, now: Instant) -> Duration {
        let Limits { first_backoff, longest_backoff, .. } = self.limits;
        let Some(slot) = self.slots.get_mut(key) else { return Duration::ZERO };
        slot.running = false;
        slot.again = None;
        let exponential = first_backoff.saturating_mul(1 << slot.failures.min(16)).min(longest_backoff);
        slot.failures = slot.failures.saturating_add(1);
        let delay = exponential.mul_f64(0.75 + fastrand::f64() * 0.5).min(longest_backoff);
        // A change may mend the cause, so it shortens the wait, but the echo of the failed run's own writes is a
        // change too.
        slot.not_before = Some(now + delay.min(Duration::from_secs(1)));
        self.set(key, now + delay);
        delay
    }

    fn set(&mut self, key: &K, at: Instant) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Some(due) = slot.due.replace(at) {
            self.due.remove(&(due, key.clone()));
        }
        self.due.insert((at, key.clone()));
    }
}

impl Slot {
    fn new(now: Instant, tokens: f64) -> Slot {
        Slot { due: None, running: false, again: None, failures: 0, not_before: None, tokens, refilled: now }
    }

    /// Takes a token, or says how long until there is one.
    fn spend(&mut self, now: Instant, limits: &Limits) -> Result<(), Duration> {
        let earned = now.duration_since(self.refilled).as_secs_f64() * limits.sustained;
        self.tokens = (self.tokens + earned).min(limits.burst);
        self.refilled = now;
        // A hair less than one, so that a wait computed in floating point is never a hair too short.
        if self.tokens >= 0.999 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(((1.0 - self.tokens) / limits.sustained).max(0.001)))
    }
}
