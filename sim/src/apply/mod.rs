//! Server-side apply: who owns which field, and what follows from it.

mod fields;
mod managed;
mod walk;

use serde_json::{Value, json};

use crate::schema::Schema;
use crate::status::Status;
use fields::Fields;
use managed::{Managed, Owner};

/// Who writes, through which version, to which subresource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) api_version: &'a str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
}

/// Writes into `next` who owns what after an update, patch or create by `writer`.
pub(crate) fn track(schema: &Schema, live: Option<&Value>, next: &mut Value, writer: &Writer<'_>, now: &str) {
    let mut managed = match live {
        Some(live) if live["metadata"]["managedFields"] == next["metadata"]["managedFields"] => Managed::out_of(next),
        Some(live) if writer.subresource.is_empty() => Managed::stated(next, Managed::of(live)),
        Some(live) => Managed::of(live),
        None if writer.subresource.is_empty() => Managed::stated(next, Managed::default()),
        None => Managed::default(),
    };
    let change = walk::compare(schema, live, Some(&*next));
    let taken = identity_less(change.added.union(&change.modified));
    let removed = identity_less(change.removed);
    // An object whose owners were taken out is not tracked again until somebody applies.
    let untracked = live.is_some() && managed.is_empty();
    if !untracked {
        let own = Owner::update(writer);
        managed.take_from_others(Some(&own), &taken);
        managed.take_from_others(None, &removed);
        if !taken.is_empty() {
            managed.give(own, &taken, now);
        }
    }
    managed.write_into(next);
}

/// The object after `config` was applied, with its owners. `sharing` is what the writer's subresource may not touch.
pub(crate) fn apply(
    schema: &Schema,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
    now: &str,
) -> Result<Value, Status> {
    let empty = json!({});
    let base = live.unwrap_or(&empty);
    let mut managed = Managed::of(base);
    let mut set = identity_less(walk::to_fields(schema, config));
    if writer.subresource == "status" {
        set = set.only("status");
    } else if writer.subresource.is_empty() && schema.properties.contains_key("status") {
        set = set.without(&["status"]);
    }
    let own = Owner::apply(writer);
    let last = managed.fields(&own).unwrap_or_default();
    let mut merged = walk::merge(schema, Some(base), config);
    managed.replace(own.clone(), set, writer.api_version, now);
    let to_remove = last.difference(&managed.everything());
    walk::remove(schema, &mut merged, &to_remove, &managed.everything());
    let change = walk::compare(schema, live, Some(&merged));
    let taken = identity_less(change.added.union(&change.modified));
    let conflicts = managed.conflicts(&own, &taken);
    if !conflicts.is_empty() && !force {
        return Err(conflict(&conflicts));
    }
    managed.take_from_others(Some(&own), &taken);
    managed.take_from_others(Some(&own), &identity_less(change.removed));
    managed.write_into(&mut merged);
    Ok(merged)
}

/// What every writer must state, and what the server decides, belongs to nobody.
fn identity_less(fields: Fields) -> Fields {
    let nobodys =
        ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];
    let mut fields = fields.without(&["apiVersion", "kind"]);
    fields.change("metadata", |metadata| {
        let mut metadata = metadata.without(&nobodys);
        metadata.set_member(false);
        metadata
    });
    fields
}

fn conflict(conflicts: &[(Owner, Fields)]) -> Status {
    let mut causes = vec![];
    let mut texts = vec![];
    for (owner, fields) in conflicts {
        let mut paths = vec![];
        fields.paths(&mut String::new(), &mut paths);
        for path in &paths {
            causes.push(json!({
                "reason": "FieldManagerConflict", "message": format!("conflict with {owner}"), "field": path,
            }));
        }
        texts.push((owner, paths));
    }
    let message = if let [(owner, paths)] = texts.as_slice()
        && let [path] = paths.as_slice()
    {
        format!("Apply failed with 1 conflict: conflict with {owner}: {path}")
    } else {
        let lines: Vec<String> = texts
            .iter()
            .flat_map(|(owner, paths)| {
                let first = format!("conflicts with {owner}:");
                std::iter::once(first).chain(paths.iter().map(|path| format!("- {path}")))
            })
            .collect();
        format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
    };
    Status { details: json!({ "causes": causes }), ..Status::new(409, "Conflict", message) }
}

#[cfg(test)]
mod tests;
