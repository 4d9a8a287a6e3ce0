//! A Deployment that was scaled, or is scaled while it is paused.

use super::{Pass, spec::Strategy};

impl Pass<'_> {
    /// Whether the Deployment was scaled since its ReplicaSets were.
    pub(super) fn is_scaled(&self) -> bool {
        self.sets
            .iter()
            .filter(|set| set.replicas > 0)
            .any(|set| set.desired().is_some_and(|desired| desired != self.spec.replicas))
    }

    /// Scales what there is, in proportion, so that a rollout under way is neither hastened nor set back.
    pub(super) fn scale(&mut self) {
        let active: Vec<usize> = (0..self.sets.len()).filter(|at| self.sets[*at].replicas > 0).collect();
        let only = match active[..] {
            [] => self.current.or_else(|| self.sets.len().checked_sub(1)),
            [only] => Some(only),
            _ => None,
        };
        if active.len() < 2 {
            if let Some(only) = only {
                self.resize(only, self.spec.replicas);
            }
            return;
        }
        if self.current.is_some_and(|current| self.is_saturated(current)) {
            for at in self.old() {
                self.resize(at, 0);
            }
        } else if matches!(self.spec.strategy, Strategy::RollingUpdate { .. }) {
            self.scale_in_proportion(active);
        }
    }

    fn is_saturated(&self, at: usize) -> bool {
        let set = &self.sets[at];
        set.replicas == self.spec.replicas
            && set.desired() == Some(self.spec.replicas)
            && set.available() == self.spec.replicas
    }

    fn scale_in_proportion(&mut self, mut active: Vec<usize>) {
        let allowed = if self.spec.replicas > 0 { self.spec.replicas + self.spec.surge() } else { 0 };
        let missing = allowed - self.total();
        // The largest first; of equal ones the newer when there are more to come, else the older.
        active.sort_by_key(|at| {
            let age = i64::try_from(*at).unwrap_or(i64::MAX);
            (-self.sets[*at].replicas, if missing > 0 { -age } else { age })
        });
        let mut sizes: Vec<(usize, i64)> = Vec::new();
        let mut left = missing;
        for at in active {
            let more = self.proportion(at);
            let more = if left > 0 {
                more.min(left)
            } else if left < 0 {
                more.max(left)
            } else {
                0
            };
            left -= more;
            sizes.push((at, self.sets[at].replicas + more));
        }
        if let Some((_, size)) = sizes.first_mut() {
            *size = (*size + left).max(0);
        }
        for (at, size) in sizes {
            self.resize(at, size);
            self.sets[at].note_scale(&self.spec);
        }
    }

    /// How many pods more (or fewer) are its part of the Deployment's new size.
    fn proportion(&self, at: usize) -> i64 {
        let set = &self.sets[at];
        if self.spec.replicas == 0 {
            return -set.replicas;
        }
        let before = set.maximum().unwrap_or(self.before.replicas);
        if before == 0 {
            return 0;
        }
        // Rounded half away from zero; all are positive here.
        let scaled = set.replicas * (self.spec.replicas + self.spec.surge());
        (2 * scaled + before) / (2 * before) - set.replicas
    }
}
