//! What the controllers read out of an object, and the pieces that they put into one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::view::Kind;

/// The value at a JSON pointer. As [`Value::pointer`], which makes texts of its own at each step: too slow for what every look
/// at every object does a hundred times.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |value, token| match value {
        Value::Object(map) if token.contains('~') => map.get(&token.replace("~1", "/").replace("~0", "~")),
        Value::Object(map) => map.get(token),
        Value::Array(items) => items.get(token.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// The text at a JSON pointer; empty if there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).and_then(Value::as_str).unwrap_or("")
}

/// The whole number at a JSON pointer.
pub(super) fn number(value: &Value, pointer: &str) -> Option<i64> {
    at(value, pointer).and_then(Value::as_i64)
}

/// The list at a JSON pointer; empty if there is none.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The point in time at a JSON pointer.
pub(super) fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    at(value, pointer)?.as_str()?.parse().ok()
}

pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(super) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(super) fn generation(object: &Value) -> i64 {
    number(object, "/metadata/generation").unwrap_or(0)
}

pub(super) fn is_deleting(object: &Value) -> bool {
    at(object, "/metadata/deletionTimestamp").is_some()
}

/// The map of text at a JSON pointer, such as labels or annotations.
pub(super) fn texts(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let Some(map) = at(value, pointer).and_then(Value::as_object) else {
        return BTreeMap::new();
    };
    map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// As Kubernetes writes it: whole seconds, UTC.
pub(super) fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The owner that controls an object: its kind, name and uid.
pub(super) fn controller_of(object: &Value) -> Option<(&str, &str, &str)> {
    let owner = list(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true)?;
    Some((text(owner, "/kind"), text(owner, "/name"), text(owner, "/uid")))
}

/// The reference by which `owner` controls what it makes.
pub(super) fn owner_reference(owner: &Value, kind: Kind) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.name(), "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// The condition of a type, in a list of conditions.
pub(super) fn condition<'a>(conditions: &'a [Value], of: &str) -> Option<&'a Value> {
    conditions.iter().find(|condition| condition["type"] == of)
}

/// Whether a pod is ready, and since when.
pub(super) fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = condition(list(pod, "/status/conditions"), "Ready")?;
    if ready["status"] != "True" {
        return None;
    }
    Some(time(ready, "/lastTransitionTime").unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A pod that neither ended nor is being deleted.
pub(super) fn is_active(pod: &Value) -> bool {
    !is_deleting(pod) && !has_ended(pod)
}

/// A pod whose containers have ended for good.
pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Whether labels match a label selector, as workloads carry it. An empty selector matches nothing.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object();
    let expressions = list(selector, "/matchExpressions");
    if equal.is_none_or(Map::is_empty) && expressions.is_empty() {
        return false;
    }
    equal.is_none_or(|equal| contains(labels, equal))
        && expressions.iter().all(|expression| {
            let label = labels.get(text(expression, "/key"));
            let listed = || label.is_some_and(|label| list(expression, "/values").contains(label));
            match text(expression, "/operator") {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

/// Whether labels have all of these.
pub(super) fn contains(labels: &Value, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether two values say the same: nothing, null, `{}` and `[]` in a map are one.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            left.iter().all(|(key, value)| same(value, right.get(key).unwrap_or(&Value::Null)))
                && right.iter().all(|(key, value)| left.contains_key(key) || is_nothing(value))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (left, right) => left == right || (is_nothing(left) && is_nothing(right)),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A short name part that follows from text: FNV-1a in the letters that Kubernetes uses for names, which spell no words.
pub(super) fn hash(text: &str) -> String {
    let sum = text.bytes().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    letters(&sum.to_string())
}

/// Five letters that follow from a number: the end of a pod's name.
pub(super) fn suffix(seed: &str, count: u64) -> String {
    let mut ending: String = hash(&format!("{count}/{seed}")).chars().rev().take(5).collect();
    while ending.len() < 5 {
        ending.push('x');
    }
    ending
}

fn letters(digits: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    digits.bytes().map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_as_written() {
        let labels = json!({"app": "shop", "tier": "front"});
        for (selector, expected) in [
            (json!({}), false),
            (json!({"matchLabels": {"app": "shop"}}), true),
            (json!({"matchLabels": {"app": "cart"}}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true),
            (
                json!({"matchLabels": {"app": "shop"}, "matchExpressions": [{"key": "zone", "operator": "Exists"}]}),
                false,
            ),
        ] {
            assert_eq!(selects(&selector, &labels), expected, "{selector}");
        }
    }

    #[test]
    fn nothing_is_the_same_in_every_spelling() {
        assert!(same(&json!({"a": 1, "b": null, "c": {"d": {}}}), &json!({"a": 1, "e": []})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": false})));
        assert!(!same(&json!([1]), &json!([1, null])));
    }

    #[test]
    fn a_hash_is_made_of_letters_that_names_allow() {
        let hash = hash("a template");
        assert!(hash.len() <= 10 && hash.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_eq!(suffix("a", 1).len(), 5);
        assert_ne!(suffix("a", 1), suffix("a", 2));
    }
}
