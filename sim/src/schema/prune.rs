//! Taking out what a schema does not know, and what is not stored because it is empty.

use serde_json::Value;

use super::place::Place;
use super::{Schema, Shape, builtin};

/// Takes unknown fields out and tells their paths.
pub(crate) fn prune(schema: &Schema, value: &mut Value, unknown: &mut Vec<String>) {
    prune_at(schema, value, &Place::Root, unknown);
}

fn prune_at(schema: &Schema, value: &mut Value, place: &Place<'_>, unknown: &mut Vec<String>) {
    if schema.embedded
        && let Some(metadata) = value.get_mut("metadata")
    {
        prune_at(builtin::metadata(), metadata, &place.field("metadata"), unknown);
    }
    match value {
        Value::Object(fields) => {
            if schema.shape != Shape::Object && schema.properties.is_empty() {
                return;
            }
            let identity = |name: &str| schema.embedded && ["apiVersion", "kind", "metadata"].contains(&name);
            fields.retain(|name, value| match schema.field(name) {
                Some(field) => {
                    prune_at(field, value, &place.field(name), unknown);
                    true
                }
                None if schema.preserve || identity(name) => true,
                None => {
                    unknown.push(place.field(name).to_string());
                    false
                }
            });
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter_mut().enumerate() {
                    prune_at(schema, item, &place.item(index), unknown);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes out nulls and empty values that a typed server does not store.
pub(crate) fn tidy(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if schema.preserve {
                return;
            }
            fields.retain(|name, value| {
                let Some(field) = schema.field(name) else { return true };
                tidy(field, value);
                // Times of events and of conditions are written as null; nothing else is.
                let absent = value.is_null() && !schema.required.contains(name);
                !(absent || field.omit_empty && is_empty(value))
            });
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| tidy(schema, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(value) => value.is_empty(),
    }
}
