//! Label and field selectors.

use serde_json::Value;

use crate::registry::{Resource, Version};
use crate::status::Status;

/// Which objects of a collection are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
    Above(String, i64),
    Below(String, i64),
}

impl Selector {
    pub(crate) fn parse(
        resource: &Resource,
        version: &Version,
        labels: &str,
        fields: &str,
    ) -> Result<Selector, Status> {
        let fields = parse_fields(fields)?;
        for (field, _, _) in &fields {
            if !is_selectable(resource, version, field) {
                return Err(Status::bad_request(format!("field label not supported: {field}")));
            }
        }
        Ok(Selector { labels: parse_labels(labels)?, fields })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(object))
            && self.fields.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

/// Reads a label selector; an empty one selects everything.
pub(crate) fn labels_match(selector: &str, object: &Value) -> Result<bool, Status> {
    Ok(parse_labels(selector)?.iter().all(|requirement| requirement.matches(object)))
}

impl Requirement {
    fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
        match self {
            Requirement::In(key, values) => label(key).is_some_and(|label| values.iter().any(|value| value == label)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|label| values.iter().all(|value| value != label)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::DoesNotExist(key) => label(key).is_none(),
            Requirement::Above(key, bound) => {
                label(key).and_then(|label| label.parse::<i64>().ok()).is_some_and(|label| label > *bound)
            }
            Requirement::Below(key, bound) => {
                label(key).and_then(|label| label.parse::<i64>().ok()).is_some_and(|label| label < *bound)
            }
        }
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, Status> {
    let mut requirements = vec![];
    for part in split_outside_parentheses(text) {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let requirement = parse_requirement(part).ok_or_else(|| {
            Status::bad_request(format!("unable to parse requirement: {part:?} is no label selector"))
        })?;
        requirements.push(requirement);
    }
    Ok(requirements)
}

fn parse_requirement(part: &str) -> Option<Requirement> {
    let is_key = |key: &str| {
        !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter))
    };
    let key_of = |key: &str| Some(key.trim().to_owned()).filter(|key| is_key(key));
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement::DoesNotExist(key_of(key)?));
    }
    if let Some((left, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = left.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => Some(Requirement::In(key_of(key)?, values)),
            "notin" => Some(Requirement::NotIn(key_of(key)?, values)),
            _ => None,
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Requirement::NotIn(key_of(key)?, vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(key_of(key)?, vec![value.trim().to_owned()]));
    }
    if let Some((key, bound)) = part.split_once('>') {
        return Some(Requirement::Above(key_of(key)?, bound.trim().parse().ok()?));
    }
    if let Some((key, bound)) = part.split_once('<') {
        return Some(Requirement::Below(key_of(key)?, bound.trim().parse().ok()?));
    }
    Some(Requirement::Exists(key_of(part)?))
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (vec![], 0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn parse_fields(text: &str) -> Result<Vec<(String, bool, String)>, Status> {
    let mut fields = vec![];
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, equal, value) = if let Some((name, value)) = part.split_once("!=") {
            (name, false, value)
        } else if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (name, true, value)
        } else {
            return Err(Status::bad_request(format!("invalid field selector: {part:?}; can't understand it")));
        };
        fields.push((name.to_owned(), equal, value.to_owned()));
    }
    Ok(fields)
}

fn is_selectable(resource: &Resource, version: &Version, field: &str) -> bool {
    if field == "metadata.name" || resource.namespaced && field == "metadata.namespace" {
        return true;
    }
    let fields: &[&str] = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Secret") => &["type"],
        ("", "Namespace") => &["status.phase"],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("apps", "ReplicaSet") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        _ => &[],
    };
    fields.contains(&field) || version.selectable.iter().any(|path| path.trim_start_matches('.') == field)
}

/// The value of a field as text; what is absent is empty.
fn field(object: &Value, path: &str) -> String {
    let value = match path {
        "source" => &object["source"]["component"],
        _ => path.split('.').fold(object, |value, name| &value[name]),
    };
    match value {
        Value::Null => match path {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.replicas" => "0".to_owned(),
            _ => String::new(),
        },
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "2"}}});
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=2", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (web, api),tier", true),
            ("app notin (web)", false),
            ("!app", false),
            ("!other", true),
            ("tier>1", true),
            ("tier<1", false),
        ] {
            assert_eq!(labels_match(selector, &object).unwrap(), expected, "{selector}");
        }
        for selector in ["a b", "=x", "app in web", "app in (a"] {
            assert!(labels_match(selector, &object).is_err(), "{selector}");
        }
    }
}
