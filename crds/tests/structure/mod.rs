//! As much of OpenAPI as the schemas use: does a value fit, would a field be pruned, is one schema narrower.

pub(crate) mod generate;

use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

/// What is wrong with a value, and what the API server would prune from it.
pub(crate) fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut complain = |what: &str| found.push(format!("{path}: {what}: {value}"));
    if let Some(kind) = schema["type"].as_str()
        && !is(kind, value)
    {
        complain(&format!("is no {kind}"));
    }
    if schema["x-kubernetes-int-or-string"] == true && !(value.is_i64() || value.is_string()) {
        complain("is neither integer nor string");
    }
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        complain("is none of the choices");
    }
    if let Some(text) = value.as_str() {
        if schema["pattern"].as_str().is_some_and(|pattern| !matches(pattern, text)) {
            complain("does not match the pattern");
        }
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|bound| length < bound)
            || schema["maxLength"].as_u64().is_some_and(|bound| length > bound)
        {
            complain("is too short or too long");
        }
    }
    if let Some(number) = value.as_f64()
        && (schema["minimum"].as_f64().is_some_and(|bound| number < bound)
            || schema["maximum"].as_f64().is_some_and(|bound| number > bound))
    {
        complain("is out of bounds");
    }
    if let Some(items) = value.as_array() {
        if schema["maxItems"].as_u64().is_some_and(|bound| items.len() as u64 > bound) {
            complain("has too many items");
        }
        for (index, item) in items.iter().enumerate() {
            check(&schema["items"], item, &format!("{path}[{index}]"), found);
        }
    }
    if let Some(fields) = value.as_object() {
        check_fields(schema, fields, path, found);
        if !chosen(schema, value) {
            found.push(format!("{path}: fits none or several of the alternatives: {value}"));
        }
    }
}

fn check_fields(schema: &Value, fields: &serde_json::Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            found.push(format!("{path}.{name}: is missing"));
        }
    }
    let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) if free => {}
            (Value::Null, Value::Null) => found.push(format!("{path}: is pruned")),
            (Value::Null, schema) | (schema, _) => check(schema, value, &path, found),
        }
    }
}

/// True when the `oneOf` of a schema holds.
pub(crate) fn chosen(schema: &Value, value: &Value) -> bool {
    fn holds(choice: &Value, value: &Value) -> bool {
        let required = choice["required"].as_array().into_iter().flatten();
        let mut properties = choice["properties"].as_object().into_iter().flatten();
        required.into_iter().all(|name| !value[name.as_str().unwrap()].is_null())
            && properties.all(|(name, schema)| value[name].is_null() || holds(schema, &value[name]))
            && choice["anyOf"].as_array().is_none_or(|any| any.iter().any(|choice| holds(choice, value)))
            && choice["oneOf"]
                .as_array()
                .is_none_or(|one| one.iter().filter(|choice| holds(choice, value)).count() == 1)
            && (choice["not"].is_null() || !holds(&choice["not"], value))
    }
    schema["oneOf"].as_array().is_none_or(|one| one.iter().filter(|choice| holds(choice, value)).count() == 1)
}

/// Building an expression costs more than all the rest.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    thread_local!(static BUILT: RefCell<HashMap<String, Regex>> = RefCell::default());
    BUILT.with_borrow_mut(|built| {
        built.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap()).is_match(text)
    })
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("unknown type {other}"),
    }
}

/// Where `ours` takes or keeps less than `published`, or defaults otherwise.
pub(crate) fn narrowings(published: &Value, ours: &Value, path: &str, found: &mut Vec<String>) {
    let mut complain = |what: String| found.push(format!("{path}: {what}"));
    if ours.is_null() {
        return complain("is pruned".into());
    }
    if published["default"] != ours["default"] {
        complain(format!("defaults to {} instead of {}", ours["default"], published["default"]));
    }
    if ours["x-kubernetes-preserve-unknown-fields"] == true && ours["type"] == published["type"] {
        return;
    }
    // Counters that only a controller writes, and never with a fraction.
    let counter = ["status.failedChecks", "status.canaryWeight", "status.iterations"].contains(&path);
    let widened = published["type"] == "integer" && ours["type"] == "number";
    if published["type"] != ours["type"] && !widened && !counter {
        complain(format!("is {} instead of {}", ours["type"], published["type"]));
    }
    if published["x-kubernetes-int-or-string"] != ours["x-kubernetes-int-or-string"] {
        complain("differs in int-or-string".into());
    }
    let mut published_required = list(published, "required");
    if let [first, others @ ..] = list(published, "oneOf").as_slice() {
        let in_all = |name: &Value| others.iter().all(|choice| list(choice, "required").contains(name));
        published_required.extend(list(first, "required").into_iter().filter(in_all));
    }
    for name in list(ours, "required").iter().filter(|name| !published_required.contains(name)) {
        complain(format!("requires {name}"));
    }
    if ours["enum"].is_array() && !published["enum"].is_array() {
        complain("has choices".into());
    }
    for choice in
        list(published, "enum").iter().filter(|choice| ours["enum"].is_array() && !list(ours, "enum").contains(choice))
    {
        complain(format!("refuses {choice}"));
    }
    let duration = published["pattern"] == "^[0-9]+(m|s)"; // proven wider by a test of its own
    if ours["pattern"].is_string() && ours["pattern"] != published["pattern"] && !duration {
        complain(format!("has pattern {}", ours["pattern"]));
    }
    for (bound, lower) in
        [("minimum", true), ("minLength", true), ("maximum", false), ("maxLength", false), ("maxItems", false)]
    {
        let Some(tight) = ours[bound].as_f64() else { continue };
        match published[bound].as_f64() {
            Some(published) if lower && tight <= published || !lower && tight >= published => {}
            _ => complain(format!("has {bound} {tight}")),
        }
    }
    let words = ["oneOf", "anyOf"];
    if words.into_iter().any(|word| ours[word].is_array() && ours[word] != published[word]) {
        let mut names: Vec<Value> = [published, ours]
            .iter()
            .flat_map(|schema| words.map(|word| list(schema, word)))
            .flatten()
            .flat_map(|choice| list(&choice, "required"))
            .filter(|name| published["properties"][name.as_str().unwrap_or_default()].is_object())
            .collect();
        names.sort_by_key(Value::to_string);
        names.dedup();
        for subset in 0..1_u32 << names.len() {
            let written: Vec<&Value> =
                names.iter().enumerate().filter(|(place, _)| subset >> place & 1 == 1).map(|(_, name)| name).collect();
            if takes(published, &written) && !takes(ours, &written) {
                complain(format!("refuses {written:?} together"));
            }
        }
    }
    for (name, schema) in published["properties"].as_object().into_iter().flatten() {
        narrowings(schema, &ours["properties"][name], &format!("{path}.{name}"), found);
    }
    for inner in ["items", "additionalProperties"] {
        if published[inner].is_object() {
            narrowings(&published[inner], &ours[inner], &format!("{path}.{inner}"), found);
        }
    }
}

/// True when an object with these fields has what is required of it, and no more alternatives than it may.
fn takes(schema: &Value, written: &[&Value]) -> bool {
    let all = |of: &Value| list(of, "required").iter().all(|name| written.contains(&name));
    let met = |word| list(schema, word).iter().filter(|choice| all(choice)).count();
    let one = !schema["oneOf"].is_array() || met("oneOf") == 1;
    let any = !schema["anyOf"].is_array() || met("anyOf") > 0;
    one && any
}

fn list(schema: &Value, key: &str) -> Vec<Value> {
    schema[key].as_array().cloned().unwrap_or_default()
}
