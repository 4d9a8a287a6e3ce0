//! Tries at a revert: one at a time for each Canary, a few at once, with growing pauses after those that are delayed.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use rollout::GitOutcome;
use tokio::sync::{Semaphore, watch};

use crate::cache::CanaryKey;

/// Tries at once.
const AT_ONCE: usize = 4;

/// Time between two tries of one that is delayed, growing from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Tries under way, and what came of those that ended.
pub(super) struct Tries {
    turns: Semaphore,
    entries: Mutex<HashMap<CanaryKey, Entry>>,
}

struct Entry {
    revision: String,
    /// How many tries were delayed before.
    delays: u32,
    progress: Progress,
}

enum Progress {
    /// It waits or works. What it waits with is told whether a revert is looked for only; what is forgotten is told by
    /// the end of that.
    UnderWay(watch::Sender<bool>),
    Ended(GitOutcome),
    /// It was delayed, and that was told.
    Delayed,
}

/// What is to be tried next.
pub(super) struct Try {
    canary: CanaryKey,
    revision: String,
    pause: Duration,
    look_only: watch::Receiver<bool>,
}

impl Tries {
    /// Nothing is under way.
    pub(super) fn new() -> Tries {
        Tries { turns: Semaphore::new(AT_ONCE), entries: Mutex::default() }
    }

    /// What came of the Canary's try, and of which revision; told once.
    pub(super) fn take(&self, canary: &CanaryKey) -> Option<(String, GitOutcome)> {
        let mut entries = self.entries();
        let entry = entries.get_mut(canary)?;
        match std::mem::replace(&mut entry.progress, Progress::Delayed) {
            Progress::Ended(outcome @ GitOutcome::Delayed { .. }) => {
                entry.delays += 1;
                Some((entry.revision.clone(), outcome))
            }
            Progress::Ended(
                outcome @ (GitOutcome::Reverted { .. }
                | GitOutcome::Proposed { .. }
                | GitOutcome::MovedOn { .. }
                | GitOutcome::Blocked { .. }),
            ) => entries.remove(canary).map(|entry| (entry.revision, outcome)),
            progress @ (Progress::UnderWay(_) | Progress::Delayed) => {
                entry.progress = progress;
                None
            }
        }
    }

    /// Forgets the Canary. A try that waits is given up; what one that works finds is told to nobody.
    pub(super) fn forget(&self, canary: &CanaryKey) {
        self.entries().remove(canary);
    }

    /// The next try at the revert of that revision, unless one is under way. One that waits is told at once when a revert
    /// is only to be looked for.
    pub(super) fn next(&self, canary: &CanaryKey, revision: &str, look_only: bool) -> Option<Try> {
        let mut entries = self.entries();
        let delays = match entries.get(canary) {
            Some(entry) if entry.revision == revision => match &entry.progress {
                Progress::UnderWay(told) => {
                    told.send_if_modified(|told| std::mem::replace(told, look_only) != look_only);
                    return None;
                }
                Progress::Ended(_) => return None,
                Progress::Delayed => entry.delays,
            },
            Some(_) | None => 0,
        };
        let (told, receiver) = watch::channel(look_only);
        let entry = Entry { revision: revision.to_owned(), delays, progress: Progress::UnderWay(told) };
        entries.insert(canary.clone(), entry);
        // Looking does no harm, and what is found is waited for.
        let pause = if look_only { Duration::ZERO } else { pause(delays) };
        Some(Try { canary: canary.clone(), revision: revision.to_owned(), pause, look_only: receiver })
    }

    /// Waits for the time and the turn, and does `work`, which is told whether a revert is looked for only. True when
    /// there is something to take.
    pub(super) async fn carry_out<F>(&self, next: Try, work: impl FnOnce(bool) -> F) -> bool
    where
        F: Future<Output = GitOutcome>,
    {
        let Try { canary, revision, pause, mut look_only } = next;
        // Until the time is over, it is to be looked for, or it is forgotten.
        let _ = tokio::time::timeout(pause, look_only.wait_for(|look_only| *look_only)).await;
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        if look_only.has_changed().is_err() {
            return false;
        }
        let work = work(*look_only.borrow());
        let outcome = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(%canary, "reverting in Git panicked");
            GitOutcome::Blocked { message: "this is a defect of Serin; its log tells more. Revert it by hand".into() }
        });
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&canary).filter(|entry| entry.revision == revision) else { return false };
        entry.progress = Progress::Ended(outcome);
        true
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<CanaryKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first try is at once.
fn pause(delays: u32) -> Duration {
    if delays == 0 {
        return Duration::ZERO;
    }
    let pause = PAUSES.0.saturating_mul(1 << (delays - 1).min(10)).min(PAUSES.1);
    pause.mul_f64(0.75 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn shop() -> CanaryKey {
        CanaryKey::new("eve", "shop")
    }

    fn delayed() -> GitOutcome {
        GitOutcome::Delayed { message: "cannot reach git.example.com".into() }
    }

    fn reverted() -> GitOutcome {
        GitOutcome::Reverted { commit: "abc".into() }
    }

    /// Delays the first try. The next one, which waits.
    async fn waiting(tries: &Tries) -> Try {
        let first = tries.next(&shop(), "new", false).expect("a try");
        assert!(tries.carry_out(first, async |_| delayed()).await);
        assert_eq!(tries.take(&shop()), Some(("new".into(), delayed())));
        tries.next(&shop(), "new", false).expect("a try")
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_delayed_is_tried_again_after_longer_and_longer_pauses() {
        let tries = Tries::new();
        let mut last = Duration::ZERO;
        for delays in 0..12 {
            let next = tries.next(&shop(), "new", false).unwrap_or_else(|| panic!("a try after {delays} delays"));
            assert!(tries.next(&shop(), "new", false).is_none(), "one at a time");
            let began = Instant::now();
            assert!(tries.carry_out(next, async |_| delayed()).await);
            let waited = began.elapsed();
            assert!(waited <= PAUSES.1.mul_f64(1.25) && (delays > 6 || waited >= last), "{waited:?} after {last:?}");
            last = waited;
            assert!(tries.next(&shop(), "new", false).is_none(), "not before what came of it was taken");
            assert_eq!(tries.take(&shop()), Some(("new".into(), delayed())));
            assert_eq!(tries.take(&shop()), None, "told once");
        }
        assert!(last >= PAUSES.1.mul_f64(0.75), "{last:?}");
        let next = tries.next(&shop(), "new", false).expect("a try");
        assert!(tries.carry_out(next, async |_| reverted()).await);
        assert_eq!(tries.take(&shop()), Some(("new".into(), reverted())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_only_looks_and_at_once_when_another_rollout_began() {
        let tries = Tries::new();
        let next = waiting(&tries).await;
        let began = Instant::now();
        let work = tries.carry_out(next, async |look_only| {
            assert!(look_only, "it makes a revert although another rollout has begun");
            reverted()
        });
        let another = async { assert!(tries.next(&shop(), "new", true).is_none()) };
        assert!(tokio::join!(work, another).0);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_or_overtaken_while_it_waits_is_not_done() {
        for overtaken in [false, true] {
            let tries = Tries::new();
            let next = waiting(&tries).await;
            let work = tries.carry_out(next, async |_| panic!("it is done"));
            let meanwhile = async {
                if overtaken {
                    assert!(tries.next(&shop(), "newer", false).is_some());
                } else {
                    tries.forget(&shop());
                }
            };
            assert!(!tokio::join!(work, meanwhile).0);
            assert_eq!(tries.take(&shop()), None);
        }
    }

    #[tokio::test]
    async fn a_defect_is_an_outcome() {
        let tries = Tries::new();
        let next = tries.next(&shop(), "new", false).expect("a try");
        assert!(tries.carry_out(next, async |_| panic!("a defect")).await);
        assert!(matches!(tries.take(&shop()), Some((_, GitOutcome::Blocked { .. }))));
    }
}
