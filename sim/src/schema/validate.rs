//! Whether a value is what its schema asks for, in the words of the API server.

use serde_json::Value;

use super::place::Place;
use super::{ListKind, Rules, Schema, Shape, builtin};
use crate::status::Cause;

/// All that is wrong, in the order of the object's fields.
pub(crate) fn validate(schema: &Schema, value: &Value, causes: &mut Vec<Cause>) {
    validate_at(schema, value, &Place::Root, causes);
}

fn validate_at(schema: &Schema, value: &Value, place: &Place<'_>, causes: &mut Vec<Cause>) {
    if value.is_null() {
        if !schema.nullable && schema.shape != Shape::Any {
            causes.push(wrong_type(place, value, schema.shape));
        }
        return;
    }
    if !fits(schema.shape, value) {
        causes.push(wrong_type(place, value, schema.shape));
        return;
    }
    if let Some(rules) = &schema.rules {
        check_rules(rules, value, place, causes);
    }
    if schema.embedded
        && let Some(metadata) = value.get("metadata")
    {
        validate_at(builtin::metadata(), metadata, &place.field("metadata"), causes);
    }
    match value {
        Value::Object(fields) => {
            for name in schema.required.iter().filter(|name| !fields.contains_key(*name)) {
                causes.push(Cause::required(&place.field(name).to_string(), ""));
            }
            for (name, value) in fields {
                if let Some(field) = schema.field(name) {
                    validate_at(field, value, &place.field(name), causes);
                }
            }
        }
        Value::Array(items) => {
            check_list(schema, items, place, causes);
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    validate_at(schema, item, &place.item(index), causes);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fits(shape: Shape, value: &Value) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Object => value.is_object(),
        Shape::Array => value.is_array(),
        Shape::String => value.is_string(),
        Shape::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Shape::Number => value.is_number(),
        Shape::Boolean => value.is_boolean(),
        Shape::IntOrString => value.is_string() || value.is_number(),
    }
}

fn wrong_type(place: &Place<'_>, value: &Value, shape: Shape) -> Cause {
    let path = place.to_string();
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = match shape {
        Shape::Any | Shape::Object => "object",
        Shape::Array => "array",
        Shape::String => "string",
        Shape::Integer => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
        Shape::IntOrString => "integer,string",
    };
    let why = format!("{path} in body must be of type {wanted}: {is:?}");
    Cause { reason: "FieldValueTypeInvalid", message: format!("Invalid value: {is:?}: {why}"), field: path }
}

fn check_list(schema: &Schema, items: &[Value], place: &Place<'_>, causes: &mut Vec<Cause>) {
    let same = |one: &Value, other: &Value| match &schema.list {
        ListKind::Atomic => false,
        ListKind::Set => one == other,
        ListKind::Map(keys) => keys.iter().all(|key| one.get(key) == other.get(key)),
    };
    for (index, item) in items.iter().enumerate() {
        if items[..index].iter().any(|earlier| same(earlier, item)) {
            let own = match &schema.list {
                ListKind::Atomic | ListKind::Set => item.clone(),
                ListKind::Map(keys) => {
                    keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect()
                }
            };
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                message: format!("Duplicate value: {own}"),
                field: place.item(index).to_string(),
            });
        }
    }
}

fn check_rules(rules: &Rules, value: &Value, place: &Place<'_>, causes: &mut Vec<Cause>) {
    if !rules.allowed.is_empty() && !rules.allowed.contains(value) {
        causes.push(Cause::unsupported(&place.to_string(), value, &rules.allowed));
    }
    let mut wrong = |why: String| {
        causes.push(Cause::invalid(&place.to_string(), value, &format!("{place} in body {why}")));
    };
    if let Some(number) = value.as_f64() {
        if let Some(least) = rules.minimum {
            if rules.exclusive_minimum && number <= least {
                wrong(format!("should be greater than {least}"));
            } else if number < least {
                wrong(format!("should be greater than or equal to {least}"));
            }
        }
        if let Some(most) = rules.maximum {
            if rules.exclusive_maximum && number >= most {
                wrong(format!("should be less than {most}"));
            } else if number > most {
                wrong(format!("should be less than or equal to {most}"));
            }
        }
        if let Some(divisor) = rules.multiple_of.filter(|divisor| number % divisor != 0.0) {
            wrong(format!("should be a multiple of {divisor}"));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if let Some(least) = rules.min_length.filter(|least| length < *least) {
            wrong(format!("should be at least {least} chars long"));
        }
        if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            wrong(format!("should match '{pattern}'"));
        }
        if rules.format.as_deref() == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
            wrong(format!("must be of type date-time: {text:?}"));
        }
    }
    if let Some(items) = value.as_array() {
        let count = items.len() as u64;
        if let Some(least) = rules.min_items.filter(|least| count < *least) {
            wrong(format!("should have at least {least} items"));
        }
        if rules.unique_items && (1..items.len()).any(|index| items[..index].contains(&items[index])) {
            wrong("shouldn't contain duplicates".to_owned());
        }
    }
    if let Some(fields) = value.as_object() {
        let count = fields.len() as u64;
        if let Some(least) = rules.min_properties.filter(|least| count < *least) {
            wrong(format!("should have at least {least} properties"));
        }
    }
    check_sizes(rules, value, place, causes);
    check_combinations(rules, value, place, causes);
}

fn check_sizes(rules: &Rules, value: &Value, place: &Place<'_>, causes: &mut Vec<Cause>) {
    let mut too = |reason: &'static str, message: String| {
        causes.push(Cause { reason, message, field: place.to_string() });
    };
    if let (Some(text), Some(most)) = (value.as_str(), rules.max_length)
        && text.chars().count() as u64 > most
    {
        too("FieldValueTooLong", format!("Too long: may not be more than {most} bytes"));
    }
    if let (Some(items), Some(most)) = (value.as_array(), rules.max_items)
        && items.len() as u64 > most
    {
        too("FieldValueTooMany", format!("Too many: {}: must have at most {most} items", items.len()));
    }
    if let (Some(fields), Some(most)) = (value.as_object(), rules.max_properties)
        && fields.len() as u64 > most
    {
        too("FieldValueTooMany", format!("Too many: {}: must have at most {most} items", fields.len()));
    }
}

fn check_combinations(rules: &Rules, value: &Value, place: &Place<'_>, causes: &mut Vec<Cause>) {
    let holds = |schema: &Schema| {
        let mut causes = vec![];
        validate_at(schema, value, place, &mut causes);
        causes.is_empty()
    };
    let mut wrong = |why: &str| {
        let path = place.to_string();
        causes.push(Cause::invalid(&path, value, &format!("{path:?} {why}")));
    };
    if !rules.any_of.is_empty() && !rules.any_of.iter().any(|schema| holds(schema)) {
        wrong("must validate at least one schema (anyOf)");
    }
    if !rules.one_of.is_empty() {
        match rules.one_of.iter().filter(|schema| holds(schema)).count() {
            0 => wrong("must validate one and only one schema (oneOf). Found none valid"),
            1 => {}
            count => wrong(&format!("must validate one and only one schema (oneOf). Found {count} valid alternatives")),
        }
    }
    if rules.not.as_ref().is_some_and(|not| holds(not)) {
        wrong("must not validate the schema (not)");
    }
    for schema in &rules.all_of {
        validate_at(schema, value, place, causes);
    }
}
