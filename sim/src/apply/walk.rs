//! Objects and their fields side by side: which fields there are, which differ, how two objects become one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::fields::{Element, Fields};
use crate::schema::{ListKind, Schema};

/// What became of the fields between two objects.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) added: Fields,
    pub(super) modified: Fields,
    pub(super) removed: Fields,
}

impl Change {
    /// What became of the fields below.
    fn put(&mut self, element: Element, below: Change) {
        let Change { added, modified, removed } = below;
        let parts = [(&mut self.added, added), (&mut self.modified, modified), (&mut self.removed, removed)];
        for (fields, below) in parts.into_iter().filter(|(_, below)| !below.is_empty()) {
            fields.put(element.clone(), below);
        }
    }
}

/// The fields that an applied object states.
pub(super) fn to_fields(schema: &Schema, value: &Value) -> Fields {
    let mut fields = Fields::default();
    match (value, Merging::of(schema, value)) {
        (Value::Object(object), Merging::Granular) => {
            for (name, value) in object {
                let mut child = to_fields(field(schema, name), value);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !schema.properties.contains_key(name) {
                    child.set_member(true);
                }
                fields.put(Element::field(name), child);
            }
        }
        (Value::Array(items), Merging::Granular) => {
            let item_schema = item(schema);
            for value in items {
                let Some(element) = element(schema, value) else { continue };
                let mut child = to_fields(item_schema, value);
                child.set_member(true);
                fields.put(element, child);
            }
        }
        (
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
            _,
        ) => fields.set_member(true),
    }
    fields
}

/// What differs between two objects.
pub(super) fn compare(schema: &Schema, old: Option<&Value>, new: Option<&Value>) -> Change {
    let mut change = compare_at(schema, old, new);
    // The object itself belongs to nobody.
    for fields in [&mut change.added, &mut change.removed] {
        fields.set_member(false);
    }
    change
}

fn compare_at(schema: &Schema, old: Option<&Value>, new: Option<&Value>) -> Change {
    let mut change = Change::default();
    let sides = || [old, new].into_iter().flatten();
    let empty = sides().all(|value| match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    });
    let objects = !empty && sides().all(Value::is_object) && !schema.atomic;
    let lists = !empty && sides().all(Value::is_array) && schema.list != ListKind::Atomic;
    if objects {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        for (name, new) in new.into_iter().flatten() {
            let old = old.and_then(|old| old.get(name));
            if old != Some(new) {
                let below = compare_at(field(schema, name), old, Some(new));
                change.put(Element::field(name), below);
            }
        }
        for (name, old) in old.into_iter().flatten() {
            if new.is_none_or(|new| !new.contains_key(name)) {
                change.put(Element::field(name), compare_at(field(schema, name), Some(old), None));
            }
        }
    } else if lists {
        let item_schema = item(schema);
        let (old, new) = (by_element(schema, old), by_element(schema, new));
        for (element, &new) in &new {
            let old = old.get(element).copied();
            if old != Some(new) {
                change.put(element.clone(), compare_at(item_schema, old, Some(new)));
            }
        }
        for (element, old) in old {
            if !new.contains_key(&element) {
                change.put(element, compare_at(item_schema, Some(old), None));
            }
        }
    }
    match (old, new) {
        (None, _) => change.added.set_member(true),
        (_, None) => change.removed.set_member(true),
        (Some(_), Some(_)) if !objects && !lists => change.modified.set_member(true),
        (Some(_), Some(_)) => {}
    }
    change
}

/// `live` with everything that `config` states.
pub(super) fn merge(schema: &Schema, live: Option<&Value>, config: &Value) -> Value {
    match (live, config, Merging::of(schema, config)) {
        (Some(Value::Object(live)), Value::Object(config), Merging::Granular) => {
            let mut merged = live.clone();
            for (name, value) in config {
                let value = merge(field(schema, name), live.get(name), value);
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Some(Value::Array(live)), Value::Array(config), Merging::Granular) => {
            Value::Array(merge_lists(schema, live, config))
        }
        (_, config, _) => config.clone(),
    }
}

/// Items of `live` alone keep their place; the others come in the order of `config`.
fn merge_lists(schema: &Schema, live: &[Value], config: &[Value]) -> Vec<Value> {
    let item_schema = item(schema);
    let live_by: BTreeMap<Element, &Value> =
        live.iter().filter_map(|value| Some((element(schema, value)?, value))).collect();
    let stated: BTreeSet<Element> = config.iter().filter_map(|value| element(schema, value)).collect();
    let mut merged = vec![];
    let mut rest = config.iter();
    for value in live {
        if !element(schema, value).is_some_and(|element| stated.contains(&element)) {
            merged.push(value.clone());
            continue;
        }
        for value in rest.by_ref() {
            let shared = element(schema, value).and_then(|element| live_by.get(&element).copied());
            merged.push(merge(item_schema, shared, value));
            if shared.is_some() {
                break;
            }
        }
    }
    merged.extend(rest.map(|value| {
        let shared = element(schema, value).and_then(|element| live_by.get(&element).copied());
        merge(item_schema, shared, value)
    }));
    merged
}

/// Takes the members of `gone` out of the object, but nothing that has something of `kept` below it.
pub(super) fn remove(schema: &Schema, value: &mut Value, gone: &Fields, kept: &Fields) {
    let nothing = Fields::default();
    match value {
        Value::Object(object) => {
            for (element, gone) in gone.children() {
                let Some(name) = element.name() else { continue };
                let Some(value) = object.get_mut(name) else { continue };
                let kept = kept.child(element).unwrap_or(&nothing);
                if gone.is_member() && kept.is_empty() {
                    object.remove(name);
                    continue;
                }
                remove(field(schema, name), value, gone, kept);
                // A map that was emptied goes; one that was stated empty is a member and would have gone above.
                let emptied =
                    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
                if emptied && kept.is_empty() {
                    object.remove(name);
                }
            }
        }
        Value::Array(items) => {
            let item_schema = item(schema);
            items.retain_mut(|value| {
                let Some(element) = element(schema, value) else { return true };
                let Some(gone) = gone.child(&element) else { return true };
                let kept = kept.child(&element).unwrap_or(&nothing);
                if gone.is_member() && kept.is_empty() {
                    return false;
                }
                remove(item_schema, value, gone, kept);
                true
            });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

enum Merging {
    Granular,
    Whole,
}

impl Merging {
    fn of(schema: &Schema, value: &Value) -> Merging {
        match value {
            Value::Object(_) if !schema.atomic => Merging::Granular,
            Value::Array(_) if schema.list != ListKind::Atomic => Merging::Granular,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Merging::Whole
            }
        }
    }
}

fn field<'a>(schema: &'a Schema, name: &str) -> &'a Schema {
    schema.field(name).unwrap_or_else(|| nothing_said())
}

fn item(schema: &Schema) -> &Schema {
    schema.items.as_deref().unwrap_or_else(|| nothing_said())
}

/// The schema of what a schema says nothing about.
fn nothing_said() -> &'static Schema {
    static NOTHING: OnceLock<Arc<Schema>> = OnceLock::new();
    NOTHING.get_or_init(Schema::unspecified)
}

fn by_element<'a>(schema: &Schema, list: Option<&'a Value>) -> BTreeMap<Element, &'a Value> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|value| Some((element(schema, value)?, value))).collect()
}

/// What makes an item itself; missing keys have their default.
fn element(schema: &Schema, value: &Value) -> Option<Element> {
    match &schema.list {
        ListKind::Atomic => None,
        ListKind::Set => Some(Element::value(value)),
        ListKind::Map(keys) => {
            let item_schema = schema.items.as_ref();
            let mut found: BTreeMap<&String, &Value> = BTreeMap::new();
            for key in keys {
                let default = || item_schema?.properties.get(key)?.default.as_ref();
                if let Some(value) = value.get(key).or_else(default) {
                    found.insert(key, value);
                }
            }
            if found.is_empty() { None } else { serde_json::to_string(&found).ok().map(|keys| Element::key(&keys)) }
        }
    }
}
