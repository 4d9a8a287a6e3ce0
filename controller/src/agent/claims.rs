//! Which GitSource applies which object: one each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::manifest::ObjectId;
use super::plan::Inventory;
use super::source::SourceKey;

/// Who has what. What is applied stands in the inventories as well, so a restart forgets nothing.
#[derive(Default)]
pub struct Claims {
    owners: Mutex<HashMap<ObjectId, SourceKey>>,
}

impl Claims {
    /// Takes the object for that GitSource; returns the other one that has it already.
    pub fn take(&self, key: &SourceKey, id: &ObjectId) -> Option<SourceKey> {
        let mut owners = self.lock();
        match owners.get(id) {
            Some(owner) if owner == key => None,
            Some(owner) => Some(owner.clone()),
            None => {
                owners.insert(id.clone(), key.clone());
                None
            }
        }
    }

    /// The GitSource has these objects and no others; where two have one, the first to say so keeps it. True when it had
    /// others, which are free now.
    pub fn settle(&self, key: &SourceKey, inventory: &Inventory) -> bool {
        let mut owners = self.lock();
        let before = owners.len();
        owners.retain(|id, owner| owner != key || inventory.contains_key(id));
        let released = owners.len() < before;
        for id in inventory.keys() {
            owners.entry(id.clone()).or_insert_with(|| key.clone());
        }
        released
    }

    /// True when the GitSource has the object, or nobody.
    pub fn may(&self, key: &SourceKey, id: &ObjectId) -> bool {
        self.lock().get(id).is_none_or(|owner| owner == key)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectId, SourceKey>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_has_it_until_it_lets_go() {
        let (claims, id): (_, ObjectId) = (Claims::default(), "ConfigMap/shop/a".parse().unwrap());
        let (one, two) = (SourceKey::new("shop", "one"), SourceKey::new("shop", "two"));
        let inventory: Inventory = [(id.clone(), Default::default())].into_iter().collect();
        assert_eq!(claims.take(&one, &id), None);
        assert!(!claims.settle(&one, &inventory));
        assert_eq!(claims.take(&two, &id), Some(one.clone()));
        assert!(!claims.settle(&two, &inventory), "both say so, and the first keeps it");
        assert!(claims.may(&one, &id) && !claims.may(&two, &id));
        assert!(claims.settle(&one, &Inventory::new()));
        assert_eq!(claims.take(&two, &id), None);
    }
}
