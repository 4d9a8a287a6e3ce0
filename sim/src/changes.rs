//! News of a cluster's changes. Unlike a watch channel of tokio's, which wakes in an order of its own choice, all who wait are
//! woken in the order in which they began to: with the same seed a simulation goes the same way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Tells of changes.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    version: AtomicU64,
    rung: Notify,
}

/// Follows the changes of a cluster.
#[derive(Debug)]
pub struct Changes {
    shared: Arc<Shared>,
    seen: u64,
}

impl Bell {
    pub(crate) fn new(version: u64) -> Bell {
        Bell { shared: Arc::new(Shared { version: AtomicU64::new(version), rung: Notify::new() }) }
    }

    /// Tells that the cluster has this version, if it is a newer one.
    pub(crate) fn ring(&self, version: u64) {
        if self.shared.version.fetch_max(version, Ordering::AcqRel) < version {
            self.shared.rung.notify_waiters();
        }
    }

    /// Somebody to whom nothing has changed yet.
    pub(crate) fn follow(&self) -> Changes {
        let mut changes = Changes { shared: self.shared.clone(), seen: 0 };
        changes.mark_unchanged();
        changes
    }
}

impl Changes {
    /// Waits until something has changed since the last call of this or of [`Changes::mark_unchanged`].
    pub async fn changed(&mut self) {
        loop {
            let rung = self.shared.rung.notified();
            if self.has_changed() {
                break;
            }
            rung.await;
        }
        self.mark_unchanged();
    }

    /// Whether something has changed since.
    pub fn has_changed(&self) -> bool {
        self.shared.version.load(Ordering::Acquire) != self.seen
    }

    /// What has changed so far is known.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version.load(Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_woken_in_the_order_in_which_they_began_to() {
        let (bell, woken) = (Bell::new(1), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..50)
            .map(|number| {
                let (mut changes, woken) = (bell.follow(), woken.clone());
                tokio::spawn(async move {
                    changes.changed().await;
                    woken.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        bell.ring(1);
        tokio::task::yield_now().await;
        assert!(woken.lock().unwrap().is_empty(), "nothing has changed");
        bell.ring(2);
        for one in waiting {
            one.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }
}
