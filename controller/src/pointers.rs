//! JSON patches from pointers: what must change in an object so that the values at some pointers stand exactly so.

use serde_json::{Map, Value, json};

/// Operations (RFC 6902) that put `wanted` at each pointer of `live`; `None` takes the value out. Empty when all is so
/// already. A value wanted empty may as well be absent.
pub(crate) fn operations<'a>(
    live: &Value,
    wanted: impl IntoIterator<Item = (&'a str, Option<&'a Value>)>,
) -> Vec<Value> {
    // Later pointers may lie under parents that earlier ones made, so each is held against the patched object.
    let mut patched = live.clone();
    let mut operations = Vec::new();
    for (pointer, wanted) in wanted {
        let Some(operation) = operation(&patched, pointer, wanted) else { continue };
        let parsed = serde_json::from_value::<json_patch::Patch>(Value::Array(vec![operation.clone()]));
        if let Ok(patch) = parsed {
            // When it cannot be done here, the server says why.
            let _ = json_patch::patch(&mut patched, &patch);
        }
        operations.push(operation);
    }
    operations
}

/// True when a pointer leads through a list: positions are only right for the version that was looked at.
pub(crate) fn is_positional(pointer: &str) -> bool {
    pointer.split('/').any(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn operation(live: &Value, pointer: &str, wanted: Option<&Value>) -> Option<Value> {
    let current = live.pointer(pointer);
    match (current, wanted) {
        (None, None) => None,
        (Some(_), None) => Some(json!({ "op": "remove", "path": pointer })),
        (Some(current), Some(wanted)) if current == wanted => None,
        (Some(_), Some(wanted)) => Some(json!({ "op": "replace", "path": pointer, "value": wanted })),
        (None, Some(wanted)) if is_empty(wanted) => None,
        (None, Some(wanted)) => Some(add(live, pointer, wanted.clone())),
    }
}

/// Adds the value, with the parents that are missing.
fn add(live: &Value, pointer: &str, mut value: Value) -> Value {
    let mut path = pointer;
    while let Some((parent, key)) = path.rsplit_once('/') {
        if parent.is_empty() || live.pointer(parent).is_some_and(|parent| !parent.is_null()) {
            break;
        }
        let key = key.replace("~1", "/").replace("~0", "~");
        value = Value::Object(Map::from_iter([(key, value)]));
        path = parent;
    }
    json!({ "op": "add", "path": path, "value": value })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_patched_and_the_result_is_what_was_wanted() {
        let cases = [
            (json!({ "a": 1 }), "/a", Some(json!(1)), json!([])),
            (json!({ "a": 1 }), "/a", Some(json!(2)), json!([{ "op": "replace", "path": "/a", "value": 2 }])),
            (json!({ "a": 1 }), "/a", None, json!([{ "op": "remove", "path": "/a" }])),
            (json!({}), "/a", None, json!([])),
            (json!({}), "/a", Some(json!({})), json!([])),
            (json!({ "a": {} }), "/a", Some(json!({})), json!([])),
            (json!({ "a": [1] }), "/a", Some(json!([])), json!([{ "op": "replace", "path": "/a", "value": [] }])),
            (json!({}), "/a", Some(json!(0)), json!([{ "op": "add", "path": "/a", "value": 0 }])),
            (
                json!({ "metadata": {} }),
                "/metadata/annotations/x.io~1y",
                Some(json!("z")),
                json!([{ "op": "add", "path": "/metadata/annotations", "value": { "x.io/y": "z" } }]),
            ),
            (
                json!({ "spec": { "http": [{ "route": 1 }] } }),
                "/spec/http/0/route",
                Some(json!(2)),
                json!([{ "op": "replace", "path": "/spec/http/0/route", "value": 2 }]),
            ),
        ];
        for (live, pointer, wanted, expected) in cases {
            let found = operations(&live, [(pointer, wanted.as_ref())]);
            assert_eq!(Value::Array(found), expected, "{live} {pointer}");
        }
    }

    #[test]
    fn pointers_that_share_a_missing_parent_do_not_undo_each_other() {
        let (one, two) = (json!("1"), json!("2"));
        let wanted = [("/metadata/annotations/a", Some(&one)), ("/metadata/annotations/b", Some(&two))];
        let mut live = json!({ "metadata": {} });
        let found = operations(&live, wanted);
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(found)).unwrap();
        json_patch::patch(&mut live, &patch).unwrap();
        assert_eq!(live, json!({ "metadata": { "annotations": { "a": "1", "b": "2" } } }));
    }

    #[test]
    fn lists_make_a_pointer_positional() {
        assert!(is_positional("/spec/http/0/route"));
        assert!(!is_positional("/spec/replicas"));
        assert!(!is_positional("/metadata/annotations/v1"));
    }
}
