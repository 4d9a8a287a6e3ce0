//! Delete, at once or when finalizers and the kubelet are done.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Query;
use crate::admission;
use crate::state::{State, Target, has_finalizers, seconds};
use crate::status::Status;
use crate::views;

/// Finalizers that stand for what happens to dependents.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

/// How something is to be deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletion {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dependents: Dependents,
    /// Seconds a pod has to end; its own idea when not given.
    pub(crate) grace: Option<i64>,
    pub(crate) dry_run: bool,
}

/// What happens to objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dependents {
    #[default]
    Background,
    Foreground,
    Orphan,
}

impl Deletion {
    /// Reads `DeleteOptions`; `Null` is an empty one.
    pub(crate) fn read(options: &Value) -> Result<Deletion, Status> {
        let text = |pointer| options.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let orphan = options["orphanDependents"].as_bool() == Some(true);
        let dependents = match text("/propagationPolicy").as_deref() {
            Some("Foreground") => Dependents::Foreground,
            Some("Orphan") => Dependents::Orphan,
            Some("Background") => Dependents::Background,
            None if orphan => Dependents::Orphan,
            None => Dependents::Background,
            Some(other) => {
                return Err(Status::new(
                    422,
                    "Invalid",
                    format!(
                        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: \
                         supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                    ),
                ));
            }
        };
        Ok(Deletion {
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            dependents,
            grace: options["gracePeriodSeconds"].as_i64(),
            dry_run: options["dryRun"].as_array().is_some_and(|dry_run| !dry_run.is_empty()),
        })
    }
}

impl State {
    /// Deletes an object. `true` when it is gone, `false` when it waits for finalizers or for its end.
    pub(crate) fn delete(&mut self, target: &Target, deletion: &Deletion) -> Result<(Arc<Value>, bool), Status> {
        let live = self.stored(target)?;
        for (field, label, wanted, why) in [
            ("uid", "UID", &deletion.uid, "deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", &deletion.resource_version, "modified"),
        ] {
            let stands = live["metadata"][field].as_str().unwrap_or_default();
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != stands) {
                let why = format!(
                    "the {label} in the precondition ({wanted}) does not match the {label} in record ({stands}). The \
                     object might have been {why}"
                );
                return Err(Status::precondition(&target.resource, &target.name, &why));
            }
        }
        admission::may_delete(&target.resource, &target.name)?;
        let mut next = (*live).clone();
        let finalizer = match deletion.dependents {
            Dependents::Background => None,
            Dependents::Foreground => Some(FOREGROUND),
            Dependents::Orphan => Some(ORPHAN),
        };
        let metadata = &mut next["metadata"];
        let mut finalizers: Vec<Value> = metadata["finalizers"].as_array().cloned().unwrap_or_default();
        finalizers.retain(|other| other != FOREGROUND && other != ORPHAN);
        finalizers.extend(finalizer.map(Value::from));
        if finalizers.is_empty() {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.remove("finalizers");
            }
        } else {
            metadata["finalizers"] = Value::Array(finalizers);
        }
        let earlier = live["metadata"]["deletionGracePeriodSeconds"].as_i64();
        let grace = admission::grace(&target.resource, &live, deletion.grace);
        let grace = earlier.map_or(grace, |earlier| grace.min(earlier));
        let waits = has_finalizers(&next) || grace > 0 || admission::is_emptying(&live);
        if !waits {
            if !deletion.dry_run {
                self.erase(&target.key());
            }
            return Ok((views::outbound(target, &live), true));
        }
        let metadata = &mut next["metadata"];
        if earlier != Some(grace) {
            let end = self.clock.now().saturating_add(Duration::from_secs(grace.unsigned_abs()));
            metadata["deletionTimestamp"] = seconds(end.unwrap_or(self.clock.now())).into();
            metadata["deletionGracePeriodSeconds"] = grace.into();
            if let Some(generation) = metadata["generation"].as_i64() {
                metadata["generation"] = (generation + 1).into();
            }
        }
        if admission::is_emptying(&live) {
            next["status"] = json!({ "phase": "Terminating" });
        }
        if next == *live || deletion.dry_run {
            return Ok((views::outbound(target, &Arc::new(next)), false));
        }
        let object = self.store.put(target.key(), next);
        self.react(&target.key(), &object);
        let gone = self.store.get(&target.key()).is_none();
        let object = self.store.get(&target.key()).cloned().unwrap_or(object);
        Ok((views::outbound(target, &object), gone))
    }

    /// Deletes what a query finds, and tells what it found.
    pub(crate) fn delete_collection(
        &mut self,
        target: &Target,
        query: &Query,
        deletion: &Deletion,
    ) -> Result<Vec<Arc<Value>>, Status> {
        let page = self.list(target, query)?;
        let mut deleted = vec![];
        for object in page.items {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let one = Target { namespace: text("namespace").to_owned(), ..target.named(text("name")) };
            match self.delete(&one, deletion) {
                Ok((object, _)) => deleted.push(object),
                // A dependent of another one that was deleted just now.
                Err(status) if status.is_not_found() => {}
                Err(status) => return Err(status),
            }
        }
        Ok(deleted)
    }
}
