//! Strategic merge patches: objects field by field, lists by their merge keys, and directives.

use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::status::Status;

/// The object after the patch.
pub(crate) fn strategic(schema: &Schema, base: &Value, patch: &Value) -> Result<Value, Status> {
    let (Some(base), Some(patch)) = (base.as_object(), patch.as_object()) else {
        return Err(Status::bad_request("a strategic merge patch must be an object"));
    };
    Ok(Value::Object(merge_objects(Some(schema), base, patch)?))
}

fn merge_objects(
    schema: Option<&Schema>,
    base: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, Status> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => return Ok(without_directives(patch)),
        Some("delete") => return Ok(Map::new()),
        Some("merge") | None => {}
        Some(other) => return Err(Status::bad_request(format!("invalid value for $patch: {other}"))),
    }
    let mut merged = base.clone();
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        merged.retain(|name, _| kept.iter().any(|kept| kept == name.as_str()));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(items) = merged.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if name.starts_with('$') {
            continue;
        }
        let field = schema.and_then(|schema| schema.field(name));
        match (merged.get(name), value) {
            (_, Value::Null) => {
                merged.remove(name);
            }
            (Some(Value::Object(base)), Value::Object(value)) => {
                let value = if field.is_some_and(|field| field.strategy.replace) {
                    without_directives(value)
                } else {
                    merge_objects(field, base, value)?
                };
                // A map that a directive emptied is gone.
                if value.is_empty() && patch[name].get("$patch").is_some() {
                    merged.remove(name);
                } else {
                    merged.insert(name.clone(), Value::Object(value));
                }
            }
            (base, Value::Array(items)) => {
                let base = base.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let order = patch.get(&format!("$setElementOrder/{name}")).and_then(Value::as_array);
                merged.insert(name.clone(), Value::Array(merge_lists(field, base, items, order)?));
            }
            (_, Value::Object(value)) => {
                if value.get("$patch").and_then(Value::as_str) != Some("delete") {
                    merged.insert(name.clone(), Value::Object(merge_objects(field, &Map::new(), value)?));
                }
            }
            (_, Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                merged.insert(name.clone(), value.clone());
            }
        }
    }
    // Order alone may be patched.
    for (name, order) in patch {
        let Some(list) = name.strip_prefix("$setElementOrder/") else { continue };
        let (Some(order), None, Some(items)) = (order.as_array(), patch.get(list), merged.get(list)) else { continue };
        let field = schema.and_then(|schema| schema.field(list));
        let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
        let sorted = in_order(field, items.to_vec(), order, items);
        merged.insert(list.to_owned(), Value::Array(sorted));
    }
    Ok(merged)
}

fn merge_lists(
    schema: Option<&Schema>,
    base: &[Value],
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<Vec<Value>, Status> {
    let replaces = patch.iter().any(|item| item.get("$patch").and_then(Value::as_str) == Some("replace"));
    if replaces || !schema.is_some_and(|schema| schema.strategy.merge) {
        let kept = patch.iter().filter(|item| item.get("$patch").is_none());
        return Ok(kept.cloned().collect());
    }
    let mut merged = base.to_vec();
    let item_schema = schema.and_then(|schema| schema.items.as_deref());
    match schema.and_then(|schema| schema.strategy.merge_key.as_deref()) {
        None => {
            for item in patch {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
        }
        Some(key) => {
            for item in patch {
                let (Some(fields), Some(id)) = (item.as_object(), item.get(key)) else {
                    return Err(Status::bad_request(format!("map: {item} does not contain declared merge key: {key}")));
                };
                let at = merged.iter().position(|other| other.get(key) == Some(id));
                if item.get("$patch").and_then(Value::as_str) == Some("delete") {
                    merged.retain(|other| other.get(key) != Some(id));
                } else if let Some(base) = at.and_then(|at| merged.get_mut(at)) {
                    let nothing = Map::new();
                    *base = Value::Object(merge_objects(item_schema, base.as_object().unwrap_or(&nothing), fields)?);
                } else {
                    merged.push(Value::Object(merge_objects(item_schema, &Map::new(), fields)?));
                }
            }
        }
    }
    Ok(in_order(schema, merged, order.map_or(patch, Vec::as_slice), base))
}

/// Items that the order names, in that order, among the others: one of those goes before the first named one that stood
/// behind it before. So what is new comes first.
fn in_order(schema: Option<&Schema>, items: Vec<Value>, order: &[Value], before: &[Value]) -> Vec<Value> {
    let key = schema.and_then(|schema| schema.strategy.merge_key.as_deref());
    let same = |left: &Value, right: &Value| match key {
        Some(key) => left.get(key) == right.get(key),
        None => left == right,
    };
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    let mut sorted = vec![];
    let mut others = others.into_iter().peekable();
    for item in named {
        while let Some(other) = others.peek()
            && let (Some(other), Some(item)) = (place(before, other), place(before, &item))
            && other < item
        {
            sorted.extend(others.next());
        }
        sorted.push(item);
    }
    sorted.extend(others);
    sorted
}

fn without_directives(object: &Map<String, Value>) -> Map<String, Value> {
    object
        .iter()
        .filter(|(name, _)| !name.starts_with('$'))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin;

    #[test]
    fn lists_are_merged_by_key_and_directives_are_obeyed() {
        let schema = builtin::schema(builtin::definition("apps", "v1", "Deployment"));
        let spec = |containers: Value| json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        let base = spec(json!([
            { "name": "a", "image": "1", "env": [{ "name": "X", "value": "1" }, { "name": "Y", "value": "2" }] },
            { "name": "b", "image": "1" },
        ]));
        let patch = spec(json!([
            { "name": "a", "image": "2", "env": [{ "name": "X", "$patch": "delete" }], "args": ["x"] },
            { "name": "c", "image": "3" },
            { "name": "b", "$patch": "delete" },
        ]));
        let expected = spec(json!([
            { "name": "a", "image": "2", "env": [{ "name": "Y", "value": "2" }], "args": ["x"] },
            { "name": "c", "image": "3" },
        ]));
        assert_eq!(strategic(&schema, &base, &patch).unwrap(), expected);
        let base = json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } });
        let patch = json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } });
        assert_eq!(
            strategic(&schema, &base, &patch).unwrap(),
            json!({ "spec": { "strategy": { "type": "Recreate" } } })
        );
        let base = json!({ "metadata": { "finalizers": ["a", "b"] } });
        let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"],
            "$setElementOrder/finalizers": ["c", "b"] } });
        assert_eq!(strategic(&schema, &base, &patch).unwrap(), json!({ "metadata": { "finalizers": ["c", "b"] } }));
    }
}
