//! What is remembered of a GitSource between passes. All of it may be lost: what must not be stands in the status.

use std::collections::{BTreeSet, HashMap};

use crds::GitSourceStatus;
use tokio::time::{Duration, Instant};

use super::drift::{NotKnown, Sight, Watches};
use super::manifest::ObjectId;
use super::plan::Inventory;
use super::secrets::Held;
use super::upstream::Commit;

/// First wait before an object is repaired again; doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Longest wait before an object is repaired again.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);
/// Repairs of one object that follow each other without a wait: somebody's mistake is mended at once, a fight is not.
const FREE_REPAIRS: u32 = 3;

/// See the module.
#[derive(Default)]
pub struct Memory {
    /// Uid of the GitSource that this is about; another one of its name begins anew.
    pub uid: String,
    /// The status as last written.
    pub status: GitSourceStatus,
    /// What was applied.
    pub inventory: Inventory,
    /// Versions of applied objects, as the agent's writes left them, and when that was.
    pub versions: HashMap<ObjectId, (u64, Instant)>,
    /// The last commit that was fetched.
    pub commit: Option<Commit>,
    /// When to look at the repository again; `None`: now.
    pub fetch_at: Option<Instant>,
    /// What was fetched for: another one of these needs a look at the repository.
    pub fetched_for: Option<(i64, Option<String>)>,
    /// Commit and generation of which all stands.
    pub stands: Option<(String, i64)>,
    /// Commit and generation that cannot be rendered, with the reason: trying again is of no use.
    pub hopeless: Option<(String, i64, super::problem::Problem)>,
    /// Content of the Secrets; read again when refused, and when the GitSource changes.
    pub secrets: Option<Held>,
    /// Path of the webhook receiver.
    pub webhook_path: Option<String>,
    /// Why objects were kept that left Git, of the present revision.
    pub kept: Vec<String>,
    /// Watches of what was applied.
    pub watches: Watches,
    /// What they saw.
    pub sight: Sight,
    /// Repairs of objects: how many, and when the last was.
    pub repairs: HashMap<ObjectId, (u32, Instant)>,
}

/// An object that is no longer as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drifted {
    /// Which.
    pub id: ObjectId,
    /// `deleted`, or `changed by MANAGER`.
    pub what: String,
}

impl Memory {
    /// What others have changed since it was applied.
    pub fn drifted(&self) -> Vec<Drifted> {
        let mut drifted = Vec::new();
        for (id, entry) in &self.inventory {
            // What was never applied, or is about to be again, has not drifted.
            if entry.fields.is_empty() {
                continue;
            }
            let what = match self.sight.of(id, self.versions.get(id)) {
                Err(NotKnown) => continue,
                Ok(None) => "deleted".to_owned(),
                Ok(Some(glimpse)) if glimpse.fields == entry.fields => continue,
                Ok(Some(glimpse)) if glimpse.last_writer.is_empty() => "changed".to_owned(),
                Ok(Some(glimpse)) => format!("changed by {}", glimpse.last_writer),
            };
            drifted.push(Drifted { id: id.clone(), what });
        }
        drifted
    }

    /// Those that may be repaired now, and when the next of the others may.
    pub fn repairable(&mut self, drifted: &[Drifted], now: Instant) -> (BTreeSet<ObjectId>, Option<Instant>) {
        self.repairs.retain(|_, (_, last)| now.duration_since(*last) < LONGEST_WAIT * 2);
        let mut repairable = BTreeSet::new();
        let mut next: Option<Instant> = None;
        for Drifted { id, .. } in drifted {
            match self.repairs.get(id) {
                Some((count, last)) if *count >= FREE_REPAIRS => {
                    let doublings = (*count - FREE_REPAIRS).min(10);
                    let at = *last + (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT);
                    if at <= now {
                        repairable.insert(id.clone());
                    } else {
                        next = Some(next.map_or(at, |next| next.min(at)));
                    }
                }
                Some(_) | None => {
                    repairable.insert(id.clone());
                }
            }
        }
        (repairable, next)
    }

    /// The object is being repaired.
    pub fn repaired(&mut self, id: &ObjectId, now: Instant) {
        let (count, last) = self.repairs.entry(id.clone()).or_insert((0, now));
        *count += 1;
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_mistake_is_mended_at_once_and_a_fight_slows_down() {
        let mut memory = Memory::default();
        let id: ObjectId = "ConfigMap/shop/web".parse().unwrap();
        let drifted = [Drifted { id: id.clone(), what: "changed".into() }];
        let begin = Instant::now();
        let mut repairs = 0;
        for _ in 0..3_600 {
            let (repairable, next) = memory.repairable(&drifted, Instant::now());
            assert_eq!(repairable.is_empty(), next.is_some());
            for id in &repairable {
                memory.repaired(id, Instant::now());
                repairs += 1;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(begin.elapsed().as_secs(), 3_600);
        assert!((10..20).contains(&repairs), "{repairs}");
    }
}
