//! What stands in an object when nothing is said.

use serde_json::Value;

use super::Schema;

/// Fills in defaults where there is an object to fill.
pub(crate) fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in &schema.properties {
                let Some(default) = &field.default else { continue };
                // A null where none may stand is the same as nothing said.
                let missing = fields.get(name).is_none_or(|value| value.is_null() && !field.nullable);
                if missing {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(field) = schema.field(name) {
                    fill(field, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| fill(schema, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
