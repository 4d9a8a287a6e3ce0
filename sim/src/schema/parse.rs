//! Schemas out of OpenAPI v3 as Kubernetes extends it.

use std::sync::Arc;

use serde_json::Value;

use super::{ListKind, Nested, Pattern, Rules, Schema, Shape, Strategy};

/// How a `$ref` is resolved.
pub(crate) type Resolve<'a> = &'a dyn Fn(&str) -> Nested;

/// Reads one schema; what is nothing but a reference is shared with all that refer to it.
fn shared(value: &Value, resolve: Resolve<'_>) -> Nested {
    match value.get("$ref").and_then(Value::as_str) {
        Some(name) if value.as_object().is_some_and(|fields| fields.len() == 1) => {
            resolve(name.rsplit('/').next().unwrap_or(name))
        }
        Some(_) | None => Nested::Written(Arc::new(parse(value, resolve))),
    }
}

/// Reads one schema.
pub(crate) fn parse(value: &Value, resolve: Resolve<'_>) -> Schema {
    let mut schema = match value.get("$ref").and_then(Value::as_str) {
        Some(name) => (*resolve(name.rsplit('/').next().unwrap_or(name))).clone(),
        None => Schema::default(),
    };
    let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    match text("type") {
        Some("object") => schema.shape = Shape::Object,
        Some("array") => schema.shape = Shape::Array,
        Some("string") => schema.shape = Shape::String,
        Some("integer") => schema.shape = Shape::Integer,
        Some("number") => schema.shape = Shape::Number,
        Some("boolean") => schema.shape = Shape::Boolean,
        Some(_) | None => {}
    }
    if flag("x-kubernetes-int-or-string") || text("format") == Some("int-or-string") {
        schema.shape = Shape::IntOrString;
    }
    if let Some(properties) = value.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            schema.properties.insert(name.clone(), shared(property, resolve));
        }
    }
    if let Some(additional) = value.get("additionalProperties") {
        schema.additional = match additional {
            Value::Bool(true) => Some(Nested::Written(Schema::unspecified())),
            Value::Object(_) => Some(shared(additional, resolve)),
            Value::Bool(false) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        };
    }
    if let Some(items) = value.get("items") {
        schema.items = Some(shared(items, resolve));
    }
    if let Some(required) = value.get("required") {
        schema.required = strings(required);
    }
    if let Some(default) = value.get("default") {
        schema.default = Some(default.clone());
    }
    schema.nullable |= flag("nullable");
    schema.preserve |= flag("x-kubernetes-preserve-unknown-fields");
    schema.embedded |= flag("x-kubernetes-embedded-resource");
    schema.omit_empty |= flag("x-omit");
    match text("x-kubernetes-list-type") {
        Some("set") => schema.list = ListKind::Set,
        Some("map") => {
            let keys = value.get("x-kubernetes-list-map-keys").map(strings).unwrap_or_default();
            schema.list = ListKind::Map(keys);
        }
        Some(_) | None => {}
    }
    schema.atomic |= text("x-kubernetes-map-type") == Some("atomic");
    if let Some(strategy) = text("x-kubernetes-patch-strategy") {
        schema.strategy = Strategy {
            merge: strategy.split(',').any(|word| word == "merge"),
            replace: strategy.split(',').any(|word| word == "replace"),
            merge_key: text("x-kubernetes-patch-merge-key").map(str::to_owned),
        };
    }
    if value.as_object().is_some_and(|value| value.keys().any(|key| RULES.contains(&key.as_str()))) {
        schema.rules = Some(Box::new(rules(value, resolve)));
    }
    schema
}

/// The schema of a custom resource: as its definition says, with the metadata that all objects have.
pub(crate) fn custom(value: &Value, metadata: &Arc<Schema>) -> Schema {
    let mut schema = parse(value, &|_| Nested::Written(Schema::unspecified()));
    add_identity(&mut schema, metadata);
    schema
}

fn add_identity(schema: &mut Schema, metadata: &Arc<Schema>) {
    let text = Nested::Written(Arc::new(Schema { shape: Shape::String, ..Schema::default() }));
    schema.properties.insert("apiVersion".to_owned(), text.clone());
    schema.properties.insert("kind".to_owned(), text);
    schema.properties.insert("metadata".to_owned(), Nested::Written(metadata.clone()));
}

const RULES: [&str; 20] = [
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "format",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "nullable",
];

fn rules(value: &Value, resolve: Resolve<'_>) -> Rules {
    let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or_default();
    let number = |name: &str| value.get(name).and_then(Value::as_f64);
    let count = |name: &str| value.get(name).and_then(Value::as_u64);
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let each = |name: &str| -> Vec<Arc<Schema>> {
        let schemas = value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        schemas.iter().map(|schema| Arc::new(parse(schema, resolve))).collect()
    };
    let (all_of, any_of, one_of) = (each("allOf"), each("anyOf"), each("oneOf"));
    Rules {
        allowed: value.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        pattern: text("pattern").map(Pattern::new),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: flag("uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        format: text("format").map(str::to_owned),
        all_of,
        any_of,
        one_of,
        not: value.get("not").map(|not| Arc::new(parse(not, resolve))),
    }
}

fn strings(value: &Value) -> Vec<String> {
    let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
